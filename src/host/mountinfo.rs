//! Mounts as the kernel lists them: `proc_pid_mountinfo(5)`.

use std::{ffi::OsString, os::unix::ffi::OsStringExt, path::PathBuf};

/// One line of a mountinfo file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Mount id
    pub id: u32,
    /// The mount it is mounted on
    pub parent: u32,
    /// `major:minor` of the filesystem
    pub device: String,
    /// The directory of its filesystem that it shows
    pub root: PathBuf,
    /// Where, as the process sees it
    pub at: PathBuf,
    /// Options of this mount
    pub options: Vec<String>,
    /// `shared:7`, `master:3`, `unbindable` and the like
    pub propagation: Vec<String>,
    /// Filesystem type
    pub filesystem: String,
    /// What was mounted: a device, or a word
    pub source: String,
    /// Options of the filesystem
    pub superblock: Vec<String>,
}

/// Reads a mountinfo file; a line that does not read as one is left out.
pub fn parse(text: &[u8]) -> Vec<Line> {
    text.split(|&byte| byte == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Line> {
    let mut fields = line.split(|&byte| byte == b' ');
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse().ok();
    let id = number(fields.next()?)?;
    let parent = number(fields.next()?)?;
    let device = text(fields.next()?);
    let root = OsString::from_vec(unescape(fields.next()?)).into();
    let at = OsString::from_vec(unescape(fields.next()?)).into();
    let options = words(fields.next()?);
    let propagation = fields.by_ref().take_while(|&field| field != b"-").map(text).collect();
    let filesystem = text(fields.next()?);
    let source = text(fields.next()?);
    let superblock = words(fields.next()?);
    let line =
        Line { id, parent, device, root, at, options, propagation, filesystem, source, superblock };
    Some(line)
}

/// Options, between commas; a comma in a value is written as an escape.
fn words(field: &[u8]) -> Vec<String> {
    field.split(|&byte| byte == b',').map(text).collect()
}

fn text(field: &[u8]) -> String {
    String::from_utf8_lossy(&unescape(field)).into_owned()
}

/// Reads `\040` and its kind back into bytes.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = (first == b'\\')
            .then(|| after.get(..3))
            .flatten()
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_line_with_an_escaped_space_is_read() {
        let found = parse(
            b"36 35 98:0 /mnt1 /my\\040dir rw,noatime shared:1 - ext3 /dev/root ro,errors=continue\n",
        );
        let found = found.first().expect("a mount");
        assert_eq!(found.at, Path::new("/my dir"));
        assert_eq!((found.id, found.parent, found.device.as_str()), (36, 35, "98:0"));
        assert_eq!(found.options, ["rw", "noatime"]);
        assert_eq!(found.propagation, ["shared:1"]);
        assert_eq!((found.filesystem.as_str(), found.source.as_str()), ("ext3", "/dev/root"));
        assert_eq!(found.superblock, ["ro", "errors=continue"]);
    }

    #[test]
    fn a_broken_line_is_left_out() {
        assert_eq!(parse(b"36 35\n\nx y z\n"), []);
    }

    #[test]
    fn an_odd_escape_stays_as_it_is() {
        assert_eq!(unescape(b"a\\9b\\04"), b"a\\9b\\04");
    }

    #[test]
    fn a_comma_in_a_path_parts_no_options() {
        assert_eq!(words(b"rw,upperdir=/a\\054b,x"), ["rw", "upperdir=/a,b", "x"]);
    }
}
