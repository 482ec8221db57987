//! `dir`: a directory (`mkdir(2)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{ops::MakeDirectory, plan::Planner};

use super::{FromWord, Mode, Place, Plan};

/// A directory, with all that is missing above it. One that is there already
/// stays as it is. None is made on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dir {
    /// Which.
    pub path: Place,
    /// Permission bits; `0755` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

impl FromWord for Dir {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { path: Place::new(word)?, mode: None })
    }
}

impl Plan for Dir {
    fn plan(&self, to: &mut Planner) {
        let path = to.path(self.path.as_path());
        // Whether it would be made on the host has to be known beforehand.
        to.learn(&path);
        let ground = to.ground(&path);
        let mode = self.mode.map_or(0o755, |mode| mode.0);
        to.step(MakeDirectory::new(path, mode).on(ground));
    }
}
