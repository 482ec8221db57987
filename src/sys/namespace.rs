//! Making namespaces: `namespaces(7)`, `clone3(2)`, `unshare(2)`.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::{Call, Fault, descriptor::own, process};

mod borrowed;

const CLONE_NEWTIME: libc::c_int = 0x80;

/// The kinds of namespace a recipe can ask for, in the order `clone3` makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Namespace {
    /// `user_namespaces(7)`
    User,
    /// `mount_namespaces(7)`
    Mount,
    /// `uts_namespaces(7)`
    Uts,
    /// `ipc_namespaces(7)`
    Ipc,
    /// `pid_namespaces(7)`
    Pid,
    /// `cgroup_namespaces(7)`
    Cgroup,
    /// `network_namespaces(7)`
    Network,
    /// `time_namespaces(7)`
    Time,
}

impl Namespace {
    /// All kinds, in the kernel's order of creation.
    pub const ALL: [Namespace; 8] = [
        Self::User,
        Self::Mount,
        Self::Uts,
        Self::Ipc,
        Self::Pid,
        Self::Cgroup,
        Self::Network,
        Self::Time,
    ];

    /// The `CLONE_NEW*` bit.
    pub fn flag(self) -> u64 {
        let flag = match self {
            Self::User => libc::CLONE_NEWUSER,
            Self::Mount => libc::CLONE_NEWNS,
            Self::Uts => libc::CLONE_NEWUTS,
            Self::Ipc => libc::CLONE_NEWIPC,
            Self::Pid => libc::CLONE_NEWPID,
            Self::Cgroup => libc::CLONE_NEWCGROUP,
            Self::Network => libc::CLONE_NEWNET,
            Self::Time => CLONE_NEWTIME,
        };
        flag as u32 as u64
    }

    /// The name in `/proc/PID/ns/`.
    pub fn link(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Mount => "mnt",
            Self::Uts => "uts",
            Self::Ipc => "ipc",
            Self::Pid => "pid",
            Self::Cgroup => "cgroup",
            Self::Network => "net",
            Self::Time => "time",
        }
    }

    /// The same, of the one that `unshare(2)` makes: a process stays in its PID
    /// and time namespaces, and its next child goes into the new one.
    pub fn link_of_next(self) -> &'static str {
        match self {
            Self::Pid => "pid_for_children",
            Self::Time => "time_for_children",
            kind => kind.link(),
        }
    }
}

/// Moves the caller into a new namespace (`Pid` and `Time`: its next child).
pub fn unshare(kind: Namespace) -> Result<(), Errno> {
    // SAFETY: `unshare` takes a number.
    Errno::result(unsafe { libc::unshare(kind.flag() as libc::c_int) }).map(drop)
}

/// Moves the caller into a namespace of another process, whatever its kind.
///
/// # Errors
/// As `setns(2)`.
pub fn enter(namespace: BorrowedFd) -> Result<(), Errno> {
    // SAFETY: `setns` takes numbers.
    Errno::result(unsafe { libc::setns(namespace.as_raw_fd(), 0) }).map(drop)
}

/// `ioctl_nsfs(2)`
const NS_GET_USERNS: libc::Ioctl = 0xb701;

/// Whether a namespace of the caller belongs to its own user namespace.
/// `None`: the kernel does not say.
pub fn is_own(kind: Namespace) -> Option<bool> {
    let open = |link| std::fs::File::open(format!("/proc/self/ns/{link}"));
    let namespace = open(kind.link()).ok()?;
    // SAFETY: this request takes no argument.
    match Errno::result(unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) }) {
        Ok(owner) => {
            let owner = nix::sys::stat::fstat(own(libc::c_long::from(owner))).ok()?;
            let user = nix::sys::stat::fstat(open(Namespace::User.link()).ok()?).ok()?;
            Some((owner.st_dev, owner.st_ino) == (user.st_dev, user.st_ino))
        }
        // It belongs to a user namespace around the caller's.
        Err(Errno::EPERM) => Some(false),
        Err(_) => None,
    }
}

/// `struct clone_args`, the first published size (Linux 5.3).
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Which side of a fork this is.
#[derive(Debug)]
pub enum Side {
    /// The caller; the number is the child's PID.
    Parent(libc::pid_t),
    /// The new process.
    Child,
}

/// Forks, past the C library's handlers.
///
/// Not `clone3`: container engines answer it with ENOSYS, and then this works.
///
/// # Errors
/// As `clone(2)`; ECHILD where nobody was made.
pub fn fork() -> Result<Side, Errno> {
    let mut own = 0;
    let flags = libc::c_long::from(libc::SIGCHLD | libc::CLONE_CHILD_SETTID);
    // Architectures do not agree which of the last two it is; the other is not asked for.
    let number = &raw mut own as libc::c_long;
    // SAFETY: with no CLONE_VM and no stack this is a plain fork, and the
    // program has one thread: the child finds every lock free. The number
    // outlives the call.
    let pid = unsafe { super::call(libc::SYS_clone, [flags, 0, 0, number, number]) }?;
    side(pid, own)
}

/// Forks into the namespaces of `flags` in one call.
///
/// # Errors
/// As `clone3(2)`; nothing was made. ECHILD where it said otherwise.
pub fn fork_into(flags: u64) -> Result<Side, Errno> {
    let mut own = 0;
    let arguments = CloneArguments {
        flags: flags | libc::CLONE_CHILD_SETTID as u64,
        child_tid: &raw mut own as u64,
        exit_signal: libc::SIGCHLD as u64,
        ..CloneArguments::default()
    };
    let size = size_of::<CloneArguments>() as libc::c_long;
    // SAFETY: the structure and the number outlive the call; otherwise as `fork`.
    let pid = unsafe {
        super::call(libc::SYS_clone3, [&raw const arguments as libc::c_long, size, 0, 0, 0])
    }?;
    side(pid, own)
}

/// Makes a child that borrows the memory of this process: nothing is copied.
/// This process sleeps until the child executes a program or ends.
///
/// What the child writes is written here too, so it is to write nothing that
/// this process believes in; and its descriptors are its own, whoever seems to
/// own them here. No signal may be handled by a function meanwhile.
///
/// # Errors
/// As `clone3(2)`; nothing was made. ECHILD where it said otherwise.
pub fn fork_borrowing(flags: u64, child: &dyn Fn()) -> Result<libc::pid_t, Errno> {
    let stack = borrowed::Stack::new()?;
    let mut own = 0;
    let arguments = CloneArguments {
        flags: flags | (libc::CLONE_CHILD_SETTID | libc::CLONE_VM | libc::CLONE_VFORK) as u64,
        child_tid: &raw mut own as u64,
        exit_signal: libc::SIGCHLD as u64,
        stack: stack.bottom(),
        stack_size: borrowed::STACK,
        ..CloneArguments::default()
    };
    let begin = borrowed::Begin { own: &raw const own, child };
    // SAFETY: arguments, stack and what the child begins with outlive its time in this memory,
    // since this process sleeps as long.
    let pid = unsafe { borrowed::clone3(&raw const arguments as u64, &raw const begin) };
    let answer = u32::try_from(-pid).map_or(Ok(pid), |errno| match errno {
        0 => Err(Errno::ECHILD),
        errno => Err(Errno::from_raw(errno as i32)),
    });
    answer.map(|pid| pid as libc::pid_t)
}

/// In a child the kernel has written its number; without one nobody was made,
/// and who believed otherwise would run the command on the host.
fn side(pid: libc::c_long, own: libc::pid_t) -> Result<Side, Errno> {
    match (pid, own) {
        (0, 0) => Err(Errno::ECHILD),
        (0, _) => Ok(Side::Child),
        (pid, _) => Ok(Side::Parent(pid as libc::pid_t)),
    }
}

/// A user namespace that nobody is in, whose id 0 is this user and this group
/// outside: what `mount_setattr(2)` translates the ids of a mount through.
///
/// # Errors
/// As `clone3(2)`, and as its files in `/proc` (`user_namespaces(7)`).
pub fn of_root_being(uid: u32, gid: u32) -> Result<OwnedFd, Fault> {
    let (held, holds) =
        nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| Call::Clone.gave(e))?;
    let flag = Namespace::User.flag();
    let pid = match fork_into(flag).map_err(|e| Call::Clone.gave(e))? {
        Side::Child => {
            // Should the other end stay open, its parent's end is its own.
            let _ = process::die_with_parent();
            drop(holds);
            // Until its parent lets go of the other end, or dies.
            while nix::unistd::read(&held, &mut [0]) == Err(Errno::EINTR) {}
            process::exit(0)
        }
        Side::Parent(pid) => pid,
    };
    let write = |file: &str, id: u32, call: Call| {
        let written = std::fs::write(format!("/proc/{pid}/{file}"), format!("0 {id} 1"));
        written.map_err(|error| call.gave(errno(&error)))
    };
    let namespace = write("uid_map", uid, Call::WriteUidMap)
        .and_then(|()| write("gid_map", gid, Call::WriteGidMap))
        .and_then(|()| {
            let namespace = std::fs::File::open(format!("/proc/{pid}/ns/user"));
            namespace.map_err(|error| Call::Open.gave(errno(&error)))
        });
    drop(holds);
    let _ = process::send(pid, libc::SIGKILL);
    process::reap(pid);
    namespace.map(OwnedFd::from)
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO))
}
