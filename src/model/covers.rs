//! What stands over what: a mount that another covers is there, and nobody sees
//! it; and what of the host is seen through it all.

use std::path::{Path, PathBuf};

use super::{
    Filesystem, FilesystemId, Found, Model, Mount, MountId, Mounts, Position, Thing, mounts::join,
};

impl Model {
    /// Whether it can name processes of the host, by number or through a `/proc`.
    pub fn sees_host_processes(&self) -> bool {
        !self.pid.own || self.mounts.has_proc_of_host()
    }

    /// The path on the host of what stands at a place, where it is the host's.
    pub fn on_host(&self, found: &Found) -> Option<PathBuf> {
        let (filesystem, path) = self.mounts.within(&found.at);
        self.host_path(filesystem, &path)
    }

    fn host_path(&self, id: FilesystemId, path: &Path) -> Option<PathBuf> {
        match &self.mounts.filesystem(id).filesystem {
            Filesystem::Host(base) => Some(join(base, path)),
            Filesystem::Overlay { layers } => {
                let within = |(layer, root): &(FilesystemId, PathBuf)| (*layer, join(root, path));
                let mut places = layers.iter().map(within);
                let (layer, path) = places.find(|(layer, path)| {
                    !matches!(self.thing_in(*layer, path), None | Some(Thing::Unknown))
                })?;
                self.host_path(layer, &path)
            }
            _ => None,
        }
    }
}

impl Mounts {
    /// Every mount reachable from the root, with the path that leads there;
    /// what another covers is not.
    pub fn visible(&self) -> Vec<(PathBuf, &Mount)> {
        let mut all = self.attached_below_root();
        all.retain(|(_, id)| !self.is_covered(*id));
        all.into_iter().map(|(at, id)| (at, self.mount(id))).collect()
    }

    /// Whether the host's `/proc` can be reached somewhere, as far as mounts are known.
    fn has_proc_of_host(&self) -> bool {
        let visible = self.visible();
        let filesystem = |mount: &Mount| &self.filesystem(mount.filesystem).filesystem;
        let is_bound = |mount: &Mount| matches!(filesystem(mount), Filesystem::Host(base) if base.join(&mount.root) == Path::new("/proc"));
        let is_own = |mount: &Mount| mount.own && *filesystem(mount) == Filesystem::Proc;
        let is_covered =
            visible.iter().any(|(at, mount)| at == Path::new("/proc") && is_own(mount));
        let is_other_root = visible.first().is_some_and(|(_, root)| root.own);
        visible.iter().any(|(_, mount)| is_bound(mount)) || !(is_covered || is_other_root)
    }

    /// Every mount below the root, by its id, whether it can be reached or not.
    pub fn attached_below_root(&self) -> Vec<(PathBuf, MountId)> {
        let mut found = vec![(PathBuf::from("/"), self.root)];
        let mut next = 0;
        while let Some((at, id)) = found.get(next).cloned() {
            next += 1;
            let at_child = |(child, mount): (MountId, &Mount)| {
                mount.on.as_ref().map(|on| (join(&at, &on.path), child))
            };
            found.extend(self.children(id).filter_map(at_child));
        }
        found
    }

    /// Whether something stands over a mount, or over a directory that leads to it.
    pub fn is_covered(&self, id: MountId) -> bool {
        id != self.root
            && (self.child_at(&Position::root_of(id)).is_some() || self.is_out_of_reach(id))
    }

    fn is_out_of_reach(&self, id: MountId) -> bool {
        let Some(on) = self.mount(id).on.as_ref().filter(|_| id != self.root) else {
            return false;
        };
        // Who starts below what stands over the root stays there.
        let is_over = |path: &Path| {
            let at = Position { mount: on.mount, path: path.to_owned() };
            (on.mount != self.root || !path.as_os_str().is_empty()) && self.child_at(&at).is_some()
        };
        self.child_at(on) != Some(id)
            || on.path.ancestors().skip(1).any(is_over)
            || self.is_out_of_reach(on.mount)
    }
}
