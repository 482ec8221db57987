//! `uts`: a hostname of its own (`uts_namespaces(7)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ops::{NewNamespace, SetDomainname, SetHostname},
    plan::Planner,
    sys::Namespace,
};

use super::{Name, Plan};

/// A UTS namespace: names set in it stay in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Uts {
    /// The hostname to begin with; the host's otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Name>,
    /// The NIS domain name to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domainname: Option<Name>,
}

impl Plan for Uts {
    fn plan(&self, to: &mut Planner) {
        to.step(NewNamespace(Namespace::Uts));
        if let Some(name) = &self.hostname {
            to.at("hostname").step(SetHostname(name.0.clone()));
        }
        if let Some(name) = &self.domainname {
            to.at("domainname").step(SetDomainname(name.0.clone()));
        }
    }
}
