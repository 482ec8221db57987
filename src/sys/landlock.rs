//! Which Landlock the kernel has: `landlock_create_ruleset(2)`.

use nix::errno::Errno;

const LANDLOCK_CREATE_RULESET_VERSION: libc::c_long = 1;

/// The number of Landlock's interface, 1 and up.
///
/// # Errors
/// `ENOSYS` where it is not built in, `EOPNOTSUPP` where it is switched off.
pub fn interface() -> Result<u32, Errno> {
    let arguments = [0, 0, LANDLOCK_CREATE_RULESET_VERSION, 0, 0];
    // SAFETY: with this flag, no attributes and no size, the call reads nothing.
    let number = unsafe { super::call(libc::SYS_landlock_create_ruleset, arguments) }?;
    Ok(number as u32)
}
