//! Whether everybody has made the same: what a command finds in each sandbox.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
};

use crate::{Problem, contender::Contender, work::Work};

/// A mount: where, of what filesystem, whether it can be written.
type Mount = (String, String, bool);

/// What a command finds.
pub struct Seen {
    /// The kinds of namespace that are not the benchmark's own
    namespaces: BTreeSet<String>,
    hostname: String,
    /// How often each mount is there more than outside
    mounts: BTreeMap<Mount, i32>,
    /// `NoNewPrivs`, `Seccomp`, `CapBnd`, `CapEff` of `/proc/self/status`
    status: BTreeMap<String, String>,
}

/// Runs what looks around, in the sandbox that this one makes.
pub fn look(contender: &Contender, work: Work) -> Result<Seen, Problem> {
    let words = contender.looking(work);
    let (program, arguments) = words.split_first().ok_or("no command")?;
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", output.status, said.trim()).into());
    }
    Ok(Seen::read(&String::from_utf8(output.stdout)?, work.has_own_root()))
}

impl Seen {
    fn read(text: &str, has_own_root: bool) -> Self {
        let own = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}"));
        let mut seen = Self {
            namespaces: BTreeSet::new(),
            hostname: String::new(),
            mounts: BTreeMap::new(),
            status: BTreeMap::new(),
        };
        for line in text.lines() {
            if let Some(found) = line.strip_prefix("ns ") {
                let kind = found.split(':').next().unwrap_or_default();
                if own(kind).is_ok_and(|own| own.as_os_str() != found) {
                    seen.namespaces.insert(kind.to_owned());
                }
            } else if let Some(name) = line.strip_prefix("hostname ") {
                name.clone_into(&mut seen.hostname);
            } else if let Some((name, value)) = line.split_once(":\t") {
                if ["NoNewPrivs", "Seccomp", "CapBnd", "CapEff"].contains(&name) {
                    seen.status.insert(name.to_owned(), value.to_owned());
                }
            } else if let Some(mount) = mount(line) {
                *seen.mounts.entry(mount).or_default() += 1;
            }
        }
        if !has_own_root {
            let outside = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
            for mount in outside.lines().filter_map(mount) {
                *seen.mounts.entry(mount).or_default() -= 1;
            }
        }
        seen
    }

    /// Whether what this one has made is at least what the floor has made; and
    /// no more than that, if it is ours.
    pub fn compare(&self, floor: &Self, who: &Contender, work: Work) -> Result<(), String> {
        let mut missing = self.lacks_of(floor);
        missing.retain(|lack| !who.lacks(work).contains(&lack.as_str()));
        if who.is_ours {
            missing.extend(floor.lacks_of(self).into_iter().map(|more| format!("no {more}")));
        }
        match missing.is_empty() {
            true => Ok(()),
            false => Err(format!("not the same work: missing {}", missing.join(", "))),
        }
    }

    fn lacks_of(&self, other: &Self) -> Vec<String> {
        let mut lacks: Vec<String> =
            other.namespaces.difference(&self.namespaces).cloned().collect();
        if self.hostname != other.hostname {
            lacks.push("hostname".to_owned());
        }
        for (mount, count) in &other.mounts {
            if *count > 0 && self.mounts.get(mount).copied().unwrap_or(0) < *count {
                lacks.push(mount.0.clone());
            }
        }
        let has = |seen: &Self, name: &str, value: &str| {
            seen.status.get(name).is_some_and(|found| found == value)
        };
        let (on, filtered, nothing) = ("1", "2", "0000000000000000");
        let rights = [
            ("NoNewPrivs", on, "no_new_privs"),
            ("Seccomp", filtered, "seccomp"),
            ("CapBnd", nothing, "dropped capabilities"),
        ];
        for (name, value, word) in rights {
            if has(other, name, value) && !has(self, name, value) {
                lacks.push(word.to_owned());
            }
        }
        lacks
    }
}

/// A line of `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`).
fn mount(line: &str) -> Option<Mount> {
    let (front, back) = line.split_once(" - ")?;
    let mut words = front.split(' ').skip(4);
    let (at, options) = (words.next()?, words.next()?);
    let kind = back.split(' ').next()?;
    Some((at.to_owned(), kind.to_owned(), options.split(',').any(|option| option == "ro")))
}
