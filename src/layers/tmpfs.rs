//! `tmpfs`: an empty filesystem in memory (`tmpfs(5)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{ops::MountNew, plan::Planner};

use super::{FromWord, Mode, Place, Plan, Size};

/// An empty filesystem in memory; it ends with the sandbox.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tmpfs {
    /// The directory it covers.
    pub at: Place,
    /// How much may be in it; half of the memory otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// Permission bits of its root; `0755` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

impl FromWord for Tmpfs {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { at: Place::new(word)?, size: None, mode: None })
    }
}

impl Plan for Tmpfs {
    fn plan(&self, to: &mut Planner) {
        let at = to.path(self.at.as_path());
        let mode = self.mode.map_or(0o755, |mode| mode.0);
        to.step(MountNew::tmpfs(at, mode, self.size.map(|size| size.0)));
    }

    fn mounts(&self) -> bool {
        true
    }
}
