//! `overlay`: one writable tree over read-only ones
//! (`Documentation/filesystems/overlayfs.rst`).

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::Refusal,
    host::PathFact,
    model::UserId,
    ops::{self, MakeDirectory, MountNew, MountOverlay},
    plan::Planner,
};

use super::{
    Lower, OneOrMany, Place, Plan, WordOrMap,
    lower::{self, Found},
};

/// One tree made of several: reading goes down through the layers, writing
/// goes to `upper` and nowhere else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// Read-only directories, the topmost first; or a filesystem image (xfs,
    /// ext4, squashfs, erofs). Root mounts it; for anybody else a FUSE program
    /// serves it, or it is unpacked once, but for xfs.
    pub lower: OneOrMany<WordOrMap<Lower>>,
    /// Where changes go. Without it they go to memory and end with the sandbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upper: Option<Place>,
    /// An empty directory on the same mount as `upper`, for overlayfs's own use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work: Option<Place>,
    /// The directory it covers.
    pub at: Place,
    /// Make `upper`, `work` and `at` where they are missing.
    #[serde(default)]
    pub create: bool,
    /// Changes may go to an `upper` outside the folder of the recipe.
    #[serde(default)]
    pub write: bool,
}

impl Plan for Overlay {
    fn plan(&self, to: &mut Planner) {
        let at = to.path(self.at.as_path());
        let changes = self.changes(to, &at);
        let lower = self.find(to);
        if self.create {
            to.at("at").step(MakeDirectory::named(&at, 0o755));
        }
        // What has no place of its own gets one in memory, below the overlay.
        let needs_memory = self.upper.is_none() || lower.iter().any(Found::needs_place);
        for found in &lower {
            if let Found::Directory(path) = found
                && to.is_above_home(path)
            {
                to.at("lower").warn(shows_home(path));
            }
        }
        if needs_memory && is_root(to, &at) {
            return to.at("at").refuse(over_root());
        }
        if needs_memory {
            to.at("at").step(MountNew::tmpfs(&at, 0o755, None));
        }
        let numbered = lower.into_iter().enumerate();
        let lower = numbered.map(|(index, found)| found.plan(to, &at, index)).collect();
        if self.upper.is_some() != self.work.is_some() {
            // What is missing was refused, and is no second mistake.
            to.presume_directory(&changes.upper);
            to.presume_directory(&changes.work);
        } else if self.upper.is_none() || self.create {
            // In memory they have to be, and not where a link leads by then.
            let (upper, work) = (to.ground(&changes.upper), to.ground(&changes.work));
            to.at("upper").step(MakeDirectory::named(&changes.upper, 0o755).on(upper));
            to.at("work").step(MakeDirectory::named(&changes.work, 0o755).on(work));
        }
        let user_xattr = to.model().mounts.owner != UserId::HOST;
        let Changes { upper, work } = changes;
        to.step(MountOverlay::new(ops::Overlay { lower, upper, work, at, user_xattr }));
    }

    fn mounts(&self) -> bool {
        true
    }
}

/// Whether it is where the process starts to walk: what is mounted there, nobody walks to.
fn is_root(to: &Planner, at: &Path) -> bool {
    to.model().walk(at).is_ok_and(|found| found.at == to.model().mounts.root_position())
}

fn shows_home(path: &Path) -> Refusal {
    Refusal::new("overlay::shows_home", "your home directory is in this sandbox")
        .why(format!("{} is it, or around it", path.display()))
        .help("if you meant a project, put the recipe into a folder of it, or name the project's path")
}

fn over_root() -> Refusal {
    Refusal::new("overlay::over_root", "no changes can be kept in memory over `/`")
        .why("who is in a root directory goes on to see it, whatever is mounted over it")
        .help("mount it elsewhere, such as on `/mnt`, and write `- pivot_root: /mnt` below it")
}

/// Where changes go.
struct Changes {
    upper: PathBuf,
    work: PathBuf,
}

impl Overlay {
    fn find(&self, to: &mut Planner) -> Vec<Found> {
        let is_alone = self.lower.0.len() == 1;
        let all = self.lower.0.iter().enumerate();
        all.map(|(index, WordOrMap(lower))| {
            lower::find(to, lower, |layer| {
                let field = layer.key("lower");
                if is_alone { field.key("via") } else { field.index(index).key("via") }
            })
        })
        .collect()
    }

    fn changes(&self, to: &mut Planner, at: &Path) -> Changes {
        if let (Some(_), None) | (None, Some(_)) = (&self.upper, &self.work) {
            to.refuse(
                Refusal::new("overlay::upper_without_work", "`upper` and `work` go together")
                    .why("one of them is missing")
                    .help("name both, side by side: `upper: upper`, `work: work`"),
            );
        }
        let or = |given: &Option<Place>, otherwise: &str, to: &Planner| match given {
            Some(place) => to.path(place.as_path()),
            None => at.join(otherwise),
        };
        let changes =
            Changes { upper: or(&self.upper, "upper", to), work: or(&self.work, "work", to) };
        self.check_writing(to, at, &changes);
        changes
    }
}

impl Overlay {
    /// A recipe from somewhere else must not change the host's files quietly.
    fn check_writing(&self, to: &mut Planner, at: &Path, changes: &Changes) {
        if self.write {
            return;
        }
        let given = [("upper", &self.upper, &changes.upper), ("work", &self.work, &changes.work)];
        let given = given.into_iter().filter(|(_, given, _)| given.is_some());
        let is_missing = to.look_at(at) == Some(PathFact::Missing);
        let made = (self.create && is_missing).then_some(("at", at));
        let all = given.map(|(field, _, path)| (field, path.as_path())).chain(made);
        for (field, path) in all {
            if to.is_recipes_place(path) {
                continue;
            }
            let shown = path.display();
            to.at(field).refuse(
                Refusal::new(
                    "overlay::writes_outside",
                    format!("the overlay would write to {shown} on the host"),
                )
                .why("it lies outside the folder of the recipe")
                .help("add `write: true` if that is what you want")
                .once(),
            );
        }
    }
}
