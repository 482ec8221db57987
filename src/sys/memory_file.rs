//! A file in memory, of a size that nobody can change: `memfd_create(2)`.
//!
//! What a program says goes there: it never has to wait for a reader, and more
//! than the size is not kept.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::errno::Errno;

/// An empty file of this many bytes; writing behind them gives `EPERM`.
///
/// # Errors
/// As `memfd_create(2)`, `ftruncate(2)` and `fcntl(2)`.
pub fn of_size(bytes: u16) -> Result<OwnedFd, Errno> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a literal.
    let fd = Errno::result(unsafe { libc::memfd_create(c"words".as_ptr(), flags) })?;
    // SAFETY: the kernel returned it to this call; nobody else holds it.
    let file = unsafe { OwnedFd::from_raw_fd(fd) };
    let seals = libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_SEAL;
    // SAFETY: both calls take numbers.
    unsafe {
        Errno::result(libc::ftruncate(file.as_raw_fd(), libc::off_t::from(bytes)))?;
        Errno::result(libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals))?;
    }
    Ok(file)
}

/// What was written, from the beginning, wherever the writers are.
///
/// # Errors
/// As `pread(2)`.
pub fn read<'b>(file: BorrowedFd, into: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    // SAFETY: the buffer outlives the call, and its length is told.
    let read = Errno::result(unsafe {
        libc::pread(file.as_raw_fd(), into.as_mut_ptr().cast(), into.len(), 0)
    })?;
    let read = into.get(..read as usize).unwrap_or_default();
    let end = read.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    Ok(read.get(..end).unwrap_or_default())
}
