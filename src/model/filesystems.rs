//! What mounts show: filesystems, what steps have changed in them, and what
//! each of them allows.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use crate::host::{HostMount, Owner};

use super::{FilesystemId, MountId, Mounts, Position, Process, Thing, UserId};

/// What a mount shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Filesystem {
    /// A tree of the host, known under this path there
    Host(PathBuf),
    /// `tmpfs(5)`, with who made it (as the host counts)
    Tmpfs(Owner),
    /// `proc(5)`
    Proc,
    /// An instance of `devpts` (`pts(4)`)
    Pts,
    /// `sysfs(5)`
    Sysfs,
    /// POSIX message queues as files (`mq_overview(7)`)
    Mqueue,
    /// overlayfs: its layers, the upper one first
    Overlay {
        /// Filesystem and path of each layer
        layers: Vec<(FilesystemId, PathBuf)>,
    },
    /// An image file that the supervisor mounted
    Image(PathBuf),
    /// Something of which nothing is known
    Unknown,
}

/// A filesystem and what steps have changed in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// What it is
    pub filesystem: Filesystem,
    /// The user namespace that mounted it
    pub user: UserId,
    /// The host's number for it, and the directory of it that is shown here
    pub device: Option<(String, PathBuf)>,
    /// Its type, as the host names it
    pub kind: Option<String>,
    /// Of a mount of the host: only a part of the filesystem is to be seen
    pub is_part: bool,
    /// Who mounted it: overlayfs looks into its layers with their rights
    pub mounter: Option<Process>,
    /// Of an overlay: directories that a name in it must not lead to
    pub traps: Vec<(String, PathBuf)>,
    /// Of an overlay: another one has taken its `upper` or `work`, after which
    /// nobody knows what a change does
    pub is_contested: bool,
    /// Overlays below this one
    pub depth: u32,
    /// Directories made since
    pub made: BTreeMap<PathBuf, Owner>,
    /// Directories that are only taken to be there: nobody knows what is in them
    pub presumed: BTreeSet<PathBuf>,
    /// What else was made since: files and links
    pub entries: BTreeMap<PathBuf, Thing>,
    /// Whether there is less room than memory: a file may not fit
    pub is_small: bool,
    /// Directories removed since
    pub removed: BTreeSet<PathBuf>,
}

impl Mounts {
    /// Remembers a filesystem.
    pub fn instance(&mut self, filesystem: Filesystem, user: UserId) -> FilesystemId {
        let id = FilesystemId(self.filesystems.len() as u32);
        let depth = match &filesystem {
            Filesystem::Overlay { layers } => {
                1 + layers.iter().map(|(layer, _)| self.filesystem(*layer).depth).max().unwrap_or(0)
            }
            _ => 0,
        };
        let instance = Instance {
            filesystem,
            user,
            device: None,
            kind: None,
            is_part: false,
            mounter: None,
            traps: Vec::new(),
            is_contested: false,
            depth,
            made: BTreeMap::new(),
            presumed: BTreeSet::new(),
            entries: BTreeMap::new(),
            is_small: false,
            removed: BTreeSet::new(),
        };
        self.filesystems.insert(id, instance);
        id
    }

    /// Remembers what a mount of the host shows.
    pub(super) fn instance_of_host(&mut self, mount: &HostMount) -> FilesystemId {
        let id = self.instance(Filesystem::Host(mount.at.clone()), UserId::HOST);
        if let Some(instance) = self.filesystem_mut(id) {
            let root = mount.root.strip_prefix("/").unwrap_or(&mount.root).to_owned();
            instance.kind = Some(mount.filesystem.clone());
            instance.is_part = mount.root != Path::new("/");
            instance.device = mount.device.clone().map(|device| (device, root));
        }
        id
    }

    /// Whether a place is where an overlay puts its changes, or below.
    pub fn is_upper(&self, at: &Position) -> bool {
        let (device, path) = self.inode(at);
        self.filesystems.values().any(|instance| match &instance.filesystem {
            Filesystem::Overlay { layers } => layers.first().is_some_and(|(upper, within)| {
                let (own, root) = self.inode_in(*upper, within);
                own == device && path.starts_with(root)
            }),
            _ => false,
        })
    }

    /// The filesystem that was remembered last.
    pub fn newest_filesystem(&self) -> Option<FilesystemId> {
        self.filesystems.keys().next_back().copied()
    }

    /// The filesystem of this id.
    pub fn filesystem(&self, id: FilesystemId) -> &Instance {
        &self.filesystems[&id]
    }

    /// The filesystem of this id, to be changed.
    pub fn filesystem_mut(&mut self, id: FilesystemId) -> Option<&mut Instance> {
        self.filesystems.get_mut(&id)
    }

    /// Whether this is a procfs, or a part of one.
    pub(super) fn is_proc(&self, id: FilesystemId) -> bool {
        let instance = self.filesystem(id);
        instance.filesystem == Filesystem::Proc || instance.kind.as_deref() == Some("proc")
    }

    /// Whether an overlay may stand on a filesystem: it stacks no deeper than
    /// two, and procfs counts as deep already (`s_stack_depth`).
    pub(super) fn can_be_lower(&self, id: FilesystemId) -> Option<bool> {
        let instance = self.filesystem(id);
        match &instance.filesystem {
            Filesystem::Proc => Some(false),
            Filesystem::Pts => None,
            Filesystem::Image(_) => Some(true),
            Filesystem::Host(_) => match instance.kind.as_deref()? {
                "proc" => Some(false),
                // How deep it is already, nobody told.
                "overlay" => None,
                kind => STORAGE.contains(&kind).then_some(true),
            },
            Filesystem::Tmpfs(_) | Filesystem::Overlay { .. } => Some(instance.depth < DEEPEST),
            // Nobody told what overlayfs says to these.
            Filesystem::Sysfs | Filesystem::Mqueue | Filesystem::Unknown => None,
        }
    }

    /// Whether a mount is an overlay that was there before.
    pub fn is_overlay_of_host(&self, mount: MountId) -> bool {
        let instance = self.filesystem(self.mount(mount).filesystem);
        matches!(instance.filesystem, Filesystem::Host(_))
            && instance.kind.as_deref() == Some("overlay")
    }

    /// Whether an overlay can keep its changes on a filesystem: not on another
    /// overlay, and not on procfs, which counts as deep.
    pub(super) fn can_be_upper(&self, id: FilesystemId) -> Option<bool> {
        let instance = self.filesystem(id);
        match &instance.filesystem {
            Filesystem::Overlay { .. } | Filesystem::Proc => Some(false),
            Filesystem::Pts => None,
            Filesystem::Tmpfs(_) => Some(true),
            Filesystem::Sysfs | Filesystem::Mqueue | Filesystem::Image(_) | Filesystem::Unknown => {
                None
            }
            Filesystem::Host(_) => match instance.kind.as_deref()? {
                "overlay" | "proc" => Some(false),
                kind => STORAGE.contains(&kind).then_some(true),
            },
        }
    }

    /// Whether nothing of a filesystem can be executed.
    pub(super) fn forbids_programs(&self, id: FilesystemId) -> bool {
        let Instance { filesystem, kind, .. } = self.filesystem(id);
        matches!(filesystem, Filesystem::Proc | Filesystem::Sysfs | Filesystem::Mqueue)
            || kind.as_deref().is_some_and(|kind| WITHOUT_PROGRAMS.contains(&kind))
    }

    /// Whether a filesystem keeps what is put into it, as far as known: `proc`
    /// and its kind have rules of their own.
    pub(super) fn keeps_files(&self, id: FilesystemId) -> Option<bool> {
        let instance = self.filesystem(id);
        match &instance.filesystem {
            Filesystem::Tmpfs(_) | Filesystem::Overlay { .. } => Some(true),
            Filesystem::Proc | Filesystem::Sysfs | Filesystem::Mqueue => Some(false),
            Filesystem::Image(_) | Filesystem::Pts | Filesystem::Unknown => None,
            Filesystem::Host(_) => Some(STORAGE.contains(&instance.kind.as_deref()?)),
        }
    }
}

/// Filesystems with nothing to execute (`SB_I_NOEXEC`).
const WITHOUT_PROGRAMS: &[&str] = &["proc", "sysfs", "mqueue"];
/// Filesystems on filesystems (`FILESYSTEM_MAX_STACK_DEPTH`).
const DEEPEST: u32 = 2;
/// Filesystems in which anything can be made.
const STORAGE: &[&str] =
    &["ext2", "ext3", "ext4", "xfs", "btrfs", "f2fs", "zfs", "tmpfs", "ramfs", "overlay"];
