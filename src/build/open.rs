//! Files to read, opened so that nothing can be led elsewhere or made to wait.

use std::{fs::File, io, os::unix::fs::OpenOptionsExt, path::Path};

/// Opens a regular file of this very name, and nothing that could have taken
/// its place since.
pub(super) fn file(path: &Path) -> io::Result<File> {
    with(path, libc::O_NOFOLLOW)
}

/// Opens a regular file that this name leads to.
pub(super) fn through_links(path: &Path) -> io::Result<File> {
    with(path, 0)
}

/// A FIFO would wait for a writer, and a terminal would become ours.
fn with(path: &Path, flags: i32) -> io::Result<File> {
    let flags = flags | libc::O_NONBLOCK | libc::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no longer a file")),
    }
}
