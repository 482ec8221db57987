//! `domainname`: what `domainname(1)` prints (`setdomainname(2)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ops::SetDomainname, plan::Planner};

use super::{Name, Plan};

/// The NIS domain name, at most 64 bytes. Needs a `uts` layer before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Domainname(pub Name);

impl Plan for Domainname {
    fn plan(&self, to: &mut Planner) {
        to.step(SetDomainname(self.0.0.clone()));
    }
}
