//! `read_only`: a mount that nothing can be written through any more
//! (`mount_setattr(2)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ops::Restrict,
    plan::Planner,
    sys::{KernelPath, mount::Flags},
};

use super::{
    OneOrMany, Place, Plan,
    forms::{FromPlaces, Places},
};

/// What is mounted at a path becomes read-only in place, mounts below included.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadOnly {
    /// Where it is mounted; one path, or a list of them.
    pub at: OneOrMany<Place>,
    /// A path with nothing at it is passed over.
    #[serde(default)]
    pub optional: bool,
}

impl FromPlaces for ReadOnly {
    fn from_places(at: OneOrMany<Place>) -> Self {
        Self { at, optional: false }
    }
}

impl Plan for ReadOnly {
    fn plan(&self, to: &mut Planner) {
        for (place, at) in Places::of(&self.at) {
            let path = to.path(at.as_path());
            if self.optional {
                // Whether anything is skipped is for the plan to say.
                to.learn(&path);
            }
            let at = KernelPath::new(path);
            let op = Restrict { at, flags: Flags::READ_ONLY, optional: self.optional };
            to.at_place(|layer| layer.join(&place)).step(op);
        }
    }

    fn mounts(&self) -> bool {
        true
    }
}
