//! Namespaces of a process beside the host's: `/proc/PID/ns/` (`namespaces(7)`).

use std::{fs, io, path::Path};

use schemars::JsonSchema;
use serde::Serialize;

/// The kinds, in the order in which the hands-on makes them; and the link of
/// that of new children, where a process can be in one and its children in another.
const KINDS: [(&str, Option<&str>); 8] = [
    ("user", None),
    ("uts", None),
    ("pid", Some("pid_for_children")),
    ("mnt", None),
    ("net", None),
    ("ipc", None),
    ("cgroup", None),
    ("time", Some("time_for_children")),
];

/// One kind of namespace, on both sides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Namespace {
    /// The name in `/proc/PID/ns`
    pub kind: &'static str,
    /// The host's: the observer's own; nothing if this kernel has none of the kind
    pub host: Option<u64>,
    /// The process's
    pub sandbox: Option<u64>,
    /// Whether they are two
    pub own: bool,
    /// That of its next children, if it is another than its own
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_children: Option<u64>,
}

/// All kinds; an error if those of the process may not be read.
pub(super) fn of(pid: i32) -> io::Result<Vec<Namespace>> {
    let (own, other) = (Path::new("/proc/self/ns"), format!("/proc/{pid}/ns"));
    let other = Path::new(&other);
    let namespace = |(kind, children): (&'static str, Option<&str>)| {
        let (host, sandbox) = (number(&own.join(kind))?, number(&other.join(kind))?);
        // Who is about to end has left its namespaces already.
        if host.is_some() && sandbox.is_none() {
            return Err(io::ErrorKind::NotFound.into());
        }
        let for_children = children.map(|link| number(&other.join(link))).transpose()?.flatten();
        Ok(Namespace {
            kind,
            host,
            sandbox,
            own: host != sandbox,
            for_children: for_children.filter(|_| for_children != sandbox),
        })
    };
    KINDS.into_iter().map(namespace).collect()
}

/// The PID namespace of a process, if it may be read.
pub(super) fn pid_namespace(pid: i32) -> Option<u64> {
    number(Path::new(&format!("/proc/{pid}/ns/pid"))).ok().flatten()
}

/// The number in `pid:[4026531836]`; none where the kernel has no such kind, or
/// nobody is in it yet.
fn number(link: &Path) -> io::Result<Option<u64>> {
    match fs::read_link(link) {
        Ok(target) => {
            let text = target.to_string_lossy();
            let number = text.split_once(":[").and_then(|(_, rest)| rest.strip_suffix(']'));
            Ok(number.and_then(|number| number.parse().ok()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // That there is no process would be another finding.
            let is_there = link.parent().is_some_and(Path::exists);
            if is_there { Ok(None) } else { Err(error) }
        }
        Err(error) => Err(error),
    }
}
