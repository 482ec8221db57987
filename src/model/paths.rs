//! Walking a path as the kernel does: `path_resolution(7)`.

use std::{
    ffi::OsStr,
    path::{Component, Path, PathBuf},
};

use crate::{
    host::{Owner, PathFact, Program},
    sys::{Errno, device::Device},
};

use super::{
    Filesystem, FilesystemId, Model, Objection, Position,
    mounts::join,
    permission::{SEARCH, WRITE},
};

/// Symbolic links that one walk follows (`MAXSYMLINKS`).
const MAX_LINKS: u32 = 40;

/// A name has so many bytes at most (`NAME_MAX`).
const LONGEST_NAME: usize = 255;

/// What stands at a position.
#[derive(Clone, Debug, PartialEq)]
pub enum Thing {
    /// A directory; whose, where known
    Directory(Option<Owner>),
    /// A file, and what has to be there to execute it
    File(Owner, Program),
    /// A device, socket or pipe
    Special,
    /// A character device
    Device(Device),
    /// A symbolic link
    Symlink(PathBuf),
    /// Nobody told
    Unknown,
}

impl Thing {
    /// Whether it is a directory, where known.
    pub fn is_directory(&self) -> Option<bool> {
        match self {
            Thing::Directory(_) => Some(true),
            Thing::File(..) | Thing::Special | Thing::Device(_) => Some(false),
            Thing::Symlink(_) | Thing::Unknown => None,
        }
    }
}

/// Where a walk ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The place, following mounts
    pub at: Position,
    /// What stands there
    pub thing: Thing,
}

impl Model {
    /// Walks a path from the root of the process, or from its current
    /// directory, following links.
    pub fn walk(&self, path: &Path) -> Result<Found, Errno> {
        let root = self.mounts.root_position();
        match &self.process.directory {
            _ if path.is_absolute() => self.walk_from(root, path),
            Some(directory) => self.walk_from(root, &directory.join(path)),
            None => Ok(Found { at: root, thing: Thing::Unknown }),
        }
    }

    /// Walks a path within the tree at `base`, whose own root it cannot leave.
    pub fn walk_within(&self, base: &Position, path: &Path) -> Result<Found, Errno> {
        self.walk_from(base.clone(), path)
    }

    /// Walks to the directory above the last name, and gives that name.
    pub fn walk_to_parent<'p>(
        &self,
        base: &Position,
        path: &'p Path,
    ) -> Result<(Found, &'p OsStr), Errno> {
        let name = path.file_name().ok_or(Errno::EEXIST)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.walk_from(base.clone(), parent)?, name))
    }

    /// What has this name in a directory, mounts followed.
    pub fn child(&self, of: &Found, name: &OsStr) -> Result<Found, Errno> {
        self.enter(of)?;
        let place = Position { mount: of.at.mount, path: of.at.path.join(name) };
        let at = match self.mounts.child_at(&place) {
            Some(_) => self.mounts.follow(place),
            None => {
                self.may_look_up(&of.at, name)?;
                place
            }
        };
        if name.len() > LONGEST_NAME
            && let Some(answer) = self.looks_up_long_name(&of.at)
        {
            return answer.map(|thing| Found { at, thing });
        }
        // Below what nobody told of, only what somebody told of counts.
        let is_uncertain = self.mounts.mount(of.at.mount).uncertain;
        let is_unknown = of.thing == Thing::Unknown && at.mount == of.at.mount;
        let thing = if is_uncertain || is_unknown && !self.is_told_of(&at) {
            Thing::Unknown
        } else {
            self.thing_at(&at).ok_or(Errno::ENOENT)?
        };
        Ok(Found { at, thing })
    }

    /// What a filesystem says to a name that is too long for any file
    /// (`simple_lookup()`, `ext4_lookup()`, `ovl_lookup()`).
    fn looks_up_long_name(&self, directory: &Position) -> Option<Result<Thing, Errno>> {
        let (filesystem, _) = self.mounts.within(directory);
        match self.mounts.filesystem(filesystem).filesystem {
            _ if self.mounts.keeps_files(filesystem) == Some(true) => {
                Some(Err(Errno::ENAMETOOLONG))
            }
            Filesystem::Proc => None,
            _ => Some(Ok(Thing::Unknown)),
        }
    }

    /// An overlay looks for a name in one layer after the other, with the rights
    /// of who mounted it (`ovl_lookup()`).
    fn may_look_up(&self, directory: &Position, name: &OsStr) -> Result<(), Errno> {
        let instance = self.mounts.filesystem(self.mounts.mount(directory.mount).filesystem);
        let (Filesystem::Overlay { layers }, Some(mounter)) =
            (&instance.filesystem, &instance.mounter)
        else {
            return Ok(());
        };
        let (_, path) = self.mounts.within(directory);
        if instance.entries.contains_key(&path.join(name)) {
            return Ok(());
        }
        if instance.made.contains_key(&path.join(name)) || instance.made.contains_key(&path) {
            return Ok(());
        }
        for (layer, root) in layers {
            let within = join(root, &path);
            match self.thing_in(*layer, &within) {
                Some(Thing::Directory(Some(owner))) if !self.permits_to(mounter, owner, SEARCH) => {
                    return Err(Errno::EACCES);
                }
                Some(Thing::Directory(_)) => {}
                _ => continue,
            }
            // What is no directory there hides the rest.
            let found = self.thing_in(*layer, &within.join(name));
            let is_layer = || {
                let inode = self.mounts.inode_in(*layer, &within.join(name));
                instance.traps.contains(&inode)
            };
            // A layer of its own is not shown below itself (`ovl_lookup_trap_inode()`).
            if matches!(found, Some(Thing::Directory(_))) && is_layer() {
                return Err(Errno::ELOOP);
            }
            if found.is_some_and(|thing| !matches!(thing, Thing::Directory(_))) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the host's facts have this very place.
    fn is_told_of(&self, at: &Position) -> bool {
        // `apply` asks the kernel instead.
        if self.host.paths.is_empty() {
            return false;
        }
        let (filesystem, path) = self.mounts.within(at);
        match &self.mounts.filesystem(filesystem).filesystem {
            Filesystem::Host(base) => self.host.paths.contains_key(&join(base, &path)),
            _ => false,
        }
    }

    /// Walks on from where a walk has led, in the tree at `base`.
    pub fn walk_on(&self, base: &Position, from: &Found, path: &Path) -> Result<Found, Errno> {
        self.walk_counting(base, from.at.clone(), path, &mut 0)
    }

    fn walk_from(&self, base: Position, path: &Path) -> Result<Found, Errno> {
        let mut links = 0;
        self.walk_counting(&base, base.clone(), path, &mut links)
    }

    fn walk_counting(
        &self,
        base: &Position,
        start: Position,
        path: &Path,
        links: &mut u32,
    ) -> Result<Found, Errno> {
        let mut here = match path.is_absolute() {
            true => self.root_of(base),
            false => self.root_of(&start),
        };
        for component in path.components() {
            match component {
                // It comes first, and there the walk is.
                Component::RootDir => {}
                Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => here = self.above(base, here)?,
                Component::Normal(name) => {
                    let next = self.child(&here, name)?;
                    let Thing::Symlink(to) = &next.thing else {
                        here = next;
                        continue;
                    };
                    *links += 1;
                    if *links > MAX_LINKS {
                        return Err(Errno::ELOOP);
                    }
                    here = self.walk_counting(base, here.at, to, links)?;
                }
            }
        }
        Ok(here)
    }

    fn root_of(&self, base: &Position) -> Found {
        let thing = self.thing_at(base).unwrap_or(Thing::Unknown);
        Found { at: base.clone(), thing }
    }

    fn above(&self, base: &Position, here: Found) -> Result<Found, Errno> {
        self.enter(&here)?;
        let mut at = here.at;
        loop {
            if at == *base {
                return Ok(self.root_of(base));
            }
            if at.path.pop() {
                break;
            }
            match self.mounts.mount(at.mount).on.clone() {
                Some(on) => at = on,
                None => break,
            }
        }
        // What was mounted there since covers it from this side, too.
        let at = self.mounts.follow(at);
        let thing = self.thing_at(&at).unwrap_or(Thing::Unknown);
        Ok(Found { at, thing })
    }

    /// Whether the process may make this directory its own (`chdir(2)`); `None`:
    /// not known.
    pub fn may_enter(&self, directory: &Found) -> Option<bool> {
        match directory.thing {
            Thing::Directory(Some(owner)) => Some(self.permits(owner, SEARCH)),
            _ => None,
        }
    }

    /// Whether the process may search a directory.
    fn enter(&self, directory: &Found) -> Result<(), Errno> {
        match &directory.thing {
            Thing::Directory(Some(owner)) if !self.permits(*owner, SEARCH) => Err(Errno::EACCES),
            Thing::File(..) | Thing::Special | Thing::Device(_) => Err(Errno::ENOTDIR),
            _ => Ok(()),
        }
    }

    /// Whether it is a part of a procfs, in which a name that is not there is
    /// looked up in vain even by who wants to make it (`proc_lookup_de()`).
    pub fn is_proc(&self, found: &Found) -> bool {
        self.mounts.is_proc(self.mounts.mount(found.at.mount).filesystem)
    }

    /// Whether the process may make or remove something in a directory.
    ///
    /// The kernel asks for a writable mount, then for ids that the filesystem
    /// can store, then for permission (`filename_create()`, `may_create()`).
    pub fn may_change(&self, directory: &Found) -> Result<(), Objection> {
        let mount = self.mounts.mount(directory.at.mount);
        let instance = self.mounts.filesystem(mount.filesystem);
        // `proc` and its kind say no in their own way, read-only or not.
        if self.mounts.keeps_files(mount.filesystem) != Some(true) || instance.is_contested {
            return Err(Objection::Unknown);
        }
        if mount.read_only {
            return Err(Objection::No(Errno::EROFS));
        }
        let user = self.user(instance.user);
        let can_store = user.uids.from_host(self.process.uid).is_some()
            && user.gids.from_host(self.process.gid).is_some();
        if !can_store {
            return Err(Objection::No(Errno::EOVERFLOW));
        }
        match &directory.thing {
            Thing::Directory(Some(owner)) if self.permits(*owner, WRITE | SEARCH) => Ok(()),
            Thing::Directory(Some(_)) => Err(Objection::No(Errno::EACCES)),
            _ => Err(Objection::Unknown),
        }
    }

    /// Assumes that there is a directory at a path, with all that is missing
    /// above it: a step was meant to make it, or to find it there.
    pub fn presume_directory(&mut self, base: &Position, path: &Path) {
        let owner = Owner { uid: self.process.uid, gid: self.process.gid, mode: 0o755 };
        let mut here = base.clone();
        for component in path.components() {
            let Component::Normal(name) = component else { continue };
            let place = Position { mount: here.mount, path: here.path.join(name) };
            let next = self.mounts.follow(place);
            if self.thing_at(&next).is_none() {
                let (filesystem, path) = self.mounts.within(&next);
                if let Some(instance) = self.mounts.filesystem_mut(filesystem) {
                    instance.presumed.insert(path.clone());
                    instance.made.insert(path, owner);
                }
            }
            here = next;
        }
    }

    /// What stands at a position; `None`: nothing.
    pub fn thing_at(&self, at: &Position) -> Option<Thing> {
        let mount = self.mounts.mount(at.mount);
        match mount.root.as_os_str().is_empty() {
            true => self.thing_in(mount.filesystem, &at.path),
            false => self.thing_in(mount.filesystem, &join(&mount.root, &at.path)),
        }
    }

    pub(super) fn thing_in(&self, id: FilesystemId, path: &Path) -> Option<Thing> {
        let instance = self.mounts.filesystem(id);
        if let Some(&owner) = instance.made.get(path) {
            return Some(Thing::Directory(Some(owner)));
        }
        if let Some(thing) = instance.entries.get(path) {
            return Some(thing.clone());
        }
        if instance.removed.contains(path) {
            return None;
        }
        if instance.presumed.iter().any(|presumed| path.starts_with(presumed)) {
            return Some(Thing::Unknown);
        }
        let is_root = path.as_os_str().is_empty();
        match &instance.filesystem {
            Filesystem::Host(base) => self.thing_on_host(&join(base, path)),
            Filesystem::Tmpfs(owner) => is_root.then_some(Thing::Directory(Some(*owner))),
            Filesystem::Proc
            | Filesystem::Sysfs
            | Filesystem::Mqueue
            | Filesystem::Pts
            | Filesystem::Image(_)
            | Filesystem::Unknown => Some(match is_root {
                true => Thing::Directory(None),
                false => Thing::Unknown,
            }),
            Filesystem::Overlay { layers } => {
                layers.iter().find_map(|(layer, root)| self.thing_in(*layer, &join(root, path)))
            }
        }
    }

    fn thing_on_host(&self, path: &Path) -> Option<Thing> {
        let Some(fact) = self.host.paths.get(path) else {
            // By its bytes: the same few are asked for at every step.
            let mut asked = self.asked.borrow_mut();
            if !asked.contains(path.as_os_str()) {
                asked.insert(path.into());
            }
            return Some(Thing::Unknown);
        };
        match fact {
            PathFact::Missing => None,
            PathFact::Hidden => Some(Thing::Unknown),
            PathFact::Directory(owner) => Some(Thing::Directory(Some(*owner))),
            PathFact::File(owner, _) => Some(Thing::File(*owner, Program::Unknown)),
            PathFact::Program(owner, program) => Some(Thing::File(*owner, program.clone())),
            PathFact::Symlink(to) => Some(Thing::Symlink(to.clone())),
            PathFact::Special(_) => Some(Thing::Special),
            &PathFact::Device(_, (major, minor)) => Some(Thing::Device(Device { major, minor })),
        }
    }
}
