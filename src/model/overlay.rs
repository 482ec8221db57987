//! What overlayfs asks of its layers
//! (`Documentation/filesystems/overlayfs.rst`, `fs/overlayfs/super.c`).

use std::path::PathBuf;

use crate::host::Owner;

use super::{FilesystemId, Found, Model, Objection, Thing};

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
    /// `upper` has locked mounts below it, or may not be bound
    MountsBelowUpper,
    /// This lower layer has locked mounts below it, or may not be bound
    MountsBelow(usize),
    /// This lower layer is, or lies within, another layer
    Overlap(usize),
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
        self.may_take(upper, OverlayTrouble::MountsBelowUpper)?;
        if upper.at.mount != work.at.mount {
            return Err(OverlayTrouble::Apart);
        }
        let (one, other) = (&upper.at.path, &work.at.path);
        if one.starts_with(other) || other.starts_with(one) {
            return Err(OverlayTrouble::Nested);
        }
        let prepared = self.may_prepare(work);
        match prepared {
            Ok(()) if !self.may_use_own_scratch() => return Err(OverlayTrouble::Unmapped),
            Err(OverlayTrouble::Unknown) => return Err(OverlayTrouble::Unknown),
            _ => {}
        }
        self.may_stack(lower)?;
        let mut taken = vec![self.mounts.inode(&upper.at), self.mounts.inode(&work.at)];
        for (index, found) in lower.iter().enumerate() {
            let inode = self.mounts.inode(&found.at);
            if taken.contains(&inode) {
                return Err(OverlayTrouble::Overlap(index));
            }
            taken.push(inode);
            self.may_take(found, OverlayTrouble::MountsBelow(index))?;
        }
        self.may_lie_side_by_side(lower, &taken)?;
        prepared
    }

    /// Notes what a new overlay keeps for itself, who mounted it, and which others
    /// have its `upper` or `work` as well: of those the kernel only warns
    /// (`ovl_report_in_use()`), and what a change in them does nobody knows.
    pub fn take_layers(&mut self, new: FilesystemId, layers: &Layers) {
        let traps = self.traps_of(layers);
        let written = written(&traps).to_vec();
        let mut is_contested = false;
        for (_, rival) in self.mounts.filesystems.iter_mut().filter(|(id, _)| **id != new) {
            let is_rival = self::written(&rival.traps).iter().any(|trap| written.contains(trap));
            rival.is_contested |= is_rival;
            is_contested |= is_rival;
        }
        let mounter = self.process.clone();
        if let Some(new) = self.mounts.filesystem_mut(new) {
            (new.traps, new.mounter, new.is_contested) = (traps, Some(mounter), is_contested);
        }
    }

    /// The directories that no name in an overlay may lead to: its layers, and what
    /// it makes in `work` (`ovl_setup_trap()`).
    fn traps_of(&self, layers: &Layers) -> Vec<(String, PathBuf)> {
        let Layers { lower, upper, work } = layers;
        let all = lower.iter().chain([upper, work]).map(|found| self.mounts.inode(&found.at));
        let (device, path) = self.mounts.inode(&work.at);
        all.chain([(device, path.join("work"))]).collect()
    }

    /// Whether every lower layer is shallow enough; what stands too deep is
    /// noticed only when all are known (`FILESYSTEM_MAX_STACK_DEPTH`).
    fn may_stack(&self, lower: &[Found]) -> Result<(), OverlayTrouble> {
        let fits =
            |found: &Found| self.mounts.can_be_lower(self.mounts.mount(found.at.mount).filesystem);
        let fits: Vec<Option<bool>> = lower.iter().map(fits).collect();
        match fits.iter().position(|fits| *fits == Some(false)) {
            Some(index) => Err(OverlayTrouble::LowerUnfit(index)),
            None if fits.contains(&None) => Err(OverlayTrouble::Unknown),
            None => Ok(()),
        }
    }

    /// Whether a layer's mount may be copied without what is mounted below it
    /// (`clone_private_mount()`).
    fn may_take(&self, layer: &Found, trouble: OverlayTrouble) -> Result<(), OverlayTrouble> {
        match self.mounts.mount(layer.at.mount).unbindable {
            Some(true) => return Err(trouble),
            None => return Err(OverlayTrouble::Unknown),
            Some(false) => {}
        }
        match self.mounts.has_locked_below(&layer.at) {
            Some(true) => Err(trouble),
            Some(false) => Ok(()),
            None => Err(OverlayTrouble::Unknown),
        }
    }

    /// No lower layer lies within another layer; `upper` may lie within a lower
    /// one (`ovl_check_overlapping_layers()`).
    fn may_lie_side_by_side(
        &self,
        lower: &[Found],
        taken: &[(String, PathBuf)],
    ) -> Result<(), OverlayTrouble> {
        for (index, found) in lower.iter().enumerate() {
            let (device, path) = self.mounts.inode(&found.at);
            let is_around = |(other, around): &(String, PathBuf)| {
                *other == device && *around != path && path.starts_with(around)
            };
            if taken.iter().any(is_around) {
                return Err(OverlayTrouble::Overlap(index));
            }
        }
        Ok(())
    }

    fn may_be_upper(&self, upper: &Found) -> Result<(), OverlayTrouble> {
        let mount = self.mounts.mount(upper.at.mount);
        if mount.read_only {
            return Err(OverlayTrouble::UpperReadOnly);
        }
        match self.mounts.can_be_upper(mount.filesystem) {
            Some(true) => Ok(()),
            Some(false) => Err(OverlayTrouble::UpperUnfit),
            None => Err(OverlayTrouble::Unknown),
        }
    }

    /// The kernel makes a directory of mode 0 in `work`, and then works in it
    /// with nothing but the mounter's capabilities over its own files.
    fn may_use_own_scratch(&self) -> bool {
        let (uid, gid) = (self.process.uid, self.process.gid);
        self.may_write(Owner { uid, gid, mode: 0 })
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

/// Those that are written to, which come last: `upper`, `work`, and what is in it.
fn written(traps: &[(String, PathBuf)]) -> &[(String, PathBuf)] {
    traps.get(traps.len().saturating_sub(3)..).unwrap_or_default()
}
