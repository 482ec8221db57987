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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_at_a_pipe_and_only_who_says_so_follows_a_link() {
        let folder = tempfile::tempdir().expect("a folder");
        let [pipe, real, link] = ["pipe", "real", "link"].map(|name| folder.path().join(name));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        std::fs::write(&real, "text").expect("a file");
        std::os::unix::fs::symlink("real", &link).expect("a link");
        assert!(file(&pipe).is_err() && through_links(&pipe).is_err());
        assert!(file(folder.path()).is_err());
        assert!(file(&real).is_ok() && through_links(&link).is_ok());
        assert!(file(&link).is_err());
    }
}
