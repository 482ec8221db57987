//! `dev`: a `/dev` with what every program may expect, and no hardware
//! (`null(4)`, `random(4)`, `pts(4)`).

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{
    plan::{Planner, Wanted},
    yaml,
};

use super::{FromWord, Place, Plan, nodes};

/// A minimal `/dev`: null, zero, full, random, urandom and tty of the host,
/// terminals and shared memory of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dev {
    /// The directory it covers; /dev otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

impl FromWord for Dev {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { at: Some(Place::new(word)?) })
    }
}

impl Plan for Dev {
    fn plan(&self, to: &mut Planner) {
        let at = self.at.as_ref().map_or(Path::new("/dev"), Place::as_path);
        let at = to.path(at);
        nodes::plan(to, &at, &yaml::Path::root());
    }

    fn sources(&self) -> Vec<Wanted> {
        nodes::wanted(&yaml::Path::root())
    }

    fn mounts(&self) -> bool {
        true
    }
}
