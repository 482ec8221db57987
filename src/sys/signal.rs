//! Signals as things to wait for: `sigprocmask(2)`, `signalfd(2)`, `sigwaitinfo(2)`.

use std::os::fd::{AsFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

/// What was blocked or ignored before isorecipe began to listen; the command
/// gets it back.
#[derive(Clone, Copy)]
pub struct Before {
    mask: SigSet,
}

/// Blocks every signal, so that they are read instead of delivered.
///
/// SIGCHLD gets its default action: a caller that ignored it would make the
/// kernel reap our children behind our back.
///
/// # Errors
/// As `sigprocmask(2)`.
pub fn hold() -> Result<Before, Errno> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &action) }?;
    let mut mask = SigSet::empty();
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), Some(&mut mask))?;
    Ok(Before { mask })
}

/// Gives the process the mask it had before [`hold`].
///
/// # Errors
/// As `sigprocmask(2)`.
pub fn release(before: &Before) -> Result<(), Errno> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before.mask), None)
}

/// Lets SIGPIPE kill again: Rust ignores it, and ignoring survives `execve`.
///
/// # Errors
/// As `sigaction(2)`.
pub fn default_sigpipe() -> Result<(), Errno> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &action) }.map(drop)
}

/// A descriptor from which the held signals can be read.
///
/// # Errors
/// As `signalfd(2)`.
pub fn descriptor() -> Result<SignalFd, Errno> {
    SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// The next held signal, waiting for it; `None` when the wait was cut short.
pub fn wait() -> Option<i32> {
    let set = SigSet::all();
    // SAFETY: the set outlives the call, and no details are asked for.
    let signal = unsafe { libc::sigwaitinfo(set.as_ref(), std::ptr::null_mut()) };
    (signal > 0).then_some(signal)
}

/// The next signal of a descriptor, or `None` when there is none just now.
pub fn next(from: &SignalFd) -> Option<i32> {
    let found = from.read_signal().ok().flatten()?;
    i32::try_from(found.ssi_signo).ok()
}

/// Waits until one of two descriptors can be read; says which.
///
/// # Errors
/// As `poll(2)`.
pub fn poll_two(a: impl AsFd, b: Option<&OwnedFd>) -> Result<(bool, bool), Errno> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let readable = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
    let first = PollFd::new(a.as_fd(), PollFlags::POLLIN);
    let Some(b) = b else {
        let mut fds = [first];
        poll(&mut fds, PollTimeout::NONE)?;
        return Ok((true, false));
    };
    let mut fds = [first, PollFd::new(b.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::NONE)?;
    Ok((readable(&fds[0]), readable(&fds[1])))
}
