//! Who the process is: `credentials(7)`.

use nix::errno::Errno;

/// Sets all three user ids, past the C library's thread broadcast.
///
/// # Errors
/// `EINVAL` for an id without a mapping, `EPERM` without `CAP_SETUID`.
pub fn set_uid(uid: u32) -> Result<(), Errno> {
    let id = libc::c_long::from(uid);
    // SAFETY: `setresuid` takes numbers.
    unsafe { super::call(libc::SYS_setresuid, [id, id, id, 0, 0]) }.map(drop)
}

/// Sets all three group ids.
///
/// # Errors
/// `EINVAL` for an id without a mapping, `EPERM` without `CAP_SETGID`.
pub fn set_gid(gid: u32) -> Result<(), Errno> {
    let id = libc::c_long::from(gid);
    // SAFETY: `setresgid` takes numbers.
    unsafe { super::call(libc::SYS_setresgid, [id, id, id, 0, 0]) }.map(drop)
}

/// Replaces the supplementary groups.
///
/// # Errors
/// `EPERM` without `CAP_SETGID`, or where `setgroups` is denied.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    let count = groups.len() as libc::c_long;
    let list = groups.as_ptr() as libc::c_long;
    // SAFETY: the list has `count` ids and outlives the call.
    unsafe { super::call(libc::SYS_setgroups, [count, list, 0, 0, 0]) }.map(drop)
}
