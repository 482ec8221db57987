//! Who holds a file: record locks (`fcntl(2)`, "Advisory record locking").
//!
//! They belong to a process, not to a descriptor: a fork does not inherit
//! them, the end of the process is theirs, and anybody who may open the file
//! can ask who holds it without holding it.

use std::os::fd::AsFd;

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, fcntl},
};

/// Who holds a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody: who held it has ended
    Nobody,
    /// The process with this PID
    Process(i32),
    /// A process that the asker's PID namespace does not count
    OutOfSight,
}

/// Holds a whole file that is open for writing, until this process ends or
/// closes any descriptor of it.
///
/// # Errors
/// `EAGAIN` or `EACCES` if another process holds it; otherwise as `fcntl(2)`.
pub fn hold(file: impl AsFd) -> Result<(), Errno> {
    fcntl(file, FcntlArg::F_SETLK(&whole_file())).map(drop)
}

/// Who holds a file; the asker itself does not count.
///
/// # Errors
/// As `fcntl(2)`.
pub fn holder(file: impl AsFd) -> Result<Holder, Errno> {
    let mut lock = whole_file();
    fcntl(file, FcntlArg::F_GETLK(&mut lock))?;
    Ok(match lock.l_pid {
        _ if i32::from(lock.l_type) == libc::F_UNLCK => Holder::Nobody,
        pid @ 1.. => Holder::Process(pid),
        _ => Holder::OutOfSight,
    })
}

fn whole_file() -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}
