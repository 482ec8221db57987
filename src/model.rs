//! A model of the kernel: what one process is, owns and sees.
//!
//! Operations are simulated on it in the kernel's own order of questions, so
//! that the answer is the kernel's: yes, no with this errno, or "the kernel
//! decides" where a fact is not known.
//!
//! **Invariant:** for every recipe, step by step, the model says what the
//! kernel does (held by `tests/conformance.rs`).

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    path::PathBuf,
    rc::Rc,
};

use crate::{host::Host, seccomp::Policy, sys::Namespace};

mod answer;
pub mod capability;
mod clocks;
mod copies;
mod covers;
mod filesystems;
mod filters;
mod landlock;
mod limits;
mod mounts;
mod namespaces;
mod overlay;
mod paths;
mod permission;
mod pivot;
mod programs;
mod propagation;
pub mod resources;
mod user;
mod visible;

pub use answer::{Answer, Objection};
pub use capability::Capabilities;
pub use clocks::{Offset, Offsets};
pub use filesystems::{Filesystem, Instance};
pub use filters::denies_needed;
pub use landlock::{MOST_RULESETS, PathRule, Ruleset};
pub use mounts::{FilesystemId, Mount, MountId, Mounts, Position};
pub use namespaces::TimeNamespace;
pub use overlay::{Layers, OverlayTrouble};
pub use paths::{Found, Thing};
pub use propagation::Travel;
pub use resources::Limits;
pub use user::{Extent, IdMap, MapFiles, UserId, UserNamespace};
pub use visible::Revealing;

use limits::{DEEPEST, SHALLOW};

/// A namespace that is neither the user's nor the mounts'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owned {
    /// The user namespace that owns it
    pub owner: UserId,
    /// Made by this recipe (otherwise it is the host's)
    pub own: bool,
}

/// A place where a descriptor is kept between two steps.
pub type Slot = usize;

/// A detached mount, and what its root is.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// The mount
    pub tree: MountId,
    /// Directory or file
    pub thing: Thing,
}

/// The process as the kernel sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Process {
    /// The user namespace it is in
    pub user: UserId,
    /// Effective user id, as the host counts
    pub uid: u32,
    /// Effective group id, as the host counts
    pub gid: u32,
    /// Supplementary groups, as the host counts; `None`: not known
    pub groups: Option<Vec<u32>>,
    /// Its capabilities over its user namespace
    pub capabilities: Capabilities,
    /// Whether its root directory is not the root of its mounts
    pub chrooted: Option<bool>,
    /// Its current directory, where known
    pub directory: Option<PathBuf>,
    /// Whether `execve` can give it nothing
    pub no_new_privs: bool,
    /// What Landlock keeps it from, since the recipe began
    pub rulesets: Vec<Ruleset>,
    /// The filters that the recipe has put over its calls
    pub filters: Vec<Rc<Policy>>,
}

impl Process {
    /// Whether it has a capability over its own user namespace.
    pub(crate) fn has(&self, capability: u32) -> bool {
        self.capabilities.effective & (1_u64 << capability) != 0
    }
}

/// The state of the kernel, as far as a recipe can change it.
#[derive(Clone)]
pub struct Model {
    /// The machine it started from
    pub host: Rc<Host>,
    /// Every user namespace, the host's first
    pub users: Vec<UserNamespace>,
    /// The process
    pub process: Process,
    /// Its UTS namespace
    pub uts: Owned,
    /// Its IPC namespace
    pub ipc: Owned,
    /// Its network namespace
    pub network: Owned,
    /// Whether its loopback interface was brought up
    pub has_loopback: bool,
    /// What leads into it from the host, if it was joined to the host's network
    pub outlet: Option<Vec<Forward>>,
    /// Whether the recipe has made a cgroup namespace
    pub cgroup_is_own: bool,
    /// Hostname, once set
    pub hostname: Option<String>,
    /// NIS domain name, once set
    pub domainname: Option<String>,
    /// Its PID namespace
    pub pid: Owned,
    /// How deep that is, from the host's
    pub pid_level: u32,
    /// The PID namespace of its next child, when that is another
    pub pid_for_children: Option<Owned>,
    /// Its time namespace
    pub time: TimeNamespace,
    /// What is added to its clocks
    pub clocks: Offsets,
    /// Whether it is the first process of its PID namespace
    pub is_init: bool,
    /// Its mounts
    pub mounts: Mounts,
    /// Mounts held by descriptor only, by the number of their slot
    pub held: BTreeMap<Slot, Held>,
    /// Landlock rulesets that nobody is under yet, by the number of their slot
    pub rulesets: BTreeMap<Slot, Ruleset>,
    /// How many namespaces of a kind the recipe has made, by whose they are
    made: BTreeMap<(Namespace, u32), u64>,
    /// What it may use up
    pub limits: Limits,
    /// The `/proc` through which maps are written
    pub proc: MapFiles,
    /// Paths whose facts were wanted and not known; shared by every copy
    asked: Rc<RefCell<BTreeSet<OsString>>>,
}

/// A TCP port of the host's 127.0.0.1 that leads to one of the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The port on the host
    pub outside: u16,
    /// The port in the sandbox
    pub inside: u16,
}

impl PartialEq for Model {
    /// The same state; what was asked on the way does not count.
    fn eq(&self, other: &Self) -> bool {
        self.users == other.users
            && self.process == other.process
            && (self.uts, self.pid, self.pid_level) == (other.uts, other.pid, other.pid_level)
            && (self.pid_for_children, self.is_init) == (other.pid_for_children, other.is_init)
            && (self.ipc, self.network, self.has_loopback)
                == (other.ipc, other.network, other.has_loopback)
            && self.outlet == other.outlet
            && (self.cgroup_is_own, self.time) == (other.cgroup_is_own, other.time)
            && self.clocks == other.clocks
            && (&self.hostname, &self.domainname) == (&other.hostname, &other.domainname)
            && self.mounts == other.mounts
            && self.limits == other.limits
            && (&self.held, &self.rulesets) == (&other.held, &other.rulesets)
    }
}

impl Model {
    /// The state a recipe starts from.
    pub fn of(host: Rc<Host>) -> Self {
        let caller = &host.caller;
        let process = Process {
            user: UserId::HOST,
            uid: caller.uid,
            gid: caller.gid,
            groups: caller.groups.clone(),
            capabilities: Capabilities::of(&host),
            chrooted: host.chrooted,
            directory: caller.directory.clone(),
            no_new_privs: (host.confinement.as_ref())
                .is_some_and(|known| known.no_new_privs == Some(true)),
            rulesets: Vec::new(),
            filters: Vec::new(),
        };
        let of = |is_own: bool| Owned {
            owner: if is_own { UserId::HOST } else { UserId::OUTER },
            own: false,
        };
        let owned = host.owned.as_ref();
        let mut model = Self {
            users: vec![UserNamespace::host(&host)],
            process,
            uts: of(owned.is_none_or(|owned| owned.uts)),
            ipc: of(owned.is_none_or(|owned| owned.ipc)),
            network: of(owned.is_none_or(|owned| owned.network)),
            has_loopback: false,
            outlet: None,
            cgroup_is_own: false,
            time: TimeNamespace::default(),
            clocks: Offsets::default(),
            hostname: None,
            domainname: None,
            pid: of(owned.is_none_or(|owned| owned.pid)),
            pid_level: 0,
            pid_for_children: None,
            is_init: false,
            mounts: Mounts::of(&host),
            held: BTreeMap::new(),
            rulesets: BTreeMap::new(),
            made: BTreeMap::new(),
            limits: Limits::of(&host),
            proc: MapFiles::Writable,
            host,
            asked: Rc::default(),
        };
        model.proc = model.map_files();
        model
    }

    /// Remembers paths whose facts are still wanted.
    pub fn ask(&self, paths: BTreeSet<PathBuf>) {
        self.asked.borrow_mut().extend(paths.into_iter().map(PathBuf::into_os_string));
    }

    /// Takes the paths whose facts were wanted and not known.
    pub fn take_asked(&self) -> BTreeSet<PathBuf> {
        self.asked.take().into_iter().map(PathBuf::from).collect()
    }

    /// Whether the process has a capability over a user namespace
    /// (`user_namespaces(7)`, "Capabilities").
    pub fn capable(&self, over: UserId, capability: u32) -> bool {
        let process = &self.process;
        let effective = process.capabilities.effective;
        self.is_capable((process.user, process.uid, effective), over, capability)
    }

    /// The same, for the supervisor, which stays what it was.
    pub fn supervisor_capable(&self, over: UserId, capability: u32) -> bool {
        let caller = &self.host.caller;
        self.is_capable((UserId::HOST, caller.uid, caller.capabilities), over, capability)
    }

    fn is_capable(&self, who: (UserId, u32, u64), over: UserId, capability: u32) -> bool {
        match over {
            UserId::PRESUMED => return true,
            UserId::OUTER => return false,
            _ => {}
        }
        let (user, uid, capabilities) = who;
        let mut namespace = over;
        loop {
            if namespace == user {
                return capabilities & (1 << capability) != 0;
            }
            let Some(parent) = self.user(namespace).parent else {
                return false;
            };
            // The owner of a namespace has every capability in it, from outside.
            if parent == user && self.user(namespace).owner == uid {
                return true;
            }
            namespace = parent;
        }
    }

    /// Whether the process has root's power over the machine itself.
    pub fn process_is_root(&self) -> bool {
        self.administers(UserId::HOST)
    }

    /// Whether its root directory is not the root of its mounts, or something
    /// is mounted over it (`current_chrooted()`): then it gets no user namespace.
    pub fn is_chrooted(&self) -> Option<bool> {
        match self.mounts.child_at(&self.mounts.root_position()) {
            Some(_) => Some(true),
            None => self.process.chrooted,
        }
    }

    /// Whether the process may change a namespace that this user namespace owns.
    pub fn administers(&self, owner: UserId) -> bool {
        self.capable(owner, capability::SYS_ADMIN)
    }

    /// Whether the process may mount and unmount (`may_mount()`).
    pub fn may_mount(&self) -> bool {
        self.administers(self.mounts.owner)
    }

    /// The user namespace of this number.
    pub fn user(&self, id: UserId) -> &UserNamespace {
        &self.users[id.index()]
    }

    /// The user namespace the process is in.
    pub fn own_user(&self) -> &UserNamespace {
        self.user(self.process.user)
    }
}
