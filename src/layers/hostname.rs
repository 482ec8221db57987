//! `hostname`: what `hostname(1)` prints (`sethostname(2)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ops::SetHostname, plan::Planner};

use super::{Name, Plan};

/// The hostname, at most 64 bytes. Needs a `uts` layer before it: without one
/// the name would be the host's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Hostname(pub Name);

impl Plan for Hostname {
    fn plan(&self, to: &mut Planner) {
        to.step(SetHostname(self.0.0.clone()));
    }
}
