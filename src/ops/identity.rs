//! Becoming another user: `credentials(7)`.

use std::fmt;

use crate::{
    diagnostic::Refusal,
    model::{Answer, IdMap, Model, UserId, capability},
    sys::{
        Call, Errno, Fault,
        capability::{self as sets, Sets},
        ids, look, process,
    },
};

use super::{Evidence, Need, Operation, Stage, unexplained, yes};

/// These ids from now on, as the process's own user namespace counts them.
pub struct Become {
    /// User id
    pub uid: u32,
    /// Group id
    pub gid: u32,
    /// Supplementary groups; `None`: those that it has
    pub groups: Option<Vec<u32>>,
}

impl Become {
    /// `may_setgroups()`, `__sys_setresgid()`, `__sys_setresuid()`
    fn check(&self, model: &Model) -> Result<(), Answer> {
        let own = model.own_user();
        let no = |call: Call, errno| Err(Answer::No(call.gave(errno)));
        let has = |capability| model.capable(model.process.user, capability);
        if let Some(groups) = &self.groups {
            if !has(capability::SETGID) || own.gids.is_empty() || !own.setgroups {
                return no(Call::Setgroups, Errno::EPERM);
            }
            if groups.iter().any(|&group| own.gids.to_host(group).is_none()) {
                return no(Call::Setgroups, Errno::EINVAL);
            }
        }
        let Some(gid) = own.gids.to_host(self.gid) else {
            return no(Call::Setresgid, Errno::EINVAL);
        };
        if gid != model.process.gid && !has(capability::SETGID) {
            return no(Call::Setresgid, Errno::EPERM);
        }
        let Some(uid) = own.uids.to_host(self.uid) else {
            return no(Call::Setresuid, Errno::EINVAL);
        };
        if uid != model.process.uid && !has(capability::SETUID) {
            return no(Call::Setresuid, Errno::EPERM);
        }
        Ok(())
    }
}

/// Of more groups than this only their number is read back.
const MOST_GROUPS: usize = 1024;

impl Become {
    /// The supplementary groups are these, in whatever order the kernel keeps them.
    fn has_groups(&self, stage: &Stage, groups: &[u32]) -> Result<(), Fault> {
        let failed = |errno| Call::Getgroups.gave(errno);
        let mut room = [0; MOST_GROUPS];
        if groups.len() > room.len() {
            let count = look::groups(&mut []).map_err(failed)?;
            let is_all = count == groups.len();
            return if is_all { Ok(()) } else { Err(stage.lie(Call::Setgroups, b"")) };
        }
        let count = look::groups(&mut room).map_err(failed)?;
        let found = room.get(..count).unwrap_or_default();
        let stranger = found.iter().find(|group| !groups.contains(group));
        let missing = groups.iter().find(|group| !found.contains(group));
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
        write!(f, "become user {} and group {}", self.uid, self.gid)?;
        match self.groups.as_deref() {
            Some([]) => Ok(()),
            Some([only]) if *only == self.gid => Ok(()),
            None => f.write_str(", with the groups it has"),
            Some(groups) => {
                let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
                write!(f, ", with groups {}", groups.join(", "))
            }
        }
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
        let to_host = |&group: &u32| own.gids.to_host(group).unwrap_or(group);
        let groups = self.groups.as_ref().map(|groups| groups.iter().map(to_host).collect());
        let was_root = own.uids.to_host(0) == Some(model.process.uid);
        if uid != model.process.uid {
            model.limits.change_user();
        }
        model.process.uid = uid;
        model.process.gid = gid;
        if groups.is_some() {
            model.process.groups = groups;
        }
        model.process.capabilities.change_user(was_root, self.uid == 0);
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        if let Some(groups) = &self.groups {
            ids::set_groups(groups).map_err(|errno| Call::Setgroups.gave(errno))?;
        }
        ids::set_gid(self.gid).map_err(|errno| Call::Setresgid.gave(errno))?;
        ids::set_uid(self.uid).map_err(|errno| Call::Setresuid.gave(errno))?;
        // The change of ids took both away.
        process::become_dumpable().map_err(|errno| Call::Prctl.gave(errno))?;
        process::die_with_parent().map_err(|errno| Call::Prctl.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        if let Some(groups) = &self.groups {
            self.has_groups(stage, groups)?;
        }
        let groups = look::group_ids().map_err(|errno| Call::Getresgid.gave(errno))?;
        are_all(stage, Call::Setresgid, groups, self.gid)?;
        let users = look::user_ids().map_err(|errno| Call::Getresuid.gave(errno))?;
        are_all(stage, Call::Setresuid, users, self.uid)
    }

    fn explain(&self, fault: Fault, before: &Model, _: &Evidence) -> Refusal {
        let own = before.own_user();
        let lacks = |capability| !before.capable(before.process.user, capability);
        match (fault.call, fault.errno) {
            (Call::Setgroups, Errno::EINVAL) => {
                let groups = self.groups.iter().flatten();
                let odd = groups.copied().find(|&group| own.gids.to_host(group).is_none());
                no_such_id("group", odd.unwrap_or(self.gid), &own.gids)
            }
            (Call::Setresgid, Errno::EINVAL) => no_such_id("group", self.gid, &own.gids),
            (Call::Setresuid, Errno::EINVAL) => no_such_id("user", self.uid, &own.uids),
            (Call::Setgroups | Call::Setresgid, Errno::EPERM) if lacks(capability::SETGID) => {
                not_permitted(before, "CAP_SETGID")
            }
            (Call::Setresuid, Errno::EPERM) if lacks(capability::SETUID) => {
                not_permitted(before, "CAP_SETUID")
            }
            (Call::Setgroups, Errno::EPERM) if own.gids.is_empty() => {
                no_such_id("group", self.gid, &own.gids)
            }
            (Call::Setgroups, Errno::EPERM) if !own.setgroups => setgroups_denied(),
            _ => unexplained(self, fault),
        }
    }

    fn needs(&self, before: &Model) -> Option<Need> {
        Some(Need {
            capability: capability::SETUID,
            over: before.process.user,
            what: "its user namespace",
        })
    }
}

fn no_such_id(kind: &str, id: u32, map: &IdMap) -> Refusal {
    let why = match map.is_empty() {
        true => format!("the user namespace maps no {kind}"),
        false => format!("the map of the user namespace has {}", ranges(map)),
    };
    Refusal::new("identity::unmapped", format!("there is no {kind} {id} in this sandbox"))
        .why(why)
        .help("take more ids: `user: {map: auto}`; or one of those that there are")
}

/// `0, 1 to 65536`
fn ranges(map: &IdMap) -> String {
    let shown = map.0.iter().map(|extent| match extent.count {
        1 => extent.inside.to_string(),
        count => {
            let last = extent.inside.saturating_add(count - 1);
            format!("{} to {last}", extent.inside)
        }
    });
    shown.collect::<Vec<_>>().join(", ")
}

fn setgroups_denied() -> Refusal {
    Refusal::new("identity::setgroups_denied", "groups cannot be dropped in this user namespace")
        .why(
            "setgroups is denied in it, as the kernel demands of a user who maps only their own id",
        )
        .help("keep them: `groups: keep`; or take more ids: `user: {map: auto}`")
}

fn not_permitted(before: &Model, capability: &str) -> Refusal {
    let message = format!("to become somebody else takes {capability}");
    let refusal = Refusal::new("identity::not_permitted", message);
    match before.process.user == UserId::HOST {
        true if before.host.invoker.is_some() => refusal
            .why("the root that `sudo` has started has lost it")
            .help("run isorecipe without `sudo`"),
        true => refusal
            .why("no user namespace yet")
            .help("put a `user` layer before it: `user: {map: auto}`")
            .wants("user"),
        false => refusal
            .why("an earlier layer has taken it away")
            .help("put the `identity` layer before what drops capabilities"),
    }
}

/// The permitted capabilities stay when the process becomes somebody else.
pub struct KeepCapabilities;

impl fmt::Display for KeepCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keep the capabilities until the command starts")
    }
}

impl Operation for KeepCapabilities {
    fn answer(&self, model: &Model) -> Answer {
        match model.process.user == UserId::HOST {
            // Whether `SECBIT_KEEP_CAPS_LOCKED` is set, nobody told.
            true => Answer::KernelDecides,
            false => Answer::Yes,
        }
    }

    fn effect(&self, model: &mut Model) {
        model.process.capabilities.are_kept = true;
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        sets::keep_over_change_of_user().map_err(|errno| Call::KeepCapabilities.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        match sets::are_kept().map_err(|errno| Call::KeepCapabilities.gave(errno))? {
            true => Ok(()),
            false => Err(stage.lie(Call::KeepCapabilities, b"")),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        unexplained(self, fault)
    }
}

/// What was kept is effective again.
pub struct TakeUpCapabilities;

impl fmt::Display for TakeUpCapabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("take up the kept capabilities")
    }
}

impl Operation for TakeUpCapabilities {
    fn answer(&self, _: &Model) -> Answer {
        Answer::Yes
    }

    fn effect(&self, model: &mut Model) {
        let own = &mut model.process.capabilities;
        own.effective = own.permitted;
    }

    fn run(&self, _: &Stage) -> Result<(), Fault> {
        let own = sets::sets().map_err(|errno| Call::Capset.gave(errno))?;
        let up = Sets { effective: own.permitted, ..own };
        sets::set(up).map_err(|errno| Call::Capset.gave(errno))
    }

    fn read_back(&self, stage: &Stage) -> Result<(), Fault> {
        let own = sets::sets().map_err(|errno| Call::Capset.gave(errno))?;
        match own.effective == own.permitted {
            true => Ok(()),
            false => Err(stage.lie(Call::Capset, b"")),
        }
    }

    fn explain(&self, fault: Fault, _: &Model, _: &Evidence) -> Refusal {
        unexplained(self, fault)
    }
}
