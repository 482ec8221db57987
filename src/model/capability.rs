//! Capabilities that operations ask for, by their number (`capability.h`), and
//! the five sets of a process (`capabilities(7)`).

use crate::{host::Host, sys::capability::NAMES};

/// Bypass permission checks on files
pub const DAC_OVERRIDE: u32 = 1;
/// Bypass read and search permission checks
pub const DAC_READ_SEARCH: u32 = 2;
/// Change group ids
pub const SETGID: u32 = 6;
/// Change user ids
pub const SETUID: u32 = 7;
/// Change networks
pub const NET_ADMIN: u32 = 12;
/// `CAP_NET_BIND_SERVICE`
pub const NET_BIND_SERVICE: u32 = 10;
/// Change what capabilities there may be
pub const SETPCAP: u32 = 8;
/// Most of what root may do
pub const SYS_ADMIN: u32 = 21;
/// Pass limits of resources
pub const SYS_RESOURCE: u32 = 24;
/// Set clocks
pub const SYS_TIME: u32 = 25;
/// Give capabilities to files; map host root
pub const SETFCAP: u32 = 31;

/// Every capability.
pub const ALL: u64 = u64::MAX;

/// The name, as the man page spells it.
pub fn name(capability: u32) -> &'static str {
    let found = NAMES.iter().find(|(number, _)| *number == capability);
    found.map_or("a capability", |(_, name)| name)
}

/// The names of a set, as commands spell them: `net_raw, sys_chroot`.
pub fn names(set: u64) -> String {
    let own = NAMES.iter().filter(|(number, _)| set & 1 << number != 0);
    let names: Vec<String> =
        own.map(|(_, name)| name.trim_start_matches("CAP_").to_lowercase()).collect();
    names.join(", ")
}

/// Those of a set that have a name.
pub fn known(set: u64) -> u64 {
    NAMES.iter().fold(0, |known, (number, _)| known | set & 1 << number)
}

/// The capability sets of a process, one bit a capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// What the kernel looks at
    pub effective: u64,
    /// What may become effective
    pub permitted: u64,
    /// What may go through `execve`
    pub inheritable: u64,
    /// What `execve` can give at most, where known
    pub bounding: Option<u64>,
    /// What `execve` gives to whoever is not root
    pub ambient: u64,
    /// Whether the permitted set survives leaving root (`SECBIT_KEEP_CAPS`)
    pub are_kept: bool,
}

impl Capabilities {
    /// Of the first process in a user namespace (`set_cred_user_ns()`).
    pub const FULL: Capabilities = Capabilities {
        effective: ALL,
        permitted: ALL,
        inheritable: 0,
        bounding: Some(ALL),
        ambient: 0,
        are_kept: false,
    };

    /// Those of the caller: what nobody told of is as it usually is.
    pub fn of(host: &Host) -> Self {
        let effective = host.caller.capabilities;
        let known = host.confinement.as_ref();
        Self {
            effective,
            permitted: known.and_then(|known| known.permitted).unwrap_or(effective),
            inheritable: known.and_then(|known| known.inheritable).unwrap_or(0),
            bounding: known.and_then(|known| known.bounding),
            ambient: known.and_then(|known| known.ambient).unwrap_or(0),
            are_kept: false,
        }
    }

    /// A change of user id in a user namespace (`cap_emulate_setxuid()`).
    pub fn change_user(&mut self, was_root: bool, is_root: bool) {
        if was_root && !is_root {
            if !self.are_kept {
                self.permitted = 0;
            }
            self.effective = 0;
            self.ambient = 0;
        }
        if !was_root && is_root {
            self.effective = self.permitted;
        }
    }

    /// What is left after `execve(2)` of a program that gives nothing
    /// (`cap_bprm_creds_from_file()`).
    pub fn after_exec(&self, is_root: bool, no_new_privs: bool) -> Capabilities {
        let gained = match is_root {
            true => self.bounding.unwrap_or(ALL) | self.inheritable,
            false => self.ambient,
        };
        let permitted = if no_new_privs { gained & self.permitted } else { gained };
        let effective = if is_root { permitted } else { self.ambient & permitted };
        Capabilities { effective, permitted, are_kept: false, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: u64 = 1 << 13;

    #[test]
    fn root_is_given_back_what_it_had_put_down() {
        let sets = Capabilities { effective: 0, permitted: 0, ..Capabilities::FULL };
        assert_eq!(sets.after_exec(true, false).effective, ALL);
        assert_eq!(sets.after_exec(true, true).effective, 0);
    }

    #[test]
    fn who_is_not_root_keeps_only_what_is_ambient() {
        let sets = Capabilities { inheritable: RAW, ambient: RAW, ..Capabilities::FULL };
        assert_eq!(sets.after_exec(false, true).effective, RAW);
        assert_eq!(Capabilities::FULL.after_exec(false, false).permitted, 0);
    }

    #[test]
    fn leaving_root_takes_everything_but_what_is_kept() {
        let mut sets = Capabilities { ambient: RAW, ..Capabilities::FULL };
        sets.are_kept = true;
        sets.change_user(true, false);
        assert_eq!((sets.permitted, sets.effective, sets.ambient), (ALL, 0, 0));
        sets.are_kept = false;
        sets.change_user(true, false);
        assert_eq!(sets.permitted, 0);
    }
}
