//! `pid`: processes of its own (`pid_namespaces(7)`).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ops::{Fork, MountNew, NewNamespace, SetPropagation},
    plan::Planner,
    sys::{Namespace, Propagation},
};

use super::Plan;

/// A PID namespace: processes inside see and signal only each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pid {
    /// Mount a fresh /proc, so that `ps` shows the sandbox. Without a mount
    /// namespace one is made for it.
    #[serde(default)]
    pub proc: bool,
    /// Put a small init in front of the command, which reaps orphans and
    /// forwards signals. Without it the command is PID 1: signals it does not
    /// handle do nothing, and orphans are its own to reap.
    #[serde(default = "yes")]
    pub init: bool,
}

fn yes() -> bool {
    true
}

impl Default for Pid {
    fn default() -> Self {
        Self { proc: false, init: true }
    }
}

impl Plan for Pid {
    fn plan(&self, to: &mut Planner) {
        to.step(NewNamespace(Namespace::Pid));
        to.step(Fork);
        if !self.proc {
            return;
        }
        if !to.model().has_own(Namespace::Mount) {
            to.at("proc").step(NewNamespace(Namespace::Mount));
            to.at("proc").step(SetPropagation(Propagation::Private));
        }
        to.at("proc").step(MountNew::proc("/proc"));
    }

    fn mounts(&self) -> bool {
        self.proc
    }
}
