//! What the caller itself is held back by, before any recipe: a seccomp
//! filter, `no_new_privs`, a bounding set, a security module's label
//! (`proc_pid_status(5)`, `proc_pid_attr(5)`).

use std::{collections::BTreeMap, fs};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sys::{
    Call, Errno, capability, filter,
    limit::{self, Limit, Resource},
};

/// What the caller is held back by.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Confinement {
    /// Whether `execve` can give the caller nothing (`NoNewPrivs`)
    pub no_new_privs: Option<bool>,
    /// The capabilities that it can ever have again, one bit each (`CapBnd`)
    pub bounding: Option<u64>,
    /// The capabilities that may become effective (`CapPrm`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub permitted: Option<u64>,
    /// The capabilities that may go through `execve` (`CapInh`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inheritable: Option<u64>,
    /// The capabilities that `execve` gives to whoever is not root (`CapAmb`)
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ambient: Option<u64>,
    /// What the caller may use up, by the names of `prlimit(1)`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Limit>>,
    /// Whether system calls are filtered (`Seccomp`)
    pub seccomp: Option<Seccomp>,
    /// Calls that were tried with nonsense and not answered by the kernel, each
    /// with the errno that came instead
    pub denied: Option<BTreeMap<String, i32>>,
    /// What AppArmor calls the caller: `unconfined`, or `PROFILE (MODE)`
    pub apparmor: Option<String>,
    /// Whether others of the same user may look into the caller, and it into
    /// its own `/proc` files (`PR_GET_DUMPABLE(2const)`)
    pub dumpable: Option<bool>,
}

/// Whether system calls are filtered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Seccomp {
    /// Every call goes to the kernel
    Off,
    /// Only reading, writing and the end
    Strict,
    /// As a filter says
    Filter,
}

/// Calls that tell a filter from the kernel whoever asks.
const TRIED: [Call; 6] =
    [Call::Unshare, Call::Clone, Call::Mount, Call::Bind, Call::MountSetattr, Call::Open];

impl Confinement {
    /// The errno by which something answers this call in the kernel's place.
    pub fn denies(&self, call: Call) -> Option<Errno> {
        self.denied.as_ref()?.get(call.name()).map(|&errno| Errno::from_raw(errno))
    }
}

pub(super) fn probe() -> Confinement {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.map(str::trim)
    };
    let sets = capability::sets().ok();
    Confinement {
        permitted: sets.map(|sets| sets.permitted),
        inheritable: sets.map(|sets| sets.inheritable),
        ambient: capability::ambient().ok(),
        limits: Some(limits()),
        no_new_privs: crate::sys::process::has_no_new_privs(),
        bounding: field("CapBnd").and_then(|text| u64::from_str_radix(text, 16).ok()),
        seccomp: field("Seccomp").and_then(|text| match text {
            "0" => Some(Seccomp::Off),
            "1" => Some(Seccomp::Strict),
            "2" => Some(Seccomp::Filter),
            _ => None,
        }),
        denied: Some(denied()),
        apparmor: apparmor_label(),
        dumpable: crate::sys::process::is_dumpable(),
    }
}

fn limits() -> BTreeMap<String, Limit> {
    let known = |&resource: &Resource| {
        let limit = limit::get(resource).ok()?;
        Some((resource.name().to_owned(), limit))
    };
    Resource::ALL.iter().filter_map(known).collect()
}

/// Harmless: nonsense is asked for, and nothing is changed.
fn denied() -> BTreeMap<String, i32> {
    let answers = TRIED.into_iter().filter_map(|call| Some((call, filter::denies(call)?)));
    answers.map(|(call, errno)| (call.name().to_owned(), errno as i32)).collect()
}

/// The old file may be another module's (`security/lsm_list.h`), so it counts
/// only where AppArmor says that it is on.
fn apparmor_label() -> Option<String> {
    let label = fs::read_to_string("/proc/self/attr/apparmor/current").ok().or_else(|| {
        let enabled = fs::read_to_string("/sys/module/apparmor/parameters/enabled").ok()?;
        enabled.starts_with('Y').then(|| fs::read_to_string("/proc/self/attr/current").ok())?
    })?;
    Some(label.trim_end_matches(['\n', '\0']).to_owned())
}
