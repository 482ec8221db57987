//! Filesystems that show the kernel itself, procfs and sysfs: in a user
//! namespace a fresh one is given only beside one in which nothing is hidden
//! (`mount_too_revealing()` in `fs/namespace.c`).

use std::path::Path;

use crate::sys::Errno;

use super::{Filesystem, Model, Mount, MountId, Mounts, Objection, UserId};

/// A filesystem that shows the kernel itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revealing {
    /// `proc(5)`
    Proc,
    /// `sysfs(5)`
    Sysfs,
}

impl Revealing {
    /// The kernel's name for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proc => "proc",
            Self::Sysfs => "sysfs",
        }
    }

    /// Whether something may be hidden by what stands over this part of it.
    pub fn may_hide(self, part: &Path) -> bool {
        self.is_always_empty(part) != Some(true)
    }

    fn filesystem(self) -> Filesystem {
        match self {
            Self::Proc => Filesystem::Proc,
            Self::Sysfs => Filesystem::Sysfs,
        }
    }

    /// Whether a directory of it is always empty, so that nothing is hidden by
    /// what stands over it (`sysfs_create_mount_point()`, `proc_create_mount_point()`);
    /// `None`: there are more of them, and kernels differ.
    fn is_always_empty(self, part: &Path) -> Option<bool> {
        let Some(path) = part.to_str() else { return Some(false) };
        let (known, unknown): (&[&str], &[&str]) = match self {
            Self::Proc => (&["sys/fs/binfmt_misc"], &["sys/fs/", "fs/"]),
            Self::Sysfs => (EMPTY_IN_SYSFS, &["fs/", "kernel/", "firmware/efi/"]),
        };
        match path {
            path if known.contains(&path) => Some(true),
            path if unknown.iter().any(|below| path.starts_with(below)) => None,
            _ => Some(false),
        }
    }
}

const EMPTY_IN_SYSFS: &[&str] = &[
    "firmware/efi/efivars",
    "fs/bpf",
    "fs/cgroup",
    "fs/fuse/connections",
    "fs/pstore",
    "fs/selinux",
    "kernel/config",
    "kernel/debug",
    "kernel/security",
    "kernel/tracing",
];

impl Model {
    /// Whether one of these is among the mounts.
    pub fn has(&self, kind: Revealing) -> bool {
        self.mounts.attached().any(|(_, mount)| self.mounts.is_whole(kind, mount))
    }

    /// Whether the kernel would show a fresh one beside those there are.
    pub fn may_reveal(&self, kind: Revealing, read_only: bool) -> Result<(), Objection> {
        let is_initial = self.host.initial_user_namespace != Some(false);
        if self.mounts.owner == UserId::HOST && is_initial {
            return Ok(());
        }
        match self.mounts.has_full(kind, read_only) {
            Some(true) => Ok(()),
            Some(false) => Err(Objection::No(Errno::EPERM)),
            None => Err(Objection::Unknown),
        }
    }
}

impl Mounts {
    /// Whether one of the attached mounts is a whole one with nothing locked
    /// over its parts (`mnt_already_visible()`); `None`: nobody told.
    fn has_full(&self, kind: Revealing, read_only: bool) -> Option<bool> {
        if self.attached().any(|(_, mount)| mount.opaque) {
            return None;
        }
        let mut is_sure = true;
        for (id, mount) in self.whole(kind) {
            // A locked read-only flag would be missing on a fresh one.
            let is_as_free = if read_only { Some(false) } else { mount.locked_read_only };
            let is_full = match is_as_free {
                Some(false) => self.is_uncovered(kind, id),
                has_flag => has_flag.map(|_| false),
            };
            match is_full {
                Some(true) => return Some(true),
                Some(false) => {}
                None => is_sure = false,
            }
        }
        is_sure.then_some(false)
    }

    /// Whether a fresh read-only one stays so for good: the kernel passes the
    /// lock on from the one that is there, and of several nobody knows which.
    pub fn passes_read_only_on(&self, kind: Revealing, fresh: MountId) -> Option<bool> {
        let others = self.whole(kind).filter(|(id, _)| *id != fresh);
        let full = others.filter(|(id, _)| self.is_uncovered(kind, *id) != Some(false));
        let mut locks = full.map(|(_, mount)| mount.locked_read_only);
        let first = locks.next().unwrap_or(Some(false));
        if locks.all(|lock| lock == first) { first } else { None }
    }

    /// Whether nothing locked stands over a part of it that could hide something.
    fn is_uncovered(&self, kind: Revealing, id: MountId) -> Option<bool> {
        let mut is_sure = true;
        for (_, over) in self.children(id).filter(|(_, over)| over.locked != Some(false)) {
            let Some(on) = &over.on else { continue };
            match (kind.is_always_empty(&on.path), over.locked) {
                (Some(true), _) => {}
                (Some(false), Some(true)) => return Some(false),
                _ => is_sure = false,
            }
        }
        is_sure.then_some(true)
    }

    /// The attached mounts that show the root of one.
    fn whole(&self, kind: Revealing) -> impl Iterator<Item = (MountId, &Mount)> {
        let is_it = move |mount: &Mount| self.is_whole(kind, mount);
        self.attached().filter(move |(_, mount)| is_it(mount) && mount.root.as_os_str().is_empty())
    }

    fn is_whole(&self, kind: Revealing, mount: &Mount) -> bool {
        let instance = self.filesystem(mount.filesystem);
        let is_it = instance.filesystem == kind.filesystem()
            || instance.kind.as_deref() == Some(kind.name());
        is_it && !instance.is_part
    }
}
