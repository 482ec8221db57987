//! Keys that the kernel keeps for a session: `session-keyring(7)`, `keyctl(2)`.

use nix::errno::Errno;

/// `KEYCTL_JOIN_SESSION_KEYRING` of `linux/keyctl.h`
const JOIN: libc::c_long = 1;

/// Leaves the caller's session keyring for an empty one without a name; says
/// whether there is one now.
///
/// # Errors
/// As `keyctl(2)`: `EDQUOT` where the user has as many keys as there may be
/// (`kernel.keys.maxkeys`), `ENOSYS` where the kernel keeps none.
pub fn join_new() -> Result<bool, Errno> {
    // SAFETY: a null name asks for a keyring without one; nothing is written.
    let serial = unsafe { super::call(libc::SYS_keyctl, [JOIN, 0, 0, 0, 0]) }?;
    Ok(serial > 0)
}
