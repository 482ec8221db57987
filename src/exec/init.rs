//! The process that waits for another: init in a PID namespace, or the one
//! that had to fork to get into it.
//!
//! It reaps what is orphaned, passes signals on, and ends as the command
//! ended; with it, the kernel ends the namespace (`pid_namespaces(7)`).

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::{
    descriptor,
    process::{self, Change},
    signal,
};

use super::{child::GAVE_UP, turn};

/// Waits for the command, and ends like it; this signal stops it.
pub(super) fn stay(command: i32, end: BorrowedFd, stop: i32) -> ! {
    close_all_but(end);
    loop {
        match signal::wait() {
            Some(libc::SIGCHLD) => reap(command, end),
            Some(libc::SIGTSTP) => pass_on(command, stop),
            Some(signal) => pass_on(command, signal),
            None => {}
        }
    }
}

fn reap(command: i32, end: BorrowedFd) {
    loop {
        let (pid, change) = match process::poll_any_child() {
            Ok(found) => found,
            // No child is left, or none can be heard of: nothing more will come.
            Err(errno) => {
                let _ = turn::unheard(end, errno);
                process::exit(GAVE_UP)
            }
        };
        match change {
            Change::Exited(status) if pid == command => process::exit(status),
            Change::Killed(signal) if pid == command => {
                let _ = turn::killed(end, signal);
                process::exit(128 + signal)
            }
            Change::Stopped(signal) if pid == command => {
                let _ = turn::stopped(end, signal);
            }
            Change::None => return,
            _ => {}
        }
    }
}

/// What comes from a keyboard, a window or a job control shell is for the
/// whole group of the command, as it would be without us; the rest is for the
/// command itself.
pub(super) fn pass_on(command: i32, signal: i32) {
    let is_for_group = matches!(
        signal,
        libc::SIGINT
            | libc::SIGQUIT
            | libc::SIGTSTP
            | libc::SIGSTOP
            | libc::SIGCONT
            | libc::SIGWINCH
    );
    // Until it has come to make its group, the command is alone.
    if !is_for_group || process::send(-command, signal).is_err() {
        let _ = process::send(command, signal);
    }
}

/// What the steps held open is not for a process that stays.
fn close_all_but(end: BorrowedFd) {
    let end = end.as_raw_fd();
    for first in 3..end {
        descriptor::close(first);
    }
    let _ = descriptor::close_from(end + 1);
}
