//! The machine's names: `sethostname(2)`, `setdomainname(2)`, `uname(2)`.

use nix::errno::Errno;

/// Sets the hostname of the UTS namespace.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` over it, `EINVAL` over 64 bytes.
pub fn set_hostname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name has `len` bytes and outlives the call.
    Errno::result(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Sets the NIS domain name of the UTS namespace.
///
/// # Errors
/// As [`set_hostname`].
pub fn set_domainname(name: &[u8]) -> Result<(), Errno> {
    // SAFETY: the name has `len` bytes and outlives the call.
    Errno::result(unsafe { libc::setdomainname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// `uname -r`
///
/// # Errors
/// As `uname(2)`.
pub fn kernel_release() -> Result<[u8; 65], Errno> {
    // SAFETY: an all-zero structure is a valid one, and outlives the call.
    let found = unsafe {
        let mut found: libc::utsname = std::mem::zeroed();
        Errno::result(libc::uname(&raw mut found))?;
        found
    };
    Ok(found.release.map(|byte| byte as u8))
}
