//! What overlayfs asks of its layers
//! (`Documentation/filesystems/overlayfs.rst`, `fs/overlayfs/super.c`).

use crate::host::Owner;

use super::{Filesystem, Found, Model, Objection, Thing};

/// The layers of an overlay, as they were found.
pub struct Layers {
    /// Read-only trees, the topmost first
    pub lower: Vec<Found>,
    /// Where changes go
    pub upper: Found,
    /// Scratch space
    pub work: Found,
}

/// Why there is no such overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayTrouble {
    /// `upper` is part of an overlay (or of a filesystem that keeps no files)
    UpperUnfit,
    /// `upper` lies on a read-only mount
    UpperReadOnly,
    /// `upper` and `work` are on different mounts
    Apart,
    /// `upper` and `work` lie within each other
    Nested,
    /// What the kernel keeps in `work` would belong to nobody
    Unmapped,
    /// This lower layer has locked mounts below it
    MountsBelow(usize),
    /// An overlay cannot stand on this lower layer
    LowerUnfit(usize),
    /// The kernel could not prepare `work`, and would come up read-only
    Unwritable,
    /// A fact is not known
    Unknown,
}

impl Model {
    /// Whether the kernel would make an overlay of these, in its own order of
    /// questions (`ovl_fill_super()`).
    pub fn may_overlay(&self, layers: &Layers) -> Result<(), OverlayTrouble> {
        let Layers { lower, upper, work } = layers;
        let all = || lower.iter().chain([upper, work]);
        if all().any(|found| found.thing == Thing::Unknown) {
            return Err(OverlayTrouble::Unknown);
        }
        self.may_be_upper(upper)?;
        if upper.at.mount != work.at.mount {
            return Err(OverlayTrouble::Apart);
        }
        let (one, other) = (&upper.at.path, &work.at.path);
        if one.starts_with(other) || other.starts_with(one) {
            return Err(OverlayTrouble::Nested);
        }
        if !self.may_use_own_scratch() {
            return Err(OverlayTrouble::Unmapped);
        }
        if all().any(|found| self.mounts.mount(found.at.mount).unbindable != Some(false)) {
            return Err(OverlayTrouble::Unknown);
        }
        // `upper` is cloned as the lower layers are.
        if self.mounts.has_locked_below(&upper.at) != Some(false) {
            return Err(OverlayTrouble::Unknown);
        }
        for (index, found) in lower.iter().enumerate() {
            match self.mounts.has_locked_below(&found.at) {
                Some(true) => return Err(OverlayTrouble::MountsBelow(index)),
                Some(false) => {}
                None => return Err(OverlayTrouble::Unknown),
            }
        }
        for (index, found) in lower.iter().enumerate() {
            match self.mounts.can_be_lower(found.at.mount, &self.host) {
                Some(true) => {}
                Some(false) => return Err(OverlayTrouble::LowerUnfit(index)),
                None => return Err(OverlayTrouble::Unknown),
            }
        }
        if self.overlaps(layers) {
            return Err(OverlayTrouble::Unknown);
        }
        self.may_prepare(work)
    }

    fn may_be_upper(&self, upper: &Found) -> Result<(), OverlayTrouble> {
        let mount = self.mounts.mount(upper.at.mount);
        if mount.read_only {
            return Err(OverlayTrouble::UpperReadOnly);
        }
        match self.mounts.filesystem(mount.filesystem).filesystem {
            Filesystem::Overlay { .. } | Filesystem::Proc => Err(OverlayTrouble::UpperUnfit),
            _ => Ok(()),
        }
    }

    /// The kernel makes a directory of mode 0 in `work`, and then works in it
    /// with nothing but the mounter's capabilities over its own files.
    fn may_use_own_scratch(&self) -> bool {
        let (uid, gid) = (self.process.uid, self.process.gid);
        self.may_search(Owner { uid, gid, mode: 0 })
    }

    /// Whether one layer lies within another, where the kernel's answer hangs
    /// on more than the paths.
    fn overlaps(&self, layers: &Layers) -> bool {
        let changing = [&layers.upper, &layers.work].map(|found| self.mounts.within(&found.at));
        layers.lower.iter().any(|found| {
            let (filesystem, path) = self.mounts.within(&found.at);
            changing.iter().any(|(other, at)| {
                filesystem == *other && (path.starts_with(at) || at.starts_with(&path))
            })
        })
    }

    /// Whether the mounter may prepare `work`; if not, the overlay comes up
    /// read-only without a word (row 132 of the catalogue).
    fn may_prepare(&self, work: &Found) -> Result<(), OverlayTrouble> {
        let Thing::Directory(Some(owner)) = work.thing else {
            return Err(OverlayTrouble::Unknown);
        };
        match self.may_change(work) {
            Err(Objection::No(_)) => Err(OverlayTrouble::Unwritable),
            Ok(()) if self.may_write(owner) => Ok(()),
            _ => Err(OverlayTrouble::Unknown),
        }
    }
}
