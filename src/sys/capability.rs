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

/// The sets that `capget(2)` knows, one bit a capability.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sets {
    /// What the kernel looks at
    pub effective: u64,
    /// What may become effective
    pub permitted: u64,
    /// What may go through `execve(2)`
    pub inheritable: u64,
}

/// The sets of this process.
///
/// # Errors
/// As `capget(2)`.
pub fn sets() -> Result<Sets, Errno> {
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
    let whole = |set: fn(Half) -> u32| u64::from(set(low)) | u64::from(set(high)) << 32;
    Ok(Sets {
        effective: whole(|half| half.effective),
        permitted: whole(|half| half.permitted),
        inheritable: whole(|half| half.inheritable),
    })
}

/// The effective set, one bit a capability.
///
/// # Errors
/// As `capget(2)`.
pub fn effective() -> Result<u64, Errno> {
    sets().map(|sets| sets.effective)
}

/// Gives this process other sets.
///
/// # Errors
/// As `capset(2)`.
pub fn set(sets: Sets) -> Result<(), Errno> {
    let mut header = Header { version: VERSION_3, pid: 0 };
    let half = |shift: u32| Half {
        effective: (sets.effective >> shift) as u32,
        permitted: (sets.permitted >> shift) as u32,
        inheritable: (sets.inheritable >> shift) as u32,
    };
    let halves = [half(0), half(32)];
    // SAFETY: header and both halves outlive the call.
    unsafe {
        super::call(
            libc::SYS_capset,
            [&raw mut header as libc::c_long, halves.as_ptr() as libc::c_long, 0, 0, 0],
        )
    }
    .map(drop)
}

/// Takes from the bounding set what is not to be kept. Who may not is not asked
/// to, where there is nothing to take.
///
/// # Errors
/// As `prctl(2)`.
pub fn bound(keep: u64) -> Result<(), Errno> {
    for capability in (0..64).filter(|capability| keep & 1 << capability == 0) {
        let dropped = match prctl(libc::PR_CAPBSET_DROP, capability, 0) {
            Err(Errno::EPERM) => match prctl(libc::PR_CAPBSET_READ, capability, 0) {
                Ok(0) => Ok(0),
                Ok(_) => Err(Errno::EPERM),
                Err(errno) => Err(errno),
            },
            dropped => dropped,
        };
        match dropped {
            Ok(_) => {}
            // The kernel knows no more.
            Err(Errno::EINVAL) => return Ok(()),
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// The bounding set.
///
/// # Errors
/// As `prctl(2)`.
pub fn bounding() -> Result<u64, Errno> {
    gathered(|capability| prctl(libc::PR_CAPBSET_READ, capability, 0))
}

/// The ambient set.
///
/// # Errors
/// As `prctl(2)`.
pub fn ambient() -> Result<u64, Errno> {
    let is_set = libc::PR_CAP_AMBIENT_IS_SET as libc::c_ulong;
    gathered(|capability| prctl(libc::PR_CAP_AMBIENT, is_set, capability))
}

/// Makes the ambient set this one; what is to be in it is permitted and inheritable.
///
/// # Errors
/// As `prctl(2)`.
pub fn set_ambient(set: u64) -> Result<(), Errno> {
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as libc::c_ulong, 0)?;
    for capability in (0..64).filter(|capability| set & 1 << capability != 0) {
        prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE as libc::c_ulong, capability)?;
    }
    Ok(())
}

/// Lets the permitted set survive the next change of user id (`PR_SET_KEEPCAPS`); `execve(2)` ends it.
///
/// # Errors
/// As `prctl(2)`.
pub fn keep_over_change_of_user() -> Result<(), Errno> {
    prctl(libc::PR_SET_KEEPCAPS, 1, 0).map(drop)
}

/// Whether it does.
///
/// # Errors
/// As `prctl(2)`.
pub fn are_kept() -> Result<bool, Errno> {
    prctl(libc::PR_GET_KEEPCAPS, 0, 0).map(|kept| kept == 1)
}

/// A set that is asked for one by one, up to the last that the kernel knows.
fn gathered(is_set: impl Fn(libc::c_ulong) -> Result<i32, Errno>) -> Result<u64, Errno> {
    let mut set = 0;
    for capability in 0..64 {
        match is_set(capability) {
            Ok(found) => set |= u64::from(found != 0) << capability,
            Err(Errno::EINVAL) => break,
            Err(errno) => return Err(errno),
        }
    }
    Ok(set)
}

fn prctl(option: libc::c_int, second: libc::c_ulong, third: libc::c_ulong) -> Result<i32, Errno> {
    // SAFETY: the options used here take numbers.
    Errno::result(unsafe { libc::prctl(option, second, third, 0, 0) })
}

/// Lets a program that is executed next have this capability, whoever it runs
/// as, and no other.
///
/// # Errors
/// As `prctl(2)` and `capset(2)`.
pub fn keep_only(only: u64) -> Result<(), Errno> {
    bound(only)?;
    set(Sets { effective: only, permitted: only, inheritable: only })?;
    set_ambient(only)
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
