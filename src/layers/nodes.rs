//! What a `/dev` of one's own has: the nodes that every program may expect,
//! bound from the host, and nothing else of its hardware (`null(4)`, `pts(4)`).

use std::{ffi::CString, path::Path};

use crate::{
    ops::{Extent, MakeDirectory, MakeLink, MountNew, PlaceDevice},
    plan::{Planner, Wanted},
    sys::device::Device,
    yaml,
};

/// Nodes, and the devices that they have to be.
const NODES: [(&str, Device); 6] = [
    ("null", Device::NULL),
    ("zero", Device::ZERO),
    ("full", Device::FULL),
    ("random", Device::RANDOM),
    ("urandom", Device::URANDOM),
    ("tty", Device::TTY),
];
/// Links, and where they lead.
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];
/// The group of terminals, where there is one (`/etc/group` of every distribution).
const TTY: u32 = 5;

/// The nodes of the host that are wanted, for a layer or a setting of one.
pub(super) fn wanted(within: &yaml::Path) -> Vec<Wanted> {
    let node = |(name, _): &(&str, Device)| Wanted {
        within: within.key(*name),
        path: Path::new("/dev").join(name),
        extent: Extent::WHOLE,
    };
    NODES.iter().map(node).collect()
}

/// A fresh `/dev` over a directory.
pub(super) fn plan(to: &mut Planner, at: &Path, within: &yaml::Path) {
    let wanted = wanted(within);
    // What will be covered is held before.
    let is_covered = !to.has_pivoted() && Path::new("/dev").starts_with(at);
    let sources: Vec<_> = wanted
        .iter()
        .map(|wanted| if is_covered { to.hold(wanted) } else { to.source(wanted) })
        .collect();
    to.step(MountNew::tmpfs(at, 0o755, None));
    for ((name, device), from) in NODES.into_iter().zip(sources) {
        let name = to.new_name(&at.join(name));
        to.step(PlaceDevice { from, device, at: name });
    }
    let has_tty_group = to.model().own_user().gids.to_host(TTY).is_some();
    // A link in the place of `at` by then must not lead them elsewhere.
    let ground = to.ground(at);
    to.step(MakeDirectory::within(at, "pts", 0o755).on(ground));
    to.step(MountNew::pts(at.join("pts"), has_tty_group));
    to.step(MakeDirectory::within(at, "shm", 0o1777).on(ground));
    to.step(MountNew::tmpfs(at.join("shm"), 0o1777, None));
    for (name, leads) in LINKS {
        let name = to.new_name(&at.join(name));
        to.step(MakeLink { at: name, to: CString::new(leads).unwrap_or_default() });
    }
}
