//! How isorecipe says something on standard error, which may be a pipe that
//! nobody reads: a sandbox does not wait for ever to be heard.

use std::{
    io::{self, Write},
    os::fd::AsFd,
    time::{Duration, Instant},
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::{Errno, descriptor};

/// How long a full pipe is waited for, before its reader is taken for gone.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a pipe that is ready takes without waiting (`PIPE_BUF`, `pipe(7)`).
const PIECE: usize = 4096;

/// Says it. Nobody is left to be told that standard error is gone.
pub(super) fn on_stderr(text: &str) {
    let stderr = io::stderr();
    if !descriptor::is_pipe(stderr.as_fd()) {
        let _ = stderr.lock().write_all(text.as_bytes());
        return;
    }
    let until = Instant::now() + PATIENCE;
    for piece in text.as_bytes().chunks(PIECE) {
        if !takes_more(until) || stderr.lock().write_all(piece).is_err() {
            return;
        }
    }
}

/// Waits until the pipe has room; or its reader is gone, which writing tells.
fn takes_more(until: Instant) -> bool {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        let stderr = io::stderr();
        match poll(&mut [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)], timeout) {
            Ok(0) => return false,
            Err(Errno::EINTR) => {}
            // Where it cannot be asked, writing will show.
            Ok(_) | Err(_) => return true,
        }
    }
}
