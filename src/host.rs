//! Facts about the machine and the caller, as data.
//!
//! Planning reads a [`Host`], so a plan can be replayed for a machine that is
//! not here: `isorecipe host > host.json`, then `isorecipe plan --host
//! host.json`. Only where the host planned for is this machine may a layer have
//! a path looked at that nobody has told of ([`crate::plan::Planner::look_at`]).
//!
//! **Invariant:** a fact is known or unknown, and the unknown never refuses
//! (`None` below is "unknown", not "absent").

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sys::{self, Call, Errno};

mod clocks;
mod confinement;
mod control_groups;
mod helpers;
mod images;
mod kernel;
mod kernel_log;
mod limits;
pub mod mountinfo;
mod names;
mod network;
mod probe;
mod program;
mod sockets;

pub use clocks::Clocks;
pub use confinement::{Confinement, Seccomp};
pub use control_groups::{ControlGroups, Home, Homes, Layout};
pub use helpers::{Helper, Helpers, Powerless};
pub use images::{FuseDevice, ImageTools, Tool};
pub use kernel::{Device, Kernel, Landlock};
pub use kernel_log::Message;
pub use limits::NamespaceLimits;
pub use names::Names;
pub use network::NetworkTools;
pub use program::Nature;
pub use sockets::SocketsBelow;

/// A machine and the process that asks, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// `uname -r`
    pub kernel: Option<String>,
    /// Who runs isorecipe.
    pub caller: Caller,
    /// Who ran `sudo`, when somebody did.
    pub invoker: Option<Invoker>,
    /// Whether this is the first user namespace of the machine.
    pub initial_user_namespace: Option<bool>,
    /// Ids that exist in the caller's user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ids: Option<Ids>,
    /// Which of the caller's namespaces belong to its user namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned: Option<OwnedNamespaces>,
    /// Whether the caller's root directory is not the root of its mounts
    /// (`chroot(2)`): the kernel then gives no user namespace.
    pub chrooted: Option<bool>,
    /// `/proc/sys/user/max_*_namespaces`
    pub namespace_limits: Option<NamespaceLimits>,
    /// The kernel's own clocks, when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clocks: Option<Clocks>,
    /// `/proc/sys/kernel/unprivileged_userns_clone` (Debian and Arch kernels).
    pub unprivileged_userns_clone: Option<bool>,
    /// `/proc/sys/kernel/apparmor_restrict_unprivileged_userns` (Ubuntu).
    pub apparmor_restricts_userns: Option<bool>,
    /// Whether a procfs is mounted on `/proc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proc: Option<bool>,
    /// The mounts of the caller's namespace, in the kernel's order.
    pub mounts: Option<Vec<HostMount>>,
    /// What is at the paths that a recipe names.
    #[serde(default)]
    pub paths: BTreeMap<PathBuf, PathFact>,
    /// The caller's lines of `/etc/subuid` and `/etc/subgid`.
    pub subordinate: Option<SubordinateIds>,
    /// The programs that give them.
    pub helpers: Option<Helpers>,
    /// What the caller itself is held back by.
    pub confinement: Option<Confinement>,
    /// What the kernel and its administrator allow everybody.
    pub kernel_settings: Option<Kernel>,
    /// How control groups are laid out.
    pub control_groups: Option<ControlGroups>,
    /// What images can be read with.
    pub images: Option<ImageTools>,
    /// What a network can be led out with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkTools>,
}

/// The process that asks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Caller {
    /// Effective user id
    pub uid: u32,
    /// Effective group id
    pub gid: u32,
    /// Supplementary groups, if known
    pub groups: Option<Vec<u32>>,
    /// Login name, if it has one
    pub name: Option<String>,
    /// Effective capabilities, one bit each (`capabilities(7)`)
    pub capabilities: u64,
    /// Home directory
    pub home: Option<PathBuf>,
    /// Current directory
    pub directory: Option<PathBuf>,
    /// `$SHELL`
    pub shell: Option<PathBuf>,
    /// Where what can be made again is kept: `$XDG_CACHE_HOME`, or `~/.cache`;
    /// through `sudo`, that of the user behind it
    pub cache: Option<PathBuf>,
}

/// The user behind `sudo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Invoker {
    /// `SUDO_UID`
    pub uid: u32,
    /// `SUDO_GID`
    pub gid: u32,
    /// That user's groups
    pub groups: Vec<u32>,
    /// `SUDO_USER`
    pub name: Option<String>,
}

/// Ids that exist in a user namespace, as it counts them: first id and count
/// of each range of `/proc/self/uid_map` and `gid_map`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ids {
    /// User ids
    pub uid: Vec<(u32, u32)>,
    /// Group ids
    pub gid: Vec<(u32, u32)>,
    /// Whether `setgroups(2)` is allowed (`/proc/self/setgroups`)
    pub setgroups: bool,
}

/// Whether a namespace belongs to the caller's user namespace
/// (`ioctl_nsfs(2)`, `NS_GET_USERNS`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OwnedNamespaces {
    /// The mount namespace
    pub mount: bool,
    /// The UTS namespace
    pub uts: bool,
    /// The IPC namespace
    pub ipc: bool,
    /// The network namespace
    pub network: bool,
    /// The PID namespace
    pub pid: bool,
}

/// One line of `/proc/self/mountinfo`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HostMount {
    /// Mount id
    pub id: u32,
    /// The mount it is mounted on
    pub parent: u32,
    /// The directory of its filesystem that it shows
    pub root: PathBuf,
    /// Where, as the caller sees it
    pub at: PathBuf,
    /// Filesystem type
    pub filesystem: String,
    /// Read-only, as a mount or as a filesystem
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
    /// Member of a peer group: mounts made here appear elsewhere
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// May not be bound
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unbindable: bool,
    /// Programs on it cannot be executed
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub no_exec: bool,
    /// `major:minor` of the filesystem
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// Number of its peer group
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peers: Option<u32>,
    /// Number of the peer group that it receives mounts from
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub master: Option<u32>,
}

/// What stands at a path, not followed if it is a symbolic link.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PathFact {
    /// Nothing
    Missing,
    /// Something the caller may not look at
    Hidden,
    /// A directory
    Directory(Owner),
    /// A regular file, and the filesystem it holds if it is an image of one
    File(Owner, Option<ImageKind>),
    /// A regular file with an `x` bit, and what has to be there to run it
    Program(Owner, Program),
    /// A symbolic link to this
    Symlink(PathBuf),
    /// A block device, socket or pipe
    Special(Owner),
    /// A character device of this number
    Device(Owner, (u64, u64)),
}

/// What the kernel runs a file with (`execve(2)`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Program {
    /// Itself: an ELF file that names no loader
    Static,
    /// The loader that the ELF file names
    Loader(PathBuf),
    /// The interpreter after `#!`
    Interpreter(PathBuf),
    /// Nobody told: it cannot be read, or it is something else
    Unknown,
}

/// Whose it is, and what they may do.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// User id
    pub uid: u32,
    /// Group id
    pub gid: u32,
    /// Permission bits
    pub mode: u32,
}

impl Owner {
    /// Whether the bits let everybody read and write.
    pub fn lets_everybody(self) -> bool {
        self.mode & 0o006 == 0o006
    }
}

/// A filesystem in a file, told by its magic number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// `XFSB` at 0
    Xfs,
    /// 0xEF53 at 1080
    Ext4,
    /// `hsqs` at 0
    Squashfs,
    /// 0xE0F5E1E2 at 1024
    Erofs,
}

impl ImageKind {
    /// The kernel's name for the filesystem.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xfs => "xfs",
            Self::Ext4 => "ext4",
            Self::Squashfs => "squashfs",
            Self::Erofs => "erofs",
        }
    }
}

/// Ids that `newuidmap(1)` and `newgidmap(1)` may give the caller.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubordinateIds {
    /// First id and count, from `/etc/subuid`
    pub uid: Option<(u32, u32)>,
    /// First id and count, from `/etc/subgid`
    pub gid: Option<(u32, u32)>,
    /// First id of 65536 that nobody has been given
    pub free: u32,
    /// Where `newuidmap` is
    pub newuidmap: Option<PathBuf>,
    /// Where `newgidmap` is
    pub newgidmap: Option<PathBuf>,
}

impl Host {
    /// What costs nothing to know: ids, capabilities, environment.
    pub fn at_hand() -> Host {
        probe::at_hand()
    }

    /// A user's home, as `/etc/passwd` has it.
    pub fn home_of(uid: u32) -> Option<PathBuf> {
        probe::home_of(uid)
    }

    /// Everything but paths, which a recipe has to name first.
    pub fn probe() -> Host {
        probe::everything()
    }

    /// Looks at one path, for [`Host::paths`].
    pub fn look_at(path: &Path) -> PathFact {
        probe::look_at(path)
    }

    /// What the kernel has written into its log in the last `span` of time; nothing
    /// for who may not read it.
    pub fn kernel_log(span: std::time::Duration) -> Vec<Message> {
        kernel_log::of_the_last(span)
    }

    /// What a file is that should be a program.
    pub fn nature_of(program: &Path) -> Option<Nature> {
        program::nature(program)
    }

    /// The capabilities that a program has in its file and isorecipe in no set.
    pub fn capabilities_out_of_bounds(program: &Path) -> u64 {
        sys::capability::out_of_bounds(program)
    }

    /// The caller's subordinate ids, asking the machine if they are not known.
    pub fn subordinate_ids(&self) -> SubordinateIds {
        let ask = || probe::subordinate_ids(&self.caller, self.invoker.as_ref());
        self.subordinate.clone().unwrap_or_else(ask)
    }

    /// What images can be read with, asking the machine if it is not known.
    pub fn image_tools(&self) -> ImageTools {
        self.images.clone().unwrap_or_else(|| images::probe(self.invoker.as_ref()))
    }

    /// Whether the caller is root.
    pub fn is_root(&self) -> bool {
        self.caller.uid == 0
    }

    /// Whether the caller has this capability.
    pub fn has(&self, capability: u32) -> bool {
        self.caller.capabilities & 1 << capability != 0
    }

    /// Whether AppArmor takes the rights in new user namespaces from the caller
    /// (Ubuntu 23.10 and later): not from root, and not from a program that has
    /// a profile of its own, as far as known.
    pub fn is_restricted_by_apparmor(&self) -> Option<bool> {
        const SYS_ADMIN: u32 = 21;
        if !self.apparmor_restricts_userns? || self.has(SYS_ADMIN) {
            return Some(false);
        }
        match self.confinement.as_ref()?.apparmor.as_deref()? {
            "unconfined" => Some(true),
            label if label.starts_with("unprivileged_userns") => Some(true),
            // Its profile may have the rule `userns`, or not.
            _ => None,
        }
    }

    /// The errno by which something answers this call in the kernel's place.
    pub fn denies(&self, call: Call) -> Option<Errno> {
        self.confinement.as_ref()?.denies(call)
    }

    /// What is mounted over parts of the caller's `/proc`, or of another place.
    pub fn masks_of(&self, place: &Path) -> Vec<&Path> {
        let mounts = self.mounts.as_deref().unwrap_or_default();
        let Some(whole) = mounts.iter().rfind(|mount| mount.at == place) else {
            return Vec::new();
        };
        let is_mask = |mount: &&HostMount| mount.parent == whole.id && mount.at != whole.at;
        mounts.iter().filter(is_mask).map(|mount| mount.at.as_path()).collect()
    }
}
