//! One change, one line: for people, and for programs.

use std::{os::unix::ffi::OsStrExt, path::Path};

use serde::Serialize;

use crate::{
    diff::{Change, Difference, Facts, FileType, Kind},
    yaml,
};

/// How lines are to look.
pub(super) struct Look {
    pub(super) has_color: bool,
    pub(super) has_unicode: bool,
    /// Words, not letters
    pub(super) is_plain: bool,
    /// Whose files need not be said
    pub(super) owner: (u32, u32),
}

#[derive(Serialize)]
struct Record<'c> {
    upper: String,
    #[serde(flatten)]
    change: &'c Change,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

/// For programs.
pub(super) fn json(upper: &Path, change: &Change, text: Option<String>) -> String {
    let upper = upper.to_string_lossy().into_owned();
    let record = Record { upper, change, text };
    format!("{}\n", serde_json::to_string(&record).unwrap_or_default())
}

fn word(kind: &Kind) -> &'static str {
    match kind {
        Kind::Added => "added:",
        Kind::Deleted => "deleted:",
        Kind::Modified => "modified:",
        Kind::Renamed { .. } => "renamed:",
        Kind::AddedOrModified => "added or modified:",
    }
}

impl Look {
    /// For people.
    pub(super) fn line(&self, change: &Change) -> String {
        let is_directory = change.after.as_deref().or(change.before.as_deref());
        let slash = if is_directory.is_some_and(Facts::is_directory) { "/" } else { "" };
        let details = self.details(change).join(", ");
        let details = if details.is_empty() { details } else { format!("  ({details})") };
        let name = name(&change.path);
        match self.is_plain {
            true => {
                format!("{} {name}{slash}{}\n", word(&change.kind), details.replacen(' ', "", 1))
            }
            false => format!("{}  {name}{slash}{details}\n", self.paint(change.kind.letter())),
        }
    }

    /// Lines of a text, coloured, with nothing in them that acts on a terminal.
    pub(super) fn text(&self, lines: &str) -> String {
        let shown = lines.split_inclusive('\n').map(|line| {
            let color = match line.as_bytes() {
                [b'+', ..] => "32",
                [b'-', ..] => "31",
                [b'@', ..] => "36",
                _ => "",
            };
            let line = tame(line.strip_suffix('\n').unwrap_or(line));
            match self.has_color && !color.is_empty() {
                true => format!("\x1b[{color}m{line}\x1b[0m\n"),
                false => format!("{line}\n"),
            }
        });
        shown.collect()
    }

    fn paint(&self, letter: char) -> String {
        let color = match letter {
            'A' => "32",
            'D' => "31",
            'M' => "33",
            'R' => "36",
            _ => "35",
        };
        match self.has_color {
            true => format!("\x1b[{color}m{letter}\x1b[0m"),
            false => letter.to_string(),
        }
    }

    fn details(&self, change: &Change) -> Vec<String> {
        let link = change.link_to.as_ref().map(|path| format!("hard link to {}", name(path)));
        let whole = change.after.as_deref().or(change.before.as_deref());
        let details = match &change.kind {
            Kind::Added if link.is_some() => return link.into_iter().collect(),
            Kind::Added | Kind::Deleted | Kind::AddedOrModified => self.whole(whole),
            Kind::Renamed { from } => {
                let from = format!("from {}", name(from));
                std::iter::once(from).chain(self.differences(change)).collect()
            }
            Kind::Modified if change.before.is_none() => self.whole(whole),
            Kind::Modified => self.differences(change),
        };
        details.into_iter().chain(link).collect()
    }

    /// Type, size, mode, owner.
    fn whole(&self, facts: Option<&Facts>) -> Vec<String> {
        let Some(facts) = facts else { return Vec::new() };
        let mut words = vec![noun(facts)];
        if facts.is_file() {
            words.push(size(facts.size));
        }
        if facts.is_sparse() {
            words.push(format!("{} on disk", size(facts.allocated)));
        }
        if let Some(target) = &facts.target {
            words = vec![format!("{} to {}", noun(facts), name(target))];
        } else {
            words.push(format!("{:04o}", facts.mode));
        }
        if (facts.uid, facts.gid) != self.owner {
            words.push(format!("owner {}:{}", facts.uid, facts.gid));
        }
        words
    }

    fn differences(&self, change: &Change) -> Vec<String> {
        let (Some(before), Some(after)) = (&change.before, &change.after) else {
            return self.whole(change.after.as_deref());
        };
        let is_other = change.differs.iter().any(|difference| {
            matches!(difference, Difference::Content | Difference::Target | Difference::Device)
        });
        let say = |difference: &Difference| match difference {
            Difference::Type => Some(self.change(&noun(before), &noun(after))),
            Difference::Content => Some("content".to_owned()),
            Difference::ContentUnknown => Some("content not compared".to_owned()),
            Difference::Size => Some(self.sizes(before.size, after.size)),
            Difference::Target => {
                let shown = |facts: &Facts| facts.target.as_deref().map_or(String::new(), name);
                Some(format!("target {}", self.change(&shown(before), &shown(after))))
            }
            Difference::Device => Some(self.change(&noun(before), &noun(after))),
            Difference::Mode => {
                let shown = |facts: &Facts| format!("{:04o}", facts.mode);
                Some(format!("mode {}", self.change(&shown(before), &shown(after))))
            }
            Difference::Owner => Some(self.ids("uid", before.uid, after.uid)),
            Difference::Group => Some(self.ids("gid", before.gid, after.gid)),
            // Who writes changes the time.
            Difference::Mtime => (!is_other).then(|| "mtime".to_owned()),
            Difference::Xattrs(names) => {
                let names: Vec<_> = names.iter().map(|text| name(Path::new(text))).collect();
                Some(format!("xattr {}", names.join(" ")))
            }
        };
        change.differs.iter().filter_map(say).collect()
    }

    fn change(&self, before: &str, after: &str) -> String {
        format!("{before} {} {after}", if self.has_unicode { "→" } else { "->" })
    }

    fn ids(&self, what: &str, before: u32, after: u32) -> String {
        format!("{what} {}", self.change(&before.to_string(), &after.to_string()))
    }

    /// In bytes, where rounded they would be the same.
    fn sizes(&self, before: u64, after: u64) -> String {
        match (size(before), size(after)) {
            (before, after) if before != after => self.change(&before, &after),
            _ => self.change(&format!("{before} B"), &format!("{after} B")),
        }
    }
}

fn noun(facts: &Facts) -> String {
    let device = |kind: &str| {
        let numbers = facts.device.map(|device| format!(" {}:{}", device.major, device.minor));
        format!("{kind} device{}", numbers.unwrap_or_default())
    };
    match facts.file_type {
        FileType::File => "file".to_owned(),
        FileType::Directory => "directory".to_owned(),
        FileType::Symlink => "symlink".to_owned(),
        FileType::CharacterDevice => device("character"),
        FileType::BlockDevice => device("block"),
        FileType::Fifo => "fifo".to_owned(),
        FileType::Socket => "socket".to_owned(),
    }
}

/// `12 B`, `1.5 KiB`, `100 MiB`
fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut shown = format!("{bytes} B");
    for unit in UNITS {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        let rounded = format!("{value:.1}");
        shown = format!("{} {unit}", rounded.trim_end_matches(".0"));
    }
    shown
}

/// A name as it is, where it is plain; otherwise in quotation marks, with what
/// does not show and what is no text spelled out.
pub(super) fn name(path: &Path) -> String {
    let bytes = path.as_os_str().as_bytes();
    let is_odd = |text: &str| {
        text.is_empty()
            || text.contains(|c: char| yaml::is_hidden(c) || matches!(c, '"' | '\\'))
            || text.contains("  ")
            || text.starts_with(' ')
            || text.ends_with(' ')
    };
    if let Some(text) = path.to_str()
        && !is_odd(text)
    {
        return text.to_owned();
    }
    let mut shown = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => shown.extend(['\\', c]),
                '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
                c if yaml::is_hidden(c) => shown.extend(c.escape_unicode()),
                c => shown.push(c),
            }
        }
        for byte in chunk.invalid() {
            shown.push_str(&format!("\\x{byte:02x}"));
        }
    }
    shown.push('"');
    shown
}

/// A line with its tabs, and nothing else that does not show.
fn tame(line: &str) -> String {
    let tame = |part: &str| yaml::spelled_out(part).into_owned();
    line.split('\t').map(tame).collect::<Vec<_>>().join("\t")
}
