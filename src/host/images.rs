//! What a machine has to read a filesystem image with, where the kernel may
//! not be asked to mount it.

use std::{
    env, fs,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sys::ids::Acting;

use super::{ImageKind, Invoker, Owner};

/// Where programs of the administrator are: an ordinary user's `PATH` leaves them out.
const FOR_ROOT: [&str; 2] = ["/usr/sbin", "/sbin"];

/// The FUSE device and the programs for images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ImageTools {
    /// What came of opening `/dev/fuse`.
    pub fuse: FuseDevice,
    /// Where `squashfuse` is, or `squashfuse_ll`
    pub squashfuse: Option<PathBuf>,
    /// Where `erofsfuse` is
    pub erofsfuse: Option<PathBuf>,
    /// Where `fuse2fs` is
    pub fuse2fs: Option<PathBuf>,
    /// Where `unsquashfs` is
    pub unsquashfs: Option<PathBuf>,
    /// Where `fsck.erofs` is; before erofs-utils 1.5 it does not extract
    pub fsck_erofs: Option<PathBuf>,
    /// Where `debugfs` is
    pub debugfs: Option<PathBuf>,
}

/// What came of opening `/dev/fuse` to read and write (`fuse(4)`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FuseDevice {
    /// It opens
    Opens,
    /// It is not there
    Missing,
    /// It is there, and not for who asks
    Closed(Owner),
    /// It gives this errno
    Broken(i32),
}

/// A program for images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tool {
    /// What it is called
    pub name: &'static str,
    /// The package that has it
    pub package: &'static str,
}

impl ImageKind {
    /// What can serve such a filesystem through FUSE.
    pub fn server(self) -> Option<Tool> {
        let (name, package) = match self {
            Self::Squashfs => ("squashfuse", "squashfuse"),
            Self::Erofs => ("erofsfuse", "erofsfuse"),
            Self::Ext4 => ("fuse2fs", "fuse2fs"),
            Self::Xfs => return None,
        };
        Some(Tool { name, package })
    }

    /// What can unpack such a filesystem.
    pub fn unpacker(self) -> Option<Tool> {
        let (name, package) = match self {
            Self::Squashfs => ("unsquashfs", "squashfs-tools"),
            Self::Erofs => ("fsck.erofs", "erofs-utils"),
            Self::Ext4 => ("debugfs", "e2fsprogs"),
            Self::Xfs => return None,
        };
        Some(Tool { name, package })
    }
}

impl ImageTools {
    /// Where a program is.
    pub fn place(&self, tool: &Tool) -> Option<&PathBuf> {
        let place = match tool.name {
            "squashfuse" => &self.squashfuse,
            "erofsfuse" => &self.erofsfuse,
            "fuse2fs" => &self.fuse2fs,
            "unsquashfs" => &self.unsquashfs,
            "fsck.erofs" => &self.fsck_erofs,
            _ => &self.debugfs,
        };
        place.as_ref()
    }
}

/// Tries the device, as who will use it, and looks for the programs. None is
/// run: anybody may have put it there, and root may be who asks.
pub(super) fn probe(user: Option<&Invoker>) -> ImageTools {
    let find = |name| find(name, env::var_os("PATH"));
    ImageTools {
        fuse: try_device(user),
        squashfuse: find("squashfuse").or_else(|| find("squashfuse_ll")),
        erofsfuse: find("erofsfuse"),
        fuse2fs: find("fuse2fs"),
        unsquashfs: find("unsquashfs"),
        fsck_erofs: find("fsck.erofs"),
        debugfs: find("debugfs"),
    }
}

fn try_device(user: Option<&Invoker>) -> FuseDevice {
    let acting = user.map(|user| Acting::new(user.uid, user.gid, &user.groups)).transpose();
    let device = Path::new("/dev/fuse");
    let open = |_| {
        let mut options = fs::OpenOptions::new();
        options.read(true).write(true).custom_flags(libc::O_NOCTTY | libc::O_NONBLOCK);
        options.open(device).map_err(|error| error.raw_os_error().unwrap_or(libc::EIO))
    };
    let opened = acting.map_err(|errno| errno as i32).and_then(open);
    match opened {
        Ok(_) => FuseDevice::Opens,
        Err(libc::ENOENT | libc::ENOTDIR) => FuseDevice::Missing,
        Err(errno @ (libc::EACCES | libc::EPERM)) => match fs::metadata(device) {
            Ok(found) => FuseDevice::Closed(Owner {
                uid: found.uid(),
                gid: found.gid(),
                mode: found.mode() & 0o7777,
            }),
            Err(_) => FuseDevice::Broken(errno),
        },
        Err(errno) => FuseDevice::Broken(errno),
    }
}

fn find(name: &str, path: Option<std::ffi::OsString>) -> Option<PathBuf> {
    let own: Vec<PathBuf> = path.iter().flat_map(env::split_paths).collect();
    let all = env::join_paths(own.iter().map(PathBuf::as_path).chain(FOR_ROOT.map(Path::new)));
    which::which_in_global(name, all.ok()).ok()?.find(|found| found.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_for_the_administrator_is_found_without_its_folder_in_the_path() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Some(folder.path().as_os_str().to_owned());
        assert_eq!(find("no-such-program-anywhere", path.clone()), None);
        assert_eq!(find("ldconfig", path), Some("/usr/sbin/ldconfig".into()));
    }
}
