//! What of the host's files a sandbox reaches, and what it may turn there.

use std::path::{Path, PathBuf};

use crate::{
    model::{Filesystem, FilesystemId, Instance, Mount, Objection, UserId},
    sys::landlock::files,
};

use super::End;

/// What may be turned in `/proc` by root of the machine, each part by one of it.
const KNOBS: [&str; 4] =
    ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/x", "/proc/sysrq-trigger", "/proc/irq/x"];
const SECRETS: [&str; 5] =
    ["/proc/kcore", "/proc/kpageflags", "/proc/slabinfo", "/proc/vmallocinfo", "/proc/timer_list"];
const SYSTEM: [&str; 7] = [
    "/sys/kernel/x",
    "/sys/power/x",
    "/sys/module/x",
    "/sys/block/x",
    "/sys/devices/x",
    "/sys/fs/x",
    "/sys/fs/cgroup/x",
];
/// Of `/dev`, what every program may have.
const HARMLESS: [&str; 8] = ["null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts"];
/// What nobody changes but whoever administers the machine.
const KEPT: [&str; 3] = ["/usr", "/usr/bin", "/etc"];
const PASSWORDS: [&str; 3] = ["/etc/shadow", "/etc/gshadow", "/etc/ssh/ssh_host_ed25519_key"];

/// What of the host's files it reaches.
impl End {
    fn filesystem(&self, id: FilesystemId) -> &Instance {
        self.model.mounts.filesystem(id)
    }

    /// What a mount shows, by the host's paths. A `/proc` or `/sys` of its own
    /// has the host's knobs in it.
    fn sources(&self, mount: &Mount) -> Vec<PathBuf> {
        match &self.filesystem(mount.filesystem).filesystem {
            Filesystem::Proc => vec![Path::new("/proc").join(&mount.root)],
            Filesystem::Sysfs => vec![Path::new("/sys").join(&mount.root)],
            _ => self.shown(mount),
        }
    }

    /// The trees of the host that a mount shows, those under an overlay too.
    pub(in crate::plan::open) fn shown(&self, mount: &Mount) -> Vec<PathBuf> {
        let on_host = |id: FilesystemId, within: &Path| match &self.filesystem(id).filesystem {
            Filesystem::Host(base) => Some(base.join(within)),
            _ => None,
        };
        match &self.filesystem(mount.filesystem).filesystem {
            Filesystem::Overlay { layers } => layers
                .iter()
                .filter_map(|(layer, path)| on_host(*layer, &path.join(&mount.root)))
                .collect(),
            _ => on_host(mount.filesystem, &mount.root).into_iter().collect(),
        }
    }

    pub(in crate::plan::open) fn has_own_root(&self) -> bool {
        self.mounts.get(Path::new("/")).is_some_and(|root| root.own)
    }

    /// The mount that is seen at a path.
    fn over(&self, path: &Path) -> Option<&Mount> {
        path.ancestors().find_map(|above| self.mounts.get(above))
    }

    /// Through which mounts a path of the host is seen somewhere.
    fn ways_to(&self, path: &Path) -> Vec<&Mount> {
        let leads = |at: &Path, mount: &Mount| {
            self.sources(mount).iter().any(|source| {
                let Ok(rest) = path.strip_prefix(source) else { return false };
                // What stands over it there is another file.
                self.over(&at.join(rest)).is_some_and(|top| std::ptr::eq(top, mount))
            })
        };
        let all = self.mounts.iter().filter(|(at, mount)| leads(at, mount));
        all.map(|(_, mount)| mount).collect()
    }

    fn reaches(&self, path: impl AsRef<Path>) -> bool {
        !self.ways_to(path.as_ref()).is_empty()
    }

    /// Whether nothing of this can be opened for writing.
    fn guards(&self, paths: &[&str]) -> bool {
        let ways = paths.iter().flat_map(|path| self.ways_to(Path::new(path)));
        ways.into_iter().all(|mount| mount.read_only)
    }

    pub(in crate::plan::open) fn hides_host(&self) -> bool {
        self.has_own_root() && !self.reaches("/")
    }

    pub(in crate::plan::open) fn hides_home(&self) -> bool {
        let home = self.model.host.caller.home.as_ref();
        self.hides_host() && home.is_none_or(|home| !self.reaches(home))
    }

    pub(in crate::plan::open) fn hides_shm(&self) -> bool {
        self.hides_host() && !self.reaches("/dev/shm")
    }

    pub(in crate::plan::open) fn hides_other_roots(&self) -> bool {
        self.hides_host() && self.hides_processes()
    }

    pub(in crate::plan::open) fn hides_passwords(&self) -> bool {
        self.is_nobody_there() || !PASSWORDS.iter().any(|path| self.reaches(path))
    }

    /// Whether system directories cannot be written, mounts below included.
    pub(in crate::plan::open) fn keeps_system(&self) -> bool {
        let is_kept = |path: &Path| {
            let below = self.mounts.range(path.to_owned()..);
            let mut below = below.take_while(|(at, _)| at.starts_with(path));
            let is_read_only = self.over(path).is_some_and(|mount| mount.read_only)
                && below.all(|(_, mount)| mount.read_only);
            is_read_only || self.forbids_writing(path)
        };
        self.has_own_root() && KEPT.iter().all(|path| is_kept(Path::new(path)))
    }

    /// Whether Landlock does, or nothing is there.
    fn forbids_writing(&self, path: &Path) -> bool {
        match self.model.walk(path) {
            Ok(found) => {
                matches!(self.model.lets(&found.at, files::WRITE), Err(Objection::No(_)))
            }
            Err(_) => true,
        }
    }

    pub(in crate::plan::open) fn hides_hardware(&self) -> bool {
        let mut sources = self.mounts.values().flat_map(|mount| self.shown(mount));
        let is_other = |source: PathBuf| !source.starts_with("/dev") || is_harmless(&source);
        self.hides_host() && !self.reaches("/dev/x") && sources.all(is_other)
    }

    /// Whether a node in a tree of the host is none here. Of a filesystem that
    /// a user namespace has mounted, the kernel opens none (`SB_I_NODEV`).
    pub(in crate::plan::open) fn shows_no_nodes(&self) -> bool {
        let is_tree = |at: &Path, mount: &Mount| {
            let is_node = self.shown(mount).iter().all(|source| is_harmless(source));
            let found = self.model.walk(at);
            !is_node && found.is_ok_and(|found| found.thing.is_directory() != Some(false))
        };
        let has_none = |mount: &Mount| {
            let instance = self.filesystem(mount.filesystem);
            mount.no_dev
                || instance.user != UserId::HOST
                || matches!(instance.kind.as_deref(), Some("proc" | "sysfs"))
        };
        let mut all = self.mounts.iter().filter(|(_, mount)| !self.shown(mount).is_empty());
        self.has_own_root() && all.all(|(at, mount)| has_none(mount) || !is_tree(at, mount))
    }

    pub(in crate::plan::open) fn guards_knobs(&self) -> bool {
        self.is_nobody_there() || self.guards(&KNOBS)
    }

    pub(in crate::plan::open) fn guards_secrets(&self) -> bool {
        self.is_nobody_there() || !SECRETS.iter().any(|path| self.reaches(path))
    }

    pub(in crate::plan::open) fn guards_sysfs(&self) -> bool {
        self.is_nobody_there() || self.guards(&SYSTEM)
    }

    pub(in crate::plan::open) fn guards_control_groups(&self) -> bool {
        let groups = Path::new("/sys/fs/cgroup");
        let is_writable = |mount: &Mount| {
            !mount.read_only && self.sources(mount).iter().any(|source| source.starts_with(groups))
        };
        self.guards(&["/sys/fs/cgroup/x"]) && !self.mounts.values().any(is_writable)
    }
}

/// Whether it is a device that every program may have.
fn is_harmless(source: &Path) -> bool {
    let name = source.strip_prefix("/dev");
    name.is_ok_and(|name| HARMLESS.iter().any(|harmless| name.starts_with(harmless)))
}
