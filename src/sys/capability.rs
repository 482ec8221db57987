//! The capability sets of this process: `capabilities(7)`.

use nix::errno::Errno;

/// `struct __user_cap_header_struct`, version 3: 64 bits in two halves.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// The effective set, one bit a capability.
///
/// # Errors
/// As `capget(2)`.
pub fn effective() -> Result<u64, Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let mut halves = [Half::default(); 2];
    // SAFETY: header and both halves outlive the call.
    unsafe {
        super::call(
            libc::SYS_capget,
            [&raw mut header as libc::c_long, halves.as_mut_ptr() as libc::c_long, 0, 0, 0],
        )
    }?;
    let [low, high] = halves;
    Ok(u64::from(low.effective) | u64::from(high.effective) << 32)
}
