//! Programs that work for us and end with us: `prctl(2)`, `user_namespaces(7)`.

use std::{
    ffi::CStr,
    io,
    os::{
        fd::{AsRawFd, RawFd},
        unix::process::CommandExt,
    },
    process::{Child, Command},
};

use nix::errno::Errno;

use super::{descriptor, namespace, process};

/// The lines of `uid_map` and `gid_map` that make the caller root inside.
pub struct RootInside {
    uid_map: String,
    gid_map: String,
}

impl RootInside {
    /// For the process's own ids.
    pub fn of_caller() -> Self {
        let line = |id: u32| format!("0 {id} 1");
        Self {
            uid_map: line(nix::unistd::geteuid().as_raw()),
            gid_map: line(nix::unistd::getegid().as_raw()),
        }
    }

    /// Moves the process into a user namespace where it is root. Allocates nothing.
    fn enter(&self) -> Result<(), Errno> {
        namespace::unshare(namespace::Namespace::User)?;
        write(c"/proc/self/setgroups", b"deny")?;
        write(c"/proc/self/uid_map", self.uid_map.as_bytes())?;
        write(c"/proc/self/gid_map", self.gid_map.as_bytes())
    }
}

/// Starts a program in `folder`, as root of a user namespace of its own if
/// `root` is there, and has the kernel kill it when this process ends.
///
/// # Errors
/// Of `fork(2)`, `unshare(2)`, `execve(2)` and the files of `user_namespaces(7)`.
pub fn start(
    command: &mut Command,
    folder: impl AsRawFd,
    root: Option<RootInside>,
) -> io::Result<Child> {
    let parent = process::own_pid();
    let folder: RawFd = folder.as_raw_fd();
    let prepare = move || -> io::Result<()> {
        if let Some(root) = &root {
            root.enter()?;
        }
        // Last, because a change of credentials takes it back.
        process::die_with_parent()?;
        if nix::unistd::getppid().as_raw() != parent {
            return Err(Errno::ESRCH.into());
        }
        // SAFETY: `fchdir` takes a number; the folder stays open until the fork is over.
        Errno::result(unsafe { libc::fchdir(folder) })?;
        Ok(())
    };
    // SAFETY: between fork and execve it borrows and makes system calls, nothing else.
    unsafe { command.pre_exec(prepare) }.spawn()
}

fn write(path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the path is a literal.
    let fd = Errno::result(unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) })?;
    descriptor::write_once(descriptor::own(libc::c_long::from(fd)), bytes)
}
