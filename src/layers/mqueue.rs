//! `mqueue`: POSIX message queues as files (`mq_overview(7)`).

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de};

use crate::{ops::MountNew, plan::Planner};

use super::{FromWord, Place, Plan};

/// A fresh /dev/mqueue. It shows the message queues of the IPC namespace, so an
/// `ipc` layer comes before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mqueue {
    /// The directory it covers; /dev/mqueue otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Place>,
}

impl FromWord for Mqueue {
    fn from_word<E: de::Error>(word: &str) -> Result<Self, E> {
        Ok(Self { at: Some(Place::new(word)?) })
    }
}

impl Plan for Mqueue {
    fn plan(&self, to: &mut Planner) {
        let at = self.at.as_ref().map_or(Path::new("/dev/mqueue"), Place::as_path);
        let at = to.path(at);
        to.step(MountNew::mqueue(at));
    }

    fn mounts(&self) -> bool {
        true
    }
}
