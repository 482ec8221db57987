//! The hostile program: one binary that needs nothing of the sandbox but a
//! loader. Every attempt runs in a process of its own, so that a filter that
//! kills stops one attempt and not the suite.

use std::{
    ffi::CString,
    fs::File,
    io::{Read, Write},
    os::fd::FromRawFd,
};

use super::check::{Cannot, Check, Facts, Held, How, Verdict};

pub mod calls;
pub mod files;
pub mod inherited;
pub mod knobs;
pub mod mounts;
pub mod network;
pub mod runner;
pub mod scenes;

/// The calling thread's last errno.
pub fn errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

pub fn named(errno: i32) -> String {
    format!("{:?}", nix::errno::Errno::from_raw(errno))
}

/// A system call by number, with up to six arguments: its answer, or its errno.
pub fn call(number: i64, arguments: &[usize]) -> Result<i64, i32> {
    let at = |index: usize| arguments.get(index).copied().unwrap_or(0);
    // SAFETY: the callers pass pointers to what outlives the call, or none.
    let answer = unsafe { libc::syscall(number, at(0), at(1), at(2), at(3), at(4), at(5)) };
    if answer < 0 { Err(errno()) } else { Ok(answer) }
}

pub fn c(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// What an attempt that must not work came to.
pub fn refused<T>(found: Result<T, i32>, what: &str) -> Verdict {
    match found {
        Ok(_) => super::check::Broke(format!("{what} worked")),
        Err(errno) => Held(format!("{what}: {}", named(errno))),
    }
}

/// The first of several attempts that broke; held if all did.
pub fn all(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let mut held = Vec::new();
    let mut cannot = None;
    for verdict in verdicts {
        match verdict {
            Held(words) => held.push(words),
            Cannot(words) => cannot = Some(words),
            broke => return broke,
        }
    }
    match (held.is_empty(), cannot) {
        (true, Some(words)) => Cannot(words),
        _ => Held(held.join(", ").chars().take(160).collect()),
    }
}

/// Tries it in a child, which may be killed for it.
pub fn apart(attempt: impl FnOnce() -> Verdict) -> Verdict {
    let mut ends = [0; 2];
    // SAFETY: the array outlives the call.
    if unsafe { libc::pipe(ends.as_mut_ptr()) } != 0 {
        return Cannot(format!("pipe: {}", named(errno())));
    }
    // SAFETY: this process has one thread.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Cannot(format!("fork: {}", named(errno()))),
        0 => {
            // SAFETY: the descriptor is this process's own; the alarm ends who waits for ever.
            let mut end = unsafe {
                libc::close(ends[0]);
                libc::alarm(8);
                File::from_raw_fd(ends[1])
            };
            let _ = end.write_all(attempt().line("x").as_bytes());
            // SAFETY: ends this process.
            unsafe { libc::_exit(0) }
        }
        pid => {
            // SAFETY: the descriptor is this process's own.
            let mut end = unsafe {
                libc::close(ends[1]);
                File::from_raw_fd(ends[0])
            };
            let mut said = String::new();
            let _ = end.read_to_string(&mut said);
            let mut status = 0;
            // SAFETY: the status outlives the call.
            unsafe { libc::waitpid(pid, &raw mut status, 0) };
            match said.lines().find_map(Verdict::parse) {
                Some((_, verdict)) => verdict,
                None if libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGSYS => {
                    Held("killed by the filter".to_owned())
                }
                None => Cannot(format!("the attempt ended with status {status:#x}")),
            }
        }
    }
}

/// Everything that is tried from inside, one line each; then it waits to be looked at.
pub fn attack(checks: &[&[Check]], mut facts: Facts) {
    // SAFETY: asks about this process.
    let parent = unsafe { libc::getppid() };
    facts.0.insert("parent".to_owned(), parent.to_string());
    let facts = &facts;
    for check in checks.iter().copied().flatten() {
        if let How::Inside(attempt) = check.how {
            say(&apart(|| attempt(facts)).line(check.name));
        }
    }
    say("\n@done\n");
    // Until the driver has seen enough.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

pub fn say(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

pub fn read(path: &str) -> Result<String, i32> {
    let bytes = std::fs::read(path).map_err(|error| error.raw_os_error().unwrap_or(0))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line of `/proc/self/status`, or of another process's.
pub fn status(pid: &str, field: &str) -> Result<String, i32> {
    let text = read(&format!("/proc/{pid}/status"))?;
    let found = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    Ok(found.unwrap_or_default().trim().to_owned())
}

/// Opens a file, and closes it again.
pub fn open(path: &str, flags: i32) -> Result<(), i32> {
    let path = c(path);
    let fd = call(
        libc::SYS_openat,
        &[libc::AT_FDCWD as usize, path.as_ptr() as usize, (flags | libc::O_CLOEXEC) as usize],
    )?;
    close(fd);
    Ok(())
}

pub fn close(fd: i64) {
    let _ = call(libc::SYS_close, &[fd as usize]);
}

/// The processes that this one sees.
pub fn pids() -> Vec<String> {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = all.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

pub fn own_pid() -> String {
    std::process::id().to_string()
}
