//! What there is to say when somebody cannot be looked at.

use std::{fs, io, os::unix::fs::MetadataExt};

use crate::{
    diagnostic::{Refusal, typed},
    host::Names,
    registry::{Distrust, Running},
    sys::error_words,
};

pub(super) fn unknown(word: &str, running: &[Running]) -> Box<Refusal> {
    let names: Vec<&str> = running.iter().map(|found| found.entry.name.as_str()).collect();
    let why = match names.as_slice() {
        [] => "no sandbox of yours runs".to_owned(),
        names => format!("running: {}", names.join(", ")),
    };
    let near = names.iter().filter(|name| strsim::jaro_winkler(word, name) > 0.8);
    let near =
        near.max_by(|a, b| strsim::jaro_winkler(word, a).total_cmp(&strsim::jaro_winkler(word, b)));
    let help = match near {
        Some(name) => format!("`isorecipe observe {}`", typed(name)),
        None => {
            "`isorecipe observe` lists what runs; a PID is looked at whoever began it".to_owned()
        }
    };
    Refusal::new("observe::unknown", format!("no sandbox called {word} runs"))
        .why(why)
        .help(help)
        .into()
}

pub(super) fn ambiguous(word: &str, several: &[&Running]) -> Box<Refusal> {
    let pids: Vec<String> = several
        .iter()
        .map(|found| format!("`isorecipe observe {}`", found.entry.supervisor.pid))
        .collect();
    let count = several.len();
    Refusal::new("observe::ambiguous", format!("{count} sandboxes are called {word}"))
        .why("they registered in different places, or belong to different users")
        .help(pids.join(" or "))
        .into()
}

pub(super) fn gone(pid: i32) -> Box<Refusal> {
    Refusal::new("observe::gone", format!("there is no process {pid}"))
        .why("it has ended, or never was")
        .help("`isorecipe observe` lists the sandboxes that run")
        .into()
}

/// Why a process may not be looked at (`ptrace(2)`, "access mode checking").
pub(super) fn unreadable(pid: i32, error: &io::Error) -> Box<Refusal> {
    match error.raw_os_error() {
        // Who is about to end has no mounts, and its namespaces are not there.
        Some(libc::ENOENT | libc::ESRCH | libc::EINVAL) => gone(pid),
        None if error.kind() == io::ErrorKind::NotFound => gone(pid),
        Some(libc::EACCES | libc::EPERM) => forbidden(pid, error),
        _ => unknown_cause(pid, error),
    }
}

fn forbidden(pid: i32, error: &io::Error) -> Box<Refusal> {
    let own = nix::unistd::geteuid().as_raw();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    let uid = uid.and_then(|ids| ids.split_whitespace().nth(1)?.parse::<u32>().ok());
    let owner = fs::metadata(format!("/proc/{pid}/status")).ok().map(|found| found.uid());
    match (uid, owner) {
        // The files of a process that hides itself are root's (`PR_SET_DUMPABLE`).
        (Some(uid), Some(owner)) if uid == own && owner != own => {
            Refusal::new("observe::undumpable", format!("process {pid} hides itself"))
                .why("it is yours, and not dumpable: its namespaces are shown to root only")
                .help(format!("`sudo isorecipe observe {pid}`"))
                .into()
        }
        (Some(uid), _) if uid != own => {
            let name = Names::of_host().users.remove(&uid).unwrap_or(format!("uid {uid}"));
            let message = format!("process {pid} belongs to {name}");
            Refusal::new("observe::not_yours", message)
                .why("only its user and root may read its namespaces")
                .help(format!("`sudo isorecipe observe {pid}`"))
                .into()
        }
        _ => unknown_cause(pid, error),
    }
}

/// It may have rights that the observer does not have, or a security module says no.
fn unknown_cause(pid: i32, error: &io::Error) -> Box<Refusal> {
    Refusal::new("observe::unreadable", format!("process {pid} may not be looked at"))
        .why(format!("/proc/{pid}/ns: {}", error_words(error)))
        .help(format!("`sudo isorecipe observe {pid}`"))
        .into()
}

/// A place where sandboxes would have registered, and why it was not asked.
pub fn distrusted(distrust: &Distrust) -> Refusal {
    let code = "observe::distrusted";
    let refuse = |path: &std::path::Path, why: String| {
        let (shown, typed) = (path.display(), typed(path));
        Refusal::new(code, format!("{shown} is not used: sandboxes that ran may be missing"))
            .why(why)
            .help(format!("look at it: `ls -ld {typed}`"))
    };
    match distrust {
        Distrust::NoDirectory(path) => refuse(path, "it is no directory".to_owned()),
        Distrust::Foreign(path, uid) => refuse(path, format!("it belongs to uid {uid}")),
        Distrust::Open(path, mode) => {
            let typed = typed(path);
            refuse(path, format!("others may use it: its mode is {mode:04o}"))
                .help(format!("`chmod 700 {typed}`, and look at what is in it"))
        }
        Distrust::Unreachable(path, errno) => refuse(path, errno.desc().to_owned()),
    }
}
