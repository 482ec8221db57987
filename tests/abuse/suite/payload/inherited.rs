//! What the caller had, and a payload must not.

use super::{
    super::check::{Broke, Cannot, Check, Facts, Held, How, Scene, Verdict},
    all, c, call, named, open, read, status,
};

pub const CHECKS: &[Check] = &[
    Check { name: "fd_leak", how: How::Inside(fd_leak) },
    Check { name: "fd_escape", how: How::Inside(fd_escape) },
    Check { name: "cwd_escape", how: How::Inside(cwd_escape) },
    Check { name: "keyring", how: How::Inside(keyring) },
    Check { name: "user_keyring", how: How::Inside(user_keyring) },
    Check { name: "env_leak", how: How::Inside(env_leak) },
    Check { name: "sigstate", how: How::Inside(sigstate) },
    Check { name: "tiocsti", how: How::Alone(Scene::Terminal) },
    Check { name: "tioclinux", how: How::Inside(tioclinux) },
    Check { name: "kill_pgrp", how: How::Alone(Scene::Group) },
    Check { name: "sigchld_ignored", how: How::Alone(Scene::IgnoredChild) },
    Check { name: "closed_stdio", how: How::Alone(Scene::ClosedStreams) },
    Check { name: "core_dump", how: How::Inside(core_dump) },
    Check { name: "setgroups", how: How::Inside(setgroups) },
];

fn fd_leak(_: &Facts) -> Verdict {
    // SAFETY: asks about a number.
    let open = (3..1024).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0);
    let (pipes, others): (Vec<i32>, Vec<i32>) = open.partition(|fd| is_pipe(*fd));
    // One end of a pipe is the attempt's own.
    Verdict::broke_if(
        pipes.len() > 1 || !others.is_empty(),
        format!("open: {others:?}, pipes: {pipes:?}"),
    )
}

fn is_pipe(fd: i32) -> bool {
    // SAFETY: the structure outlives the call, and is zeros otherwise.
    let mode = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        libc::fstat(fd, &raw mut stat);
        stat.st_mode
    };
    mode & libc::S_IFMT == libc::S_IFIFO
}

fn fd_escape(facts: &Facts) -> Verdict {
    let marker = facts.get("marker").trim_start_matches('/').to_owned();
    let path = c(&marker);
    let tried = (3..1024).map(|fd: usize| {
        call(libc::SYS_openat, &[fd, path.as_ptr() as usize, libc::O_RDONLY as usize])
    });
    match tried.into_iter().find_map(Result::ok) {
        Some(_) => Broke("opened the marker through a directory".to_owned()),
        None => Held("no descriptor leads there".to_owned()),
    }
}

fn cwd_escape(facts: &Facts) -> Verdict {
    let up = "../".repeat(40) + facts.get("marker").trim_start_matches('/');
    let plain = open(&up, libc::O_RDONLY);
    let through = open(&format!("/proc/self/cwd/{up}"), libc::O_RDONLY);
    all([super::refused(plain, "../…"), super::refused(through, "/proc/self/cwd/../…")])
}

const USER: &[u8] = b"user\0";
const KEYCTL_SEARCH: usize = 10;
const KEYCTL_READ: usize = 11;

fn key_in(ring: i32, facts: &Facts) -> Verdict {
    let name = c(facts.get("key"));
    let found = call(
        libc::SYS_keyctl,
        &[KEYCTL_SEARCH, ring as usize, USER.as_ptr() as usize, name.as_ptr() as usize],
    );
    let key = match found {
        Ok(key) => key,
        Err(errno) => return Held(format!("keyctl: {}", named(errno))),
    };
    let mut text = [0_u8; 32];
    let read = call(
        libc::SYS_keyctl,
        &[KEYCTL_READ, key as usize, text.as_mut_ptr() as usize, text.len()],
    );
    match read {
        Ok(_) => Broke("read the caller's key".to_owned()),
        Err(errno) => Broke(format!("found the caller's key (reading it: {})", named(errno))),
    }
}

fn keyring(facts: &Facts) -> Verdict {
    const SESSION: i32 = -3;
    if facts.get("key").is_empty() {
        return Cannot("the driver could not add a key".to_owned());
    }
    let name = c(facts.get("key"));
    let requested =
        call(libc::SYS_request_key, &[USER.as_ptr() as usize, name.as_ptr() as usize, 0, 0]);
    all([key_in(SESSION, facts), super::refused(requested, "request_key")])
}

fn user_keyring(facts: &Facts) -> Verdict {
    const OWN: i32 = -4;
    if facts.get("key").is_empty() {
        return Cannot("the driver could not add a key".to_owned());
    }
    key_in(OWN, &Facts([("key".to_owned(), facts.get("user_key").to_owned())].into()))
}

fn env_leak(_: &Facts) -> Verdict {
    let found = std::env::var("ABUSE_SECRET");
    Verdict::broke_if(found.is_ok(), format!("ABUSE_SECRET={}", found.unwrap_or_default()))
}

fn sigstate(_: &Facts) -> Verdict {
    let mask =
        |field: &str| status("self", field).map(|hex| u64::from_str_radix(&hex, 16).unwrap_or(0));
    match (mask("SigBlk"), mask("SigIgn")) {
        (Ok(blocked), Ok(ignored)) => {
            // The standard library of the payload ignores SIGPIPE itself, and the
            // C library of a caller that used posix_spawn its own 32 and 33.
            let own =
                [libc::SIGPIPE, 32, 33].iter().fold(0, |set, signal| set | 1_u64 << (signal - 1));
            let ignored = ignored & !own;
            Verdict::broke_if(
                blocked != 0 || ignored != 0,
                format!("blocked {blocked:#x}, ignored {ignored:#x}"),
            )
        }
        _ => Cannot("no /proc".to_owned()),
    }
}

/// On a terminal that is no console it says ENOTTY; only a filter says something else.
fn tioclinux(_: &Facts) -> Verdict {
    const TIOCLINUX: usize = 0x541c;
    const PASTE: &[u8] = &[3];
    let found = call(libc::SYS_ioctl, &[0, TIOCLINUX, PASTE.as_ptr() as usize]);
    Verdict::broke_if(found != Err(libc::EPERM), format!("ioctl: {:?}", found.map_err(named)))
}

fn core_dump(_: &Facts) -> Verdict {
    let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
    // SAFETY: the structure outlives the call.
    unsafe { libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit) };
    let piped = read("/proc/sys/kernel/core_pattern").is_ok_and(|text| text.starts_with('|'));
    // To a program the limit 1 means none, everything else is a dump.
    let is_off = limit.rlim_max == 0 && !piped || limit.rlim_max <= 1;
    Verdict::broke_if(!is_off, format!("hard limit {:#x}", limit.rlim_max))
}

/// A negative rule: others may read it, the group may not (CVE-2014-8989).
fn setgroups(facts: &Facts) -> Verdict {
    let path = facts.get("denied");
    if path.is_empty() {
        return Cannot("it takes root to prepare".to_owned());
    }
    if open(path, libc::O_RDONLY).is_ok() {
        return Held("it was not in the group any more".to_owned());
    }
    if open(path, libc::O_PATH).is_err() {
        return Cannot("the file is not shown".to_owned());
    }
    match call(libc::SYS_setgroups, &[0, 0]) {
        Ok(_) => super::refused(open(path, libc::O_RDONLY), "setgroups, then the denied file"),
        Err(errno) => Held(format!("setgroups: {}", named(errno))),
    }
}
