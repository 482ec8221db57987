//! Mounts that differ between the host and a sandbox: `proc_pid_mountinfo(5)`.

use std::{fs, io};

use schemars::JsonSchema;
use serde::Serialize;

use crate::host::mountinfo::{self, Line};

/// How the mounts of a sandbox differ from the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mounts {
    /// The sandbox has it and the host does not, in the kernel's order
    pub added: Vec<Mount>,
    /// The host has it and the sandbox does not
    pub gone: Vec<Mount>,
    /// How many both have
    pub common: usize,
}

/// One mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Mount {
    /// Where
    pub at: String,
    /// Filesystem type
    pub filesystem: String,
    /// What was mounted: a device, or a word
    pub source: String,
    /// The directory of the filesystem that it shows
    pub root: String,
    /// Its options
    pub options: Vec<String>,
    /// Of an overlay: the read-only trees, the topmost first, as they were named when it was mounted
    pub lower: Vec<String>,
    /// Of an overlay: where changes go, as it was named when it was mounted
    pub upper: Option<String>,
}

/// The difference, for one process.
pub(super) fn of(pid: i32) -> io::Result<Mounts> {
    let host = mountinfo::parse(&fs::read("/proc/self/mountinfo")?);
    let sandbox = mountinfo::parse(&fs::read(format!("/proc/{pid}/mountinfo"))?);
    let gone = without(&host, &sandbox);
    Ok(Mounts { added: without(&sandbox, &host), common: host.len() - gone.len(), gone })
}

/// The mounts that the others do not have, or not as often.
fn without(mounts: &[Line], others: &[Line]) -> Vec<Mount> {
    let mut others: Vec<_> = others.iter().map(looks).collect();
    let mut left = Vec::new();
    for mount in mounts {
        match others.iter().position(|other| *other == looks(mount)) {
            Some(twin) => _ = others.swap_remove(twin),
            None => left.push(Mount::from(mount)),
        }
    }
    left
}

/// What makes two mounts the same to who looks at them. Ids differ in every
/// namespace, and so does where changes are passed on to.
fn looks(line: &Line) -> impl PartialEq {
    (
        line.at.clone(),
        line.device.clone(),
        line.root.clone(),
        line.filesystem.clone(),
        line.options.clone(),
    )
}

impl From<&Line> for Mount {
    fn from(line: &Line) -> Self {
        let is_overlay = line.filesystem == "overlay";
        let values = |name: &'static str| {
            let options = line.superblock.iter().filter(|_| is_overlay);
            options.filter_map(move |option| option.strip_prefix(name))
        };
        let mut lower: Vec<String> = values("lowerdir+=").map(str::to_owned).collect();
        lower.extend(values("lowerdir=").flat_map(in_list));
        Self {
            at: line.at.to_string_lossy().into_owned(),
            filesystem: line.filesystem.clone(),
            source: line.source.clone(),
            root: line.root.to_string_lossy().into_owned(),
            options: line.options.clone(),
            lower,
            upper: values("upperdir=").next().map(str::to_owned),
        }
    }
}

/// Paths between colons; one that is part of a path has a backslash before it.
fn in_list(list: &str) -> Vec<String> {
    let mut paths = vec![String::new()];
    let mut is_escaped = false;
    for c in list.chars() {
        match (c, paths.last_mut()) {
            (':', _) if !is_escaped => paths.push(String::new()),
            ('\\', _) if !is_escaped => {}
            (c, Some(path)) => path.push(c),
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    paths.retain(|path| !path.is_empty());
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<Line> {
        mountinfo::parse(text.as_bytes())
    }

    #[test]
    fn a_copy_with_other_ids_and_other_peers_is_the_same() {
        let host = lines("1 0 8:1 / / rw shared:1 - ext4 /dev/sda1 rw");
        let copy = lines("70 60 8:1 / / rw master:1 - ext4 /dev/sda1 rw");
        assert_eq!(without(&copy, &host), []);
    }

    #[test]
    fn a_mount_that_became_read_only_is_another() {
        let host = lines("1 0 8:1 / /a rw - ext4 /dev/sda1 rw");
        let other = lines("1 0 8:1 / /a ro - ext4 /dev/sda1 rw");
        assert_eq!(without(&other, &host).len(), 1);
        assert_eq!(without(&host, &other).len(), 1);
    }

    #[test]
    fn the_second_of_two_alike_is_seen() {
        let once = lines("1 0 0:5 / /proc rw - proc proc rw");
        let twice = lines("1 0 0:5 / /proc rw - proc proc rw\n2 1 0:5 / /proc rw - proc proc rw");
        assert_eq!(without(&twice, &once).len(), 1);
        assert_eq!(without(&once, &twice), []);
    }

    #[test]
    fn an_overlay_tells_its_layers() {
        let overlay = lines(
            "1 0 0:9 / / rw - overlay overlay rw,lowerdir=/a\\134:b:/c,upperdir=/u\\054p,workdir=/w",
        );
        let found = without(&overlay, &[]);
        let found = found.first().expect("a mount");
        assert_eq!(found.lower, ["/a:b", "/c"]);
        assert_eq!(found.upper.as_deref(), Some("/u,p"));
    }
}
