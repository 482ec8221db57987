//! Trees that were unpacked from images, kept in the user's cache.
//!
//! One directory for each image as it was, told by device, inode, size and
//! both of its times: writing to a file changes the time that nobody can set.
//! In it are `root`, the tree, and `image`, which says what it was made from.
//!
//! **Invariant:** what stands under a final name is whole: a tree is built
//! under another name, and renamed. Who builds or uses one holds a lock on its
//! directory (`flock(2)`), which ends with the process; what nobody holds and
//! nobody will want again is swept away by the next one who builds.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
        },
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use sha2::{Digest, Sha256};

use crate::sys::descriptor::{self, Lock};

/// A file changed this recently may change again and keep its time: the clock
/// of a filesystem goes in steps of up to 10 ms.
const STEP_OF_CLOCK: Duration = Duration::from_millis(50);
/// Others may take a name first; this often in a row is no chance.
const ATTEMPTS: u32 = 64;
/// A record is a line of numbers and a path.
const LONGEST_RECORD: u64 = 8192;
/// Of a SHA-256, as much as tells all images of a user apart.
const KEY_BYTES: usize = 16;
/// How the name of what is not whole begins.
const UNFINISHED: &str = ".unfinished-";

/// A file as it is at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Identity {
    /// What a file is now.
    pub fn of(found: &fs::Metadata) -> Self {
        Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }

    /// Waits until a change would show in the time.
    pub fn settle(&self) {
        let (seconds, nanos) = self.changed;
        let since = Duration::new(seconds.unsigned_abs(), nanos.unsigned_abs() as u32);
        let age = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH + since);
        if age.as_ref().is_ok_and(|age| *age < STEP_OF_CLOCK) {
            std::thread::sleep(STEP_OF_CLOCK);
        }
    }

    /// A name for what is made from it: the same from every isorecipe.
    fn key(&self) -> String {
        let digest = Sha256::digest(self.record());
        digest.iter().take(KEY_BYTES).fold(String::new(), |mut key, byte| {
            _ = write!(key, "{byte:02x}");
            key
        })
    }

    fn record(&self) -> String {
        let Self { device, inode, size, modified, changed } = self;
        format!("{device} {inode} {size} {}.{} {}.{}", modified.0, modified.1, changed.0, changed.1)
    }
}

/// The unpacked trees of one user.
#[derive(Clone)]
pub struct Cache {
    folder: PathBuf,
}

impl Cache {
    /// The trees below `~/.cache`, or what stands for it.
    pub fn below(cache: &Path) -> Self {
        Self { folder: cache.join("isorecipe/unpacked") }
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the tree of such an image is, or would be.
    pub fn tree(&self, identity: &Identity) -> PathBuf {
        self.entry(identity).join("root")
    }

    fn entry(&self, identity: &Identity) -> PathBuf {
        self.folder.join(identity.key())
    }

    /// When the tree of an image was unpacked, if it was.
    pub fn unpacked(&self, identity: &Identity) -> Option<SystemTime> {
        let entry = self.entry(identity);
        is_record_of(&entry, identity)
            .then(|| fs::symlink_metadata(entry.join("image")).ok()?.modified().ok())?
    }

    /// Holds the tree of an image, if it is there: nobody sweeps it meanwhile.
    ///
    /// # Errors
    /// As `open(2)` and `flock(2)`, but for what is not there.
    pub fn hold(&self, identity: &Identity) -> io::Result<Option<OwnedFd>> {
        let entry = self.entry(identity);
        let held = match open_directory(&entry) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            held => held?,
        };
        // Who sweeps it has renamed it, or is about to.
        let is_held = descriptor::lock(held.as_fd(), Lock::Shared)? && is_at(&held, &entry);
        Ok((is_held && is_record_of(&entry, identity)).then(|| held.into()))
    }

    /// Begins to unpack an image, after sweeping what nobody wants.
    ///
    /// # Errors
    /// As `mkdir(2)` and its kind; one without a number for a cache that others can change.
    pub fn begin(&self, identity: Identity, image: &Path) -> io::Result<Unfinished> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        for folder in self.folder.ancestors().take(2) {
            check_is_own(folder)?;
        }
        self.sweep(image, &identity)?;
        for attempt in 0..ATTEMPTS {
            let name = format!("{UNFINISHED}{}-{attempt}", std::process::id());
            let folder = self.folder.join(name);
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made?,
            }
            // Somebody who sweeps may have been faster than our lock.
            let Ok(held) = open_directory(&folder) else { continue };
            if descriptor::lock(held.as_fd(), Lock::Exclusive)? && is_at(&held, &folder) {
                let (cache, image) = (self.clone(), image.to_owned());
                let unfinished = Unfinished { cache, identity, image, folder, held };
                return unfinished.with_root();
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Removes what nobody holds and nobody will want again: what was never
    /// finished, and trees of images that have changed or are gone.
    fn sweep(&self, image: &Path, identity: &Identity) -> io::Result<()> {
        for found in fs::read_dir(&self.folder)? {
            let found = found?;
            let name = found.file_name().to_string_lossy().into_owned();
            let mut path = found.path();
            let Ok(held) = open_directory(&path) else { continue };
            if !descriptor::lock(held.as_fd(), Lock::Exclusive)? || !is_at(&held, &path) {
                continue;
            }
            if !name.starts_with(UNFINISHED) {
                if !is_outdated(&path, image, identity) {
                    continue;
                }
                let aside = self.folder.join(format!("{UNFINISHED}{}-{name}", std::process::id()));
                fs::rename(&path, &aside)?;
                path = aside;
            }
            remove(&path)?;
        }
        Ok(())
    }
}

/// Where a tree is, or would be.
pub struct Unpacked {
    /// Whose it is
    pub cache: Cache,
    /// The directory
    pub tree: PathBuf,
    /// When it was unpacked, if it was
    pub since: Option<SystemTime>,
}

/// A tree that is being unpacked.
pub struct Unfinished {
    cache: Cache,
    identity: Identity,
    image: PathBuf,
    folder: PathBuf,
    held: File,
}

impl Unfinished {
    fn with_root(self) -> io::Result<Self> {
        match DirBuilder::new().mode(0o755).create(self.tree()) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// The directory to fill.
    pub fn tree(&self) -> PathBuf {
        self.folder.join("root")
    }

    /// Whether there is no room left where the tree is.
    pub fn is_full(&self) -> bool {
        nix::sys::statvfs::statvfs(&self.folder).is_ok_and(|found| {
            let room = found.blocks_available().saturating_mul(found.fragment_size());
            room < 1 << 16 || found.files() > 0 && found.files_available() == 0
        })
    }

    /// Gives the tree its name, once all of it is on the disk; holds it.
    ///
    /// # Errors
    /// As `write(2)`, `syncfs(2)` and `rename(2)`.
    pub fn finish(self) -> io::Result<OwnedFd> {
        let (identity, entry) = (self.identity, self.cache.entry(&self.identity));
        let mut record = identity.record().into_bytes();
        record.push(b'\n');
        record.extend_from_slice(self.image.as_os_str().as_bytes());
        let path = self.folder.join("image");
        File::options().write(true).create_new(true).open(path)?.write_all(&record)?;
        nix::unistd::syncfs(&self.held)?;
        match fs::rename(&self.folder, &entry) {
            Ok(()) => {
                descriptor::lock(self.held.as_fd(), Lock::Shared)?;
                Ok(self.held.into())
            }
            // Two have unpacked the same: the first one's tree is as good.
            Err(error) if error.raw_os_error() == Some(libc::ENOTEMPTY) => {
                remove(&self.folder)?;
                let theirs = self.cache.hold(&identity)?;
                theirs.ok_or_else(|| io::Error::from_raw_os_error(libc::EBUSY))
            }
            Err(error) => {
                self.give_up();
                Err(error)
            }
        }
    }

    /// Leaves nothing behind. What could not be removed is swept another time.
    pub fn give_up(self) {
        let _ = remove(&self.folder);
    }
}

/// Whether a tree was unpacked from just this.
fn is_record_of(entry: &Path, identity: &Identity) -> bool {
    record(entry).is_some_and(|(line, _)| line == identity.record().as_bytes())
}

/// Whether a tree is that of an image which is gone, or of this one as it was before.
fn is_outdated(entry: &Path, image: &Path, identity: &Identity) -> bool {
    let Some((line, path)) = record(entry) else {
        return true;
    };
    let is_gone =
        fs::symlink_metadata(&path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_gone || path == image && line != identity.record().as_bytes()
}

/// The numbers and the path of an entry's record.
fn record(entry: &Path) -> Option<(Vec<u8>, PathBuf)> {
    let path = entry.join("image");
    let found = fs::symlink_metadata(&path).ok()?;
    if !found.is_file() || found.len() > LONGEST_RECORD {
        return None;
    }
    let text = fs::read(path).ok()?;
    let end = text.iter().position(|&byte| byte == b'\n')?;
    let image = text.get(end + 1..)?;
    Some((text.get(..end)?.to_owned(), PathBuf::from(std::ffi::OsStr::from_bytes(image))))
}

/// Others must not be able to change what a sandbox is made of.
fn check_is_own(folder: &Path) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    let is_own = found.is_dir()
        && found.uid() == nix::unistd::geteuid().as_raw()
        && found.mode() & 0o022 == 0;
    is_own.then_some(()).ok_or_else(|| io::ErrorKind::PermissionDenied.into())
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Whether an open directory still has this name.
fn is_at(held: &File, path: &Path) -> bool {
    let (Ok(held), Ok(found)) = (held.metadata(), fs::symlink_metadata(path)) else {
        return false;
    };
    (held.dev(), held.ino()) == (found.dev(), found.ino())
}

/// Removes a tree, directories that forbid it included.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        other => return other,
    }
    let mut directories = vec![path.to_owned()];
    while let Some(directory) = directories.pop() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        for found in fs::read_dir(&directory)? {
            let found = found?;
            if found.file_type()?.is_dir() {
                directories.push(found.path());
            }
        }
    }
    fs::remove_dir_all(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_the_same_name_whoever_built_isorecipe() {
        let identity = Identity { device: 1, inode: 2, size: 3, modified: (4, 5), changed: (6, 7) };
        // `printf '1 2 3 4.5 6.7' | sha256sum | head -c 32`
        assert_eq!(identity.key(), "5c5ff0509539ef35c5be843c69f6fa81");
    }
}
