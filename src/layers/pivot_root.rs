//! `pivot_root`: another root directory (`pivot_root(2)`).

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{
    ops::{self, MakeDirectory},
    plan::Planner,
    sys::KernelPath,
};

use super::{FromWord, Place, Plan};

/// A mounted tree becomes the root; the old root goes out of sight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PivotRoot {
    /// The new root: the place of an earlier `overlay`, `bind` or `tmpfs`.
    pub new: Place,
    /// A directory in the new root where the old one is kept until the last
    /// mount layer; it is detached and removed then. Without it the old root
    /// goes at once, and with it the chance to mount a /proc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Place>,
}

impl FromWord for PivotRoot {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { new: Place::new(word)?, old: None })
    }
}

impl Plan for PivotRoot {
    fn plan(&self, to: &mut Planner) {
        let new = to.path(self.new.as_path());
        let old = self.old.as_ref().map(|old| Path::new("/").join(old.as_path()));
        if let Some(old) = &old {
            to.at("old").step(MakeDirectory::within(&new, old, 0o755));
        }
        let at = old.as_ref().map(KernelPath::new);
        to.step(ops::PivotRoot { new: KernelPath::new(new), old: at });
        to.pivoted(old);
    }

    fn mounts(&self) -> bool {
        true
    }
}
