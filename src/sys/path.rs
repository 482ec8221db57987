//! A path as the kernel wants it, made before the fork.

use std::{
    ffi::{CStr, CString, OsStr},
    fmt,
    os::unix::ffi::OsStrExt,
    path::Path,
};

/// A path that ends in NUL, so that a child which may not allocate can use it.
#[derive(Clone, PartialEq, Eq)]
pub struct KernelPath(CString);

impl KernelPath {
    /// Keeps the path up to its first NUL byte; recipes refuse NUL long before.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let bytes = path.as_ref().as_os_str().as_bytes();
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        Self(CString::new(&bytes[..end]).unwrap_or_default())
    }

    /// For the kernel.
    pub fn as_c_str(&self) -> &CStr {
        &self.0
    }

    /// For the planner and for people.
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(self.0.as_bytes()))
    }
}

impl fmt::Debug for KernelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_path().fmt(f)
    }
}
