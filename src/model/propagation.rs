//! How mount events travel: `mount_namespaces(7)`, "Shared subtrees",
//! `Documentation/filesystems/sharedsubtree.rst`, `fs/pnode.c`.

use std::path::{Path, PathBuf};

use crate::{host::HostMount, sys::Propagation};

use super::{FilesystemId, Mount, MountId, Mounts, Position, UserId, mounts::join};

/// How mount events travel to a mount and from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Travel {
    /// Member of a peer group; `None`: not known
    pub shared: Option<bool>,
    /// Its peers are the host's mounts: what is mounted here appears there
    pub with_host: bool,
    /// Which peer group; `None`: not known, or none
    pub(super) group: Option<u32>,
    /// The peer group that it receives mounts from
    pub(super) master: Option<u32>,
}

impl Travel {
    /// Nowhere: a private mount
    pub(super) const NOWHERE: Self =
        Self { shared: Some(false), with_host: false, group: None, master: None };
    /// Nobody told
    pub(super) const UNKNOWN: Self =
        Self { shared: None, with_host: true, group: None, master: None };

    pub(super) fn of_host(mount: &HostMount) -> Self {
        Self {
            shared: Some(mount.shared),
            with_host: mount.shared,
            group: mount.peers,
            master: mount.master,
        }
    }

    /// Whether events leave it for who knows where.
    fn is_unknown(&self) -> bool {
        self.shared.is_none() || self.shared == Some(true) && self.group.is_none()
    }
}

impl Mounts {
    /// A namespace with copies of these mounts (`copy_mnt_ns()`).
    pub fn copy_for(&mut self, user: UserId) {
        for id in self.attached_ids() {
            let Some(mount) = self.mount_mut(id) else { continue };
            // Whether a copy can be bound again, kernels differ.
            mount.unbindable = mount.unbindable.filter(|is_so| !is_so);
        }
        // A less privileged namespace may neither send events back nor lift a
        // mount to see what is below (`CL_SHARED_TO_SLAVE`, `lock_mnt_tree()`).
        if user != self.owner {
            for id in self.attached_ids() {
                let Some(mount) = self.mount_mut(id) else { continue };
                mount.locked = Some(true);
                mount.locked_read_only = Some(mount.read_only);
                let master = mount.travel.group.or(mount.travel.master);
                mount.travel = Travel { master, ..Travel::NOWHERE };
            }
        }
        self.owner = user;
        self.own = true;
    }

    /// Sets the propagation of every mount in sight (`change_mnt_propagation()`).
    pub fn propagate(&mut self, to: Propagation) {
        for id in self.tree(self.root) {
            let group = self.next_group;
            let Some(mount) = self.mount_mut(id) else { continue };
            let travel = &mut mount.travel;
            match to {
                Propagation::Shared => {
                    travel.with_host &= travel.shared != Some(false);
                    if travel.shared == Some(false) {
                        travel.group = Some(group);
                    }
                    travel.shared = Some(true);
                    mount.unbindable = Some(false);
                }
                Propagation::Slave => {
                    let master = travel.group.or(travel.master);
                    *travel = Travel { master, ..Travel::NOWHERE };
                    // Whether that can be bound again, kernels differ.
                    mount.unbindable = mount.unbindable.filter(|is_so| !is_so);
                }
                Propagation::Private => {
                    *travel = Travel::NOWHERE;
                    mount.unbindable = Some(false);
                }
            }
            self.next_group = group + 1;
        }
    }

    /// Attaches a new mount over a position; a shared place shares what it gets.
    pub fn attach(&mut self, over: Position, filesystem: FilesystemId) -> MountId {
        let tree = self.insert_detached(filesystem);
        if let Some(mount) = self.mount_mut(tree) {
            mount.read_only = false;
        }
        self.attach_tree(tree, over);
        tree
    }

    /// Attaches a detached tree over a position (`attach_recursive_mnt()`).
    pub fn attach_tree(&mut self, tree: MountId, over: Position) {
        let over = self.follow(over);
        let travel = self.mount(over.mount).travel.clone();
        if travel.is_unknown() {
            self.tell_somebody(over.mount);
            for id in self.tree(tree) {
                let Some(mount) = self.mount_mut(id) else { continue };
                if mount.travel.shared == Some(false) {
                    mount.travel.shared = travel.shared;
                }
            }
        } else if let (Some(true), Some(group)) = (travel.shared, travel.group) {
            let targets = self.receivers(group, over.mount);
            self.share(tree);
            self.tell(tree, &over, &targets);
        }
        self.place(tree, Some(over));
    }

    /// What is mounted on a member of an unknown group appears on the others.
    fn tell_somebody(&mut self, of: MountId) {
        let filesystem = self.mount(of).filesystem;
        let peers: Vec<MountId> = self
            .all()
            .filter(|(id, mount)| *id != of && mount.travel.shared != Some(false))
            .filter(|(_, mount)| mount.filesystem == filesystem)
            .map(|(id, _)| id)
            .collect();
        for id in peers {
            if let Some(mount) = self.mount_mut(id) {
                mount.uncertain = true;
            }
        }
    }

    /// The mounts of the namespace that get what a member of a group gets:
    /// peers, slaves, and theirs; with each, whether it is a peer.
    fn receivers(&self, group: u32, except: MountId) -> Vec<(MountId, bool)> {
        let mut found: Vec<(MountId, bool)> = Vec::new();
        let mut groups = vec![(group, true)];
        let mut next = 0;
        let attached = self.attached_ids();
        while let Some(&(group, is_first)) = groups.get(next) {
            next += 1;
            for &id in &attached {
                let travel = &self.mount(id).travel;
                let is_peer = travel.group == Some(group);
                let is_new = id != except && found.iter().all(|(other, _)| *other != id);
                if (is_peer || travel.master == Some(group)) && is_new {
                    found.push((id, is_peer && is_first));
                    let own = travel.group.filter(|own| groups.iter().all(|(had, _)| had != own));
                    groups.extend(own.map(|own| (own, false)));
                }
            }
        }
        found
    }

    /// Gives every mount of a tree a group, if it has none (`invent_group_ids()`).
    fn share(&mut self, tree: MountId) {
        for id in self.tree(tree) {
            let group = self.next_group;
            let Some(mount) = self.mount_mut(id) else { continue };
            if mount.travel.shared == Some(false) {
                mount.travel.shared = Some(true);
                mount.travel.group = Some(group);
                self.next_group = group + 1;
            }
        }
    }

    /// Copies of a tree for the receivers, each below what stands there already
    /// (`propagate_mnt()`).
    fn tell(&mut self, tree: MountId, over: &Position, receivers: &[(MountId, bool)]) {
        let (device, at) = self.inode(over);
        for &(receiver, is_peer) in receivers {
            let (own_device, root) = self.inode(&Position::root_of(receiver));
            let Ok(path) = at.strip_prefix(&root) else { continue };
            if device != own_device {
                continue;
            }
            let place = Position { mount: receiver, path: path.to_owned() };
            let copy = self.clone_tree(&Position::root_of(tree));
            if !is_peer {
                self.enslave(copy, self.mount(receiver).travel.shared == Some(true));
            }
            if let Some(above) = self.child_at(&place) {
                self.place(above, Some(Position::root_of(copy)));
            }
            self.place(copy, Some(place));
        }
    }

    fn enslave(&mut self, tree: MountId, is_shared: bool) {
        for id in self.tree(tree) {
            if let Some(mount) = self.mount_mut(id) {
                mount.travel = Travel { master: mount.travel.group, ..Travel::NOWHERE };
            }
        }
        if is_shared {
            self.share(tree);
        }
    }

    /// Takes a mount and all above it away, and what its peers got with them
    /// (`propagate_umount()`).
    pub fn detach(&mut self, top: MountId) {
        let tree = self.tree(top);
        let mut gone = Vec::new();
        for &id in &tree {
            let Some(on) = self.mount(id).on.clone() else { continue };
            let Some(group) = self.mount(on.mount).travel.group else { continue };
            for (receiver, _) in self.receivers(group, on.mount) {
                gone.extend(self.same_place(&on, receiver).and_then(|at| self.child_at(&at)));
            }
        }
        self.remove(top);
        for id in gone {
            let is_there = self.all().any(|(other, _)| other == id);
            // What others have mounted on it stays, and so does it.
            if is_there && self.children(id).next().is_none() {
                self.remove(id);
            }
        }
    }

    /// The place on another mount that shows the same as this one.
    fn same_place(&self, at: &Position, on: MountId) -> Option<Position> {
        let (device, path) = self.inode(at);
        let (own_device, root) = self.inode(&Position::root_of(on));
        let path = path.strip_prefix(&root).ok()?.to_owned();
        (device == own_device).then_some(Position { mount: on, path })
    }

    /// The mounts of the namespace: all that stand on what the root stands on.
    pub(super) fn attached(&self) -> impl Iterator<Item = (MountId, &Mount)> {
        self.attached_ids().into_iter().map(|id| (id, self.mount(id)))
    }

    fn attached_ids(&self) -> Vec<MountId> {
        let mut top = self.root;
        while let Some(on) = &self.mount(top).on {
            top = on.mount;
        }
        self.tree(top)
    }

    /// Which directory or file of which filesystem it is, whatever shows it.
    pub fn inode(&self, at: &Position) -> (String, PathBuf) {
        let (filesystem, path) = self.within(at);
        self.inode_in(filesystem, &path)
    }

    /// The same for a path of a filesystem.
    pub(super) fn inode_in(&self, filesystem: FilesystemId, path: &Path) -> (String, PathBuf) {
        let instance = self.filesystem(filesystem);
        match &instance.device {
            Some((device, root)) => (device.clone(), join(root, path)),
            None => (format!("#{}", filesystem.0), path.to_owned()),
        }
    }
}
