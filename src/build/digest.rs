//! Digests: of an image, its bytes; of a directory, everything in it but the owner.
//!
//! A directory's is the SHA-256 of one line for each file below it, in the
//! order of their paths' bytes, with NUL between the fields and a line feed
//! at the end: kind (`d f l p s c b`), mode (octal), modification time (in
//! seconds), path, and content: of a file its own SHA-256, of a link its
//! target, of a device its number.

use std::{
    fs::{self, Metadata},
    io::{self, Read},
    os::unix::{
        ffi::OsStrExt,
        fs::{FileTypeExt, MetadataExt},
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::{Ends, Guard, Stage, Stop, file_path, open, words};

/// The digest of an image or of a directory, as `sha256:…`.
pub(super) fn of(path: &Path, guard: &mut Guard) -> Result<String, Stop> {
    let cannot = |error: io::Error| words::unread(path, &error).stop(&file_path());
    let status = fs::symlink_metadata(path).map_err(cannot)?;
    let total = size(path);
    let mut done = 0;
    let digest = match status.is_dir() {
        false => file(path, total, &mut done, guard)?,
        true => {
            let mut all = Sha256::new();
            for (path, status) in below(path).map_err(cannot)? {
                all.update(line(&path, &status, total, &mut done, guard)?);
            }
            hex(&all.finalize())
        }
    };
    Ok(format!("sha256:{digest}"))
}

/// Bytes of an image; of the files in a directory.
pub(super) fn size(path: &Path) -> u64 {
    match fs::symlink_metadata(path) {
        Ok(status) if status.is_dir() => {
            let all = below(path).unwrap_or_default();
            all.iter().filter(|(_, status)| status.is_file()).map(|(_, status)| status.len()).sum()
        }
        Ok(status) => status.len(),
        Err(_) => 0,
    }
}

/// Everything below a directory, by its path in it, sorted.
pub(super) fn below(root: &Path) -> io::Result<Vec<(Entry, Metadata)>> {
    let mut all = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let status = fs::symlink_metadata(&path)?;
            if status.is_dir() {
                directories.push(path.clone());
            }
            let within = path.strip_prefix(root).unwrap_or(&path).to_owned();
            all.push((Entry { path, within }, status));
        }
    }
    all.sort_by(|(a, _), (b, _)| a.within.as_os_str().cmp(b.within.as_os_str()));
    Ok(all)
}

/// A file below a directory.
pub(super) struct Entry {
    pub path: PathBuf,
    pub within: PathBuf,
}

fn line(
    entry: &Entry,
    status: &Metadata,
    total: u64,
    done: &mut u64,
    guard: &mut Guard,
) -> Result<Vec<u8>, Stop> {
    let kind = status.file_type();
    let (letter, content) = if kind.is_dir() {
        ('d', Vec::new())
    } else if kind.is_symlink() {
        let target = fs::read_link(&entry.path)
            .map_err(|error| words::unread(&entry.path, &error).stop(&file_path()))?;
        ('l', target.as_os_str().as_bytes().to_vec())
    } else if kind.is_file() {
        ('f', file(&entry.path, total, done, guard)?.into_bytes())
    } else if kind.is_fifo() {
        ('p', Vec::new())
    } else if kind.is_socket() {
        ('s', Vec::new())
    } else {
        let letter = if kind.is_block_device() { 'b' } else { 'c' };
        (letter, status.rdev().to_string().into_bytes())
    };
    let mut line =
        format!("{letter}\0{:o}\0{}\0", status.mode() & 0o7777, status.mtime()).into_bytes();
    line.extend(entry.within.as_os_str().as_bytes());
    line.push(0);
    line.extend(content);
    line.push(b'\n');
    Ok(line)
}

fn file(path: &Path, total: u64, done: &mut u64, guard: &mut Guard) -> Result<String, Stop> {
    let cannot = |error: io::Error| words::unread(path, &error).stop(&file_path());
    let mut file = open::file(path).map_err(cannot)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let read = file.read(&mut buffer).map_err(cannot)?;
        if read == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(buffer.get(..read).unwrap_or_default());
        *done += read as u64;
        guard.show(Stage::Reading, *done, Some(total));
        guard.look_up()?;
    }
}

/// The digest of a few bytes.
pub(super) fn of_bytes(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
