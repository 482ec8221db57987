//! `ipc`: shared memory, semaphores and message queues of its own (`ipc_namespaces(7)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ops::NewNamespace, plan::Planner, sys::Namespace};

use super::Plan;

/// An IPC namespace: System V objects and POSIX message queues made in it stay in it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ipc {}

impl Plan for Ipc {
    fn plan(&self, to: &mut Planner) {
        to.step(NewNamespace(Namespace::Ipc));
    }
}
