//! What an image was made from, kept beside it, so that the next build knows
//! whether anything has changed, and what.
//!
//! A state that does not read as one is none. Then the target is nobody's:
//! it is not touched unless that is asked for.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{diagnostic::Refusal, recipe::Image};

use super::{
    Files, Order, digest,
    site::{Locked, Site},
    tree::{Kind, Node, Tree},
    words,
};

/// Changes when isorecipe makes another image of the same recipe.
const FORMAT: u32 = 1;

/// A target, so that a change by somebody else is seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Seen {
    is_directory: bool,
    inode: u64,
    size: u64,
    /// Of a directory, this is about everything in it
    looks: String,
}

/// Everything that an image is made from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Inputs {
    format: u32,
    image: Value,
    epoch: i64,
    owner: (u32, u32),
    files: Files,
}

/// The file beside the target.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    inputs: Inputs,
    made: Seen,
    /// What `made` takes the place of: a build may be killed before it does
    before: Option<Seen>,
}

/// What is to be done.
pub(super) enum Verdict {
    UpToDate,
    Changed(Vec<String>),
    NotOurs(Box<Refusal>),
}

impl Verdict {
    /// Why the image is made; asked for, if there is no other reason.
    pub(super) fn reasons(self) -> Vec<String> {
        match self {
            Verdict::Changed(reasons) => reasons,
            Verdict::UpToDate | Verdict::NotOurs(_) => vec!["--force was given".to_owned()],
        }
    }
}

impl Seen {
    /// What is at a path; nothing where there is nothing.
    pub(super) fn of(path: &Path) -> Option<Seen> {
        let status = fs::symlink_metadata(path).ok()?;
        let looks = match status.is_dir() {
            true => below(path),
            false => format!("{:o} {}.{}", status.mode(), status.mtime(), status.mtime_nsec()),
        };
        Some(Seen {
            is_directory: status.is_dir(),
            inode: status.ino(),
            size: if status.is_dir() { 0 } else { status.size() },
            looks,
        })
    }
}

/// Everything in a directory, but for what is in its files.
fn below(path: &Path) -> String {
    let Ok(all) = digest::below(path) else { return "hidden".to_owned() };
    let mut text = Vec::new();
    for (entry, status) in all {
        let size = if status.is_file() { status.size() } else { 0 };
        let looks =
            format!("{:o} {size} {}.{} ", status.mode(), status.mtime(), status.mtime_nsec());
        text.extend(looks.into_bytes());
        text.extend(entry.within.as_os_str().as_bytes());
        text.push(0);
    }
    digest::hex(&digest::of_bytes(&text))
}

impl Inputs {
    pub(super) fn of(order: &Order, epoch: i64, tree: &Tree) -> Inputs {
        let mut files = BTreeMap::new();
        tree.each(&mut |path, node| {
            files.insert(escaped(path), (stamp(node), source(path, node)));
        });
        Inputs { format: FORMAT, image: image(order.image), epoch, owner: order.owner(), files }
    }

    /// The same for the same inputs, and for no others.
    pub(super) fn id(&self) -> [u8; 32] {
        // The inode of a source, which is in its stamp, is no part of the image.
        let names: Vec<&String> = self.files.keys().collect();
        let text = serde_json::to_vec(&(&self.image, self.epoch, names)).unwrap_or_default();
        digest::of_bytes(&text)
    }

    /// What differs, in words.
    fn changes(&self, before: &Inputs) -> Vec<String> {
        if self.format != before.format {
            return vec!["this isorecipe makes images differently".to_owned()];
        }
        let keys = changed_keys(&before.image, &self.image);
        if !keys.is_empty() {
            return keys.iter().map(|key| format!("the recipe's `{key}` changed")).collect();
        }
        if self.epoch != before.epoch {
            return vec!["SOURCE_DATE_EPOCH changed".to_owned()];
        }
        if self.owner != before.owner {
            return vec!["its files belong to somebody else now".to_owned()];
        }
        changed_files(&before.files, &self.files)
    }
}

fn image(image: &Image) -> Value {
    serde_json::to_value(image).unwrap_or_default()
}

fn stamp(node: &Node) -> String {
    let kind = match &node.kind {
        Kind::Directory(_) => "directory",
        Kind::File => "file",
        Kind::Placeholder => "placeholder",
        Kind::Symlink(_) => "link",
        Kind::Device(_) => "device",
        Kind::Fifo => "fifo",
        Kind::Socket => "socket",
    };
    let source = node.source.as_ref();
    let seen = source.map_or("", |source| source.stamp.as_str());
    let readable = source.is_none_or(|source| source.is_readable);
    let text = format!("{kind} {:o} {readable} {seen}", node.mode);
    digest::hex(digest::of_bytes(text.as_bytes()).get(..8).unwrap_or_default())
}

/// Where a file comes from, if that is not its path in the image.
fn source(path: &Path, node: &Node) -> Option<String> {
    let source = node.source.as_ref()?;
    (source.path != path).then(|| escaped(&source.path))
}

/// A path that JSON can hold, whatever its bytes.
fn escaped(path: &Path) -> String {
    path.as_os_str().as_bytes().escape_ascii().to_string()
}

fn changed_keys(before: &Value, now: &Value) -> Vec<String> {
    let (Value::Object(before), Value::Object(now)) = (before, now) else {
        return vec!["image".to_owned()];
    };
    let mut keys: Vec<&String> = before.keys().chain(now.keys()).collect();
    keys.sort();
    keys.dedup();
    let differs = |key: &&String| before.get(*key) != now.get(*key);
    keys.into_iter().filter(differs).cloned().collect()
}

/// The first file that differs, and how many more do.
fn changed_files(before: &Files, now: &Files) -> Vec<String> {
    let place = |path: &String, source: &Option<String>| source.clone().unwrap_or(path.clone());
    let mut changes = Vec::new();
    for (path, (stamp, source)) in now {
        match before.get(path) {
            None => changes.push(format!("{} is new", place(path, source))),
            Some((old, _)) if old != stamp => {
                changes.push(format!("{} changed", place(path, source)));
            }
            Some(_) => {}
        }
    }
    let gone = before.iter().filter(|(path, _)| !now.contains_key(*path));
    changes.extend(gone.map(|(path, (_, source))| format!("{} is gone", place(path, source))));
    let more = changes.len().saturating_sub(1);
    changes.truncate(1);
    if more > 0 {
        changes.push(format!("{more} more changed as well"));
    }
    changes
}

impl State {
    pub(super) fn read(locked: &Locked) -> Option<State> {
        serde_json::from_slice(&locked.read_state()?).ok()
    }

    pub(super) fn new(inputs: Inputs, made: Seen, before: Option<Seen>) -> State {
        State { inputs, made, before }
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Compares what is there with what should be.
pub(super) fn judge(
    kept: Option<&State>,
    now: Option<&Seen>,
    inputs: &Inputs,
    site: &Site,
) -> Verdict {
    let Some(now) = now else {
        return Verdict::Changed(vec!["it was not there".to_owned()]);
    };
    let Some(kept) = kept else {
        return Verdict::NotOurs(Box::new(words::not_ours(&site.path)));
    };
    if *now == kept.made {
        return match inputs.changes(&kept.inputs) {
            changes if changes.is_empty() => Verdict::UpToDate,
            changes => Verdict::Changed(changes),
        };
    }
    if kept.before.as_ref() == Some(now) {
        return Verdict::Changed(vec!["the last build was cut off".to_owned()]);
    }
    // An image is remade; files that somebody has put into a directory are theirs.
    match now.is_directory {
        true => Verdict::NotOurs(Box::new(words::changed_by_others(&site.path))),
        false => {
            let shown = site.path.file_name().unwrap_or_default().display().to_string();
            Verdict::Changed(vec![format!("{shown} was changed by somebody else")])
        }
    }
}
