//! Copies of mounts: `open_tree(2)`, `copy_tree()` of `fs/namespace.c`.

use std::path::{Path, PathBuf};

use crate::sys::Errno;

use super::{Mount, MountId, Mounts, Objection, Position, mounts::join};

/// A tree that is bound into itself doubles; the model follows it this far.
const MOST_MOUNTS: usize = 1000;

impl Mounts {
    /// Whether the mounts at a position and below can be copied (`copy_tree()`):
    /// what may not be bound is left out, unless it hides what is below it.
    pub fn may_clone(&self, from: &Position) -> Result<(), Objection> {
        let mount = self.mount(from.mount);
        match mount.unbindable {
            Some(true) => return Err(Objection::No(Errno::EINVAL)),
            None => return Err(Objection::Unknown),
            Some(false) => {}
        }
        let mut is_sure = true;
        let mut above = vec![(from.mount, from.path.as_path())];
        while let Some((id, path)) = above.pop() {
            for (child, mount) in self.children(id) {
                let is_below = mount.on.as_ref().is_some_and(|on| on.path.starts_with(path));
                match (mount.unbindable, mount.locked) {
                    _ if !is_below => {}
                    (Some(true), Some(true)) => return Err(Objection::No(Errno::EPERM)),
                    (Some(true), None) => is_sure = false,
                    (Some(true), Some(false)) => {}
                    _ => above.push((child, Path::new(""))),
                }
            }
        }
        if is_sure { Ok(()) } else { Err(Objection::Unknown) }
    }

    /// Whether the mount at a position can be copied without those below
    /// (`__do_loopback()`): what they hide has to stay hidden.
    pub fn may_clone_top(&self, from: &Position) -> Result<(), Objection> {
        match (self.mount(from.mount).unbindable, self.has_locked_below(from)) {
            (Some(true), _) | (Some(false), Some(true)) => Err(Objection::No(Errno::EINVAL)),
            (Some(false), Some(false)) => Ok(()),
            (None, _) | (_, None) => Err(Objection::Unknown),
        }
    }

    /// A detached copy of the mounts at a position and below (`open_tree(2)`).
    pub fn clone_tree(&mut self, from: &Position) -> MountId {
        let top = self.clone_top(from);
        self.clone_children(from.mount, &from.path, top);
        top
    }

    /// The same without the mounts below.
    pub fn clone_top(&mut self, from: &Position) -> MountId {
        let source = self.mount(from.mount).clone();
        self.insert(Mount {
            on: None,
            root: join(&source.root, &from.path),
            locked: Some(false),
            own: true,
            ..source
        })
    }

    fn clone_children(&mut self, of: MountId, below: &Path, onto: MountId) {
        if self.all().count() > MOST_MOUNTS {
            // Of so many nobody could read the plan: what is below is not sure.
            if let Some(mount) = self.mount_mut(onto) {
                (mount.opaque, mount.uncertain) = (true, true);
            }
            return;
        }
        let children: Vec<(MountId, Mount, PathBuf)> = self
            .children(of)
            .filter_map(|(id, mount)| {
                let path = mount.on.as_ref()?.path.strip_prefix(below).ok()?;
                (mount.unbindable != Some(true)).then(|| (id, mount.clone(), path.to_owned()))
            })
            .collect();
        for (id, mount, path) in children {
            let on = Some(Position { mount: onto, path });
            let copy = self.insert(Mount { on, own: true, ..mount });
            self.clone_children(id, Path::new(""), copy);
        }
    }
}
