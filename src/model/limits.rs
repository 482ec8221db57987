//! How many namespaces there may be: `namespaces(7)`, "The /proc/sys/user
//! directory", `kernel/ucount.c`.

use crate::sys::{Errno, Namespace};

use super::{Model, Objection, UserId};

/// User and PID namespaces nest this deep (`namespaces(7)`).
pub(super) const DEEPEST: u32 = 32;
/// What is no deeper is not near that, wherever it started.
pub(super) const SHALLOW: u32 = 8;
/// Of a limit below this, others may have taken enough to matter.
const FEW: u64 = 64;

impl Model {
    /// Whether the limit of the user namespace that the recipe starts in leaves
    /// room for one more of a kind (`inc_ucount()`). Those that the recipe makes
    /// have limits without end.
    pub(super) fn has_room_for(&self, kind: Namespace) -> Result<(), Objection> {
        let Some(limit) = self.limit(kind) else { return Ok(()) };
        let (at_least, at_most) = self.in_use(kind);
        if at_least >= limit {
            return Err(Objection::No(Errno::ENOSPC));
        }
        // What else this user has taken, nobody told.
        match at_most + FEW < limit {
            true => Ok(()),
            false => Err(Objection::Unknown),
        }
    }

    /// How many of the recipe's own are there for sure, and how many may be: a
    /// namespace that was left is gone, unless a process has stayed in it.
    fn in_use(&self, kind: Namespace) -> (u64, u64) {
        let made = self.made.get(&(kind, self.account())).copied().unwrap_or(0);
        let held = if kind == Namespace::Mount { self.held.len() as u64 } else { 0 };
        let at_most = made + held;
        let at_least = match kind {
            // Each pins the one it was made in.
            Namespace::User | Namespace::Pid => at_most,
            Namespace::Mount => u64::from(self.mounts.own) + held,
            Namespace::Uts => u64::from(self.uts.own),
            Namespace::Ipc => u64::from(self.ipc.own),
            Namespace::Cgroup => u64::from(self.cgroup_is_own),
            Namespace::Network => u64::from(self.network.own),
            Namespace::Time => u64::from(self.time.own || self.time.for_children.is_some()),
        };
        (at_least.min(at_most), at_most)
    }

    /// The limit on namespaces of a kind where the recipe starts, and how many of
    /// them it has made itself.
    pub fn namespace_limit(&self, kind: Namespace) -> Option<(u64, u64)> {
        Some((self.limit(kind)?, self.in_use(kind).0))
    }

    /// Counts one more.
    pub(super) fn count(&mut self, kind: Namespace) {
        *self.made.entry((kind, self.account())).or_default() += 1;
    }

    /// Whose namespaces the kernel takes it for, where the recipe starts: the
    /// owner of the first user namespace that it has made.
    fn account(&self) -> u32 {
        let mut owner = self.process.uid;
        let mut user = self.process.user;
        while user != UserId::HOST {
            owner = self.user(user).owner;
            let Some(parent) = self.user(user).parent else { break };
            user = parent;
        }
        owner
    }

    /// A tree that is attached nowhere has a mount namespace of its own for as
    /// long (`alloc_mnt_ns()`, from `open_tree(2)` and `fsmount(2)`).
    pub fn may_hold_mounts(&self) -> Result<(), Objection> {
        match self.mounts.owner == UserId::PRESUMED {
            true => Ok(()),
            false => self.has_room_for(Namespace::Mount),
        }
    }

    /// `/proc/sys/user/max_*_namespaces` of the machine, where known.
    fn limit(&self, kind: Namespace) -> Option<u64> {
        let limits = self.host.namespace_limits.as_ref()?;
        match kind {
            Namespace::User => Some(limits.user),
            Namespace::Mount => Some(limits.mount),
            Namespace::Uts => Some(limits.uts),
            Namespace::Ipc => limits.ipc,
            Namespace::Pid => Some(limits.pid),
            Namespace::Cgroup => limits.cgroup,
            Namespace::Network => limits.network,
            Namespace::Time => limits.time,
        }
    }
}
