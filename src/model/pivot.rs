//! Another root: `pivot_root(2)`, condition by condition.

use crate::sys::Errno;

use super::{Mount, MountId, Mounts, Objection, Position};

impl Mounts {
    /// `pivot_root(".", ".")` at this place, in the kernel's order of questions.
    pub fn may_pivot_to(&self, new: &Position) -> Result<(), Objection> {
        let mount = self.mount(new.mount);
        let root = self.mount(self.root);
        let parent = |mount: &Mount| {
            mount.on.as_ref().map_or(Some(false), |on| self.mount(on.mount).travel.shared)
        };
        let shared = [mount.travel.shared, parent(mount), parent(root)];
        if shared.contains(&Some(true)) || mount.locked == Some(true) {
            return Err(Objection::No(Errno::EINVAL));
        }
        let is_sure = !shared.contains(&None) && mount.locked.is_some();
        let is_busy = new.mount == self.root;
        let is_mount = new.path.as_os_str().is_empty();
        match (is_sure, is_busy) {
            (false, true) => Err(Objection::Unknown),
            (true, true) => Err(Objection::No(Errno::EBUSY)),
            // All the rest is EINVAL as well.
            _ if !is_mount => Err(Objection::No(Errno::EINVAL)),
            (false, false) => Err(Objection::Unknown),
            (true, false) => Ok(()),
        }
    }

    /// Makes a mount the root; the old root stands on top of it.
    /// Returns the old root.
    pub fn pivot(&mut self, new: MountId) -> MountId {
        let old = self.root;
        let below = self.mount(old).on.clone();
        let was_locked = self.mount_mut(old).and_then(|mount| mount.locked.replace(false));
        if let Some(mount) = self.mount_mut(new) {
            // The lock goes over to what now covers the rest (`MNT_LOCKED`).
            mount.locked = match (mount.locked, was_locked) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        self.place(new, below);
        self.place(old, Some(Position::root_of(new)));
        self.root = new;
        old
    }

    /// Moves an attached mount to another position.
    pub fn move_to(&mut self, id: MountId, over: Position) {
        let over = self.follow(over);
        self.place(id, Some(over));
    }
}
