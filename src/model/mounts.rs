//! The mount table: `mount_namespaces(7)`.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::{Path, PathBuf, StripPrefixError},
};

use crate::{
    host::{Host, HostMount},
    sys::mount::Flags,
};

use super::{Filesystem, Instance, UserId, propagation::Travel};

/// A mount of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountId(u32);

/// A filesystem, however many mounts show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilesystemId(pub(super) u32);

/// A place in the tree: a path below the root of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The mount
    pub mount: MountId,
    /// The path from its root; empty for the root itself
    pub path: PathBuf,
}

impl Position {
    /// The root of a mount.
    pub fn root_of(mount: MountId) -> Self {
        Self { mount, path: PathBuf::new() }
    }
}

/// One mount.
#[derive(Clone, Debug, PartialEq)]
pub struct Mount {
    /// The mount below, and the path from its root; `None` for the root of all,
    /// and for what is not attached
    pub on: Option<Position>,
    /// What it shows
    pub filesystem: FilesystemId,
    /// Which directory of the filesystem is its root
    pub root: PathBuf,
    /// Nothing can be written through it
    pub read_only: bool,
    /// That may not be changed: it was so in a more privileged namespace;
    /// `None`: not known
    pub locked_read_only: Option<bool>,
    /// Programs on it cannot be executed
    pub no_exec: bool,
    /// Device nodes on it cannot be opened; of a mount of the host nobody told
    pub no_dev: bool,
    /// Inherited from a more privileged namespace: it cannot be taken away
    /// alone; `None`: not known
    pub locked: Option<bool>,
    /// How mount events travel to it and from it
    pub travel: Travel,
    /// May not be bound; `None`: not known
    pub unbindable: Option<bool>,
    /// There may be mounts below that nobody has told of
    pub opaque: bool,
    /// A peer got a mount, which appears here too: what is seen is not sure
    pub uncertain: bool,
    /// Made by the recipe
    pub own: bool,
}

/// What stands topmost over the root of a mount, as far as it was asked: who
/// walks through a hundred mounts on one place does so once.
#[derive(Clone, Debug, Default)]
struct Topmost(RefCell<BTreeMap<MountId, MountId>>);

impl PartialEq for Topmost {
    /// What was asked makes no difference.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The mounts that stand on one, and which of them stand at each path of it:
/// every name of every walk asks, and there may be thousands.
#[derive(Clone, Debug, Default, PartialEq)]
struct Standing {
    all: BTreeSet<MountId>,
    at: BTreeMap<OsString, BTreeSet<MountId>>,
}

/// A mount namespace and the root of the process in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Mounts {
    /// The user namespace that owns it
    pub owner: UserId,
    /// Made by the recipe (otherwise it is the host's)
    pub own: bool,
    /// The mount that `/` is
    pub root: MountId,
    table: BTreeMap<MountId, Mount>,
    /// The mounts that stand on each
    standing: BTreeMap<MountId, Standing>,
    topmost: Topmost,
    /// The next peer group that is made
    pub(super) next_group: u32,
    pub(super) filesystems: BTreeMap<FilesystemId, Instance>,
}

impl Standing {
    fn insert(&mut self, id: MountId, path: &Path) {
        self.all.insert(id);
        match self.at.get_mut(path.as_os_str()) {
            Some(there) => drop(there.insert(id)),
            None => drop(self.at.insert(path.into(), BTreeSet::from([id]))),
        }
    }

    fn remove(&mut self, id: MountId, path: &Path) {
        self.all.remove(&id);
        let Some(there) = self.at.get_mut(path.as_os_str()) else { return };
        there.remove(&id);
        if there.is_empty() {
            self.at.remove(path.as_os_str());
        }
    }
}

impl Mounts {
    /// The host's mounts, or one opaque tree where they are not known.
    pub fn of(host: &Host) -> Self {
        let is_own = host.owned.as_ref().is_none_or(|owned| owned.mount);
        let mut mounts = Self {
            owner: if is_own { UserId::HOST } else { UserId::OUTER },
            own: false,
            root: MountId(0),
            table: BTreeMap::new(),
            standing: BTreeMap::new(),
            topmost: Topmost::default(),
            next_group: 0,
            filesystems: BTreeMap::new(),
        };
        match &host.mounts {
            None => mounts.root = mounts.insert_opaque_root(),
            Some(known) => mounts.insert_known(known, is_locked(host)),
        }
        mounts
    }

    fn insert_opaque_root(&mut self) -> MountId {
        let filesystem = self.instance(Filesystem::Host("/".into()), UserId::HOST);
        self.insert(Mount {
            on: None,
            filesystem,
            root: PathBuf::new(),
            read_only: false,
            locked_read_only: None,
            no_exec: false,
            no_dev: false,
            locked: Some(false),
            travel: Travel::UNKNOWN,
            unbindable: None,
            opaque: true,
            uncertain: false,
            own: false,
        })
    }

    /// The kernel lists mounts by age, so a mount may stand before the one it is on.
    fn insert_known(&mut self, known: &[HostMount], locked: Option<bool>) {
        let mut by_id: BTreeMap<u32, (MountId, &Path)> = BTreeMap::new();
        for mount in known {
            let filesystem = self.instance_of_host(mount);
            let id = self.insert(Mount {
                on: None,
                filesystem,
                root: PathBuf::new(),
                read_only: mount.read_only,
                locked_read_only: if mount.read_only { locked } else { Some(false) },
                no_exec: mount.no_exec,
                no_dev: false,
                locked,
                travel: Travel::of_host(mount),
                unbindable: Some(mount.unbindable),
                opaque: false,
                uncertain: false,
                own: false,
            });
            let groups = mount.peers.into_iter().chain(mount.master);
            self.next_group = groups.fold(self.next_group, |next, group| next.max(group + 1));
            by_id.insert(mount.id, (id, &mount.at));
        }
        let is_root = |mount: &&HostMount| mount.at == Path::new("/");
        let mut beyond = Vec::new();
        for mount in known {
            let id = by_id[&mount.id].0;
            // The root of an initramfs is its own parent.
            let below = by_id.get(&mount.parent).filter(|_| mount.parent != mount.id);
            match below {
                Some(&(below, at)) => self.stand_on(id, below, mount.at.strip_prefix(at)),
                None if is_root(&mount) => self.root = id,
                None => beyond.push((id, &mount.at)),
            }
        }
        if known.iter().any(|mount| is_root(&mount)) {
            return;
        }
        // In a chroot the root is a directory of a mount that is not listed.
        self.root = self.insert_opaque_root();
        for (id, at) in beyond {
            self.stand_on(id, self.root, at.strip_prefix("/"));
        }
    }

    fn stand_on(&mut self, id: MountId, below: MountId, path: Result<&Path, StripPrefixError>) {
        let path = path.unwrap_or(Path::new("")).to_owned();
        self.place(id, Some(Position { mount: below, path }));
    }

    /// A mount of this filesystem that is attached nowhere.
    pub fn insert_detached(&mut self, filesystem: FilesystemId) -> MountId {
        self.insert(Mount {
            on: None,
            filesystem,
            root: PathBuf::new(),
            read_only: true,
            locked_read_only: Some(false),
            no_exec: false,
            no_dev: false,
            locked: Some(false),
            travel: Travel::NOWHERE,
            unbindable: Some(false),
            opaque: false,
            uncertain: false,
            own: true,
        })
    }

    pub(super) fn insert(&mut self, mount: Mount) -> MountId {
        let id = MountId(self.table.last_key_value().map_or(0, |(id, _)| id.0 + 1));
        if let Some(on) = &mount.on {
            self.standing.entry(on.mount).or_default().insert(id, &on.path);
        }
        self.table.insert(id, mount);
        id
    }

    /// Puts a mount on another, or on nothing.
    pub(super) fn place(&mut self, id: MountId, on: Option<Position>) {
        let Some(mount) = self.table.get_mut(&id) else { return };
        if let Some(before) = &mount.on {
            self.topmost.0.borrow_mut().clear();
            if let Some(standing) = self.standing.get_mut(&before.mount) {
                standing.remove(id, &before.path);
            }
        }
        if let Some(on) = &on {
            self.standing.entry(on.mount).or_default().insert(id, &on.path);
        }
        mount.on = on;
    }

    /// The mount of this id.
    pub fn mount(&self, id: MountId) -> &Mount {
        &self.table[&id]
    }

    pub(super) fn mount_mut(&mut self, id: MountId) -> Option<&mut Mount> {
        self.table.get_mut(&id)
    }

    /// Every mount there is, attached or not.
    pub(super) fn all(&self) -> impl Iterator<Item = (MountId, &Mount)> {
        self.table.iter().map(|(&id, mount)| (id, mount))
    }

    /// The filesystem and the path in it of a position.
    pub fn within(&self, at: &Position) -> (FilesystemId, PathBuf) {
        let mount = self.mount(at.mount);
        (mount.filesystem, join(&mount.root, &at.path))
    }

    /// Where the process starts to walk.
    pub fn root_position(&self) -> Position {
        Position::root_of(self.root)
    }

    /// The root of the topmost mount that covers a position, or the position.
    pub fn follow(&self, at: Position) -> Position {
        let Some(first) = self.child_at(&at) else { return at };
        let mut topmost = self.topmost.0.borrow_mut();
        let mut top = topmost.get(&first).copied().unwrap_or(first);
        while let Some(over) = self.child_at(&Position::root_of(top)) {
            top = topmost.get(&over).copied().unwrap_or(over);
        }
        topmost.insert(first, top);
        Position::root_of(top)
    }

    pub(super) fn child_at(&self, at: &Position) -> Option<MountId> {
        self.standing.get(&at.mount)?.at.get(at.path.as_os_str())?.last().copied()
    }

    /// Mounts that stand on this one, in order.
    pub fn children(&self, id: MountId) -> impl Iterator<Item = (MountId, &Mount)> {
        let standing = self.standing.get(&id).into_iter().flat_map(|standing| &standing.all);
        standing.map(|id| (*id, self.mount(*id)))
    }

    /// A mount and all that stand on it, from below.
    pub(super) fn tree(&self, top: MountId) -> Vec<MountId> {
        let mut all = vec![top];
        let mut next = 0;
        while let Some(&id) = all.get(next) {
            next += 1;
            all.extend(self.children(id).map(|(id, _)| id));
        }
        all
    }

    /// Whether locked mounts stand at or below a position (`has_locked_children()`);
    /// `None` where nobody told.
    pub fn has_locked_below(&self, at: &Position) -> Option<bool> {
        let is_below =
            |mount: &Mount| mount.on.as_ref().is_some_and(|on| on.path.starts_with(&at.path));
        let below = self.children(at.mount).filter(|(_, mount)| is_below(mount));
        let mut found: Option<bool> = Some(false);
        for (_, mount) in below {
            match mount.locked {
                Some(true) => return Some(true),
                Some(false) => {}
                None => found = None,
            }
        }
        let is_opaque = self.mount(at.mount).opaque && self.owner != UserId::HOST;
        found.filter(|_| !is_opaque)
    }

    /// Adds flags to a mount and to every mount below it.
    pub fn restrict(&mut self, tree: MountId, flags: Flags) {
        for id in self.tree(tree) {
            if let Some(mount) = self.table.get_mut(&id) {
                mount.read_only |= flags.read_only;
                mount.no_exec |= flags.no_exec;
                mount.no_dev |= flags.no_dev;
            }
        }
    }

    /// Whether that a mount is read-only may be changed.
    pub fn lock_read_only(&mut self, id: MountId, lock: Option<bool>) {
        if let Some(mount) = self.table.get_mut(&id) {
            mount.locked_read_only = lock;
        }
    }

    /// Nothing on this mount can be executed.
    pub fn forbid_programs(&mut self, id: MountId) {
        if let Some(mount) = self.table.get_mut(&id) {
            mount.no_exec = true;
        }
    }

    /// Takes a mount and all above it away.
    pub(super) fn remove(&mut self, top: MountId) {
        let root = self.root;
        for id in self.tree(top).into_iter().filter(|&id| id != root) {
            self.place(id, None);
            self.table.remove(&id);
            self.standing.remove(&id);
        }
    }

    /// Where a mount is, as the process sees it, if it is attached.
    pub fn path_of(&self, id: MountId) -> Option<PathBuf> {
        let mut path = PathBuf::new();
        let mut id = id;
        while id != self.root {
            let on = self.mount(id).on.as_ref()?;
            path = join(&on.path, &path);
            id = on.mount;
        }
        Some(Path::new("/").join(path))
    }
}

/// Mounts that came with a more privileged namespace are locked, and nothing
/// shows it; in the first user namespace nobody is more privileged.
fn is_locked(host: &Host) -> Option<bool> {
    (host.initial_user_namespace != Some(false)).then_some(false)
}

/// Joins without a trailing slash for the empty path.
pub(super) fn join(base: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { base.to_owned() } else { base.join(path) }
}
