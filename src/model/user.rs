//! User namespaces: `user_namespaces(7)`.

use crate::{
    host::{Host, IdLine},
    sys::{Errno, Namespace},
};

use super::{ALL_CAPABILITIES, DEEPEST, Model, capability};

/// A user namespace of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId(usize);

impl UserId {
    /// The one isorecipe was started in.
    pub const HOST: UserId = UserId(0);
    /// One over which everybody has every capability: what a refused step was
    /// meant to make, so that its consequences are not refused as well.
    pub const PRESUMED: UserId = UserId(usize::MAX);

    pub(super) fn index(self) -> usize {
        self.0
    }
}

/// One line of a `uid_map`, its outside translated to host ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First id inside
    pub inside: u32,
    /// First id on the host
    pub host: u32,
    /// How many
    pub count: u32,
}

/// Which ids exist in a namespace, and whose they are on the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap(pub Vec<Extent>);

impl IdMap {
    /// The id on the host of an id inside.
    pub fn to_host(&self, inside: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| {
            let offset = inside.checked_sub(extent.inside)?;
            (offset < extent.count).then(|| extent.host.wrapping_add(offset))
        })
    }

    /// The id inside of an id on the host.
    pub fn from_host(&self, host: u32) -> Option<u32> {
        self.0.iter().find_map(|extent| {
            let offset = host.checked_sub(extent.host)?;
            (offset < extent.count).then(|| extent.inside.wrapping_add(offset))
        })
    }

    /// Whether nothing was written yet.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What the kernel keeps of a user namespace.
#[derive(Clone, Debug, PartialEq)]
pub struct UserNamespace {
    /// The one it was made in
    pub parent: Option<UserId>,
    /// Who made it, as the host counts
    pub owner: u32,
    /// The group of who made it
    pub group: u32,
    /// How deep it is
    pub level: u32,
    /// `uid_map`
    pub uids: IdMap,
    /// `gid_map`
    pub gids: IdMap,
    /// Whether `setgroups(2)` is allowed once the groups are mapped
    pub setgroups: bool,
    /// Whether its maker could map the root of the parent
    pub parent_could_setfcap: bool,
    /// The kernel would not have made it: what follows is no mistake of its own
    pub is_presumed: bool,
}

impl UserNamespace {
    /// The one isorecipe is started in: every id that it has is itself.
    pub fn of(host: &Host) -> Self {
        let known = host.id_maps.as_ref();
        let ids = |lines: Option<&Vec<IdLine>>| match lines {
            None => IdMap(vec![Extent { inside: 0, host: 0, count: u32::MAX }]),
            Some(lines) => IdMap(
                (lines.iter())
                    .map(|&(first, _, count)| Extent { inside: first, host: first, count })
                    .collect(),
            ),
        };
        Self {
            parent: None,
            owner: 0,
            group: 0,
            level: 0,
            uids: ids(known.map(|maps| &maps.uid)),
            gids: ids(known.map(|maps| &maps.gid)),
            setgroups: known.and_then(|maps| maps.setgroups) != Some(false),
            parent_could_setfcap: true,
            is_presumed: false,
        }
    }
}

impl Model {
    /// The kernel's order: depth and limits, chroot, mapped ids (`create_user_ns()`).
    pub(super) fn may_make_user(&self) -> Result<(), Errno> {
        let current = self.own_user();
        let process = &self.process;
        if self.host.unprivileged_userns_clone == Some(false) && !self.process_is_root() {
            return Err(Errno::EPERM);
        }
        let settings = self.host.kernel_settings.as_ref();
        if settings.and_then(|known| known.selinux_denies_userns) == Some(true) {
            return Err(Errno::EACCES);
        }
        if current.level > DEEPEST || self.limit(Namespace::User) == Some(0) {
            return Err(Errno::ENOSPC);
        }
        if process.chrooted == Some(true) {
            return Err(Errno::EPERM);
        }
        let is_mapped = current.uids.from_host(process.uid).is_some()
            && current.gids.from_host(process.gid).is_some();
        if is_mapped { Ok(()) } else { Err(Errno::EPERM) }
    }

    pub(super) fn make_user(&mut self) {
        let could_setfcap = self.process.capabilities & 1 << capability::SETFCAP != 0;
        let current = self.own_user();
        let made = UserNamespace {
            parent: Some(self.process.user),
            owner: self.process.uid,
            group: self.process.gid,
            level: current.level + 1,
            uids: IdMap::default(),
            gids: IdMap::default(),
            setgroups: current.setgroups,
            parent_could_setfcap: could_setfcap,
            is_presumed: false,
        };
        self.users.push(made);
        self.process.user = UserId(self.users.len() - 1);
        let is_stripped = self.host.is_restricted_by_apparmor() == Some(true);
        self.process.capabilities = if is_stripped { 0 } else { ALL_CAPABILITIES };
    }

    /// Whether AppArmor has taken every right from the process in its own user
    /// namespace (the profile `unprivileged_userns`).
    pub fn is_stripped_by_apparmor(&self) -> bool {
        self.process.user != UserId::HOST
            && self.process.capabilities == 0
            && self.host.is_restricted_by_apparmor() == Some(true)
    }

    /// The user namespace the process is in, to be changed.
    pub fn own_user_mut(&mut self) -> &mut UserNamespace {
        &mut self.users[self.process.user.0]
    }

    /// The namespace that the ids outside of this one's map are counted in.
    pub fn parent_user(&self) -> &UserNamespace {
        self.own_user().parent.map_or(&self.users[0], |parent| self.user(parent))
    }
}
