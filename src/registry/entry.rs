//! One registration: what the supervisor of a sandbox says of it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Process;

/// The format of a registration.
const FORMAT: u32 = 1;
/// As long as a name may be, so that a file can be called after it.
const LONGEST_NAME: usize = 48;

/// A running sandbox, in its supervisor's words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The format: 1
    pub registry: u32,
    /// What it is called, by nobody else at the moment
    pub name: String,
    /// The recipe's file
    #[serde(default, with = "maybe_path_or_bytes", skip_serializing_if = "Option::is_none")]
    pub recipe: Option<PathBuf>,
    /// Who stays on the host
    pub supervisor: Process,
    /// The command, or at a pause who is to become it
    pub command: Process,
    /// When it registered, in seconds since 1970
    pub began: u64,
    /// The layer it waits after, if somebody asked it to
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<String>,
    /// Its overlays
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<Overlay>,
}

/// An overlay, by paths of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// Where the sandbox sees it
    #[serde(with = "path_or_bytes")]
    pub at: PathBuf,
    /// Where changes go; nothing if that is memory of the sandbox's own
    #[serde(default, with = "maybe_path_or_bytes", skip_serializing_if = "Option::is_none")]
    pub upper: Option<PathBuf>,
    /// Directories and image files, the topmost first; what only the sandbox can see is left out
    #[serde(default, with = "paths_or_bytes")]
    pub lower: Vec<PathBuf>,
}

impl Entry {
    /// A new one, of this process.
    pub(super) fn new(name: String, supervisor: Process, command: Process) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            registry: FORMAT,
            name,
            recipe: None,
            supervisor,
            command,
            began: now.map_or(0, |now| now.as_secs()),
            paused: None,
            overlays: Vec::new(),
        }
    }

    /// Reads one that calls itself as its file is called; anything else is garbage.
    pub(super) fn parse(bytes: &[u8], file: &FileName) -> Option<Self> {
        let entry: Self = serde_json::from_slice(bytes).ok()?;
        let is_right = entry.registry == FORMAT
            && entry.name == file.name
            && entry.supervisor == file.supervisor
            && is_legible(&entry.name);
        is_right.then_some(entry)
    }
}

/// What a registration's file is called: `NAME.PID-STARTED-GENERATION`. No two
/// processes and no two moments of one share it, so that a file which was found
/// dead can be removed by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileName {
    pub name: String,
    pub supervisor: Process,
    pub generation: u32,
}

impl FileName {
    pub fn parse(text: &str) -> Option<Self> {
        let (name, numbers) = text.rsplit_once('.')?;
        let mut numbers = numbers.split('-');
        let pid = numbers.next()?.parse().ok()?;
        let started = numbers.next()?.parse().ok()?;
        let generation = numbers.next()?.parse().ok()?;
        let supervisor = Process { pid, started };
        let found = Self { name: name.to_owned(), supervisor, generation };
        (!name.is_empty() && found.text() == text).then_some(found)
    }

    pub fn text(&self) -> String {
        let Process { pid, started } = self.supervisor;
        format!("{}.{pid}-{started}-{}", self.name, self.generation)
    }
}

/// A name that can be typed, and that a file can have; never a number, which is a PID.
pub(super) fn legible(name: &str) -> String {
    let plain = name.chars().map(|c| if is_plain(c) { c } else { '-' }).take(LONGEST_NAME);
    let plain: String = plain.collect();
    let trimmed = plain.trim_start_matches(['-', '.']).trim_end_matches('-');
    match trimmed {
        "" => "sandbox".to_owned(),
        number if number.chars().all(|c| c.is_ascii_digit()) => format!("sandbox-{number}"),
        name => name.to_owned(),
    }
}

/// Whether it can have come from [`legible`], or from that with a number behind it.
fn is_legible(name: &str) -> bool {
    name.chars().all(is_plain)
        && name.chars().any(|c| !c.is_ascii_digit())
        && !name.starts_with(['-', '.'])
        && name.len() <= LONGEST_NAME + 24
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-".contains(c)
}

/// A path as JSON: a text, or its bytes where it is none.
mod path_or_bytes {
    use std::{
        ffi::OsString,
        os::unix::ffi::{OsStrExt, OsStringExt},
        path::{Path, PathBuf},
    };

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    pub enum Written {
        Text(String),
        Bytes(Vec<u8>),
    }

    impl From<&PathBuf> for Written {
        fn from(path: &PathBuf) -> Self {
            let bytes = || Self::Bytes(path.as_os_str().as_bytes().to_owned());
            path.to_str().map_or_else(bytes, |text| Self::Text(text.to_owned()))
        }
    }

    impl From<Written> for PathBuf {
        fn from(written: Written) -> Self {
            match written {
                Written::Text(text) => text.into(),
                Written::Bytes(bytes) => OsString::from_vec(bytes).into(),
            }
        }
    }

    pub fn serialize<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
        Written::from(&path.to_owned()).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<PathBuf, D::Error> {
        Written::deserialize(from).map(PathBuf::from)
    }
}

/// A path that may be missing.
mod maybe_path_or_bytes {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::path_or_bytes::Written;

    pub fn serialize<S: Serializer>(path: &Option<PathBuf>, to: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(Written::from).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<PathBuf>, D::Error> {
        Option::<Written>::deserialize(from).map(|written| written.map(PathBuf::from))
    }
}

/// Several paths.
mod paths_or_bytes {
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::path_or_bytes::Written;

    pub fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(Written::from))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        let written = Vec::<Written>::deserialize(from)?;
        Ok(written.into_iter().map(PathBuf::from).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

    use super::*;

    #[test]
    fn a_name_can_be_typed_and_is_no_number() {
        assert_eq!(legible("step3"), "step3");
        assert_eq!(legible("my box/1"), "my-box-1");
        assert_eq!(legible("../../etc"), "etc");
        assert_eq!(legible("\u{1b}[31m"), "31m");
        assert_eq!(legible("42"), "sandbox-42");
        assert_eq!(legible("箱"), "sandbox");
        assert!(legible(&"x".repeat(500)).len() <= LONGEST_NAME);
        for name in ["step3", "\u{1b}[31m", "42", "箱", &"x".repeat(500)] {
            let name = legible(name);
            assert!(is_legible(&name) && is_legible(&format!("{name}-{}", u64::MAX)), "{name}");
        }
        for wrong in ["", "-x", ".x", "42", "a b", "a/b", "\u{1b}", &"x".repeat(500)] {
            assert!(!is_legible(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_file_name_is_read_as_it_is_written() {
        let supervisor = Process { pid: 7, started: 99 };
        let name = FileName { name: "step3.yaml-2".to_owned(), supervisor, generation: 1 };
        assert_eq!(FileName::parse(&name.text()), Some(name));
        for wrong in ["", "x", ".7-9-1", "x.7-9", "x.7-9-1-1", "x.07-9-1", "x.-7-9-1"] {
            assert_eq!(FileName::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_path_that_is_no_text_comes_back() {
        let process = Process { pid: 7, started: 99 };
        let mut entry = Entry::new("x".to_owned(), process, process);
        let odd = PathBuf::from(OsStr::from_bytes(b"/a\xff"));
        let overlay = Overlay { at: "/".into(), upper: Some(odd.clone()), lower: vec![odd] };
        entry.overlays = vec![overlay];
        let text = serde_json::to_vec(&entry).expect("JSON");
        let file = FileName { name: "x".to_owned(), supervisor: process, generation: 0 };
        assert_eq!(Entry::parse(&text, &file), Some(entry));
    }
}
