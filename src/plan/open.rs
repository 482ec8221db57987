//! What a sandbox leaves open, of all that hostile code is known to try.
//!
//! The table is the abuse suite's own (`tests/abuse/`): what the suite tries
//! for real, the plan answers from the state at its end.
//!
//! **Invariant:** nothing is called stopped that works (held by
//! `tests/abuse/`, with these checks, on the recipes that ship and on bare ones).

use indexmap::IndexMap;
use serde::Serialize;

use super::Plan;

mod beware;
mod end;
mod table;

pub use table::{ALWAYS, Check, checks};

use end::End;

/// Whether the command could type into the terminal that isorecipe is called on.
pub(super) fn may_type(plan: &Plan, is_allowed: impl FnOnce() -> Option<bool>) -> bool {
    End::of(plan, false).may_type(is_allowed)
}

/// The checks that a sandbox would not pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeftOpen {
    /// How many there are in all
    of: usize,
    left: usize,
    layers: Vec<Group>,
}

/// What one layer would stop.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    layer: &'static str,
    /// What to write into the recipe
    pub closed_by: &'static str,
    /// By their names, what they try
    pub checks: IndexMap<&'static str, &'static str>,
}

/// As many are named where there is room for a few.
const FEW: usize = 2;

impl LeftOpen {
    /// What is open at the end of a plan; whether the environment starts empty,
    /// the steps do not say.
    pub fn of(plan: &Plan, clears_environment: bool) -> Self {
        let end = End::of(plan, clears_environment);
        let mut layers: Vec<Group> = Vec::new();
        for (layer, check) in checks().filter(|(_, check)| !(check.is_stopped)(&end)) {
            if layers.last().is_none_or(|last| last.layer != layer) {
                let closed_by = table::closed_by(layer);
                layers.push(Group { layer, closed_by, checks: IndexMap::new() });
            }
            if let Some(group) = layers.last_mut() {
                group.checks.insert(check.name, check.tries);
            }
        }
        let left = layers.iter().map(|group| group.checks.len()).sum();
        Self { of: checks().count(), left, layers }
    }

    /// `4 of 89 things that hostile code tries`
    pub fn figure(&self) -> String {
        format!("{} of {} things that hostile code tries", self.left, self.of)
    }

    /// What is open, by the layer that would close it.
    pub fn layers(&self) -> &[Group] {
        &self.layers
    }

    /// Whether [`Group::in_brief`] keeps something back.
    pub fn is_long(&self) -> bool {
        self.layers.iter().any(|group| group.checks.len() > FEW)
    }
}

impl Group {
    /// The first few, and how many more there are.
    pub fn in_brief(&self) -> String {
        let few: Vec<&str> = self.checks.values().take(FEW).copied().collect();
        match self.checks.len().saturating_sub(FEW) {
            0 => few.join("; "),
            more => format!("{}; and {more} more", few.join("; ")),
        }
    }
}
