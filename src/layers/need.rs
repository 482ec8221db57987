//! What becomes of a sandbox where the machine lacks a protection.
//!
//! It is decided while the recipe is planned, before anything runs, from facts
//! that are cheap to ask for. What only the kernel tells during the run is a
//! refused step like any other: the command never starts with less than the
//! plan has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{diagnostic::Refusal, plan::Planner};

/// How much a protection is needed, should this machine not have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Need {
    /// Without it nothing runs
    #[default]
    Require,
    /// Without it the command runs all the same, and stderr and the plan say so
    Prefer,
    /// Without it the command runs all the same, and only the plan says so
    Optional,
}

impl Need {
    /// Whether nothing is written of it.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the sandbox goes without what is known to be missing, which is
    /// then said in these words. What is required stays in the plan: its step is
    /// refused, or the layer refuses itself (`to.refuse`).
    pub fn goes_without(self, to: &mut Planner, missing: Refusal) -> bool {
        let missing = |to: &mut Planner, say: fn(&mut Planner, Refusal)| {
            say(to, missing.help("`need: require` lets nothing run without it"));
        };
        match self {
            Self::Require => return false,
            Self::Prefer => missing(to, Planner::warn),
            Self::Optional => missing(to, Planner::note),
        }
        true
    }
}
