//! A file as a block device: `loop(4)`.

use std::{
    mem::MaybeUninit,
    os::fd::{AsFd, AsRawFd, OwnedFd},
};

use nix::errno::Errno;

const LOOP_CTL_GET_FREE: libc::c_ulong = 0x4C82;
const LOOP_CONFIGURE: libc::c_ulong = 0x4C0A;
const LO_FLAGS_READ_ONLY: u32 = 1;
const LO_FLAGS_AUTOCLEAR: u32 = 4;
/// Somebody else may take the free device first; this often in a row is no chance.
const ATTEMPTS: usize = 64;

/// `struct loop_info64`
#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config` (Linux 5.8)
#[repr(C)]
struct Configuration {
    fd: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A loop device over one file; the kernel frees it after its last user.
pub struct LoopDevice {
    /// Keeps the device until something is mounted from it.
    pub device: OwnedFd,
    /// N of `/dev/loopN`
    pub number: u32,
}

/// Attaches `image`, read-only, to a free loop device (`LO_FLAGS_AUTOCLEAR`:
/// nothing is left behind, whoever dies).
///
/// # Errors
/// As opening `/dev/loop-control` and `/dev/loopN`, and as `LOOP_CONFIGURE`.
pub fn attach(image: impl AsFd) -> Result<LoopDevice, Errno> {
    attach_with(image, libc::O_RDONLY, LO_FLAGS_AUTOCLEAR | LO_FLAGS_READ_ONLY)
}

/// As [`attach`], and what is written to the device goes to `image`, which has
/// to be open for writing.
///
/// # Errors
/// As [`attach`].
pub fn attach_writable(image: impl AsFd) -> Result<LoopDevice, Errno> {
    attach_with(image, libc::O_RDWR, LO_FLAGS_AUTOCLEAR)
}

fn attach_with(image: impl AsFd, access: libc::c_int, flags: u32) -> Result<LoopDevice, Errno> {
    let control = open(c"/dev/loop-control", libc::O_RDWR)?;
    let mut last = Errno::EBUSY;
    for _ in 0..ATTEMPTS {
        // SAFETY: this ioctl takes no argument.
        let number =
            Errno::result(unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE as _) })?;
        let number = number as u32;
        let mut name = *b"/dev/loop\0\0\0\0\0\0\0\0\0\0\0\0";
        write_decimal(&mut name[9..], number);
        let name = std::ffi::CStr::from_bytes_until_nul(&name).map_err(|_| Errno::EINVAL)?;
        let device = open(name, access)?;
        // SAFETY: an all-zero configuration is a valid one.
        let mut configuration: Configuration = unsafe { MaybeUninit::zeroed().assume_init() };
        configuration.fd = image.as_fd().as_raw_fd() as u32;
        configuration.info.flags = flags;
        // SAFETY: the structure outlives the call.
        let configured = Errno::result(unsafe {
            libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE as _, &raw const configuration)
        });
        match configured {
            Ok(_) => return Ok(LoopDevice { device, number }),
            Err(Errno::EBUSY) => last = Errno::EBUSY,
            Err(errno) => return Err(errno),
        }
    }
    Err(last)
}

fn open(path: &std::ffi::CStr, access: libc::c_int) -> Result<OwnedFd, Errno> {
    // SAFETY: the path outlives the call.
    let fd = Errno::result(unsafe { libc::open(path.as_ptr(), access | libc::O_CLOEXEC) })?;
    Ok(super::descriptor::own(libc::c_long::from(fd)))
}

/// Writes a number as decimal digits.
fn write_decimal(into: &mut [u8], number: u32) {
    let digits = number.checked_ilog10().unwrap_or(0) as usize + 1;
    let mut rest = number;
    for place in into.iter_mut().take(digits).rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}
