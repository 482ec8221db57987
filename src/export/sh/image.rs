//! Images: only the host's root can mount them, so the script does it first,
//! in a mount namespace of its own. The sandbox's is a copy of that one, so
//! nothing is ever mounted on the host.

use crate::{
    model::{Filesystem, Model},
    ops::{Become, Op},
    plan::Step,
    sys::Propagation,
    yaml::Path,
};

use super::{Level, Words, Writer, limits, mounts, rights::Rights};

impl Writer<'_> {
    /// Takes the steps that bring images to their places before all others,
    /// where a user namespace would not let them be mounted any more.
    pub(super) fn mount_images(&mut self) {
        let layers = self.layers_with_images();
        if layers.is_empty() {
            return;
        }
        self.levels.push(Level::behind(self.mount_namespace()));
        for layer in layers {
            self.mount_images_of(&layer);
        }
    }

    /// The layers whose images go into another user namespace.
    fn layers_with_images(&self) -> Vec<Path> {
        let mut layers: Vec<Path> = Vec::new();
        for step in &self.plan.steps {
            let is_foreign = matches!(&step.op, Op::MountImage(image) if image.map_ids);
            if is_foreign && !layers.contains(&layer(step)) {
                layers.push(layer(step));
            }
        }
        layers
    }

    /// What comes from the host has to come through it.
    fn mount_namespace(&self) -> Words {
        let last = self.plan.steps.iter().rev().find_map(|step| match &step.op {
            Op::SetPropagation(set) => Some(set.0),
            _ => None,
        });
        match last {
            Some(Propagation::Private) => Words::of("unshare --mount"),
            _ => Words::of("unshare --mount --propagation slave"),
        }
    }

    /// The steps of a layer up to its last image.
    fn mount_images_of(&mut self, of: &Path) {
        let plan = self.plan;
        let own = |index: &usize| plan.steps.get(*index).is_some_and(|step| layer(step) == *of);
        let mut steps: Vec<usize> = (0..plan.steps.len()).filter(own).collect();
        let is_last = |index: &usize| {
            plan.steps.get(*index).is_some_and(|step| matches!(step.op, Op::AttachImage(_)))
        };
        steps.truncate(steps.iter().rposition(is_last).map_or(0, |last| last + 1));
        let Some(before) = steps.first().map(|first| plan.before(*first)) else { return };
        for index in steps {
            let Some(step) = plan.steps.get(index) else { continue };
            self.comment(step);
            self.say_as_root(step, &before);
            self.taken.insert(index);
        }
    }

    fn say_as_root(&mut self, step: &Step, before: &Model) {
        match &step.op {
            Op::MountImage(_) => {
                self.warnings.push(limits::no_id_map().at(step.origin.clone()).warning());
            }
            Op::AttachImage(attached) => {
                let image = self.plan.steps.iter().find_map(|step| match &step.op {
                    Op::MountImage(image) if image.slot == attached.slot => Some(image),
                    _ => None,
                });
                if let Some(image) = image {
                    self.push(mounts::image(image, attached.at.as_path()));
                }
            }
            Op::MountNew(new) => {
                if !is_on_host(before, new.at.as_path()) {
                    self.refuse(limits::image_below_mounts(), step);
                }
                let owner = (before.process.uid, before.process.gid);
                self.push(mounts::new(new, Some(owner).filter(|owner| *owner != (0, 0))));
            }
            Op::MakeDirectory(made) => {
                for line in mounts::directory(made) {
                    self.push(self.invoker().then(line));
                }
            }
            _ => {}
        }
    }

    /// What makes a directory the user's own, though root runs the script.
    fn invoker(&self) -> Words {
        let who: Option<&Become> = self.plan.steps.iter().find_map(|step| match &step.op {
            Op::Become(who) => Some(who),
            _ => None,
        });
        let mut rights = Rights::default();
        // Without `sudo`, it is who the command is to be, and root stays root.
        if let Some(who) = who.filter(|_| self.plan.start.host.invoker.is_some()) {
            rights.become_user(who, false);
        }
        rights.words()
    }
}

/// `layers[3].overlay` of `layers[3].overlay.at`
fn layer(step: &Step) -> Path {
    step.origin.segments().iter().take(3).cloned().collect()
}

/// Whether a place is the host's own, or would be: of what is not there, the
/// last that is decides.
fn is_on_host(model: &Model, path: &std::path::Path) -> bool {
    let found = path.ancestors().find_map(|part| model.walk(part).ok());
    found.is_some_and(|found| {
        let (filesystem, _) = model.mounts.within(&found.at);
        matches!(model.mounts.filesystem(filesystem).filesystem, Filesystem::Host(_))
    })
}
