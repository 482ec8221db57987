//! What steps take from the old tree, and the filesystems in which they make
//! something: both are held by descriptor from one step to a later one.

use std::path::Path;

use crate::{
    model::Slot,
    ops::{HoldSource, NewName, Source},
    sys::KernelPath,
    yaml,
};

use super::{Planner, Wanted};

impl Planner {
    /// Holds sources that layers after the pivot name, before the old tree goes.
    pub fn hold_sources(&mut self, sources: Vec<(yaml::Path, Wanted)>) {
        self.old_tree = Some(self.model.clone());
        for (layer, wanted) in sources {
            let slot = self.slot();
            let origin = layer.join(&wanted.within);
            let layer = std::mem::replace(&mut self.layer, origin.clone());
            let from = KernelPath::new(self.source_path(&wanted.path));
            self.step(HoldSource { from, slot, extent: wanted.extent });
            self.layer = layer;
            self.held.push((origin, slot));
        }
    }

    /// Holds a source from here on, if it is not held already.
    pub fn hold(&mut self, wanted: &Wanted) -> Source {
        if let held @ Source::Slot(..) = self.source(wanted) {
            return held;
        }
        let slot = self.slot();
        let path = KernelPath::new(self.source_path(&wanted.path));
        self.at_place(|layer| layer.join(&wanted.within)).step(HoldSource {
            from: path.clone(),
            slot,
            extent: wanted.extent,
        });
        Source::Slot(slot, path)
    }

    /// A new name at this path. Where the filesystem there is the recipe's own,
    /// it has to be that one when the time comes.
    pub fn new_name(&mut self, path: &Path) -> NewName {
        let ground = path.parent().and_then(|above| self.ground(above));
        NewName::new(path, ground)
    }

    /// Where the filesystem that a path leads to, as far as it exists, is kept
    /// from the step on that makes it; `None` for one that the recipe does not make.
    pub fn ground(&mut self, path: &Path) -> Option<Slot> {
        let ground = path.ancestors().find_map(|part| self.model.walk(part).ok());
        let ground = ground.map(|found| self.model.mounts.within(&found.at).0);
        let maker = ground.and_then(|filesystem| self.grounds.get(&filesystem)).copied();
        let slot = self.plan.slots;
        let kept = maker.and_then(|step| self.plan.steps.get_mut(step)?.op.keep_ground(slot));
        if kept == Some(slot) {
            self.plan.slots += 1;
        }
        kept
    }

    /// A source that this layer has named as [`Wanted`]: held, if the root has
    /// changed since.
    pub fn source(&self, wanted: &Wanted) -> Source {
        let path = KernelPath::new(self.source_path(&wanted.path));
        let origin = self.layer.join(&wanted.within);
        match self.held.iter().find(|(at, _)| *at == origin) {
            Some(&(_, slot)) => Source::Slot(slot, path),
            None => Source::Path(path),
        }
    }
}
