//! Capabilities that operations ask for, by their number (`capability.h`).

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
/// Most of what root may do
pub const SYS_ADMIN: u32 = 21;
/// Give capabilities to files; map host root
pub const SETFCAP: u32 = 31;

/// The name, as the man page spells it.
pub fn name(capability: u32) -> &'static str {
    match capability {
        DAC_OVERRIDE => "CAP_DAC_OVERRIDE",
        DAC_READ_SEARCH => "CAP_DAC_READ_SEARCH",
        SETGID => "CAP_SETGID",
        SETUID => "CAP_SETUID",
        NET_ADMIN => "CAP_NET_ADMIN",
        SYS_ADMIN => "CAP_SYS_ADMIN",
        SETFCAP => "CAP_SETFCAP",
        _ => "a capability",
    }
}
