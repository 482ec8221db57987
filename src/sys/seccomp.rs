//! Filters of one's own system calls: `seccomp(2)`, `PR_GET_SECCOMP(2const)`.

use libc::{sock_filter, sock_fprog};
use nix::errno::Errno;

/// A filter, laid out for the kernel before the fork.
pub struct Program(Vec<sock_filter>);

impl Program {
    /// Keeps the instructions; the kernel takes 4096 of them at most.
    pub fn new(instructions: Vec<sock_filter>) -> Self {
        Self(instructions)
    }

    /// How many instructions it has.
    pub fn length(&self) -> usize {
        self.0.len()
    }
}

/// Filters every call of the process from now on, and of its children.
///
/// # Errors
/// As `seccomp(2)`; `EINVAL` for a filter that is too long.
pub fn install(program: &Program) -> Result<(), Errno> {
    let len = program.0.len().try_into().map_err(|_| Errno::EINVAL)?;
    let filter = sock_fprog { len, filter: program.0.as_ptr().cast_mut() };
    let mode = libc::c_long::from(libc::SECCOMP_SET_MODE_FILTER);
    let arguments = [mode, 0, &raw const filter as libc::c_long, 0, 0];
    // SAFETY: the instructions outlive the call, and the kernel only reads them.
    unsafe { super::call(libc::SYS_seccomp, arguments) }.map(drop)
}

/// Whether the calls of the process are filtered.
///
/// # Errors
/// As `prctl(2)`: `EINVAL` where the kernel has no seccomp. A filter that does
/// not let `prctl` through answers in its place.
pub fn is_filtered() -> Result<bool, Errno> {
    // SAFETY: the option takes no argument and gives a number.
    let mode = Errno::result(unsafe { libc::prctl(libc::PR_GET_SECCOMP, 0, 0, 0, 0) })?;
    Ok(mode == libc::SECCOMP_MODE_FILTER as libc::c_int)
}
