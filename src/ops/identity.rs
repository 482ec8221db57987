//! Becoming another user: `credentials(7)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, Model, capability},
    sys::{Call, Errno, Fault, ids, look, process},
};

use super::{Evidence, Need, Operation, Stage, unexplained, yes};

/// These ids from now on, as the process's own user namespace counts them.
pub struct Become {
    /// User id
    pub uid: u32,
    /// Group id
    pub gid: u32,
    /// Supplementary groups
    pub groups: Vec<u32>,
}

impl Become {
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let own = model.own_user();
        let no = |call: Call, errno| Err(Answer::No(call.gave(errno)));
        let has = |capability| model.capable(model.process.user, capability);
        if !has(capability::SETGID) || own.gids.is_empty() || !own.setgroups {
            return no(Call::Setgroups, Errno::EPERM);
        }
        if self.groups.iter().any(|&group| own.gids.to_host(group).is_none()) {
            return no(Call::Setgroups, Errno::EINVAL);
        }
        if own.gids.to_host(self.gid).is_none() {
            return no(Call::Setresgid, Errno::EINVAL);
        }
        if own.uids.to_host(self.uid).is_none() {
            return no(Call::Setresuid, Errno::EINVAL);
        }
        if !has(capability::SETUID) {
            return no(Call::Setresuid, Errno::EPERM);
        }
        Ok(())
    }
}

/// Of more groups than this only their number is read back.
const MOST_GROUPS: usize = 1024;

impl Become {
    /// The supplementary groups are these, in whatever order the kernel keeps them.
    fn has_groups(&self, stage: &Stage) -> Result<(), Fault> {
        let failed = |errno| Call::Getgroups.gave(errno);
        let mut room = [0; MOST_GROUPS];
        if self.groups.len() > room.len() {
            let count = look::groups(&mut []).map_err(failed)?;
            let is_all = count == self.groups.len();
            return if is_all { Ok(()) } else { Err(stage.lie(Call::Setgroups, b"")) };
        }
        let count = look::groups(&mut room).map_err(failed)?;
        let found = room.get(..count).unwrap_or_default();
        let stranger = found.iter().find(|group| !self.groups.contains(group));
        let missing = self.groups.iter().find(|group| !found.contains(group));
        match (stranger, missing) {
            (None, None) => Ok(()),
            (Some(&group), _) => Err(stage.lie_number(Call::Setgroups, group)),
            (None, Some(_)) => Err(stage.lie(Call::Setgroups, b"")),
        }
    }
}

/// Real, effective and saved id are this one.
fn are_all(stage: &Stage, call: Call, found: [u32; 3], id: u32) -> Result<(), Fault> {
    match found.into_iter().find(|&found| found != id) {
        None => Ok(()),
        Some(other) => Err(stage.lie_number(call, other)),
    }
}

impl fmt::Display for Become {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "become user {} and group {}", self.uid, self.gid)
    }
}

impl Operation for Become {
    fn answer(&self, model: &Model) -> Answer {
        yes(self.check(model))
    }

    fn effect(&self, model: &mut Model) {
        let own = model.own_user();
        let uid = own.uids.to_host(self.uid).unwrap_or(self.uid);
        let gid = own.gids.to_host(self.gid).unwrap_or(self.gid);
        let groups =
            self.groups.iter().map(|&group| own.gids.to_host(group).unwrap_or(group)).collect();
        let was_root = own.uids.to_host(0) == Some(model.process.uid);
        model.process.uid = uid;
        model.process.gid = gid;
        model.process.groups = Some(groups);
        // Leaving root takes the capabilities away (`capabilities(7)`).
        if was_root && self.uid != 0 {
            model.process.capabilities = 0;
        }
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        ids::set_groups(&self.groups).map_err(|errno| Call::Setgroups.gave(errno))?;
        ids::set_gid(self.gid).map_err(|errno| Call::Setresgid.gave(errno))?;
        ids::set_uid(self.uid).map_err(|errno| Call::Setresuid.gave(errno))?;
        // The change of ids took both away.
        process::become_dumpable().map_err(|errno| Call::Prctl.gave(errno))?;
        process::die_with_parent().map_err(|errno| Call::Prctl.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        self.has_groups(stage)?;
        let groups = look::group_ids().map_err(|errno| Call::Getresgid.gave(errno))?;
        are_all(stage, Call::Setresgid, groups, self.gid)?;
        let users = look::user_ids().map_err(|errno| Call::Getresuid.gave(errno))?;
        are_all(stage, Call::Setresuid, users, self.uid)
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        unexplained(self, fault)
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need {
            capability: capability::SETUID,
            over: before.process.user,
            what: "its user namespace",
        })
    }
}
