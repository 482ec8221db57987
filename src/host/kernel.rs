//! What the kernel and its administrator allow everybody: sysctls, security
//! modules, Landlock (`proc_sys_kernel(5)`, `lsm(7)`).

use std::fs;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sys::{Errno, file, landlock};

use super::Host;

/// What the kernel and its administrator allow everybody.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kernel {
    /// `kernel.dmesg_restrict`: only root reads the kernel's log
    pub dmesg_restrict: Option<bool>,
    /// `dev.tty.legacy_tiocsti`: programs may type into their terminal
    pub legacy_tiocsti: Option<bool>,
    /// Security modules that are on (`/sys/kernel/security/lsm`)
    pub security_modules: Option<Vec<String>>,
    /// SELinux's boolean `deny_userns`
    pub selinux_denies_userns: Option<bool>,
    /// Which Landlock answers
    pub landlock: Option<Landlock>,
    /// `fs.nr_open`: more descriptors than this no process may have
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nr_open: Option<u64>,
    /// `/dev/loop-control`
    pub loop_control: Option<Device>,
}

/// Which Landlock answers (`landlock_create_ruleset(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Landlock {
    /// No such call: not built in, or a seccomp filter hides it
    Missing,
    /// Built in, and not switched on
    Off,
    /// The number of its interface, 1 and up
    Interface(u32),
}

impl Landlock {
    /// Asks this machine.
    pub fn probe() -> Option<Self> {
        match landlock::interface() {
            Ok(number) => Some(Self::Interface(number)),
            Err(Errno::ENOSYS) => Some(Self::Missing),
            Err(Errno::EOPNOTSUPP) => Some(Self::Off),
            Err(_) => None,
        }
    }
}

/// What the caller can do with a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Device {
    /// It is not there
    Missing,
    /// It may not be opened
    Denied,
    /// It may be opened
    Usable,
}

impl Kernel {
    /// Whether a security module is on, as far as known.
    pub fn has_module(&self, name: &str) -> Option<bool> {
        let modules = self.security_modules.as_ref()?;
        Some(modules.iter().any(|module| module == name))
    }
}

impl Host {
    /// Whether programs may type into their terminal (`TIOCSTI`); `None`: an
    /// older kernel, on which they may, or nobody tells.
    pub fn legacy_tiocsti() -> Option<bool> {
        switch("/proc/sys/dev/tty/legacy_tiocsti")
    }

    /// The kernel's version, without its name: 6.12 is `(6, 12)`.
    pub fn kernel_version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.kernel.as_ref()?.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

pub(super) fn probe() -> Kernel {
    Kernel {
        dmesg_restrict: switch("/proc/sys/kernel/dmesg_restrict"),
        legacy_tiocsti: Host::legacy_tiocsti(),
        security_modules: read("/sys/kernel/security/lsm")
            .map(|text| text.trim().split(',').map(str::to_owned).collect()),
        // The first of two numbers is what holds now.
        selinux_denies_userns: read("/sys/fs/selinux/booleans/deny_userns")
            .map(|text| text.trim_start().starts_with('1')),
        nr_open: read("/proc/sys/fs/nr_open").and_then(|text| text.trim().parse().ok()),
        landlock: Landlock::probe(),
        loop_control: match file::may_write(c"/dev/loop-control") {
            Ok(()) => Some(Device::Usable),
            Err(Errno::ENOENT | Errno::ENOTDIR) => Some(Device::Missing),
            Err(Errno::EACCES | Errno::EPERM | Errno::EROFS) => Some(Device::Denied),
            Err(_) => None,
        },
    }
}

/// A sysctl that is 0 or not.
pub(super) fn switch(path: &str) -> Option<bool> {
    read(path).map(|text| text.trim() != "0")
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}
