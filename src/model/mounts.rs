//! The mount table: `mount_namespaces(7)`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf, StripPrefixError},
};

use crate::{
    host::{Host, HostMount},
    sys::Propagation,
};

use super::{Filesystem, Instance, UserId};

/// A tree that is bound into itself doubles; the model follows it this far.
const MOST_MOUNTS: usize = 1000;

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
    /// Inherited from a more privileged namespace: it cannot be taken away alone
    pub locked: bool,
    /// Member of a peer group; `None`: not known
    pub shared: Option<bool>,
    /// Its peers are the host's mounts: what is mounted here appears there
    pub shared_with_host: bool,
    /// May not be bound; `None`: not known
    pub unbindable: Option<bool>,
    /// There may be mounts below that nobody has told of
    pub opaque: bool,
    /// A peer got a mount, which appears here too: what is seen is not sure
    pub uncertain: bool,
    /// Made by the recipe
    pub own: bool,
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
    pub(super) table: BTreeMap<MountId, Mount>,
    pub(super) filesystems: BTreeMap<FilesystemId, Instance>,
}

impl Mounts {
    /// The host's mounts, or one opaque tree where they are not known.
    pub fn of(host: &Host) -> Self {
        let mut mounts = Self {
            owner: UserId::HOST,
            own: false,
            root: MountId(0),
            table: BTreeMap::new(),
            filesystems: BTreeMap::new(),
        };
        match &host.mounts {
            None => mounts.root = mounts.insert_opaque_root(),
            Some(known) => mounts.insert_known(known),
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
            locked: false,
            shared: None,
            shared_with_host: true,
            unbindable: None,
            opaque: true,
            uncertain: false,
            own: false,
        })
    }

    /// The kernel lists mounts by age, so a mount may stand before the one it is on.
    fn insert_known(&mut self, known: &[HostMount]) {
        let mut by_id: BTreeMap<u32, (MountId, &Path)> = BTreeMap::new();
        for mount in known {
            let filesystem = self.instance(Filesystem::Host(mount.at.clone()), UserId::HOST);
            let id = self.insert(Mount {
                on: None,
                filesystem,
                root: PathBuf::new(),
                read_only: mount.read_only,
                locked: false,
                shared: Some(mount.shared),
                shared_with_host: mount.shared,
                unbindable: Some(mount.unbindable),
                opaque: false,
                uncertain: false,
                own: false,
            });
            by_id.insert(mount.id, (id, &mount.at));
        }
        for mount in known {
            let id = by_id[&mount.id].0;
            // The root of an initramfs is its own parent.
            let below = by_id.get(&mount.parent).filter(|_| mount.parent != mount.id);
            match below {
                Some(&(below, at)) => self.stand_on(id, below, mount.at.strip_prefix(at)),
                None if mount.at == Path::new("/") => self.root = id,
                None => {}
            }
        }
        if self.table.is_empty() {
            self.root = self.insert_opaque_root();
        }
    }

    fn stand_on(&mut self, id: MountId, below: MountId, path: Result<&Path, StripPrefixError>) {
        let path = path.unwrap_or(Path::new("")).to_owned();
        if let Some(mount) = self.table.get_mut(&id) {
            mount.on = Some(Position { mount: below, path });
        }
    }

    /// A mount of this filesystem that is attached nowhere.
    pub fn insert_detached(&mut self, filesystem: FilesystemId) -> MountId {
        self.insert(Mount {
            on: None,
            filesystem,
            root: PathBuf::new(),
            read_only: true,
            locked: false,
            shared: Some(false),
            shared_with_host: false,
            unbindable: Some(false),
            opaque: false,
            uncertain: false,
            own: true,
        })
    }

    fn insert(&mut self, mount: Mount) -> MountId {
        let id = MountId(self.table.last_key_value().map_or(0, |(id, _)| id.0 + 1));
        self.table.insert(id, mount);
        id
    }

    /// The mount of this id.
    pub fn mount(&self, id: MountId) -> &Mount {
        &self.table[&id]
    }

    /// The filesystem and the path in it of a position.
    pub fn within(&self, at: &Position) -> (FilesystemId, PathBuf) {
        let mount = self.mount(at.mount);
        (mount.filesystem, join(&mount.root, &at.path))
    }

    /// Where the process starts to walk.
    pub fn root_position(&self) -> Position {
        Position { mount: self.root, path: PathBuf::new() }
    }

    /// The root of the topmost mount that covers a position, or the position.
    pub fn follow(&self, mut at: Position) -> Position {
        while let Some(over) = self.child_at(&at) {
            at = Position { mount: over, path: PathBuf::new() };
        }
        at
    }

    fn child_at(&self, at: &Position) -> Option<MountId> {
        self.table.iter().rev().find(|(_, mount)| mount.on.as_ref() == Some(at)).map(|(&id, _)| id)
    }

    /// Mounts that stand on this one, in order.
    pub fn children(&self, id: MountId) -> impl Iterator<Item = (MountId, &Mount)> {
        self.table
            .iter()
            .filter(move |(_, mount)| mount.on.as_ref().is_some_and(|on| on.mount == id))
            .map(|(&id, mount)| (id, mount))
    }

    /// Whether locked mounts stand at or below a position (`has_locked_children()`);
    /// `None` where nobody told.
    pub fn has_locked_below(&self, at: &Position) -> Option<bool> {
        let locked = self.children(at.mount).any(|(_, mount)| {
            mount.locked && mount.on.as_ref().is_some_and(|on| on.path.starts_with(&at.path))
        });
        let mount = self.mount(at.mount);
        if !locked && mount.opaque && self.owner != UserId::HOST { None } else { Some(locked) }
    }

    /// A namespace with copies of these mounts (`copy_mnt_ns()`).
    pub fn copy_for(&mut self, user: UserId) {
        // A less privileged namespace may neither send events back nor lift a
        // mount to see what is below.
        if user != self.owner {
            for mount in self.table.values_mut() {
                mount.locked = true;
                mount.shared = Some(false);
                mount.shared_with_host = false;
            }
        }
        self.owner = user;
        self.own = true;
    }

    /// Sets the propagation of every mount.
    pub fn propagate(&mut self, to: Propagation) {
        for mount in self.table.values_mut() {
            match to {
                Propagation::Shared => {
                    mount.shared_with_host &= mount.shared != Some(false);
                    mount.shared = Some(true);
                }
                Propagation::Private | Propagation::Slave => {
                    mount.shared = Some(false);
                    mount.shared_with_host = false;
                }
            }
            mount.unbindable = Some(false);
        }
    }

    /// Attaches a new mount over a position; a shared place shares what it gets.
    pub fn attach(&mut self, over: Position, filesystem: FilesystemId, read_only: bool) -> MountId {
        let over = self.follow(over);
        self.tell_peers(over.mount);
        let shared = self.mount(over.mount).shared;
        self.insert(Mount {
            on: Some(over),
            filesystem,
            root: PathBuf::new(),
            read_only,
            locked: false,
            shared,
            shared_with_host: false,
            unbindable: Some(false),
            opaque: false,
            uncertain: false,
            own: true,
        })
    }

    /// What is mounted on a member of a peer group appears on the others.
    fn tell_peers(&mut self, of: MountId) {
        let Mount { shared, filesystem, .. } = *self.mount(of);
        if shared == Some(false) {
            return;
        }
        for (&id, mount) in &mut self.table {
            if id != of && mount.filesystem == filesystem && mount.shared != Some(false) {
                mount.uncertain = true;
            }
        }
    }

    /// A detached copy of the mounts at a position and below (`open_tree(2)`).
    pub fn clone_tree(&mut self, from: &Position) -> MountId {
        let source = self.mount(from.mount).clone();
        let top = self.insert(Mount {
            on: None,
            root: join(&source.root, &from.path),
            locked: false,
            own: true,
            ..source
        });
        self.clone_children(from.mount, &from.path, top);
        top
    }

    fn clone_children(&mut self, of: MountId, below: &Path, onto: MountId) {
        if self.table.len() > MOST_MOUNTS {
            // Of so many nobody could read the plan: what is below is not sure.
            if let Some(mount) = self.table.get_mut(&onto) {
                (mount.opaque, mount.uncertain) = (true, true);
            }
            return;
        }
        let children: Vec<(MountId, Mount, PathBuf)> = self
            .children(of)
            .filter_map(|(id, mount)| {
                let path = mount.on.as_ref()?.path.strip_prefix(below).ok()?;
                (mount.unbindable != Some(true)).then(|| (id, mount.clone(), path.to_owned()))
            })
            .collect();
        for (id, mount, path) in children {
            let on = Some(Position { mount: onto, path });
            let copy = self.insert(Mount { on, own: true, ..mount });
            self.clone_children(id, Path::new(""), copy);
        }
    }

    /// Attaches a detached tree over a position.
    pub fn attach_tree(&mut self, tree: MountId, over: Position) {
        let over = self.follow(over);
        self.tell_peers(over.mount);
        // A peer group goes on in a bind, and a shared place makes one.
        let is_shared = self.mount(over.mount).shared;
        if let Some(mount) = self.table.get_mut(&tree) {
            mount.on = Some(over);
            if is_shared == Some(true) {
                mount.shared = is_shared;
            }
        }
    }

    /// Makes a tree read-only, mounts below included.
    pub fn make_read_only(&mut self, tree: MountId) {
        let children: Vec<MountId> = self.children(tree).map(|(id, _)| id).collect();
        if let Some(mount) = self.table.get_mut(&tree) {
            mount.read_only = true;
        }
        for child in children {
            self.make_read_only(child);
        }
    }

    /// Takes a mount and all above it away.
    pub fn detach(&mut self, id: MountId) {
        let children: Vec<MountId> = self.children(id).map(|(id, _)| id).collect();
        for child in children {
            self.detach(child);
        }
        if id != self.root {
            self.table.remove(&id);
        }
    }

    /// Every mount reachable from the root, with the path that leads there.
    pub fn visible(&self) -> Vec<(PathBuf, &Mount)> {
        let mut found = Vec::new();
        self.collect(self.root, Path::new("/"), &mut found);
        found
    }

    fn collect<'a>(&'a self, id: MountId, at: &Path, into: &mut Vec<(PathBuf, &'a Mount)>) {
        into.push((at.to_owned(), self.mount(id)));
        for (child, mount) in self.children(id) {
            let Some(on) = &mount.on else { continue };
            self.collect(child, &join(at, &on.path), into);
        }
    }
}

/// Joins without a trailing slash for the empty path.
pub(super) fn join(base: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { base.to_owned() } else { base.join(path) }
}
