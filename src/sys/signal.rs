//! Signals as things to wait for: `sigprocmask(2)`, `signalfd(2)`, `sigwaitinfo(2)`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use nix::{
    errno::Errno,
    sys::{
        signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal},
        signalfd::{SfdFlags, SignalFd},
    },
};

use super::NOT_DONE;

/// The name of a signal: `SIGSEGV`. A real-time signal is called by its number.
pub fn name(signal: i32) -> String {
    match Signal::try_from(signal) {
        Ok(known) => known.as_str().to_owned(),
        Err(_) => format!("SIG{signal}"),
    }
}

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
    let before = Before { mask };
    let mut now = SigSet::empty();
    let asked = nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, None, Some(&mut now));
    // Who is told of no end waits for ever.
    let is_held = now.contains(Signal::SIGCHLD);
    match asked.and(if is_held { Ok(()) } else { Err(NOT_DONE) }) {
        Ok(()) => Ok(before),
        // What is held now must not pass for what the caller held.
        Err(errno) => release(&before).and(Err(errno)),
    }
}

/// Holds the signals that ask a program to end, and news of its children;
/// gives a descriptor to read them from. As [`hold`] otherwise.
///
/// # Errors
/// As `sigprocmask(2)` and `signalfd(2)`.
pub fn hold_endings() -> Result<(Before, SignalFd), Errno> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::sigaction(Signal::SIGCHLD, &action) }?;
    let endings =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGCHLD];
    let held = SigSet::from_iter(endings);
    let mut mask = SigSet::empty();
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&held), Some(&mut mask))?;
    let read = SignalFd::with_flags(&held, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    Ok((Before { mask }, read))
}

/// Gives the process the mask it had before [`hold`], and looks whether it has it.
///
/// # Errors
/// As `sigprocmask(2)`; [`NOT_DONE`].
pub fn release(before: &Before) -> Result<(), Errno> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before.mask), None)?;
    let mut now = SigSet::empty();
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, None, Some(&mut now))?;
    if now == before.mask { Ok(()) } else { Err(NOT_DONE) }
}

/// Lets SIGPIPE kill again: Rust ignores it, and ignoring survives `execve`.
///
/// # Errors
/// As `sigaction(2)`; [`NOT_DONE`].
pub fn default_sigpipe() -> Result<(), Errno> {
    let action = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &action) }?;
    // SAFETY: as above; what it was before is what it was set to.
    let now = unsafe { nix::sys::signal::sigaction(Signal::SIGPIPE, &action) }?;
    if matches!(now.handler(), SigHandler::SigDfl) { Ok(()) } else { Err(NOT_DONE) }
}

/// A descriptor from which the held signals can be read.
///
/// # Errors
/// As `signalfd(2)`.
pub fn descriptor() -> Result<SignalFd, Errno> {
    let made =
        SignalFd::with_flags(&SigSet::all(), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
    if made.as_fd().as_raw_fd() > 2 {
        return Ok(made);
    }
    // A standard stream, which is somebody's already: nothing was made.
    std::mem::forget(made);
    Err(NOT_DONE)
}

/// Whether the caller of this program wanted it to be deaf to a signal, as
/// `nohup(1)` does. Of a signal that is held, the descriptor tells all the same.
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: the structure outlives the call, which changes nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// A descriptor that can be read when somebody wants the process to stop.
///
/// # Errors
/// As `signalfd(2)`.
pub fn wish_to_stop() -> Result<SignalFd, Errno> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT] {
        set.add(signal);
    }
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// Lets every signal through.
///
/// # Errors
/// As `sigprocmask(2)`.
pub fn let_all_through() -> Result<(), Errno> {
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)
}

/// Who stops with the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Nobody
    Alone,
    /// Its process group, as if the keyboard had stopped it
    Group,
}

/// Stops the process as the keyboard would, until somebody continues it; says
/// whether it was continued. Where nobody could, in an orphaned process group,
/// the kernel does not stop it (`setpgid(2)`). The signals must be held.
///
/// # Errors
/// As `sigprocmask(2)`.
pub fn stop(along: Along) -> Result<bool, Errno> {
    let own = match along {
        Along::Alone => super::process::own_pid(),
        Along::Group => 0,
    };
    super::process::send(own, libc::SIGTSTP)?;
    let mut stop = SigSet::empty();
    stop.add(Signal::SIGTSTP);
    // Here it stops, and here it goes on.
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&stop), None)?;
    nix::sys::signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&stop), None)?;
    Ok(take_continue())
}

/// Continues the others in the caller's process group.
///
/// # Errors
/// As `kill(2)`.
pub fn continue_group() -> Result<(), Errno> {
    super::process::send(0, libc::SIGCONT)?;
    take_continue();
    Ok(())
}

/// Whether a SIGCONT was held, which is then no more.
fn take_continue() -> bool {
    let mut set = SigSet::empty();
    set.add(Signal::SIGCONT);
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: set and time outlive the call, and no details are asked for.
    let taken = unsafe { libc::sigtimedwait(set.as_ref(), std::ptr::null_mut(), &raw const now) };
    taken == libc::SIGCONT
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

/// Waits until one of two descriptors can be read, or so many milliseconds
/// have gone by; says which.
///
/// # Errors
/// As `poll(2)`.
pub fn poll_two(
    a: impl AsFd,
    b: Option<&OwnedFd>,
    timeout: Option<u16>,
) -> Result<(bool, bool), Errno> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let readable = |fd: &PollFd| fd.revents().is_some_and(|events| !events.is_empty());
    let timeout = timeout.map_or(PollTimeout::NONE, PollTimeout::from);
    let first = PollFd::new(a.as_fd(), PollFlags::POLLIN);
    let Some(b) = b else {
        let mut fds = [first];
        poll(&mut fds, timeout)?;
        return Ok((readable(&fds[0]), false));
    };
    let mut fds = [first, PollFd::new(b.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, timeout)?;
    Ok((readable(&fds[0]), readable(&fds[1])))
}
