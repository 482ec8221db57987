//! The control groups of a run: which of their limits were met, and their end.

use std::{
    cell::OnceCell,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use crate::{
    ops::{EnterGroup, Op},
    plan::Plan,
    sys::{
        cgroup::{self, Controller},
        process::Change,
    },
};

use super::Exceeded;

/// The groups that steps of a plan have made.
#[derive(Clone, Copy)]
pub(super) struct Groups<'a> {
    pub plan: &'a Plan,
    pub slots: &'a [OnceCell<OwnedFd>],
}

/// Opens the groups that others will be made below: a step may cover the way
/// there. What cannot be opened is missed, and explained, by its own step.
pub(super) fn open_above(plan: &Plan, slots: &[OnceCell<OwnedFd>]) {
    for step in &plan.steps {
        if let Op::EnterGroup(group) = &step.op
            && let (Some(slot), Ok(fd)) = (slots.get(group.above), group.open_above())
        {
            let _ = slot.set(fd);
        }
    }
}

impl<'a> Groups<'a> {
    fn all(self) -> impl Iterator<Item = (&'a EnterGroup, BorrowedFd<'a>)> {
        self.plan.steps.iter().filter_map(move |step| match &step.op {
            Op::EnterGroup(group) => Some((group, self.slots.get(group.slot)?.get()?.as_fd())),
            _ => None,
        })
    }

    /// Which limits were met, by the kernel's own counters.
    pub(super) fn met(self, change: Change) -> Vec<Exceeded> {
        let mut met = Vec::new();
        for (group, fd) in self.all() {
            for most in &group.limits {
                match most.controller {
                    Controller::Memory if kills(group.version, fd) > 0 => {
                        let ended = is_killed(change);
                        met.push(Exceeded::Memory { most: most.amount, ended });
                    }
                    Controller::Pids if cgroup::count(fd, c"pids.events", "max") > Some(0) => {
                        met.push(Exceeded::Processes(most.amount));
                    }
                    _ => {}
                }
            }
        }
        met
    }

    /// Ends everything in them.
    pub(super) fn end(self) {
        self.all().for_each(|(_, group)| cgroup::end(group));
    }

    /// Removes them, with what is still in them; gives those that stay.
    pub(super) fn remove(self) -> Vec<String> {
        self.end();
        let stays = |(group, fd): (&EnterGroup, BorrowedFd)| {
            let errno = cgroup::remove(fd).err()?;
            let home = group.home.as_path();
            let name = cgroup::own_name();
            let path = home.join(name.to_string_lossy().as_ref());
            Some(format!("{}: {}", path.display(), errno.desc()))
        };
        self.all().filter_map(stays).collect()
    }
}

/// How many processes the kernel has killed for want of memory in the group.
fn kills(version: u8, group: BorrowedFd) -> u64 {
    let file = if version == 1 { c"memory.oom_control" } else { c"memory.events" };
    cgroup::count(group, file, "oom_kill").unwrap_or(0)
}

/// Killed itself, or a shell that says that its program was.
fn is_killed(change: Change) -> bool {
    matches!(change, Change::Killed(libc::SIGKILL)) || change == Change::Exited(128 + libc::SIGKILL)
}
