//! Waiting for the first of several things: `poll(2)`.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::errno::Errno;

/// Waits until a process has ended, somebody wants to stop, or the mounts that
/// a `mountinfo` shows have changed (`proc_pid_mountinfo(5)`); says whether each is so.
///
/// # Errors
/// As `poll(2)`.
pub fn for_any(
    process: BorrowedFd,
    stop: BorrowedFd,
    mounts: Option<BorrowedFd>,
) -> Result<[bool; 3], Errno> {
    // A negative number is passed over.
    let mounts = mounts.map_or(-1, |mounts| mounts.as_raw_fd());
    first_of(process, stop, (mounts, libc::POLLPRI))
}

/// The same, with something to read in the place of the mounts.
///
/// # Errors
/// As `poll(2)`.
pub fn for_words(
    process: BorrowedFd,
    stop: BorrowedFd,
    words: BorrowedFd,
) -> Result<[bool; 3], Errno> {
    first_of(process, stop, (words.as_raw_fd(), libc::POLLIN))
}

fn first_of(
    process: BorrowedFd,
    stop: BorrowedFd,
    (third, events): (RawFd, libc::c_short),
) -> Result<[bool; 3], Errno> {
    let poll = |fd: i32, events| libc::pollfd { fd, events, revents: 0 };
    let mut all = [
        poll(process.as_raw_fd(), libc::POLLIN),
        poll(stop.as_raw_fd(), libc::POLLIN),
        poll(third, events),
    ];
    loop {
        // SAFETY: the structures outlive the call, and their count is told.
        match Errno::result(unsafe { libc::poll(all.as_mut_ptr(), 3, -1) }) {
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
            Ok(_) => return Ok(all.map(|one| one.revents != 0)),
        }
    }
}
