//! The kernel's calls, one thin function each: the only room with `unsafe`.
//!
//! No call here allocates or prints; an error stays the number the kernel
//! gave. That is what lets the forked child use every one of them between
//! `fork` and `execve` (`signal-safety(7)`). What has to be laid out for them
//! beforehand (`KernelPath`, `process::Vector`) allocates when it is made.
//!
//! **Invariant:** no other room contains `unsafe` (held by `tests/house.rs`).
#![allow(unsafe_code)]

pub mod capability;
pub mod cgroup;
pub mod descriptor;
pub mod device;
pub mod directory;
pub mod entry;
mod fault;
pub mod file;
pub mod filter;
pub mod handle;
pub mod ids;
pub mod keyring;
pub mod landlock;
pub mod last_words;
pub mod limit;
pub mod lock;
pub mod look;
pub mod loop_device;
pub mod memory;
pub mod memory_file;
pub mod mount;
pub mod namespace;
pub mod network;
mod path;
#[cfg(target_env = "musl")]
mod pool;
pub mod process;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stream;
pub mod terminal;
pub mod tool;
pub mod uts;
pub mod wait;

pub use fault::{Call, Fault, NOT_DONE, error_words};
pub use mount::Propagation;
pub use namespace::Namespace;
pub use nix::errno::Errno;
pub use path::KernelPath;

/// Makes one system call that takes and returns plain numbers.
///
/// # Safety
/// Every argument that the kernel reads as a pointer must stay valid for the
/// length of the call.
unsafe fn call(number: libc::c_long, arguments: [libc::c_long; 5]) -> Result<libc::c_long, Errno> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: the caller vouches for what the arguments point to.
    Errno::result(unsafe { libc::syscall(number, a, b, c, d, e) })
}
