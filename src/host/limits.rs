//! What a kernel gives each user of: `namespaces(7)`, "The /proc/sys/user directory".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How many namespaces of each kind a user may have.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NamespaceLimits {
    /// `max_user_namespaces`
    pub user: u64,
    /// `max_mnt_namespaces`
    pub mount: u64,
    /// `max_uts_namespaces`
    pub uts: u64,
    /// `max_pid_namespaces`
    pub pid: u64,
    /// `max_cgroup_namespaces`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<u64>,
    /// `max_ipc_namespaces`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipc: Option<u64>,
    /// `max_net_namespaces`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<u64>,
    /// `max_time_namespaces`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<u64>,
}
