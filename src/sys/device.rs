//! Devices by their numbers (`stat(2)`, `null(4)`, `random(4)`, `tty(4)`).

use std::os::fd::AsFd;

use nix::{errno::Errno, sys::stat};

/// A character device, by the number that Linux gives it for ever
/// (`Documentation/admin-guide/devices.txt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Device {
    /// Which driver
    pub major: u64,
    /// Which of its devices
    pub minor: u64,
}

impl Device {
    /// `/dev/null`
    pub const NULL: Self = Self { major: 1, minor: 3 };

    /// Whether an open file, or a place in the tree, is this device.
    ///
    /// # Errors
    /// As `fstat(2)`.
    pub fn is(self, file: impl AsFd) -> Result<bool, Errno> {
        let found = stat::fstat(file)?;
        let is_character = found.st_mode & libc::S_IFMT == libc::S_IFCHR;
        Ok(is_character && Self::of_number(found.st_rdev) == self)
    }
}

impl Device {
    /// The device of this number, as `stat(2)` has it.
    pub fn of_number(number: u64) -> Self {
        Self { major: stat::major(number), minor: stat::minor(number) }
    }
}

/// Whether a place in the tree is a directory.
///
/// # Errors
/// As `fstat(2)`.
pub fn is_directory(place: impl AsFd) -> Result<bool, Errno> {
    Ok(stat::fstat(place)?.st_mode & libc::S_IFMT == libc::S_IFDIR)
}
