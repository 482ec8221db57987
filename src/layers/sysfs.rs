//! `sysfs`: devices and the kernel's own objects as files (`sysfs(5)`).

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{ops::MountNew, plan::Planner};

use super::{FromWord, Place, Plan};

/// A fresh /sys. Of the network it shows the interfaces of the sandbox, so a
/// `net` layer comes before it, and it comes before the old root is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sysfs {
    /// The directory it covers; /sys otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
    /// Nothing can be written through it: on, unless this says `false`.
    #[serde(default = "yes")]
    pub read_only: bool,
}

fn yes() -> bool {
    true
}

impl Default for Sysfs {
    fn default() -> Self {
        Self { at: None, read_only: true }
    }
}

impl FromWord for Sysfs {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { at: Some(Place::new(word)?), ..Self::default() })
    }
}

impl Plan for Sysfs {
    fn plan(&self, to: &mut Planner) {
        let at = self.at.as_ref().map_or(Path::new("/sys"), Place::as_path);
        let at = to.path(at);
        to.step(MountNew::sysfs(at, self.read_only));
    }

    fn mounts(&self) -> bool {
        true
    }
}
