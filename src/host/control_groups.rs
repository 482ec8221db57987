//! How control groups are laid out, and whether the caller may make some
//! (`cgroups(7)`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sys::{KernelPath, file};

use super::HostMount;

/// How control groups are laid out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlGroups {
    /// Which hierarchies are mounted
    pub layout: Layout,
    /// The caller's group in the version 2 hierarchy
    pub path: Option<PathBuf>,
    /// Its controllers
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<String>,
    /// Whether the caller may make groups below its own
    pub delegated: Option<bool>,
}

/// Which hierarchies are mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// None
    None,
    /// Version 1 only
    V1,
    /// Version 2 only
    V2,
    /// Version 1 with the controllers, and version 2 beside it
    Hybrid,
}

/// From what is mounted and `/proc/self/cgroup`.
pub(super) fn probe(mounts: Option<&[HostMount]>) -> Option<ControlGroups> {
    let mounts = mounts?;
    let of = |kind: &str| mounts.iter().rfind(|mount| mount.filesystem == kind);
    let layout = match (of("cgroup").is_some(), of("cgroup2").is_some()) {
        (false, false) => Layout::None,
        (true, false) => Layout::V1,
        (false, true) => Layout::V2,
        (true, true) => Layout::Hybrid,
    };
    let text = fs::read_to_string("/proc/self/cgroup").ok();
    let path = text.as_deref().and_then(own_group);
    let folder = (of("cgroup2").zip(path.as_deref())).and_then(|(mount, path)| below(mount, path));
    let controllers = folder.as_ref().map(|folder| words(&folder.join("cgroup.controllers")));
    let delegated = folder.as_ref().map(|folder| {
        ["", "cgroup.procs", "cgroup.subtree_control"]
            .map(|name| KernelPath::new(folder.join(name)))
            .iter()
            .all(|file| file::may_write(file.as_c_str()).is_ok())
    });
    Some(ControlGroups { layout, path, controllers: controllers.unwrap_or_default(), delegated })
}

/// The line of version 2 in `/proc/self/cgroup`.
fn own_group(text: &str) -> Option<PathBuf> {
    text.lines().find_map(|line| line.strip_prefix("0::")).map(PathBuf::from)
}

/// The folder of a group, where its hierarchy is mounted.
fn below(mount: &HostMount, group: &Path) -> Option<PathBuf> {
    let rest = group.strip_prefix(&mount.root).ok()?;
    Some(mount.at.join(rest))
}

fn words(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_of_version_2_is_the_line_without_a_controller() {
        let text = "4:memory:/a\n1:name=systemd:/b\n0::/user.slice/x\n";
        assert_eq!(own_group(text), Some(PathBuf::from("/user.slice/x")));
        assert_eq!(own_group("4:memory:/a\n"), None);
    }
}
