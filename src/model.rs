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
    path::PathBuf,
    rc::Rc,
};

use crate::{
    host::Host,
    sys::{Call, Errno, Fault, Namespace},
};

pub mod capability;
mod copies;
mod filesystems;
mod landlock;
mod limits;
mod mounts;
mod overlay;
mod paths;
mod permission;
mod pivot;
mod programs;
mod propagation;
pub mod resources;
mod user;

pub use capability::Capabilities;
pub use filesystems::{Filesystem, Instance};
pub use landlock::{MOST_RULESETS, PathRule, Ruleset};
pub use mounts::{FilesystemId, Mount, MountId, Mounts, Position};
pub use overlay::{Layers, OverlayTrouble};
pub use paths::{Found, Thing};
pub use propagation::Travel;
pub use resources::Limits;
pub use user::{Extent, IdMap, MapFiles, UserId, UserNamespace};

/// User and PID namespaces nest this deep (`namespaces(7)`).
const DEEPEST: u32 = 32;

/// What is no deeper is not near that, wherever it started.
const SHALLOW: u32 = 8;

/// What the kernel would say to an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It works
    Yes,
    /// It fails, so
    No(Fault),
    /// A fact is not known
    KernelDecides,
}

/// Why a question was not answered with yes, before it is known who asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// The kernel says no
    No(Errno),
    /// A fact is not known
    Unknown,
}

impl Objection {
    /// The objection as the answer to this call.
    pub fn to(self, call: Call) -> Answer {
        match self {
            Self::No(errno) => Answer::No(call.gave(errno)),
            Self::Unknown => Answer::KernelDecides,
        }
    }
}

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
    asked: Rc<RefCell<BTreeSet<PathBuf>>>,
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
            && self.cgroup_is_own == other.cgroup_is_own
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
            cgroup_is_own: false,
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
        self.asked.borrow_mut().extend(paths);
    }

    /// Takes the paths whose facts were wanted and not known.
    pub fn take_asked(&self) -> BTreeSet<PathBuf> {
        self.asked.take()
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

    /// Whether the recipe has made a namespace of this kind.
    pub fn has_own(&self, kind: Namespace) -> bool {
        match kind {
            Namespace::User => self.process.user != UserId::HOST,
            Namespace::Mount => self.mounts.own,
            Namespace::Uts => self.uts.own,
            Namespace::Ipc => self.ipc.own,
            Namespace::Pid => self.pid.own || self.pid_for_children.is_some(),
            Namespace::Cgroup => self.cgroup_is_own,
            Namespace::Network => self.network.own,
            Namespace::Time => false,
        }
    }

    /// Whether the kernel gives this process a namespace of this kind, and if
    /// not, why not (`create_user_ns()`, `create_new_namespaces()`).
    pub fn may_make(&self, kind: Namespace) -> Result<(), Objection> {
        match kind {
            Namespace::User => self.may_make_user(),
            _ if !self.administers(self.process.user) => Err(Objection::No(Errno::EPERM)),
            Namespace::Pid if self.pid_for_children.is_some() => Err(Objection::No(Errno::EINVAL)),
            Namespace::Pid if self.pid_level >= DEEPEST => Err(Objection::No(Errno::ENOSPC)),
            Namespace::Pid if self.pid_level > SHALLOW => Err(Objection::Unknown),
            kind => self.has_room_for(kind),
        }
    }

    /// Makes a namespace of this kind and puts the process (or its next child) in.
    pub fn make(&mut self, kind: Namespace) {
        let owned = Owned { owner: self.process.user, own: true };
        self.count(kind);
        match kind {
            Namespace::User => self.make_user(),
            Namespace::Mount => self.mounts.copy_for(self.process.user),
            Namespace::Uts => self.uts = owned,
            Namespace::Ipc => self.ipc = owned,
            Namespace::Pid => self.pid_for_children = Some(owned),
            Namespace::Cgroup => self.cgroup_is_own = true,
            Namespace::Network => (self.network, self.has_loopback) = (owned, false),
            Namespace::Time => {}
        }
    }

    /// Assumes that a namespace just made is the process's to change.
    pub fn presume_owned(&mut self, kind: Namespace) {
        match kind {
            Namespace::User => self.own_user_mut().is_presumed = true,
            Namespace::Mount => self.mounts.owner = UserId::PRESUMED,
            Namespace::Uts => self.uts.owner = UserId::PRESUMED,
            Namespace::Ipc => self.ipc.owner = UserId::PRESUMED,
            Namespace::Network => self.network.owner = UserId::PRESUMED,
            // Nothing that asks who owns it comes later.
            Namespace::Cgroup | Namespace::Time => {}
            Namespace::Pid => {
                self.pid_for_children = Some(Owned { owner: UserId::PRESUMED, own: true });
            }
        }
    }

    /// What a child of this process is: the process in its new PID namespace.
    pub fn fork(&mut self) {
        let Some(namespace) = self.pid_for_children.take() else {
            return;
        };
        self.pid = namespace;
        self.pid_level += 1;
        self.is_init = true;
    }

    /// Whether a procfs is among the mounts.
    pub fn has_proc(&self) -> bool {
        self.mounts.has_proc()
    }

    /// Whether the kernel would show a fresh procfs beside those there are
    /// (`mount_too_revealing()`).
    pub fn may_reveal_proc(&self) -> Result<(), Objection> {
        let is_initial = self.host.initial_user_namespace != Some(false);
        if self.mounts.owner == UserId::HOST && is_initial {
            return Ok(());
        }
        match self.mounts.has_full_proc() {
            Some(true) => Ok(()),
            Some(false) => Err(Objection::No(Errno::EPERM)),
            None => Err(Objection::Unknown),
        }
    }
}
