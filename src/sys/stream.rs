//! A pipe in the place of a standard stream: `pipe2(2)`, `poll(2)`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    unistd::pipe2,
};

/// A pipe that nobody waits at to read: the end to read from, and the one to write to.
///
/// # Errors
/// As `pipe2(2)` and `fcntl(2)`.
pub fn pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (from, to) = pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&from, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((from, to))
}

/// Whether two descriptors lead to the same place.
///
/// # Errors
/// As `fstat(2)`.
pub fn is_same(a: BorrowedFd, b: BorrowedFd) -> Result<bool, Errno> {
    let place = |fd| nix::sys::stat::fstat(fd).map(|found| (found.st_dev, found.st_ino));
    Ok(place(a)? == place(b)?)
}

/// Whether up to 4096 bytes (`PIPE_BUF`) can be written without waiting.
pub fn takes_more(to: BorrowedFd) -> bool {
    let mut fds = [PollFd::new(to, PollFlags::POLLOUT)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// What is waited for of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That something can be read
    Read,
    /// That something can be written
    Write,
}

impl Wish {
    fn poll(self, fd: BorrowedFd) -> PollFd {
        match self {
            Wish::Read => PollFd::new(fd, PollFlags::POLLIN),
            Wish::Write => PollFd::new(fd, PollFlags::POLLOUT),
        }
    }
}

/// Waits until one of these wishes comes true, or so many milliseconds have gone
/// by; says of each whether it has.
///
/// # Errors
/// As `poll(2)`.
pub fn poll_wishes(
    wishes: &[(BorrowedFd, Wish)],
    timeout: Option<u16>,
) -> Result<Vec<bool>, Errno> {
    let mut fds: Vec<PollFd> = wishes.iter().map(|(fd, wish)| wish.poll(*fd)).collect();
    poll(&mut fds, timeout.map_or(PollTimeout::NONE, PollTimeout::from))?;
    let is_ready = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
    Ok(fds.iter().map(is_ready).collect())
}

/// Waits until a descriptor can be read, or another, or a wish comes true, or so
/// many milliseconds have gone by; says which of the first two.
///
/// # Errors
/// As `poll(2)`.
pub fn poll_all(
    a: impl AsFd,
    b: Option<&OwnedFd>,
    wishes: &[(BorrowedFd, Wish)],
    timeout: Option<u16>,
) -> Result<(bool, bool), Errno> {
    let to_read = |fd| PollFd::new(fd, PollFlags::POLLIN);
    let mut fds = vec![to_read(a.as_fd())];
    fds.extend(b.map(|b| to_read(b.as_fd())));
    fds.extend(wishes.iter().map(|(fd, wish)| wish.poll(*fd)));
    poll(&mut fds, timeout.map_or(PollTimeout::NONE, PollTimeout::from))?;
    let is_ready =
        |at: usize| fds.get(at).and_then(PollFd::revents).is_some_and(|events| !events.is_empty());
    Ok((is_ready(0), b.is_some() && is_ready(1)))
}
