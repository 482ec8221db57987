//! `proc`: the processes of the sandbox as files (`proc(5)`).

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{ops::MountNew, plan::Planner};

use super::{FromWord, Place, Plan};

/// A fresh /proc. It shows the PID namespace of the process, so a `pid` layer
/// comes before it, and before the old root is gone.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Proc {
    /// The directory it covers; /proc otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

impl FromWord for Proc {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { at: Some(Place::new(word)?) })
    }
}

impl Plan for Proc {
    fn plan(&self, to: &mut Planner) {
        let at = self.at.as_ref().map_or(Path::new("/proc"), Place::as_path);
        let at = to.path(at);
        to.step(MountNew::proc(at));
    }

    fn mounts(&self) -> bool {
        true
    }
}
