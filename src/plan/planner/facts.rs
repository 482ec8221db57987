//! Facts that a layer wants to know while it is planned: known, or asked for
//! where the host planned for is this machine.

use std::{fs, path::Path, rc::Rc};

use crate::{
    cache::{Cache, Identity, Unpacked},
    host::{Homes, Host, ImageTools, Landlock, Owner, PathFact, SubordinateIds},
};

use super::Planner;

impl Planner {
    /// Looks at whatever a walk along this path asks for, where a fact must not
    /// stay unknown.
    pub fn learn(&mut self, path: &Path) {
        if !self.is_live {
            return;
        }
        let asked_before = self.model.take_asked();
        loop {
            let _ = self.model.walk(path);
            let asked = self.model.take_asked();
            if asked.is_empty() {
                break;
            }
            let host = Rc::make_mut(&mut self.model.host);
            host.paths.extend(asked.into_iter().map(|path| {
                let fact = Host::look_at(&path);
                (path, fact)
            }));
        }
        self.model.ask(asked_before);
        self.plan.start.host = Rc::clone(&self.model.host);
    }

    /// Where control groups can be made, asking if need be.
    pub fn group_homes(&self) -> Option<Homes> {
        let known = self.host().group_homes().cloned();
        known.or_else(|| self.is_live.then(Host::group_homes_here).flatten())
    }

    /// The subordinate ids of whom the sandbox belongs to, asking if need be.
    pub fn subordinate_ids(&self) -> SubordinateIds {
        let host = self.host();
        match &host.subordinate {
            Some(known) => known.clone(),
            None if self.is_live => host.subordinate_ids(),
            None => SubordinateIds::default(),
        }
    }

    /// What images can be read with, asking if need be and possible.
    pub fn image_tools(&self) -> Option<ImageTools> {
        let host = self.host();
        host.images.clone().or_else(|| self.is_live.then(|| host.image_tools()))
    }

    /// Whether who runs isorecipe may read a file of this owner; the sandbox may be allowed more.
    pub fn caller_may_read(&self, owner: Owner) -> bool {
        self.plan.start.may_read(owner)
    }

    /// Where the user's cache has the tree of an image, or would have it; where
    /// the image cannot be looked at, its name stands for what it is. `None`
    /// for a user without a cache.
    pub fn unpacked(&self, image: &Path) -> Option<Unpacked> {
        let cache = Cache::below(self.host().caller.cache.as_ref()?);
        let found = self.is_live.then(|| fs::metadata(image).ok()).flatten();
        Some(match found.map(|found| Identity::of(&found)) {
            Some(identity) => {
                Unpacked { tree: cache.tree(&identity), since: cache.unpacked(&identity), cache }
            }
            None => {
                let name = image.file_name().unwrap_or_default();
                Unpacked { tree: cache.folder().join(name).join("root"), since: None, cache }
            }
        })
    }

    /// Which Landlock answers, asking if need be; the steps then know it, too.
    pub fn landlock(&mut self) -> Option<Landlock> {
        let known = |host: &Host| host.kernel_settings.as_ref()?.landlock;
        if known(self.host()).is_none() && self.is_live {
            let host = Rc::make_mut(&mut self.model.host);
            host.kernel_settings.get_or_insert_default().landlock = Landlock::probe();
            self.plan.start.host = Rc::clone(&self.model.host);
        }
        known(self.host())
    }

    /// What stands at a path of the host, looking if need be and possible.
    pub fn look_at(&self, path: &Path) -> Option<PathFact> {
        if let Some(fact) = self.host().paths.get(path) {
            return Some(fact.clone());
        }
        // A record of this machine is to have it.
        self.model.ask([path.to_owned()].into());
        self.is_live.then(|| Host::look_at(path))
    }
}
