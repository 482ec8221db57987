//! Namespaces that a recipe makes, and the fork that enters some of them:
//! `namespaces(7)`.

use crate::sys::{Errno, Namespace};

use super::{DEEPEST, Model, Objection, Owned, SHALLOW, UserId};

/// A time namespace is entered by a child, as a PID namespace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimeNamespace {
    /// The process is in one that the recipe has made
    pub own: bool,
    /// Who owns the one that its next child will be in, when that is another
    pub for_children: Option<UserId>,
}

impl Model {
    /// Whether the recipe has made a namespace of this kind.
    pub fn has_own(&self, kind: Namespace) -> bool {
        match kind {
            Namespace::User => self.process.user != UserId::HOST,
            Namespace::Mount => self.mounts.own,
            Namespace::Uts => self.uts.own,
            Namespace::Ipc => self.ipc.own,
            Namespace::Pid => self.pid.own || self.pid_for_children.is_some(),
            Namespace::Cgroup => self.cgroup_is_own,
            Namespace::Network => self.network.own,
            Namespace::Time => self.time.own || self.time.for_children.is_some(),
        }
    }

    /// Whether the kernel gives this process a namespace of this kind, and if
    /// not, why not (`create_user_ns()`, `create_new_namespaces()`).
    pub fn may_make(&self, kind: Namespace) -> Result<(), Objection> {
        match kind {
            Namespace::User => self.may_make_user(),
            _ if !self.administers(self.process.user) => Err(Objection::No(Errno::EPERM)),
            Namespace::Pid if self.pid_for_children.is_some() => Err(Objection::No(Errno::EINVAL)),
            Namespace::Pid if self.pid_level >= DEEPEST => Err(Objection::No(Errno::ENOSPC)),
            Namespace::Pid if self.pid_level > SHALLOW => Err(Objection::Unknown),
            kind => self.has_room_for(kind),
        }
    }

    /// Makes a namespace of this kind and puts the process (or its next child) in.
    pub fn make(&mut self, kind: Namespace) {
        let owned = Owned { owner: self.process.user, own: true };
        self.count(kind);
        match kind {
            Namespace::User => self.make_user(),
            Namespace::Mount => self.mounts.copy_for(self.process.user),
            Namespace::Uts => self.uts = owned,
            Namespace::Ipc => self.ipc = owned,
            Namespace::Pid => self.pid_for_children = Some(owned),
            Namespace::Cgroup => self.cgroup_is_own = true,
            Namespace::Network => {
                (self.network, self.has_loopback, self.outlet) = (owned, false, None);
            }
            Namespace::Time => self.time.for_children = Some(self.process.user),
        }
    }

    /// Assumes that a namespace just made is the process's to change.
    pub fn presume_owned(&mut self, kind: Namespace) {
        match kind {
            Namespace::User => self.own_user_mut().is_presumed = true,
            Namespace::Mount => self.mounts.owner = UserId::PRESUMED,
            Namespace::Uts => self.uts.owner = UserId::PRESUMED,
            Namespace::Ipc => self.ipc.owner = UserId::PRESUMED,
            Namespace::Network => self.network.owner = UserId::PRESUMED,
            // Nothing that asks who owns it comes later.
            Namespace::Cgroup => {}
            Namespace::Time => self.time.for_children = Some(UserId::PRESUMED),
            Namespace::Pid => {
                self.pid_for_children = Some(Owned { owner: UserId::PRESUMED, own: true });
            }
        }
    }

    /// What a child of this process is: the process in its new PID and time namespaces.
    pub fn fork(&mut self) {
        self.time.own |= self.time.for_children.take().is_some();
        let Some(namespace) = self.pid_for_children.take() else {
            return;
        };
        self.pid = namespace;
        self.pid_level += 1;
        self.is_init = true;
    }
}
