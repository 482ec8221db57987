//! The programs that write maps of subordinate ids, and whether they still
//! have the rights that takes (`newuidmap(1)`, `capabilities(7)`).

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sys::{KernelPath, file};

const S_ISUID: u32 = 0o4000;
/// `CAP_SETGID` and `CAP_SETUID`
const SETGID: u32 = 6;
const SETUID: u32 = 7;

/// The helper programs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Helpers {
    /// `newuidmap`
    pub newuidmap: Option<Helper>,
    /// `newgidmap`
    pub newgidmap: Option<Helper>,
}

/// A program that takes more rights than its caller has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Helper {
    /// Where it is, links followed
    pub path: PathBuf,
    /// Its owner
    pub uid: u32,
    /// Its permission bits
    pub mode: u32,
    /// The capabilities that the file gives, one bit each
    pub capabilities: Option<u64>,
    /// Whether its mount ignores all that (`nosuid`)
    pub nosuid: Option<bool>,
}

/// Why a helper has no more rights than its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Powerless {
    /// The file gives none
    Plain,
    /// The mount that it lies on ignores what the file gives
    NoSuid,
}

impl Helper {
    /// Why it has no more rights than its caller, if that is known.
    pub fn powerless(&self) -> Option<Powerless> {
        let is_set_uid = self.mode & S_ISUID != 0 && self.uid == 0;
        let enough = 1 << SETUID | 1 << SETGID;
        // Of a file's capabilities those of both helpers count: one has this, one that.
        let gives = self.capabilities.is_none_or(|given| given & enough != 0);
        match (is_set_uid || gives, self.nosuid) {
            (false, _) => Some(Powerless::Plain),
            (true, Some(true)) => Some(Powerless::NoSuid),
            (true, _) => None,
        }
    }
}

pub(super) fn probe(newuidmap: Option<&Path>, newgidmap: Option<&Path>) -> Helpers {
    Helpers { newuidmap: newuidmap.and_then(look_at), newgidmap: newgidmap.and_then(look_at) }
}

fn look_at(path: &Path) -> Option<Helper> {
    let path = path.canonicalize().ok()?;
    let found = fs::metadata(&path).ok()?;
    let name = KernelPath::new(&path);
    Some(Helper {
        uid: found.uid(),
        mode: found.mode() & 0o7777,
        capabilities: file::capabilities(name.as_c_str()).ok(),
        nosuid: file::is_on_nosuid(name.as_c_str()).ok(),
        path,
    })
}
