//! Another root: `pivot_root(2)`.

use std::{
    fmt,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
};

use crate::{
    diagnostic::Refusal,
    model::{Answer, Filesystem, Found, Model},
    sys::{
        Call, Errno, Fault, KernelPath,
        descriptor::{self, Walk},
        directory, look, mount,
    },
};

use super::{Evidence, Need, Operation, Stage, place, unexplained, way, yes};

/// A mount becomes the root; the old root moves aside or goes.
///
/// `pivot_root(".", ".")` stacks the old root on the new one; by descriptor it
/// then moves to `old`. So no path is walked while two roots are there, and a
/// hostile new root can lead nobody out.
pub struct PivotRoot {
    /// The new root
    pub new: KernelPath,
    /// Where the old root is kept, below the new one; without it, it is detached
    pub old: Option<KernelPath>,
}

impl PivotRoot {
    fn find_old(&self, model: &Model, new: &Found) -> Result<Option<Found>, Answer> {
        let Some(old) = &self.old else {
            return Ok(None);
        };
        let no = |errno| Answer::No(Call::OpenTarget.gave(errno));
        let found = model.walk_within(&new.at, old.as_path()).map_err(no)?;
        match found.thing.is_directory() {
            Some(false) => Err(no(Errno::ENOTDIR)),
            _ => Ok(Some(found)),
        }
    }

    fn find_new(&self, model: &Model) -> Result<Found, Answer> {
        let no = |errno| Answer::No(Call::OpenTarget.gave(errno));
        let found = model.walk(self.new.as_path()).map_err(no)?;
        match found.thing.is_directory() {
            Some(false) => Err(no(Errno::ENOTDIR)),
            _ => Ok(found),
        }
    }

    fn check(&self, model: &Model) -> Result<(), Answer> {
        let new = self.find_new(model)?;
        let old = self.find_old(model, &new)?;
        let is_known = |found: &Found| found.thing.is_directory().is_some();
        if !is_known(&new) || !old.as_ref().is_none_or(is_known) {
            return Err(Answer::KernelDecides);
        }
        if model.may_enter(&new) == Some(false) {
            return Err(Answer::No(Call::Fchdir.gave(Errno::EACCES)));
        }
        if !model.may_mount() || model.is_kept_from_mounting() {
            return Err(Answer::No(Call::PivotRoot.gave(Errno::EPERM)));
        }
        model.mounts.may_pivot_to(&new.at).map_err(|objection| objection.to(Call::PivotRoot))?;
        // The root itself has to be a mount.
        match model.process.chrooted {
            Some(true) => Err(Answer::No(Call::PivotRoot.gave(Errno::EINVAL))),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for PivotRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "make {} the root", self.new.as_path().display())?;
        match &self.old {
            Some(old) => write!(f, ", the old one on {}", in_root(old).display()),
            None => f.write_str(", detach the old one"),
        }
    }
}

/// Whether another mount than the root is there, and the process may enter it.
fn is_mount_to_enter(found: &Found, model: &Model) -> bool {
    found.at.path.as_os_str().is_empty()
        && found.at.mount != model.mounts.root
        && model.may_enter(found) != Some(false)
}

/// A path as it reads from the new root.
fn in_root(path: &KernelPath) -> PathBuf {
    PathBuf::from("/").join(path.as_path())
}

impl Operation for PivotRoot {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let new = match self.find_new(model) {
            Ok(new) if new.at.mount != model.mounts.root => new,
            _ => return self.intend(model),
        };
        let old_at = self.find_old(model, &new).ok().flatten();
        let old = model.mounts.pivot(new.at.mount);
        match old_at {
            Some(at) => model.mounts.move_to(old, at.at),
            None => model.mounts.detach(old),
        }
        model.process.chrooted = Some(false);
        model.process.directory = Some("/".into());
    }

    /// What was meant to be a mount is one, or a tree of which nothing is known.
    fn intend(&self, model: &mut Model) {
        let new = match self.find_new(model) {
            Ok(found) if is_mount_to_enter(&found, model) => found.at.mount,
            _ => {
                let user = model.process.user;
                let unknown = model.mounts.instance(Filesystem::Unknown, user);
                model.mounts.insert_detached(unknown)
            }
        };
        let old = model.mounts.pivot(new);
        if self.old.is_none() {
            model.mounts.detach(old);
        }
    }

    fn run(&self, stage: &Stage) -> Result<(), Fault> {
        let open = |errno| Call::OpenTarget.gave(errno);
        let new =
            descriptor::open_directory(None, self.new.as_c_str(), Walk::Free).map_err(open)?;
        let old = self
            .old
            .as_ref()
            .map(|old| descriptor::open_directory(Some(new.as_fd()), old.as_c_str(), Walk::InRoot));
        let old = old.transpose().map_err(open)?;
        let old_root = descriptor::open_directory(None, c"/", Walk::Free).map_err(open)?;
        let mount = |place: BorrowedFd| look::at_open(place).map(|found| found.mount);
        let looked = |errno| Call::Look.gave(errno);
        let mounts = [
            mount(new.as_fd()).map_err(looked)?,
            look::over(old_root.as_fd()).map_err(looked)?.mount,
        ];
        stage.remember(mounts);
        directory::enter(new.as_fd()).map_err(|errno| Call::Fchdir.gave(errno))?;
        mount::pivot_to_current_directory().map_err(|errno| Call::PivotRoot.gave(errno))?;
        match old {
            Some(old) => mount::attach(old_root.as_fd(), old.as_fd())
                .map_err(|errno| Call::MoveMount.gave(errno))?,
            None => mount::uncover_root().map_err(|errno| Call::Umount.gave(errno))?,
        }
        directory::enter_path(c"/").map_err(|errno| Call::Chdir.gave(errno))
    }

    /// The root is the new one and so is the current directory, nothing of the
    /// old root is left over it, and the old root is where it was to go.
    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let at = |path| look::at(path).map(|it| it.mount).map_err(|errno| Call::Look.gave(errno));
        let [new, old] = stage.remembered();
        if at(c"/")? != new {
            return Err(stage.lie(Call::PivotRoot, b"the old root"));
        }
        if at(c"/..")? != new {
            return Err(stage.lie(Call::Umount, b"the old root is over the new one"));
        }
        if at(c".")? != new {
            return Err(stage.lie(Call::Chdir, b"a directory of the old root"));
        }
        match &self.old {
            Some(path) if at(path.as_c_str())? != old => {
                Err(stage.lie(Call::MoveMount, b"the old root is elsewhere"))
            }
            _ => Ok(()),
        }
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let shown = self.new.as_path().display();
        if fault.errno == Errno::EPERM
            && let Some(refusal) = place::not_allowed(before)
        {
            return refusal;
        }
        match (fault.call, fault.errno) {
            (Call::OpenTarget, Errno::ENOENT) if self.find_new(before).is_err() => {
                place::no_new_root(self.new.as_path())
            }
            (Call::OpenTarget, Errno::ENOTDIR) => {
                Refusal::new("pivot_root::not_a_directory", format!("{shown} is not a directory"))
                    .why("only a directory can become the root")
                    .help("name the place where an earlier layer has mounted the new root")
            }
            (Call::Fchdir, Errno::EACCES) => {
                Refusal::new("pivot_root::hidden", format!("you may not enter {shown}"))
                    .why("the directory does not let you in")
                    .help("make the new root a directory of your own")
            }
            (Call::PivotRoot, Errno::EBUSY) => is_root(self.new.as_path()),
            (Call::PivotRoot, Errno::EINVAL) => self.explain_einval(fault, before),
            (Call::OpenTarget, errno) => way::refused(self.new.as_path(), errno, before)
                .unwrap_or_else(|| unexplained(self, fault)),
            _ => unexplained(self, fault),
        }
    }

    fn leak(&self, before: &Model) -> Option<Refusal> {
        place::reaches_host(before)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need::admin(before.mounts.owner, "the mount namespace"))
    }
}

impl PivotRoot {
    /// pivot_root's conditions one by one, in the kernel's order.
    fn explain_einval(&self, fault: Fault, before: &Model) -> Refusal {
        let shown = self.new.as_path().display();
        let Ok(new) = self.find_new(before) else {
            return unexplained(self, fault);
        };
        if new.at == before.mounts.root_position() {
            return is_root(self.new.as_path());
        }
        let mount = before.mounts.mount(new.at.mount);
        let parent = mount.on.as_ref().map(|on| before.mounts.mount(on.mount));
        let is_shared = mount.travel.shared == Some(true)
            || parent.is_some_and(|parent| parent.travel.shared == Some(true));
        if is_shared {
            return Refusal::new(
                "pivot_root::shared",
                "the mounts are still shared with other namespaces",
            )
            .why("the kernel changes the root only where nobody else would notice")
            .help("`mount: {propagation: private}`");
        }
        if before.process.chrooted == Some(true) {
            return Refusal::new(
                "pivot_root::chrooted",
                "the root cannot be changed inside a chroot",
            )
            .why("isorecipe was started in a root directory that is no mount")
            .help("start isorecipe outside the chroot");
        }
        if !new.at.path.as_os_str().is_empty() {
            return Refusal::new(
                "pivot_root::not_a_mount_point",
                format!("nothing is mounted on {shown}"),
            )
            .why("only the root of a mount can become the root")
            .help("mount something there first: an `overlay`, a `bind` or a `tmpfs`");
        }
        if mount.locked == Some(true) {
            return Refusal::new("pivot_root::locked", format!("the mount on {shown} is not yours to move"))
                .why("it was there before the mount namespace was made")
                .help(format!("bind it onto itself after the `mount` layer: `bind: {{from: {shown}, to: {shown}}}`"));
        }
        unexplained(self, fault)
    }
}

fn is_root(path: &Path) -> Refusal {
    let message = format!("{} is part of the root that is there already", path.display());
    Refusal::new("pivot_root::is_root", message)
        .why("nothing is mounted there")
        .help("mount something there first: an `overlay`, a `bind` or a `tmpfs`")
}
