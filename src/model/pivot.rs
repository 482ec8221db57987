//! Another root: `pivot_root(2)`, condition by condition.

use std::path::PathBuf;

use crate::sys::Errno;

use super::{MountId, Mounts, Position};

impl Mounts {
    /// `pivot_root(".", ".")` at this place, in the kernel's order of questions.
    pub fn may_pivot_to(&self, new: &Position) -> Result<(), Option<Errno>> {
        let mount = self.mount(new.mount);
        let root = self.mount(self.root);
        let parent = mount.on.as_ref().map(|on| self.mount(on.mount).shared);
        if mount.shared == Some(true) || parent == Some(Some(true)) {
            return Err(Some(Errno::EINVAL));
        }
        if mount.shared.is_none() || parent == Some(None) || root.shared.is_none() {
            return Err(None);
        }
        if mount.locked {
            return Err(Some(Errno::EINVAL));
        }
        if new.mount == self.root {
            return Err(Some(Errno::EBUSY));
        }
        if !new.path.as_os_str().is_empty() {
            return Err(Some(Errno::EINVAL));
        }
        Ok(())
    }

    /// Makes a mount the root; the old root stands on top of it.
    /// Returns the old root.
    pub fn pivot(&mut self, new: MountId) -> MountId {
        let old = self.root;
        let was_locked = self.table.get_mut(&old).is_some_and(|mount| {
            mount.on = Some(Position { mount: new, path: PathBuf::new() });
            std::mem::take(&mut mount.locked)
        });
        if let Some(mount) = self.table.get_mut(&new) {
            mount.on = None;
            mount.locked |= was_locked;
        }
        self.root = new;
        old
    }

    /// Moves an attached mount to another position.
    pub fn move_to(&mut self, id: MountId, over: Position) {
        let over = self.follow(over);
        if let Some(mount) = self.table.get_mut(&id) {
            mount.on = Some(over);
        }
    }
}
