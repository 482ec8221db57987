//! `mask`: a file or directory with nothing to see in it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ops::{self, Extent},
    plan::{Planner, Wanted},
    sys::KernelPath,
};

use super::{
    OneOrMany, Place, Plan,
    forms::{FromPlaces, Places},
};

/// What the host keeps for nothing.
const NULL: &str = "/dev/null";

/// A file is covered with `/dev/null`, a directory with an empty one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// What is covered; one path, or a list of them.
    pub at: OneOrMany<Place>,
    /// A path with nothing at it is passed over.
    #[serde(default)]
    pub optional: bool,
}

impl FromPlaces for Mask {
    fn from_places(at: OneOrMany<Place>) -> Self {
        Self { at, optional: false }
    }
}

impl Plan for Mask {
    fn plan(&self, to: &mut Planner) {
        for ((place, at), wanted) in Places::of(&self.at).into_iter().zip(self.sources()) {
            let path = to.path(at.as_path());
            if self.optional {
                // Whether anything is skipped is for the plan to say.
                to.learn(&path);
            }
            let null = to.source(&wanted);
            let op = ops::Mask { at: KernelPath::new(path), null, optional: self.optional };
            to.at_place(|layer| layer.join(&place)).step(op);
        }
    }

    fn sources(&self) -> Vec<Wanted> {
        let wanted = |(within, _)| Wanted { within, path: NULL.into(), extent: Extent::WHOLE };
        Places::of(&self.at).into_iter().map(wanted).collect()
    }

    fn mounts(&self) -> bool {
        true
    }
}
