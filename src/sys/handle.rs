//! File handles: what a filesystem calls a file, whatever its name
//! (`name_to_handle_at(2)`).

use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// `MAX_HANDLE_SZ`
const LONGEST: usize = 128;

/// `struct file_handle`, with room for the longest
#[repr(C)]
pub struct Handle {
    length: u32,
    kind: i32,
    bytes: [u8; LONGEST],
}

impl Handle {
    /// The handle of an open file.
    ///
    /// # Errors
    /// As `name_to_handle_at(2)`; `EOPNOTSUPP` where the filesystem has none.
    pub fn of(file: BorrowedFd) -> Result<Handle, Errno> {
        let mut handle = Handle { length: LONGEST as u32, kind: 0, bytes: [0; LONGEST] };
        let mut mount: libc::c_int = 0;
        // SAFETY: the handle has the room that it says, and all three outlive the call.
        unsafe {
            super::call(
                libc::SYS_name_to_handle_at,
                [
                    libc::c_long::from(file.as_raw_fd()),
                    c"".as_ptr() as libc::c_long,
                    &raw mut handle as libc::c_long,
                    &raw mut mount as libc::c_long,
                    libc::c_long::from(libc::AT_EMPTY_PATH),
                ],
            )
        }?;
        Ok(handle)
    }

    /// Which of the filesystem's kinds of handle.
    pub fn kind(&self) -> i32 {
        self.kind
    }

    /// The handle itself.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length as usize).unwrap_or_default()
    }
}
