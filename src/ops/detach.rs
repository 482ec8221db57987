//! Mounts that go away: `umount2(2)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, Objection, Thing},
    sys::{Call, Errno, Fault, KernelPath, mount},
};

use super::{Evidence, Need, Operation, Stage, place, unexplained, yes};

/// A mount that goes away, at the latest with its last user (`umount -l`).
pub struct DetachMount {
    /// Where it is
    pub at: KernelPath,
}

impl DetachMount {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let no = |errno| Answer::No(Call::Umount.gave(errno));
        let found = model.walk(self.at.as_path()).map_err(no)?;
        if !model.may_mount() {
            return Err(no(Errno::EPERM));
        }
        let mount = model.mounts.mount(found.at.mount);
        if found.thing == Thing::Unknown {
            return Err(Objection::Unknown.to(Call::Umount));
        }
        if !found.at.path.as_os_str().is_empty() {
            return Err(no(Errno::EINVAL));
        }
        match mount.locked {
            Some(true) => return Err(no(Errno::EINVAL)),
            Some(false) => {}
            None => return Err(Answer::KernelDecides),
        }
        match model.is_kept_from_mounting() {
            true => Err(no(Errno::EPERM)),
            false => Ok(()),
        }
    }
}

impl fmt::Display for DetachMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "detach {}", self.at.as_path().display())
    }
}

impl Operation for DetachMount {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        // What was mounted there before comes to light, and goes as well.
        while let Ok(found) = model.walk(self.at.as_path())
            && found.at.path.as_os_str().is_empty()
            && found.at.mount != model.mounts.root
            && model.mounts.mount(found.at.mount).locked != Some(true)
        {
            model.mounts.detach(found.at.mount);
        }
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        mount::detach_all(self.at.as_c_str()).map_err(|errno| Call::Umount.gave(errno))
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        place::not_allowed(before).unwrap_or_else(|| unexplained(self, fault))
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host(before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}
