//! The capability sets of this process: `capabilities(7)`.

use std::{ffi::CString, os::unix::ffi::OsStrExt, path::Path, ptr};

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

/// Every capability there is, by its number (Linux 5.9).
pub const NAMES: [(u32, &str); 41] = [
    (0, "CAP_CHOWN"),
    (1, "CAP_DAC_OVERRIDE"),
    (2, "CAP_DAC_READ_SEARCH"),
    (3, "CAP_FOWNER"),
    (4, "CAP_FSETID"),
    (5, "CAP_KILL"),
    (6, "CAP_SETGID"),
    (7, "CAP_SETUID"),
    (8, "CAP_SETPCAP"),
    (9, "CAP_LINUX_IMMUTABLE"),
    (10, "CAP_NET_BIND_SERVICE"),
    (11, "CAP_NET_BROADCAST"),
    (12, "CAP_NET_ADMIN"),
    (13, "CAP_NET_RAW"),
    (14, "CAP_IPC_LOCK"),
    (15, "CAP_IPC_OWNER"),
    (16, "CAP_SYS_MODULE"),
    (17, "CAP_SYS_RAWIO"),
    (18, "CAP_SYS_CHROOT"),
    (19, "CAP_SYS_PTRACE"),
    (20, "CAP_SYS_PACCT"),
    (21, "CAP_SYS_ADMIN"),
    (22, "CAP_SYS_BOOT"),
    (23, "CAP_SYS_NICE"),
    (24, "CAP_SYS_RESOURCE"),
    (25, "CAP_SYS_TIME"),
    (26, "CAP_SYS_TTY_CONFIG"),
    (27, "CAP_MKNOD"),
    (28, "CAP_LEASE"),
    (29, "CAP_AUDIT_WRITE"),
    (30, "CAP_AUDIT_CONTROL"),
    (31, "CAP_SETFCAP"),
    (32, "CAP_MAC_OVERRIDE"),
    (33, "CAP_MAC_ADMIN"),
    (34, "CAP_SYSLOG"),
    (35, "CAP_WAKE_ALARM"),
    (36, "CAP_BLOCK_SUSPEND"),
    (37, "CAP_AUDIT_READ"),
    (38, "CAP_PERFMON"),
    (39, "CAP_BPF"),
    (40, "CAP_CHECKPOINT_RESTORE"),
];

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

/// Lets a program that is executed next have this capability, whoever it runs
/// as, and no other.
///
/// # Errors
/// As `prctl(2)` and `capset(2)`.
pub fn keep_only(capability: u32) -> Result<(), Errno> {
    for other in (0..64).filter(|&other| other != capability) {
        // SAFETY: `prctl` takes numbers here.
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, other, 0, 0, 0) };
        match Errno::result(dropped) {
            // The kernel knows fewer than there could be.
            Ok(_) | Err(Errno::EINVAL) => {}
            Err(errno) => return Err(errno),
        }
    }
    let mut header = Header { version: VERSION_3, pid: 0 };
    let bits = |half: u32| if capability / 32 == half { 1 << (capability % 32) } else { 0 };
    let halves = [0, 1].map(|half| Half {
        effective: bits(half),
        permitted: bits(half),
        inheritable: bits(half),
    });
    // SAFETY: header and both halves outlive the call.
    unsafe {
        super::call(
            libc::SYS_capset,
            [&raw mut header as libc::c_long, halves.as_ptr() as libc::c_long, 0, 0, 0],
        )
    }?;
    // SAFETY: `prctl` takes numbers here.
    let raised =
        unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0) };
    Errno::result(raised).map(drop)
}

/// Whether a program gives capabilities to who executes it (`security.capability`).
///
/// # Errors
/// As `getxattr(2)`.
pub fn are_given_by(program: &Path) -> Result<bool, Errno> {
    let path = CString::new(program.as_os_str().as_bytes()).map_err(|_| Errno::ENOENT)?;
    let name = c"security.capability";
    // SAFETY: path and name outlive the call; no buffer is passed, and its size is 0.
    let size = unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), ptr::null_mut(), 0) };
    match Errno::result(size) {
        Ok(_) => Ok(true),
        Err(Errno::ENODATA | Errno::EOPNOTSUPP) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// What a program's file gives for sure (`struct vfs_cap_data`, the effective
/// flag set), and this process may not pass on (`CapBnd` of `proc_pid_status(5)`).
pub fn out_of_bounds(program: &Path) -> u64 {
    let given = xattr::get(program, "security.capability").ok().flatten().unwrap_or_default();
    let number = |at: usize| -> u64 {
        let bytes = given.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, |bytes| u64::from(u32::from_le_bytes(bytes)))
    };
    let (is_effective, permitted) = (number(0) & 1 != 0, number(4) | number(12) << 32);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bounds = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bounds = bounds.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok());
    if is_effective { permitted & !bounds.unwrap_or(u64::MAX) } else { 0 }
}
