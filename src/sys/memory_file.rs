//! Files in memory: `memfd_create(2)`.
//!
//! What a program says goes into one of a size that nobody can change: it never
//! has to wait for a reader, and more than the size is not kept. What a program
//! is to read comes in one that nobody can write to any more.

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use nix::errno::Errno;

/// An empty file of this many bytes; writing behind them gives `EPERM`.
///
/// # Errors
/// As `memfd_create(2)`, `ftruncate(2)` and `fcntl(2)`.
pub fn of_size(bytes: u16) -> Result<OwnedFd, Errno> {
    let file = empty(c"words")?;
    // SAFETY: the call takes numbers.
    Errno::result(unsafe { libc::ftruncate(file.as_raw_fd(), libc::off_t::from(bytes)) })?;
    seal(&file, libc::F_SEAL_GROW | libc::F_SEAL_SHRINK)?;
    Ok(file)
}

/// A file with this in it, to be read from the beginning; writing gives `EPERM`.
///
/// # Errors
/// As `memfd_create(2)`, `pwrite(2)` and `fcntl(2)`.
pub fn with(content: &[u8]) -> Result<OwnedFd, Errno> {
    let file = empty(c"input")?;
    let mut done = 0;
    while let Some(rest) = content.get(done..).filter(|rest| !rest.is_empty()) {
        match nix::sys::uio::pwrite(&file, rest, done as libc::off_t) {
            Ok(0) => return Err(Errno::EIO),
            Ok(written) => done += written,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    seal(&file, libc::F_SEAL_GROW | libc::F_SEAL_SHRINK | libc::F_SEAL_WRITE)?;
    Ok(file)
}

fn empty(name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name outlives the call.
    let fd = Errno::result(unsafe { libc::memfd_create(name.as_ptr(), flags) })?;
    // SAFETY: the kernel returned it to this call; nobody else holds it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn seal(file: &OwnedFd, seals: libc::c_int) -> Result<(), Errno> {
    // SAFETY: the call takes numbers.
    Errno::result(unsafe {
        libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals | libc::F_SEAL_SEAL)
    })
    .map(drop)
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
