//! Landlock: rights that a process takes from itself and all that it will
//! become (`landlock(7)`).
//!
//! The crate `landlock` allocates, so it cannot be used between `fork` and
//! `execve`; these are the four calls as they are.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;

use super::descriptor::own;

const LANDLOCK_CREATE_RULESET_VERSION: libc::c_long = 1;
const LANDLOCK_RULE_PATH_BENEATH: libc::c_long = 1;
const LANDLOCK_RULE_NET_PORT: libc::c_long = 2;

/// What can be done with files (`LANDLOCK_ACCESS_FS_*`).
pub mod files {
    /// Run a program
    pub const EXECUTE: u64 = 1;
    /// Open a file to write
    pub const WRITE: u64 = 1 << 1;
    /// Open a file to read
    pub const READ: u64 = 1 << 2;
    /// List a directory
    pub const LIST: u64 = 1 << 3;
    /// Remove a directory
    pub const REMOVE_DIRECTORY: u64 = 1 << 4;
    /// Remove what is no directory
    pub const REMOVE: u64 = 1 << 5;
    /// Make a character device
    pub const MAKE_CHARACTER_DEVICE: u64 = 1 << 6;
    /// Make a directory
    pub const MAKE_DIRECTORY: u64 = 1 << 7;
    /// Make a file
    pub const MAKE_FILE: u64 = 1 << 8;
    /// Make a socket
    pub const MAKE_SOCKET: u64 = 1 << 9;
    /// Make a named pipe
    pub const MAKE_PIPE: u64 = 1 << 10;
    /// Make a block device
    pub const MAKE_BLOCK_DEVICE: u64 = 1 << 11;
    /// Make a symbolic link
    pub const MAKE_SYMLINK: u64 = 1 << 12;
    /// Rename or link into another directory
    pub const REFER: u64 = 1 << 13;
    /// Truncate a file
    pub const TRUNCATE: u64 = 1 << 14;
    /// Send commands to a device (`ioctl(2)`)
    pub const CONTROL_DEVICE: u64 = 1 << 15;

    /// All of them.
    pub const ALL: u64 = (1 << 16) - 1;
    /// What makes sense for something that is no directory.
    pub const OF_A_FILE: u64 = EXECUTE | WRITE | READ | TRUNCATE | CONTROL_DEVICE;
}

/// What can be done with TCP ports (`LANDLOCK_ACCESS_NET_*`).
pub mod tcp {
    /// Give a socket a port
    pub const BIND: u64 = 1;
    /// Connect to a port
    pub const CONNECT: u64 = 1 << 1;
}

/// What reaches processes outside (`LANDLOCK_SCOPE_*`).
pub mod scope {
    /// Connect to an abstract unix socket
    pub const ABSTRACT_UNIX_SOCKET: u64 = 1;
    /// Send a signal
    pub const SIGNAL: u64 = 1 << 1;
}

/// What a ruleset forbids, but for what its rules allow
/// (`struct landlock_ruleset_attr`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handled {
    /// Of [`files`]
    pub files: u64,
    /// Of [`tcp`]
    pub tcp: u64,
    /// Of [`scope`]
    pub scope: u64,
}

impl Handled {
    /// All that this interface knows, and we know of.
    pub fn known_to(interface: u32) -> Self {
        Self {
            files: match interface {
                0 | 1 => files::REFER - 1,
                2 => files::TRUNCATE - 1,
                3 | 4 => files::CONTROL_DEVICE - 1,
                _ => files::ALL,
            },
            tcp: if interface < 4 { 0 } else { tcp::BIND | tcp::CONNECT },
            scope: if interface < 6 { 0 } else { scope::ABSTRACT_UNIX_SOCKET | scope::SIGNAL },
        }
    }

    /// What of it another has as well.
    pub fn and(self, other: Self) -> Self {
        Self {
            files: self.files & other.files,
            tcp: self.tcp & other.tcp,
            scope: self.scope & other.scope,
        }
    }
}

/// `struct landlock_path_beneath_attr`
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// The number of Landlock's interface, 1 and up.
///
/// # Errors
/// `ENOSYS` where it is not built in, `EOPNOTSUPP` where it is switched off.
pub fn interface() -> Result<u32, Errno> {
    let arguments = [0, 0, LANDLOCK_CREATE_RULESET_VERSION, 0, 0];
    // SAFETY: with this flag, no attributes and no size, the call reads nothing.
    let number = unsafe { super::call(libc::SYS_landlock_create_ruleset, arguments) }?;
    Ok(number as u32)
}

/// A new ruleset, without a rule yet.
///
/// # Errors
/// As `landlock_create_ruleset(2)`.
pub fn create(handled: &Handled) -> Result<OwnedFd, Errno> {
    let size = size_of::<Handled>() as libc::c_long;
    let arguments = [&raw const *handled as libc::c_long, size, 0, 0, 0];
    // SAFETY: the attributes outlive the call.
    let fd = unsafe { super::call(libc::SYS_landlock_create_ruleset, arguments) }?;
    Ok(own(fd))
}

/// Allows this of [`files`] for a file, or for a directory and all below it. Of
/// what only directories have, a file gets nothing.
///
/// # Errors
/// As `fstat(2)` and `landlock_add_rule(2)`.
pub fn allow_below(ruleset: BorrowedFd, place: BorrowedFd, access: u64) -> Result<(), Errno> {
    let mode = nix::sys::stat::fstat(place)?.st_mode;
    let is_directory = mode & libc::S_IFMT == libc::S_IFDIR;
    let allowed = if is_directory { access } else { access & files::OF_A_FILE };
    let rule = PathBeneath { allowed, parent: place.as_raw_fd() };
    // SAFETY: the rule outlives the call.
    unsafe { add(ruleset, LANDLOCK_RULE_PATH_BENEATH, &raw const rule as libc::c_long) }
}

/// Allows this of [`tcp`] for a port.
///
/// # Errors
/// As `landlock_add_rule(2)`.
pub fn allow_port(ruleset: BorrowedFd, port: u16, access: u64) -> Result<(), Errno> {
    let rule = NetPort { allowed: access, port: port.into() };
    // SAFETY: the rule outlives the call.
    unsafe { add(ruleset, LANDLOCK_RULE_NET_PORT, &raw const rule as libc::c_long) }
}

/// # Safety
/// `rule` is the address of what this kind of rule is described with.
unsafe fn add(ruleset: BorrowedFd, kind: libc::c_long, rule: libc::c_long) -> Result<(), Errno> {
    let ruleset = libc::c_long::from(ruleset.as_raw_fd());
    // SAFETY: the caller vouches for the rule.
    unsafe { super::call(libc::SYS_landlock_add_rule, [ruleset, kind, rule, 0, 0]) }.map(drop)
}

/// Forbids the process, for good, what the ruleset handles and does not allow.
///
/// # Errors
/// As `landlock_restrict_self(2)`.
pub fn restrict_self(ruleset: BorrowedFd) -> Result<(), Errno> {
    let ruleset = libc::c_long::from(ruleset.as_raw_fd());
    // SAFETY: the call takes numbers.
    unsafe { super::call(libc::SYS_landlock_restrict_self, [ruleset, 0, 0, 0, 0]) }.map(drop)
}

/// Whether a call that changes mounts gets past Landlock: nonsense is looked at
/// only behind it, and for who may mount at all.
pub fn lets_mount() -> bool {
    let nonsense = libc::MS_PRIVATE | libc::MS_SHARED;
    let (none, root) = (std::ptr::null(), c"/".as_ptr());
    // SAFETY: the path is a literal, and the call takes nothing else.
    let asked = unsafe { libc::mount(none, root, none, nonsense, none.cast()) };
    Errno::result(asked) == Err(Errno::EINVAL)
}

/// Whether the root directory can be opened to be listed.
pub fn lets_list_root() -> bool {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: the path is a literal.
    let opened = Errno::result(unsafe { libc::open(c"/".as_ptr(), flags) });
    opened.map(libc::c_long::from).map(own).is_ok()
}

/// Whether a socket gets this TCP port, for a moment.
pub fn lets_bind(port: u16) -> bool {
    // SAFETY: `socket` takes numbers.
    let made = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    let Ok(socket) = Errno::result(made).map(libc::c_long::from).map(own) else { return false };
    // SAFETY: all zeros is a `sockaddr_in`: any address.
    let mut address: libc::sockaddr_in = unsafe { std::mem::zeroed() };
    address.sin_family = libc::AF_INET as libc::sa_family_t;
    address.sin_port = port.to_be();
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    // SAFETY: the address outlives the call.
    let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
    matches!(Errno::result(bound), Ok(_) | Err(Errno::EADDRINUSE))
}
