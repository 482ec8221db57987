//! Runners that are weak on purpose, each in its own way: a check that fails
//! under none of them shows nothing.

use std::{os::unix::process::CommandExt, process::Command};

use super::payload::{c, call};

/// By name; each executes, or runs, the words behind it.
pub const NAMES: [&str; 6] = ["none", "first", "fd0", "deaf", "apart", "setgid"];

/// Plays a weak runner, and gives the status to end with.
pub fn run(name: &str, words: &[String]) -> i32 {
    let Some((program, arguments)) = words.split_first() else { return 120 };
    let mut command = Command::new(program);
    command.args(arguments);
    match name {
        // Whatever the kernel lets the caller do.
        "none" => {}
        // Namespaces and no init: the payload is PID 1, with every right there.
        "first" => unshare(&mut command),
        // A file of its own behind the first stream that was closed.
        "fd0" => open_where_closed(),
        // Its status is lost where SIGCHLD is ignored, and its signals are blocked.
        "deaf" => return deaf(&mut command),
        // A runner that stays as PID 1, dumpable, of the same user, without reaping.
        "apart" => {
            unshare(&mut command);
            return stay(&mut command);
        }
        // Nothing is left of root but the right to change groups.
        "setgid" => drop_all_but_setgid(),
        _ => return 120,
    }
    eprintln!("abuse: {}", command.exec());
    126
}

fn unshare(command: &mut Command) {
    // SAFETY: asks about this process.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    let kinds = libc::CLONE_NEWNS | libc::CLONE_NEWPID;
    if uid != 0 {
        let _ = call(libc::SYS_unshare, &[(kinds | libc::CLONE_NEWUSER) as usize]);
        let _ = std::fs::write("/proc/self/setgroups", "deny");
        let _ = std::fs::write("/proc/self/uid_map", format!("0 {uid} 1"));
        let _ = std::fs::write("/proc/self/gid_map", format!("0 {gid} 1"));
    } else {
        let _ = call(libc::SYS_unshare, &[kinds as usize]);
    }
    let (none, root) = (c("none"), c("/"));
    let private = (libc::MS_REC | libc::MS_PRIVATE) as usize;
    let _ = call(libc::SYS_mount, &[none.as_ptr() as usize, root.as_ptr() as usize, 0, private, 0]);
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    if pid > 0 {
        let mut status = 0;
        // SAFETY: the status outlives the call.
        unsafe {
            libc::waitpid(pid, &raw mut status, 0);
            libc::_exit(libc::WEXITSTATUS(status));
        }
    }
    let (proc, at, kind) = (c("proc"), c("/proc"), c("proc"));
    let arguments = [proc.as_ptr() as usize, at.as_ptr() as usize, kind.as_ptr() as usize, 0, 0];
    let _ = call(libc::SYS_mount, &arguments);
    // A read-only bind that nothing locks.
    let usr = c("/usr");
    for flags in [libc::MS_BIND, libc::MS_BIND | libc::MS_REMOUNT | libc::MS_RDONLY] {
        let _ = call(
            libc::SYS_mount,
            &[usr.as_ptr() as usize, usr.as_ptr() as usize, 0, flags as usize, 0],
        );
    }
    command.env("ABUSE_WEAK", "1");
}

fn open_where_closed() {
    // The standard library has put something there.
    let is_null = |fd| super::payload::files::is_null(fd);
    for fd in (0..3).filter(|fd| is_null(*fd)) {
        super::payload::close(fd);
    }
    let path = c("/etc/passwd");
    let open = |_| call(libc::SYS_openat, &[libc::AT_FDCWD as usize, path.as_ptr() as usize, 0]);
    let _: Vec<_> = (0..3).map(open).collect();
}

fn deaf(command: &mut Command) -> i32 {
    // SAFETY: dispositions and a mask of this process's own, kept by what it executes.
    unsafe {
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        command.pre_exec(move || {
            libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            Ok(())
        });
    }
    command.status().ok().and_then(|status| status.code()).unwrap_or(0)
}

fn stay(command: &mut Command) -> i32 {
    let Ok(child) = command.spawn() else { return 126 };
    let mut status = 0;
    // SAFETY: the status outlives the call; nobody else is waited for.
    unsafe { libc::waitpid(child.id() as i32, &raw mut status, 0) };
    libc::WEXITSTATUS(status)
}

fn drop_all_but_setgid() {
    const SETGID: usize = 6;
    const PR_CAPBSET_DROP: usize = 24;
    for capability in (0..64).filter(|number| *number != SETGID) {
        let _ = call(libc::SYS_prctl, &[PR_CAPBSET_DROP, capability]);
    }
}
