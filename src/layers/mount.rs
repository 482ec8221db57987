//! `mount`: mounts of its own (`mount_namespaces(7)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ops::{NewNamespace, SetPropagation},
    plan::Planner,
    sys::{self, Namespace},
};

use super::Plan;

/// A mount namespace: what is mounted inside is not seen outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// Which mount events travel between the host and the sandbox.
    #[serde(default)]
    pub propagation: Propagation,
}

/// Which mount events travel ("Shared subtrees").
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// None, in either direction
    #[default]
    Private,
    /// From the host to the sandbox
    Slave,
    /// Among namespaces made from this one
    Shared,
    /// As the kernel leaves it
    Unchanged,
}

impl Plan for Mount {
    fn plan(&self, to: &mut Planner) {
        to.step(NewNamespace(Namespace::Mount));
        let propagation = match self.propagation {
            Propagation::Private => sys::Propagation::Private,
            Propagation::Slave => sys::Propagation::Slave,
            Propagation::Shared => sys::Propagation::Shared,
            Propagation::Unchanged => return,
        };
        to.at("propagation").step(SetPropagation(propagation));
    }

    fn mounts(&self) -> bool {
        true
    }
}
