//! `cgroup`: a view of control groups that begins at its own (`cgroup_namespaces(7)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ops::NewNamespace, plan::Planner, sys::Namespace};

use super::Plan;

/// A cgroup namespace: the control group that the sandbox starts in is its root.
/// It limits nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cgroup {}

impl Plan for Cgroup {
    fn plan(&self, to: &mut Planner) {
        to.step(NewNamespace(Namespace::Cgroup));
    }
}
