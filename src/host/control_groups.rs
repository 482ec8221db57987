//! How control groups are laid out, and whether the caller may make some
//! (`cgroups(7)`).

use std::{
    collections::BTreeMap,
    fs,
    path::{Component, Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sys::{KernelPath, cgroup::Controller, file};

use super::{Host, HostMount, mountinfo};

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
    /// Below which groups the caller may make some with a controller: those of
    /// `memory`, `pids` and `cpu` that can limit a sandbox
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homes: Option<Homes>,
}

/// Where groups with a controller can be made, by its name.
pub type Homes = BTreeMap<String, Home>;

/// A group below which others can be made.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// Its folder
    pub at: PathBuf,
    /// 1 or 2: of which hierarchy
    pub version: u8,
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

impl Host {
    /// Where the caller may make control groups, as far as known.
    pub fn group_homes(&self) -> Option<&Homes> {
        self.control_groups.as_ref()?.homes.as_ref()
    }

    /// The same, asking the machine.
    pub fn group_homes_here() -> Option<Homes> {
        homes()
    }
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
    let controllers = controllers.unwrap_or_default();
    Some(ControlGroups { layout, path, controllers, delegated, homes: homes() })
}

/// Where this process may make groups that limit something. Nothing is changed
/// to find out, and no group that is there will be.
fn homes() -> Option<Homes> {
    let mounts = mountinfo::parse(&fs::read("/proc/self/mountinfo").ok()?);
    let own = fs::read_to_string("/proc/self/cgroup").ok()?;
    let home = |controller: Controller| {
        let name = controller.name();
        let home = of_version_1(&mounts, &own, name).or_else(|| of_version_2(&mounts, &own, name));
        Some((name.to_owned(), home?))
    };
    Some(Controller::ALL.into_iter().filter_map(home).collect())
}

/// Version 1 has a tree for each controller, and any group may have others below it.
fn of_version_1(mounts: &[mountinfo::Line], own: &str, controller: &str) -> Option<Home> {
    let has_it = |line: &&mountinfo::Line| {
        line.filesystem == "cgroup" && line.superblock.iter().any(|option| option == controller)
    };
    let mount = mounts.iter().rfind(has_it)?;
    let path = own.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        controllers.split(',').any(|one| one == controller).then(|| Path::new(path))
    })?;
    let at = folder(&mount.at, &mount.root, path)?;
    may_make_in(&at).then_some(Home { at, version: 1 })
}

/// In version 2 a group with processes in it shares nothing out among others
/// below it, unless it is the root of all. So one beside the own is as good, as
/// long as nothing limits the own.
fn of_version_2(mounts: &[mountinfo::Line], own: &str, controller: &str) -> Option<Home> {
    let mount = mounts.iter().rfind(|line| line.filesystem == "cgroup2")?;
    let group = own_group(own)?;
    let at = folder(&mount.at, &mount.root, &group)?;
    let shares = |at: &Path| words(&at.join("cgroup.subtree_control")).contains(&controller.into());
    let is_home = |at: &Path| shares(at) && may_make_in(at);
    if is_home(&at) {
        return Some(Home { at, version: 2 });
    }
    let beside = at.parent().filter(|above| above.starts_with(&mount.at))?;
    (!is_limited(&at) && is_home(beside)).then(|| Home { at: beside.to_owned(), version: 2 })
}

fn is_limited(group: &Path) -> bool {
    ["memory.max", "memory.high", "pids.max", "cpu.max"].iter().any(|file| {
        let words = words(&group.join(file));
        words.first().is_some_and(|first| first != "max")
    })
}

/// To put a process into a group takes the right to write to the group above both.
fn may_make_in(group: &Path) -> bool {
    let files = [group.to_owned(), group.join("cgroup.procs")].map(KernelPath::new);
    files.iter().all(|file| file::may_write(file.as_c_str()).is_ok())
}

/// The folder of a group, where its hierarchy is mounted. A mount may show only
/// a part of it, and in a cgroup namespace that part is called `/`.
fn folder(at: &Path, root: &Path, group: &Path) -> Option<PathBuf> {
    let rest = group.strip_prefix(root).or_else(|_| group.strip_prefix("/")).ok()?;
    // A group outside of the namespace has no folder here.
    if rest.components().any(|part| part == Component::ParentDir) {
        return None;
    }
    let found = if rest.as_os_str().is_empty() { at.to_owned() } else { at.join(rest) };
    found.is_dir().then_some(found)
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

    #[test]
    fn a_group_that_is_not_there_is_no_home() {
        assert_eq!(
            folder(Path::new("/"), Path::new("/"), Path::new("/proc")),
            Some("/proc".into())
        );
        assert_eq!(
            folder(Path::new("/proc"), Path::new("/a"), Path::new("/a")),
            Some("/proc".into())
        );
        assert_eq!(folder(Path::new("/proc"), Path::new("/"), Path::new("/none")), None);
    }
}
