//! `bind`: a tree or file that is seen at a second place (`mount(2)`, MS_BIND).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    diagnostic::Refusal,
    ops::{self, Extent},
    plan::{Planner, Wanted},
    sys::{KernelPath, mount::Flags},
    yaml,
};

use super::{Place, Plan};

/// A tree or file that is seen at a second place, mounts below included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// What, as the caller's tree names it, even after a pivot.
    pub from: Place,
    /// The place it covers.
    pub to: Place,
    /// Where there is nothing at `from`, nothing is bound. What is there and
    /// cannot be bound is still an error.
    #[serde(default)]
    pub optional: bool,
    /// Nothing can be written through it, mounts below included.
    #[serde(default)]
    pub read_only: bool,
    /// Set-user-ID bits and file capabilities do nothing on it.
    #[serde(default)]
    pub nosuid: bool,
    /// Device nodes on it cannot be opened.
    #[serde(default)]
    pub nodev: bool,
    /// Programs on it cannot be executed.
    #[serde(default)]
    pub noexec: bool,
    /// Mounts below `from` come along; `true` otherwise.
    #[serde(default = "on")]
    pub recursive: bool,
    /// It can be written, though it lies outside the folder of the recipe.
    #[serde(default)]
    pub write: bool,
}

impl Plan for Bind {
    fn plan(&self, to: &mut Planner) {
        self.check_writing(to);
        let target = to.path(self.to.as_path());
        let wanted = self.wanted();
        if self.optional && !to.has_pivoted() {
            // Whether anything is skipped is for the plan to say.
            to.learn(&to.source_path(&wanted.path));
        }
        let flags = Flags {
            read_only: self.read_only,
            no_suid: self.nosuid,
            no_dev: self.nodev,
            no_exec: self.noexec,
        };
        let from = to.source(&wanted);
        to.step(ops::Bind { from, to: KernelPath::new(target), extent: wanted.extent, flags });
    }

    fn sources(&self) -> Vec<Wanted> {
        vec![self.wanted()]
    }

    fn mounts(&self) -> bool {
        true
    }
}

fn on() -> bool {
    true
}

impl Bind {
    fn wanted(&self) -> Wanted {
        Wanted {
            within: yaml::Path::root().key("from"),
            path: self.from.as_path().to_owned(),
            extent: Extent { recursive: self.recursive, optional: self.optional },
        }
    }

    /// A recipe from somewhere else must not open the host's files quietly.
    fn check_writing(&self, to: &mut Planner) {
        if self.read_only && self.write {
            to.at("write").refuse(
                Refusal::new("bind::both", "this bind is read-only and writable")
                    .why("`read_only` says the opposite")
                    .help("keep one of the two"),
            );
        }
        if self.read_only || self.write {
            return;
        }
        let from = to.source_path(self.from.as_path());
        if to.is_recipes_source(&from) {
            return;
        }
        to.at("from").refuse(
            Refusal::new(
                "bind::writable_outside",
                format!("the sandbox could change {} on the host", from.display()),
            )
            .why("it lies outside the folder of the recipe")
            .help("add `read_only: true`, or `write: true` if that is what you want"),
        );
    }
}
