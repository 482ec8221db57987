//! `file`: a file with a content that the recipe has (`open(2)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ops::MakeFile, plan::Planner};

use super::{Mode, Place, Plan, Word};

/// A file with a content of its own, where nothing is. It is made in a `tmpfs`
/// or an `overlay`, never on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Where; the directory is there already.
    pub at: Place,
    /// What is in it; nothing otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Word>,
    /// Permission bits; `0644` otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}

impl Plan for File {
    fn plan(&self, to: &mut Planner) {
        let path = to.path(self.at.as_path());
        // Whether it would be made on the host has to be known beforehand.
        to.learn(&path);
        let at = to.new_name(&path);
        let content = self.content.as_ref().map_or(Vec::new(), |text| text.0.clone().into_bytes());
        to.step(MakeFile { at, content, mode: self.mode.map_or(0o644, |mode| mode.0) });
    }
}
