//! What a process may use up: `prlimit(2)`, `getrlimit(2)`.

use std::ptr;

use nix::errno::Errno;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// No limit (`RLIM_INFINITY`).
pub const UNLIMITED: u64 = u64::MAX;

macro_rules! resources {
    ($($(#[doc = $doc:literal])* $resource:ident = $name:literal, $number:ident;)*) => {
        /// Something that is counted for a process, and limited.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Resource { $($(#[doc = $doc])* $resource,)* }

        impl Resource {
            /// Every one, in the order of their names.
            pub const ALL: &'static [Resource] = &[$(Resource::$resource,)*];

            /// The name, as `prlimit(1)` spells it.
            pub fn name(self) -> &'static str {
                match self { $(Self::$resource => $name,)* }
            }

            fn number(self) -> libc::c_long {
                match self { $(Self::$resource => libc::$number as libc::c_long,)* }
            }
        }
    };
}

resources! {
    /// Bytes of address space
    AddressSpace = "as", RLIMIT_AS;
    /// Bytes of a core dump
    Core = "core", RLIMIT_CORE;
    /// Seconds on a processor
    Cpu = "cpu", RLIMIT_CPU;
    /// Bytes of data
    Data = "data", RLIMIT_DATA;
    /// Bytes of a file that is written
    FileSize = "fsize", RLIMIT_FSIZE;
    /// Bytes of locked memory
    LockedMemory = "memlock", RLIMIT_MEMLOCK;
    /// Bytes in POSIX message queues
    MessageQueues = "msgqueue", RLIMIT_MSGQUEUE;
    /// 20 less the lowest nice value
    Nice = "nice", RLIMIT_NICE;
    /// One more than the highest descriptor
    OpenFiles = "nofile", RLIMIT_NOFILE;
    /// Processes of this user
    Processes = "nproc", RLIMIT_NPROC;
    /// The highest real-time priority
    RealTimePriority = "rtprio", RLIMIT_RTPRIO;
    /// Signals that wait to be delivered
    PendingSignals = "sigpending", RLIMIT_SIGPENDING;
    /// Bytes of the stack
    Stack = "stack", RLIMIT_STACK;
}

impl Resource {
    /// The resource of this name.
    pub fn named(name: &str) -> Option<Resource> {
        Resource::ALL.iter().copied().find(|resource| resource.name() == name)
    }

    /// An amount of it, as a recipe writes it: `64M`, `5s`, `1024`, `unlimited`.
    pub fn written(self, amount: u64) -> String {
        use Resource as R;
        if amount == UNLIMITED {
            return "unlimited".to_owned();
        }
        match self {
            R::Cpu => format!("{amount}s"),
            R::Nice | R::OpenFiles | R::Processes | R::RealTimePriority | R::PendingSignals => {
                amount.to_string()
            }
            R::AddressSpace
            | R::Core
            | R::Data
            | R::FileSize
            | R::LockedMemory
            | R::MessageQueues
            | R::Stack => bytes(amount),
        }
    }
}

fn bytes(amount: u64) -> String {
    let units = [(30, "G"), (20, "M"), (10, "K")];
    match units.iter().find(|(shift, _)| amount != 0 && amount.is_multiple_of(1 << shift)) {
        Some((shift, unit)) => format!("{}{unit}", amount >> shift),
        None => amount.to_string(),
    }
}

/// How much of a resource there may be: now, and at most ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[repr(C)]
pub struct Limit {
    /// What the kernel enforces
    pub soft: u64,
    /// What the soft limit may be raised to
    pub hard: u64,
}

/// Sets a limit of this process.
///
/// # Errors
/// As `prlimit(2)`.
pub fn set(resource: Resource, limit: Limit) -> Result<(), Errno> {
    let new = &raw const limit as libc::c_long;
    // SAFETY: the limit has the layout of `struct rlimit64` and outlives the call; no old one is asked for.
    unsafe { super::call(libc::SYS_prlimit64, [0, resource.number(), new, 0, 0]) }.map(drop)
}

/// A limit of this process.
///
/// # Errors
/// As `prlimit(2)`.
pub fn get(resource: Resource) -> Result<Limit, Errno> {
    let mut limit = Limit { soft: 0, hard: 0 };
    let old = ptr::from_mut(&mut limit) as libc::c_long;
    // SAFETY: the limit has the layout of `struct rlimit64` and outlives the call; no new one is given.
    unsafe { super::call(libc::SYS_prlimit64, [0, resource.number(), 0, old, 0]) }?;
    Ok(limit)
}
