//! `bind`: a tree or file that is seen at a second place (`mount(2)`, MS_BIND).

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{diagnostic::Refusal, plan::Planner};

use super::{Place, Plan};

/// A tree or file that is seen at a second place, mounts below included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// What, as the caller's tree names it, even after a pivot.
    pub from: Place,
    /// The place it covers.
    pub to: Place,
    /// Nothing can be written through it, mounts below included.
    #[serde(default)]
    pub read_only: bool,
    /// It can be written, though it lies outside the folder of the recipe.
    #[serde(default)]
    pub write: bool,
}

impl Plan for Bind {
    fn plan(&self, to: &mut Planner) {
        self.check_writing(to);
        let target = to.path(self.to.as_path());
        to.bind(self.from.as_path(), target, self.read_only);
    }

    fn sources(&self) -> Vec<(&'static str, PathBuf)> {
        vec![("from", self.from.as_path().to_owned())]
    }

    fn mounts(&self) -> bool {
        true
    }
}

impl Bind {
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
