//! The life of a process: `prctl(2)`, `wait4(2)`, `execve(2)`, `exit_group(2)`.

use std::{
    ffi::CStr,
    os::fd::{AsRawFd, BorrowedFd, OwnedFd},
};

use nix::{errno::Errno, unistd::Pid};

use super::NOT_DONE;

/// A program's arguments or environment, laid out for `execve` before the fork.
pub struct Vector {
    strings: Vec<std::ffi::CString>,
    pointers: Vec<*const libc::c_char>,
}

impl Vector {
    /// Keeps the strings and points at each.
    pub fn new(strings: Vec<std::ffi::CString>) -> Self {
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Self { strings, pointers }
    }

    /// The strings, in order.
    pub fn strings(&self) -> &[std::ffi::CString] {
        &self.strings
    }
}

/// Becomes another program. Returns only the reason why not.
pub fn execute(program: &CStr, arguments: &Vector, environment: &Vector) -> Errno {
    // SAFETY: both pointer lists end in null and point at strings that live in
    // the same `Vector`, which never changes after `new`.
    unsafe {
        libc::execve(program.as_ptr(), arguments.pointers.as_ptr(), environment.pointers.as_ptr());
    }
    Errno::last()
}

/// Ends the process at once: no handlers, nothing flushed, nothing dropped.
pub fn exit(status: i32) -> ! {
    // SAFETY: `_exit` does not return.
    unsafe { libc::_exit(status) }
}

/// Asks the kernel for SIGKILL when the parent dies, and looks whether it will come.
///
/// # Errors
/// As `prctl(2)`; [`NOT_DONE`].
pub fn die_with_parent() -> Result<(), Errno> {
    prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL as libc::c_ulong)?;
    is_done(super::look::death_signal()? == libc::SIGKILL)
}

/// What a call that said yes is known to be worth.
fn is_done(done: bool) -> Result<(), Errno> {
    if done { Ok(()) } else { Err(NOT_DONE) }
}

/// Lets the owner of the process write its `/proc/PID` files again, after a
/// change of ids took that away (`PR_SET_DUMPABLE`).
///
/// # Errors
/// As `prctl(2)`; [`NOT_DONE`].
pub fn become_dumpable() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 1)?;
    is_done(is_dumpable() == Some(true))
}

/// Hides the process from others of the same user (`PR_SET_DUMPABLE`).
///
/// # Errors
/// As `prctl(2)`; [`NOT_DONE`].
pub fn become_undumpable() -> Result<(), Errno> {
    prctl(libc::PR_SET_DUMPABLE, 0)?;
    is_done(is_dumpable() == Some(false))
}

/// No `execve` gives more than the process has (`PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// As `prctl(2)`.
pub fn no_new_privs() -> Result<(), Errno> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1)
}

/// Whether no `execve` gives more than the process has (`PR_GET_NO_NEW_PRIVS`).
pub fn has_no_new_privs() -> Option<bool> {
    asks(libc::PR_GET_NO_NEW_PRIVS).map(|answer| answer == 1)
}

/// Whether others of the same user may look into the process (`PR_GET_DUMPABLE`).
pub fn is_dumpable() -> Option<bool> {
    asks(libc::PR_GET_DUMPABLE).map(|answer| answer == 1)
}

fn asks(option: libc::c_int) -> Option<libc::c_int> {
    // SAFETY: the options used here take no argument and give a number.
    Errno::result(unsafe { libc::prctl(option, 0, 0, 0, 0) }).ok()
}

fn prctl(option: libc::c_int, value: libc::c_ulong) -> Result<(), Errno> {
    // SAFETY: the options used here take numbers.
    Errno::result(unsafe { libc::prctl(option, value, 0, 0, 0) }).map(drop)
}

/// Whether the kernel gave this program more than its caller had
/// (`AT_SECURE`: set-user-ID, file capabilities).
pub fn is_privileged_by_file() -> bool {
    // SAFETY: `getauxval` takes a number.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// How a child has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ended with this status.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
    /// A signal stopped it.
    Stopped(i32),
    /// Nothing to report just now.
    None,
    /// It cannot be known: this is what waiting for it gave.
    Unknown(Errno),
}

/// The next change of a child, without waiting; an ended child is reaped.
///
/// # Errors
/// As `waitpid(2)`.
pub fn poll_child(pid: i32) -> Result<Change, Errno> {
    wait(pid).map(|(_, change, _)| change)
}

/// The same, and what the child and those it waited for have used so far.
///
/// # Errors
/// As `wait4(2)`.
pub fn poll_child_and_usage(pid: i32) -> Result<(Change, Usage), Errno> {
    wait(pid).map(|(_, change, usage)| (change, usage))
}

/// The next change of any child, without waiting, and whose it is.
///
/// # Errors
/// As `waitpid(2)`.
pub fn poll_any_child() -> Result<(i32, Change), Errno> {
    wait(-1).map(|(pid, change, _)| (pid, change))
}

/// What processes have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Usage {
    /// Time on a processor in user code, in seconds
    pub user: f64,
    /// Time on a processor in the kernel, in seconds
    pub system: f64,
    /// The most memory that one of them had, in KiB
    pub max_rss: i64,
}

/// What the caller's children, and theirs, have used that were waited for
/// (`getrusage(2)`).
pub fn usage_of_children() -> Option<Usage> {
    use nix::sys::{
        resource::{UsageWho, getrusage},
        time::{TimeVal, TimeValLike},
    };
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).ok()?;
    let seconds = |time: TimeVal| time.num_microseconds() as f64 / 1e6;
    Some(Usage {
        user: seconds(usage.user_time()),
        system: seconds(usage.system_time()),
        max_rss: usage.max_rss(),
    })
}

/// Waits for the end of a child, however it ends.
pub fn reap(pid: i32) {
    let wait = || nix::sys::wait::waitpid(Pid::from_raw(pid), None);
    while wait() == Err(Errno::EINTR) {}
}

/// By hand: a real-time signal has no name, and must end nobody's waiting.
fn wait(pid: i32) -> Result<(i32, Change, Usage), Errno> {
    let mut status = 0;
    // SAFETY: all zeros are numbers, which is all there is in it.
    let mut used: libc::rusage = unsafe { std::mem::zeroed() };
    let found = loop {
        // SAFETY: status and usage outlive the call.
        let found = Errno::result(unsafe {
            libc::wait4(pid, &raw mut status, libc::WNOHANG | libc::WUNTRACED, &raw mut used)
        });
        match found {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    let change = match status {
        _ if found == 0 => Change::None,
        status if libc::WIFEXITED(status) => Change::Exited(libc::WEXITSTATUS(status)),
        status if libc::WIFSIGNALED(status) => Change::Killed(libc::WTERMSIG(status)),
        status if libc::WIFSTOPPED(status) => Change::Stopped(libc::WSTOPSIG(status)),
        _ => Change::None,
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    let [user, system] = [used.ru_utime, used.ru_stime].map(seconds);
    Ok((found, change, Usage { user, system, max_rss: used.ru_maxrss }))
}

/// Sends a signal to a process (or, negative, to a process group).
///
/// # Errors
/// As `kill(2)`.
pub fn send(pid: i32, signal: i32) -> Result<(), Errno> {
    // SAFETY: `kill` takes numbers.
    Errno::result(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// This process, as a descriptor that others can wait for.
///
/// # Errors
/// As `pidfd_open(2)`.
pub fn open_own() -> Result<OwnedFd, Errno> {
    let own = libc::c_long::from(own_pid());
    // SAFETY: `pidfd_open` takes numbers.
    let fd = unsafe { super::call(libc::SYS_pidfd_open, [own, 0, 0, 0, 0]) }?;
    Ok(super::descriptor::own(fd))
}

/// A child, as a descriptor that stands for it whatever becomes of its number.
///
/// # Errors
/// As `pidfd_open(2)`.
pub fn open(pid: i32) -> Result<OwnedFd, Errno> {
    // SAFETY: `pidfd_open` takes numbers.
    let fd = unsafe { super::call(libc::SYS_pidfd_open, [libc::c_long::from(pid), 0, 0, 0, 0]) }?;
    Ok(super::descriptor::own(fd))
}

/// Whether a child has ended; it is not reaped.
pub fn has_ended(pid: i32) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    matches!(
        waitid(Id::Pid(Pid::from_raw(pid)), look),
        Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
    )
}

/// Sends SIGKILL to the process that a descriptor stands for.
///
/// # Errors
/// As `pidfd_send_signal(2)`.
pub fn kill(process: BorrowedFd) -> Result<(), Errno> {
    let fd = libc::c_long::from(process.as_raw_fd());
    let arguments = [fd, libc::c_long::from(libc::SIGKILL), 0, 0, 0];
    // SAFETY: without details of the signal, the call takes numbers.
    unsafe { super::call(libc::SYS_pidfd_send_signal, arguments) }.map(drop)
}

/// Ends a child, if it has not ended yet, and reaps it.
pub fn end(process: BorrowedFd) {
    let _ = kill(process);
    let _ = wait_for(process);
}

/// Waits for the end of a child, and reaps it.
///
/// # Errors
/// As `waitid(2)` with `P_PIDFD`.
pub fn wait_for(process: BorrowedFd) -> Result<Change, Errno> {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    loop {
        match waitid(Id::PIDFd(process), WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(_, status)) => return Ok(Change::Exited(status)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(Change::Killed(signal as i32)),
            Ok(_) => return Ok(Change::None),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Whether a process has ended.
pub fn is_over(process: &OwnedFd) -> bool {
    let mut poll = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure, and its count.
    unsafe { libc::poll(&raw mut poll, 1, 0) != 0 }
}

/// This process.
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// Starts a new session, away from the caller's terminal and process group.
///
/// # Errors
/// As `setsid(2)`.
pub fn new_session() -> Result<(), Errno> {
    nix::unistd::setsid().map(drop)
}

/// The process group of the parent, if it is to be seen.
pub fn parent_group() -> Option<i32> {
    let parent = nix::unistd::getppid();
    nix::unistd::getpgid(Some(parent)).ok().map(Pid::as_raw)
}

/// Starts a new process group within the session.
///
/// # Errors
/// As `setpgid(2)`.
pub fn new_group() -> Result<(), Errno> {
    let own = Pid::from_raw(0);
    nix::unistd::setpgid(own, own)
}

/// Whether SIGTSTP would stop a process: it neither handles nor ignores it
/// (`proc_pid_status(5)`). Of one that cannot be looked at, nobody says that it does.
pub fn stops_for_key(pid: i32) -> bool {
    let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/status")) else { return true };
    let has = |field: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        let set = line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok());
        set.unwrap_or(0) & (1 << (libc::SIGTSTP - 1)) != 0
    };
    !has("SigIgn") && !has("SigCgt")
}
