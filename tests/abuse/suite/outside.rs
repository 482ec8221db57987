//! What the host sees of the payload while it waits: the kernel's own words,
//! which no payload and no runner can change.

use std::{fs, path::Path};

use super::check::{Broke, Check, Held, How, Verdict};

/// The payload, and who looks.
pub struct Seen {
    pub pid: i32,
    /// The groups that the caller had, but for the first
    pub kept_groups: Vec<u32>,
    pub group: u32,
}

pub const CHECKS: &[Check] = &[
    Check { name: "idmap", how: How::Outside(idmap) },
    Check { name: "groups", how: How::Outside(groups) },
    Check { name: "namespaces", how: How::Outside(namespaces) },
    Check { name: "propagation", how: How::Outside(propagation) },
    Check { name: "host_caps", how: How::Outside(host_caps) },
    Check { name: "session", how: How::Outside(session) },
    Check { name: "pids_limit", how: How::Outside(pids_limit) },
    Check { name: "memory_limit", how: How::Outside(memory_limit) },
];

impl Seen {
    fn file(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.pid)).unwrap_or_default()
    }

    fn status(&self, field: &str) -> Vec<String> {
        let text = self.file("status");
        let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}

fn idmap(seen: &Seen) -> Verdict {
    let ids: Vec<String> = ["Uid", "Gid"].iter().flat_map(|field| seen.status(field)).collect();
    Verdict::broke_if(ids.is_empty() || ids.iter().any(|id| id == "0"), ids.join(" "))
}

fn groups(seen: &Seen) -> Verdict {
    let all = seen.status("Groups");
    let kept: Vec<&String> = all
        .iter()
        .filter(|group| seen.kept_groups.iter().any(|kept| kept.to_string() == **group))
        .collect();
    if seen.kept_groups.is_empty() {
        return super::check::Cannot("the caller has no further groups to keep".to_owned());
    }
    Verdict::broke_if(!kept.is_empty(), format!("has {}", all.join(" ")))
}

fn namespaces(seen: &Seen) -> Verdict {
    let kinds = ["user", "pid", "mnt", "net", "ipc", "uts", "cgroup"];
    let of = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    let pid = seen.pid.to_string();
    let shared: Vec<&str> = kinds
        .into_iter()
        .filter(|kind| of(&pid, kind).is_none() || of(&pid, kind) == of("self", kind))
        .collect();
    Verdict::broke_if(!shared.is_empty(), format!("shared: {}", shared.join(" ")))
}

fn propagation(seen: &Seen) -> Verdict {
    let shared = |text: &str| -> Vec<String> {
        let words =
            text.lines().flat_map(|line| line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        words.filter(|word| word.starts_with("shared:")).collect()
    };
    let is_own = fs::read_link(format!("/proc/{}/ns/mnt", seen.pid)).ok()
        != fs::read_link("/proc/self/ns/mnt").ok();
    let host = shared(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default());
    let common = shared(&seen.file("mountinfo")).into_iter().find(|group| host.contains(group));
    match common {
        _ if !is_own => Broke("its mounts are the host's".to_owned()),
        Some(group) => Broke(format!("a peer of the host's mounts: {group}")),
        None => Held("no peer of the host's".to_owned()),
    }
}

fn host_caps(seen: &Seen) -> Verdict {
    let sets =
        ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| seen.status(set).concat());
    let is_none = |set: &String| !set.is_empty() && set.bytes().all(|byte| byte == b'0');
    Verdict::broke_if(!sets.iter().all(is_none), sets.join(" "))
}

/// Field 5 of `/proc/PID/stat`, behind the name in brackets.
fn session(seen: &Seen) -> Verdict {
    let text = seen.file("stat");
    let behind = text.rsplit_once(')').map_or("", |(_, behind)| behind);
    let group = behind.split_whitespace().nth(2).unwrap_or_default();
    let is_shared = group.parse::<u32>().map_or(true, |group| group == seen.group);
    Verdict::broke_if(is_shared, format!("process group {group}"))
}

/// A limit of its control group, or of one above that is not the machine's.
fn limit_of(seen: &Seen, v1: (&str, &str), v2: &str) -> Verdict {
    for line in seen.file("cgroup").lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(kinds), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (root, file) = match kinds {
            "" => ("/sys/fs/cgroup".to_owned(), v2),
            kinds if kinds.split(',').any(|kind| kind == v1.0) => {
                (format!("/sys/fs/cgroup/{}", v1.0), v1.1)
            }
            _ => continue,
        };
        let mut at = Path::new(path);
        while at != Path::new("/") {
            let found =
                fs::read_to_string(format!("{root}{}/{file}", at.display())).unwrap_or_default();
            let found = found.trim();
            if !found.is_empty() && found != "max" && found.len() < 19 {
                return Held(format!("{file} {found}"));
            }
            let Some(above) = at.parent() else { break };
            at = above;
        }
    }
    Broke("no limit of its control group".to_owned())
}

fn pids_limit(seen: &Seen) -> Verdict {
    limit_of(seen, ("pids", "pids.max"), "pids.max")
}

fn memory_limit(seen: &Seen) -> Verdict {
    limit_of(seen, ("memory", "memory.limit_in_bytes"), "memory.max")
}
