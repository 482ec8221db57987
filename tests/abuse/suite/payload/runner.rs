//! The runner and its init, attacked by what they run; and other processes.

use std::os::fd::AsRawFd;

use super::{
    super::check::{Broke, Check, Facts, Held, How, Scene, Verdict},
    all, call, named, open, own_pid, pids, read, refused, status,
};

pub const CHECKS: &[Check] = &[
    Check { name: "exe_overwrite", how: How::Inside(exe_overwrite) },
    Check { name: "helper_ptrace", how: How::Inside(helper_ptrace) },
    Check { name: "helper_mem", how: How::Inside(helper_mem) },
    Check { name: "helper_fds", how: How::Inside(helper_fds) },
    Check { name: "pid1", how: How::Inside(pid1) },
    Check { name: "ptrace_victim", how: How::Inside(ptrace_victim) },
    Check { name: "signal_victim", how: How::Inside(signal_victim) },
    Check { name: "host_processes", how: How::Inside(host_processes) },
    Check { name: "proc_root", how: How::Inside(proc_root) },
    Check { name: "setns", how: How::Inside(setns) },
    Check { name: "exit_status", how: How::Alone(Scene::Statuses) },
    Check { name: "background_left", how: How::Alone(Scene::Background) },
    Check { name: "zombies", how: How::Alone(Scene::Zombies) },
    Check { name: "orphan_kill9", how: How::Alone(Scene::Dies(libc::SIGKILL)) },
    Check { name: "orphan_term", how: How::Alone(Scene::Dies(libc::SIGTERM)) },
    Check { name: "orphan_int", how: How::Alone(Scene::Dies(libc::SIGINT)) },
    Check { name: "orphan_hup", how: How::Alone(Scene::Dies(libc::SIGHUP)) },
];

/// Every process in sight that is not the suite's own program.
fn others() -> Vec<String> {
    let own = std::fs::read_link("/proc/self/exe").ok();
    let is_ours = |pid: &String| {
        *pid == own_pid()
            || own.is_some() && std::fs::read_link(format!("/proc/{pid}/exe")).ok() == own
    };
    pids().into_iter().filter(|pid| !is_ours(pid)).collect()
}

fn exe_overwrite(_: &Facts) -> Verdict {
    let tried = others().into_iter().map(|pid| {
        match open(&format!("/proc/{pid}/exe"), libc::O_WRONLY) {
            Ok(()) => Broke(format!("opened the program of {pid}")),
            // Only in the way while it runs, and on some kernels not even then.
            Err(libc::ETXTBSY) => Broke(format!("nothing but ETXTBSY, for {pid}")),
            Err(errno) => Held(format!("{pid}: {}", named(errno))),
        }
    });
    all(tried)
}

/// The runner's process inside: PID 1 of its own, or whoever the payload's parent is.
fn helpers(facts: &Facts) -> Vec<String> {
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
    let first = (own.to_string_lossy() != facts.get("pid_namespace")).then_some("1");
    let others = others();
    let all = first.into_iter().chain([facts.get("parent")]);
    all.map(str::to_owned).filter(|pid| others.contains(pid)).collect()
}

const PTRACE_SEIZE: usize = 0x4206;
const PTRACE_DETACH: usize = 17;

fn trace(pid: &str) -> Verdict {
    let number: usize = pid.parse().unwrap_or(0);
    let found = call(libc::SYS_ptrace, &[PTRACE_SEIZE, number]);
    if found.is_ok() {
        let _ = call(libc::SYS_ptrace, &[PTRACE_DETACH, number]);
    }
    refused(found, &format!("PTRACE_SEIZE of {pid}"))
}

fn helper_ptrace(facts: &Facts) -> Verdict {
    all(helpers(facts).iter().map(|pid| trace(pid)))
}

fn helper_mem(facts: &Facts) -> Verdict {
    all(helpers(facts).iter().flat_map(|pid| {
        ["mem", "environ", "maps"].map(|file| {
            let flags = if file == "mem" { libc::O_RDWR } else { libc::O_RDONLY };
            let path = format!("/proc/{pid}/{file}");
            // It may be opened and still give nothing.
            let found = match file {
                "mem" => open(&path, flags),
                _ => read(&path)
                    .and_then(|text| if text.is_empty() { Err(libc::EACCES) } else { Ok(()) }),
            };
            refused(found, &path)
        })
    }))
}

fn helper_fds(facts: &Facts) -> Verdict {
    const PIDFD_GETFD: i64 = 438;
    all(helpers(facts).iter().flat_map(|pid| {
        let number: usize = pid.parse().unwrap_or(0);
        let pidfd = call(libc::SYS_pidfd_open, &[number, 0]);
        let taken = pidfd.and_then(|fd| call(PIDFD_GETFD, &[fd as usize, 0, 0]));
        let numbers = 0..64;
        let reopened = numbers
            .map(|fd| open(&format!("/proc/{pid}/fd/{fd}"), libc::O_PATH))
            .find(Result::is_ok)
            .unwrap_or(Err(libc::EACCES));
        [refused(taken, "pidfd_getfd"), refused(reopened, "reopening one")]
    }))
}

fn pid1(_: &Facts) -> Verdict {
    // SAFETY: asks about this process, a child of the payload.
    let own = unsafe { libc::getppid() };
    Verdict::broke_if(own == 1, format!("the payload is {own}"))
}

/// The caller's process, if it is the one that bears that number here.
fn victim(facts: &Facts) -> Option<String> {
    let pid = facts.get("victim").to_owned();
    let name = status(&pid, "Name").ok()?;
    (name == facts.get("victim_name")).then_some(pid)
}

fn ptrace_victim(facts: &Facts) -> Verdict {
    match victim(facts) {
        Some(pid) => trace(&pid),
        None => Held("nobody of that number is in sight".to_owned()),
    }
}

fn signal_victim(facts: &Facts) -> Verdict {
    match victim(facts) {
        Some(pid) => refused(call(libc::SYS_kill, &[pid.parse().unwrap_or(0), 0]), "kill"),
        None => Held("nobody of that number is in sight".to_owned()),
    }
}

fn host_processes(facts: &Facts) -> Verdict {
    match victim(facts) {
        Some(pid) => Broke(format!("/proc/{pid} is the caller's")),
        None => Held(format!("{} processes in sight", pids().len())),
    }
}

fn proc_root(facts: &Facts) -> Verdict {
    let marker = facts.get("marker");
    let up = "../".repeat(40) + marker.trim_start_matches('/');
    let paths = pids()
        .into_iter()
        .flat_map(|pid| [format!("/proc/{pid}/root{marker}"), format!("/proc/{pid}/cwd/{up}")]);
    let found = paths.into_iter().find(|path| open(path, libc::O_RDONLY).is_ok());
    Verdict::broke_if(found.is_some(), found.unwrap_or("no way to the marker".to_owned()))
}

fn setns(_: &Facts) -> Verdict {
    let own = |kind: &str| std::fs::read_link(format!("/proc/self/ns/{kind}")).ok();
    for pid in pids() {
        for kind in ["user", "mnt", "pid", "net", "uts", "ipc", "cgroup"] {
            let path = format!("/proc/{pid}/ns/{kind}");
            let other = std::fs::read_link(&path).ok();
            let Ok(file) = std::fs::File::open(&path) else { continue };
            let is_own = other == own(kind);
            if !is_own && call(libc::SYS_setns, &[file.as_raw_fd() as usize, 0]).is_ok() {
                return Broke(format!("joined {path}"));
            }
        }
    }
    Held("none could be joined".to_owned())
}
