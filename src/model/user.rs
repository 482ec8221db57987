//! User namespaces: `user_namespaces(7)`.

use crate::{
    host::Host,
    sys::{Errno, Namespace, mount::Flags},
};

use super::{Capabilities, DEEPEST, Model, MountId, Objection, Position, SHALLOW, capability};

/// A user namespace of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserId(usize);

impl UserId {
    /// The one isorecipe was started in.
    pub const HOST: UserId = UserId(0);
    /// One over which everybody has every capability: what a refused step was
    /// meant to make, so that its consequences are not refused as well.
    pub const PRESUMED: UserId = UserId(usize::MAX);

    /// One around that of the host: nobody here has anything over it.
    pub const OUTER: UserId = UserId(usize::MAX - 1);

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
    /// Nobody makes a user namespace in it any more
    pub is_last: bool,
    /// The kernel would not have made it: what follows is no mistake of its own
    pub is_presumed: bool,
}

/// The files that maps are written to, as they were when it started: the
/// `/proc` of that time is kept open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFiles {
    /// They can be written, as far as known
    Writable,
    /// `/proc` is a read-only mount
    ReadOnly,
    /// There is no `/proc`
    Missing,
}

impl UserNamespace {
    /// The host's: every id that exists is itself.
    pub fn host(host: &Host) -> Self {
        let map = |ranges: Option<&Vec<(u32, u32)>>| match ranges {
            None => IdMap(vec![Extent { inside: 0, host: 0, count: u32::MAX }]),
            Some(ranges) => {
                let extent = |&(first, count)| Extent { inside: first, host: first, count };
                IdMap(ranges.iter().map(extent).collect())
            }
        };
        let ids = host.ids.as_ref();
        Self {
            parent: None,
            owner: 0,
            group: 0,
            level: 0,
            uids: map(ids.map(|ids| &ids.uid)),
            gids: map(ids.map(|ids| &ids.gid)),
            setgroups: ids.is_none_or(|ids| ids.setgroups),
            parent_could_setfcap: true,
            is_last: false,
            is_presumed: false,
        }
    }
}

impl Model {
    /// Why the files of maps cannot be opened to write.
    pub fn may_open_map_files(&self) -> Result<(), Objection> {
        match self.proc {
            MapFiles::ReadOnly => return Err(Objection::No(Errno::EROFS)),
            MapFiles::Missing => return Err(Objection::No(Errno::ENOENT)),
            MapFiles::Writable => {}
        }
        // Whose process a mount below it is over, nobody told.
        let procs = self.mounts.all().filter(|(_, mount)| self.mounts.is_proc(mount.filesystem));
        let is_covered = procs.flat_map(|(id, _)| self.mounts.children(id)).any(|(_, mount)| {
            mount.own && mount.on.as_ref().is_some_and(|on| !on.path.as_os_str().is_empty())
        });
        if is_covered { Err(Objection::Unknown) } else { Ok(()) }
    }

    /// What the topmost mount on /proc is, where the mounts are known.
    pub(super) fn map_files(&self) -> MapFiles {
        if self.host.proc == Some(false) {
            return MapFiles::Missing;
        }
        if self.host.mounts.is_none() {
            return MapFiles::Writable;
        }
        let place = Position { mount: self.mounts.root, path: "proc".into() };
        let top = self.mounts.follow(place);
        let mount = self.mounts.mount(top.mount);
        match self.mounts.is_proc(mount.filesystem) {
            false => MapFiles::Missing,
            true if mount.read_only => MapFiles::ReadOnly,
            true => MapFiles::Writable,
        }
    }

    /// Adds flags to a mount and to every mount below it; the `/proc` through
    /// which maps are written may be among them.
    pub fn restrict(&mut self, tree: MountId, flags: Flags) {
        let hits_proc = !self.mounts.own
            && flags.read_only
            && self.mounts.tree(tree).into_iter().any(|id| {
                let mount = self.mounts.mount(id);
                !mount.own && self.mounts.is_proc(mount.filesystem)
            });
        self.mounts.restrict(tree, flags);
        if hits_proc && self.proc == MapFiles::Writable {
            self.proc = MapFiles::ReadOnly;
        }
    }

    /// The kernel's order: depth and limits, chroot, mapped ids (`create_user_ns()`).
    pub(super) fn may_make_user(&self) -> Result<(), Objection> {
        let no = |errno| Err(Objection::No(errno));
        let current = self.own_user();
        let process = &self.process;
        if self.host.unprivileged_userns_clone == Some(false) && !self.process_is_root() {
            return no(Errno::EPERM);
        }
        let settings = self.host.kernel_settings.as_ref();
        if settings.and_then(|known| known.selinux_denies_userns) == Some(true) {
            return no(Errno::EACCES);
        }
        if current.level > DEEPEST {
            return no(Errno::ENOSPC);
        }
        if self.forbids_nested() {
            return no(Errno::ENOSPC);
        }
        // How deep it was at the start is known of the first user namespace only.
        if current.level > SHALLOW && self.host.initial_user_namespace != Some(true) {
            return Err(Objection::Unknown);
        }
        // Past a limit that may be reached, the rest is still as it is.
        let has_room = self.has_room_for(Namespace::User);
        if let Err(Objection::No(errno)) = has_room {
            return no(errno);
        }
        if self.is_chrooted() == Some(true) {
            return has_room.and(no(Errno::EPERM));
        }
        let is_mapped = current.uids.from_host(process.uid).is_some()
            && current.gids.from_host(process.gid).is_some();
        if is_mapped { has_room } else { has_room.and(no(Errno::EPERM)) }
    }

    /// Whether the recipe has said that no further user namespace may be made.
    pub fn forbids_nested(&self) -> bool {
        let mut all = self.users.iter().skip(1);
        all.any(|user| user.is_last)
    }

    /// Why the settings below `/proc/sys` cannot be opened to write.
    pub fn may_open_settings(&self) -> Result<(), Objection> {
        match self.proc {
            MapFiles::ReadOnly => return Err(Objection::No(Errno::EROFS)),
            MapFiles::Missing => return Err(Objection::No(Errno::ENOENT)),
            MapFiles::Writable => {}
        }
        // What lies on a part of it may be anything.
        let procs = self.mounts.all().filter(|(_, mount)| self.mounts.is_proc(mount.filesystem));
        let covers =
            |path: &std::path::Path| path.starts_with("sys") && !path.starts_with("sys/fs");
        let is_covered = procs
            .flat_map(|(id, _)| self.mounts.children(id))
            .any(|(_, mount)| mount.on.as_ref().is_some_and(|on| covers(&on.path)));
        if is_covered { Err(Objection::Unknown) } else { Ok(()) }
    }

    pub(super) fn make_user(&mut self) {
        let could_setfcap = self.process.has(capability::SETFCAP);
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
            is_last: false,
            is_presumed: false,
        };
        self.users.push(made);
        self.process.user = UserId(self.users.len() - 1);
        let is_stripped = self.host.is_restricted_by_apparmor() == Some(true);
        self.process.capabilities = Capabilities::FULL;
        if is_stripped {
            self.process.capabilities.effective = 0;
        }
    }

    /// Whether AppArmor has taken every right from the process in its own user
    /// namespace (the profile `unprivileged_userns`).
    pub fn is_stripped_by_apparmor(&self) -> bool {
        self.process.user != UserId::HOST
            && self.process.capabilities.effective == 0
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
