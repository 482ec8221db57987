//! The processes of a sandbox, as both sides count them: `proc_pid_status(5)`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read,
};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{host::Names, registry::Stat};

use super::{ids::Ids, namespaces::pid_namespace};

/// No more of a command line is read.
const LONGEST: u64 = 4096;

/// A process, outside and inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Process {
    /// Its PID on the host
    pub host_pid: i32,
    /// Its PID in the sandbox; nothing for one that is not inside
    pub inside_pid: Option<i32>,
    /// The host's PID of its parent
    pub parent: i32,
    /// Who it is on the host
    pub outside: User,
    /// Who it is inside; nothing for one that is not inside
    pub inside: Option<User>,
    /// Its command line, or its name in brackets
    pub command: String,
}

/// A user, by id and by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct User {
    /// User id
    pub uid: u32,
    /// What it is called there
    pub name: Option<String>,
    /// Whether the map knows it; what it does not know looks like `nobody`
    pub mapped: bool,
}

impl User {
    /// With the name that it has there.
    pub fn new(uid: u32, names: &BTreeMap<u32, String>) -> Self {
        Self { uid, name: names.get(&uid).cloned(), mapped: true }
    }
}

/// Who is called what.
pub(super) struct People<'a> {
    pub outside: &'a Names,
    pub inside: &'a Names,
    pub ids: &'a Ids,
}

/// What `/proc` says of one process.
struct Found {
    pid: i32,
    parent: i32,
    uid: u32,
    /// Its PIDs, from the observer's namespace to its own
    pids: Vec<i32>,
}

/// Everybody in the PID namespace of a process, if that is its own, and
/// everybody who comes from it; with the parent of the first.
pub(super) fn of(pid: i32, has_own: bool, people: &People) -> (Option<Process>, Vec<Process>) {
    let all: BTreeMap<i32, Found> =
        pids().into_iter().filter_map(|pid| Some((pid, Found::read(pid)?))).collect();
    let first = if has_own { first_of_namespace(pid, &all) } else { pid };
    let mut inside = descendants(first, &all);
    if let Some(home) = pid_namespace(pid).filter(|_| has_own) {
        // Who came from elsewhere (`nsenter(1)`) descends from nobody here.
        inside.extend(all.keys().filter(|&&other| pid_namespace(other) == Some(home)));
    }
    // How many namespaces are between the observer's and the sandbox's.
    let depth = all.get(&pid).map_or(0, |found| found.pids.len().saturating_sub(1));
    let views = in_order(&all, &inside)
        .into_iter()
        .map(|found| found.view(Some(found.pids.get(depth).copied()), people));
    let views: Vec<Process> = views.collect();
    let first = views.first().map(|first| first.parent);
    let parent = first.and_then(|parent| all.get(&parent)).map(|found| found.view(None, people));
    (parent, views)
}

fn pids() -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// PID 1 of a process's namespace. It may hide, as isorecipe's init does, but
/// how many namespaces deep a process is can always be read; and a parent that
/// is as deep is in the same one, since nobody enters a namespace beside his own.
fn first_of_namespace(pid: i32, all: &BTreeMap<i32, Found>) -> i32 {
    let mut first = pid;
    while let Some(found) = all.get(&first)
        && let Some(parent) = all.get(&found.parent)
        && parent.pids.len() == found.pids.len()
    {
        first = parent.pid;
    }
    first
}

fn descendants(pid: i32, all: &BTreeMap<i32, Found>) -> BTreeSet<i32> {
    let mut family: BTreeSet<i32> = all.contains_key(&pid).then_some(pid).into_iter().collect();
    loop {
        let before = family.len();
        let children = all.values().filter(|found| family.contains(&found.parent));
        let children: Vec<i32> = children.map(|found| found.pid).collect();
        family.extend(children);
        if family.len() == before {
            return family;
        }
    }
}

/// Parents before their children, siblings by PID.
fn in_order<'a>(all: &'a BTreeMap<i32, Found>, members: &BTreeSet<i32>) -> Vec<&'a Found> {
    let is_first = |pid: &&i32| all.get(pid).is_none_or(|found| !members.contains(&found.parent));
    let mut waiting: Vec<i32> = members.iter().filter(is_first).copied().rev().collect();
    let mut ordered = Vec::new();
    while let Some(pid) = waiting.pop() {
        let Some(found) = all.get(&pid) else { continue };
        ordered.push(found);
        let children = members.iter().rev().filter(|&child| {
            *child != pid && all.get(child).is_some_and(|found| found.parent == pid)
        });
        waiting.extend(children.copied());
    }
    ordered
}

impl Found {
    /// Nothing of a process that is gone, or only waits to be.
    fn read(pid: i32) -> Option<Self> {
        let stat = Stat::of(pid).filter(|stat| !stat.has_ended())?;
        let status = fs::read(format!("/proc/{pid}/status")).ok()?;
        let status = String::from_utf8_lossy(&status);
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            Some(line.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<i64>>())
        };
        let uid = field("Uid:")?.get(1).and_then(|&uid| u32::try_from(uid).ok())?;
        let pids = field("NSpid:").unwrap_or_default();
        let pids = pids.into_iter().filter_map(|pid| i32::try_from(pid).ok()).collect();
        Some(Self { pid, parent: stat.parent, uid, pids })
    }

    fn view(&self, inside_pid: Option<Option<i32>>, people: &People) -> Process {
        let inside = || match people.ids.uid_inside(self.uid) {
            Some(uid) => User::new(uid, &people.inside.users),
            None => User { mapped: false, ..User::new(overflow_uid(), &people.inside.users) },
        };
        Process {
            host_pid: self.pid,
            inside_pid: inside_pid.flatten(),
            parent: self.parent,
            outside: User::new(self.uid, &people.outside.users),
            inside: inside_pid.is_some().then(inside),
            command: command_line(self.pid),
        }
    }
}

/// The words of a process, as it says them itself; its name in brackets if it says none.
pub(super) fn command_line(pid: i32) -> String {
    let mut words = Vec::new();
    let file = fs::File::open(format!("/proc/{pid}/cmdline"));
    let read = file.and_then(|file| file.take(LONGEST).read_to_end(&mut words));
    let words = String::from_utf8_lossy(&words).trim_end_matches('\0').replace('\0', " ");
    match (read, words.is_empty()) {
        (Ok(_), false) => words,
        _ => {
            let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
            format!("[{}]", String::from_utf8_lossy(&name).trim_end())
        }
    }
}

/// What an id that the map does not know looks like (`proc_sys_kernel(5)`).
fn overflow_uid() -> u32 {
    let text = fs::read_to_string("/proc/sys/kernel/overflowuid").unwrap_or_default();
    text.trim().parse().unwrap_or(65534)
}

/// Whether two processes are in one PID namespace that is not the observer's.
pub(super) fn live_together(pid: i32, other: i32) -> bool {
    let home = pid_namespace(pid);
    home.is_some() && home == pid_namespace(other) && home != pid_namespace(own())
}

fn own() -> i32 {
    crate::sys::process::own_pid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_before_their_children() {
        let process = |pid, parent| (pid, Found { pid, parent, uid: 0, pids: vec![pid] });
        let all: BTreeMap<i32, Found> =
            [process(1, 0), process(9, 1), process(5, 9), process(3, 9), process(7, 5)].into();
        let family = descendants(9, &all);
        let pids: Vec<i32> = in_order(&all, &family).iter().map(|found| found.pid).collect();
        assert_eq!(pids, [9, 3, 5, 7]);
    }
}
