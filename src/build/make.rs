//! From a tree in memory to an image that is in its place.

use std::{
    ffi::OsString,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::{OFlag, openat},
    sys::stat::{Mode, fchmod, mkdirat},
    unistd::syncfs,
};

use crate::{
    diagnostic::Diagnostic,
    recipe::{Filesystem, LEAST_XFS, Owner},
    yaml,
};

use super::{
    Ends, Guard, Order, Stage, Stop, file_path,
    site::{Locked, Work},
    state::{Inputs, Seen, State},
    tool::{self, Failed, Tool},
    tree::{Kind, Node, Tree},
    words,
    write::{Failure, Writer},
    xfs,
};

const MIB: u64 = 1 << 20;
/// What every filesystem here takes its space in.
const BLOCK: u64 = 4096;
/// What every kernel since 4.0 knows, and `fuse2fs` as well.
const EXT4_FEATURES: &str = "ext_attr,dir_index,filetype,extent,64bit,flex_bg,sparse_super,\
     large_file,huge_file,dir_nlink,extra_isize,metadata_csum";
/// More than an inode and a name take.
const EACH_FILE: u64 = 512;

/// One image to be made.
pub(super) struct Job<'a> {
    pub order: &'a Order<'a>,
    pub epoch: i64,
    pub locked: &'a Locked,
    /// The same for the same inputs
    pub id: [u8; 32],
}

/// What was seen on the way.
pub(super) struct Late {
    pub unreadable: Vec<PathBuf>,
    pub warnings: Vec<Diagnostic>,
}

impl Job<'_> {
    pub(super) fn run(
        &self,
        tree: &Tree,
        inputs: Inputs,
        before: Option<Seen>,
        guard: &mut Guard,
    ) -> Result<Late, Stop> {
        let need = Need::of(tree);
        let tool = self.check(&need)?;
        let work = self.locked.work()?;
        let (made, unreadable) = match (self.order.image.filesystem, tool) {
            (_, None) => self.directory(tree, &need, &work, guard)?,
            (Filesystem::Xfs, Some(tool)) => {
                let unreadable = xfs::make(self, tree, &need, &tool, &work, guard)?;
                ("image", unreadable)
            }
            (_, Some(tool)) => self.with_tool(tree, &need, &tool, &work, guard)?,
        };
        guard.look_up()?;
        self.put_in_place(&work, made, inputs, before)?;
        let mut warnings = Vec::new();
        if work.clear().is_err() {
            warnings.push(words::stuck(&work.path).at(file_path()).warning());
        }
        Ok(Late { unreadable, warnings })
    }

    /// What can be known before anything is made; the tool, which a directory takes none of.
    fn check(&self, need: &Need) -> Result<Option<PathBuf>, Stop> {
        let image = self.order.image;
        let at = yaml::Path::root().key("image");
        let filesystem = at.key("filesystem");
        if image.filesystem == Filesystem::Xfs && !self.order.can_mount() {
            return Err(words::needs_root().stop(&filesystem));
        }
        if image.filesystem == Filesystem::Directory {
            let is_possible = image.owner == Owner::Caller || self.order.has_root();
            return match is_possible {
                true => Ok(None),
                false => Err(words::owner_needs_root().stop(&at.key("owner"))),
            };
        }
        if let Some(size) = image.size.filter(|size| size.0 < need.bytes) {
            return Err(self.too_small(size.0, need));
        }
        tool_for(image.filesystem).find(&self.order.search, &filesystem).map(Some)
    }

    pub(super) fn too_small(&self, size: u64, need: &Need) -> Stop {
        let at = yaml::Path::root().key("image").key("size");
        words::too_small(size, self.best_size(need)).stop(&at)
    }

    /// The size of the recipe, or what the content takes and a little more.
    pub(super) fn size(&self, need: &Need) -> u64 {
        self.order.image.size.map_or_else(|| self.best_size(need), |size| size.0)
    }

    fn best_size(&self, need: &Need) -> u64 {
        match self.order.image.filesystem {
            // Its log alone takes 64 MiB.
            Filesystem::Xfs => (need.bytes * 5 / 4 + 96 * MIB).next_multiple_of(MIB).max(LEAST_XFS),
            _ => (need.bytes * 21 / 20 + 8 * MIB).next_multiple_of(MIB),
        }
    }

    /// Writes the tree where `root` is open.
    pub(super) fn write(
        &self,
        root: impl AsFd,
        tree: &Tree,
        need: &Need,
        guard: &mut Guard,
        owner: Option<(u32, u32)>,
    ) -> Result<Vec<PathBuf>, Failure> {
        let mut writer = Writer::new(guard, self.epoch, need.content);
        writer.owner = owner;
        writer.write(root.as_fd(), &tree.root)?;
        Ok(writer.unreadable)
    }

    /// The tree in a directory of the work directory.
    fn stage(
        &self,
        tree: &Tree,
        need: &Need,
        work: &Work,
        guard: &mut Guard,
    ) -> Result<Vec<PathBuf>, Stop> {
        let unwritten = |errno| self.unwritten(&self.locked.target_path(), errno, work);
        mkdirat(&work.directory, "tree", Mode::S_IRWXU).map_err(unwritten)?;
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let root = openat(&work.directory, "tree", flags, Mode::empty()).map_err(unwritten)?;
        let owner = self.order.has_root().then(|| self.order.owner());
        self.write(root, tree, need, guard, owner).map_err(|failure| match failure {
            Failure::Stopped(stop) => stop,
            Failure::Reading(path, error) => {
                words::unread(&path, &error).stop(&yaml::Path::root().key("image"))
            }
            Failure::Writing(path, errno) => self.unwritten(&path, errno, work),
        })
    }

    pub(super) fn unwritten(&self, path: &Path, errno: Errno, work: &Work) -> Stop {
        match errno {
            Errno::ENOSPC | Errno::EDQUOT => words::disk_full(&work.path).stop(&file_path()),
            _ => words::unwritten(path, errno).stop(&file_path()),
        }
    }

    fn directory(
        &self,
        tree: &Tree,
        need: &Need,
        work: &Work,
        guard: &mut Guard,
    ) -> Result<(&'static str, Vec<PathBuf>), Stop> {
        let unreadable = self.stage(tree, need, work, guard)?;
        guard.show(Stage::Syncing, 0, None);
        // One call for all the files there are.
        syncfs(&work.directory)
            .map_err(|errno| self.unwritten(&self.locked.target_path(), errno, work))?;
        Ok(("tree", unreadable))
    }

    fn with_tool(
        &self,
        tree: &Tree,
        need: &Need,
        program: &PathBuf,
        work: &Work,
        guard: &mut Guard,
    ) -> Result<(&'static str, Vec<PathBuf>), Stop> {
        let unreadable = self.stage(tree, need, work, guard)?;
        let unwritten = |errno| self.unwritten(&self.locked.target_path(), errno, work);
        let file = tool::image_file(work, need.is_public)
            .map_err(|error| unwritten(super::site::errno(&error)))?;
        drop(file);
        let arguments = self.arguments(need);
        // Files of an ext4 keep their owners, and here the caller's are to be root's.
        let as_root = self.order.image.filesystem == Filesystem::Ext4 && !self.order.has_root();
        tool::run(program, &arguments, self.epoch, as_root, work, guard)?
            .map_err(|failed| self.failed(failed, need, work))?;
        guard.show(Stage::Syncing, 0, None);
        let file = tool::made(work).map_err(unwritten)?;
        let mode = if need.is_public { 0o644 } else { 0o600 };
        fchmod(&file, Mode::from_bits_truncate(mode)).map_err(unwritten)?;
        tool::sync(&file).map_err(unwritten)?;
        Ok(("image", unreadable))
    }

    /// Why a tool ended badly.
    pub(super) fn failed(&self, failed: Failed, need: &Need, work: &Work) -> Stop {
        let image = self.order.image;
        let name = tool_for(image.filesystem).name;
        let at = yaml::Path::root().key("image").key("filesystem");
        match image.size {
            _ if failed.is_full => words::disk_full(&work.path).stop(&file_path()),
            Some(size) if failed.is_small => self.too_small(size.0, need),
            _ => words::tool_failed(name, &failed.words).stop(&at),
        }
    }

    fn arguments(&self, need: &Need) -> Vec<OsString> {
        let time = self.epoch;
        let uuid = uuid(&self.id);
        let words = match self.order.image.filesystem {
            Filesystem::Squashfs => {
                let xattrs = if need.has_attributes { "-xattrs" } else { "-no-xattrs" };
                format!(
                    "tree image -noappend -no-progress -quiet -all-root {xattrs} \
                     -mkfs-time {time} -all-time {time}"
                )
            }
            Filesystem::Erofs => {
                let xattrs = if need.has_attributes { "" } else { "-x-1" };
                format!("-T{time} -U{uuid} --all-root {xattrs} image tree")
            }
            // The features are named one by one, because distributions differ in their own.
            // Nothing is ever written to it: no journal, no reserve, no room to grow.
            _ => {
                let size = self.size(need) / 1024;
                let files = (need.files + 64).max(self.size(need) / 65536);
                format!(
                    "-t ext4 -q -F -b {BLOCK} -I 256 -m 0 -N {files} -O none,{EXT4_FEATURES} -U {uuid} \
                     -E hash_seed={uuid},root_owner=0:0,lazy_itable_init=0,nodiscard \
                     -d tree image {size}k"
                )
            }
        };
        words.split_whitespace().map(OsString::from).collect()
    }

    /// From here on nothing can be undone, and nothing can be half done.
    fn put_in_place(
        &self,
        work: &Work,
        made: &'static str,
        inputs: Inputs,
        before: Option<Seen>,
    ) -> Result<(), Stop> {
        let unwritten = |errno| self.unwritten(&self.locked.target_path(), errno, work);
        let seen = Seen::of(&work.path.join(made)).ok_or_else(|| unwritten(Errno::ENOENT))?;
        let replaces = before.is_some();
        let state = State::new(inputs, seen, before);
        self.locked.write_state(work, &state.bytes()).map_err(unwritten)?;
        self.locked.publish(work, made, replaces).map_err(|errno| match errno {
            // Somebody has put something there meanwhile, of which the state says nothing.
            Errno::EEXIST => {
                self.locked.forget_state();
                words::not_ours(&self.locked.target_path()).stop(&file_path())
            }
            errno => words::unplaced(&self.locked.target_path(), errno).stop(&file_path()),
        })
    }
}

/// What an image has to hold.
pub(super) struct Need {
    /// Bytes to copy
    pub content: u64,
    /// Bytes that it takes on a filesystem
    pub bytes: u64,
    /// Files of all kinds
    pub files: u64,
    /// Whether everybody may read everything in it
    pub is_public: bool,
    /// Whether people have given some file attributes
    pub has_attributes: bool,
}

impl Need {
    fn of(tree: &Tree) -> Need {
        let mut need =
            Need { content: 0, bytes: BLOCK, files: 1, is_public: true, has_attributes: false };
        let mut shared = std::collections::BTreeSet::new();
        tree.each(&mut |_, node| need.add(node, &mut shared));
        need
    }

    fn add(&mut self, node: &Node, shared: &mut std::collections::BTreeSet<(u64, u64)>) {
        self.files += 1;
        self.bytes += EACH_FILE;
        if let Kind::Directory(_) = node.kind {
            self.bytes += BLOCK;
        }
        let Some(source) = &node.source else { return };
        let is_again = source.shared.is_some_and(|file| !shared.insert(file));
        if source.is_readable && !is_again {
            self.content += source.taken;
            self.bytes += source.taken.next_multiple_of(BLOCK);
        }
        let is_readable = matches!(node.kind, Kind::File) && source.is_readable;
        self.is_public &= !is_readable || node.mode & 0o004 != 0;
        self.has_attributes |= source.has_attributes;
    }
}

fn tool_for(filesystem: Filesystem) -> Tool {
    match filesystem {
        Filesystem::Xfs => tool::MKFS_XFS,
        Filesystem::Ext4 => tool::MKE2FS,
        Filesystem::Squashfs => tool::MKSQUASHFS,
        Filesystem::Erofs | Filesystem::Directory => tool::MKFS_EROFS,
    }
}

/// A UUID that says it was made up (RFC 9562, version 8).
fn uuid(id: &[u8; 32]) -> String {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&id[..16]);
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = super::digest::hex(&bytes);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}
