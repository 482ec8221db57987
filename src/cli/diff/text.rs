//! The lines of text files that changed, as `diff -u` shows them.

use std::{
    fs::File,
    io::Read,
    path::Path,
    time::{Duration, Instant},
};

use similar::{Algorithm, TextDiff};

use crate::diff::{Change, Comparison, Difference, Kind};

use super::line::name;

/// Larger files are not shown.
const LARGEST: u64 = 1 << 20;
/// After that, similar lines are no longer looked for: hostile files could take for ever.
const LONGEST: Duration = Duration::from_secs(5);

/// What there is to show of a change: lines, or a word why not.
pub(super) fn of(found: &Comparison, change: &Change) -> Option<String> {
    let has_text = match change.kind {
        Kind::Added | Kind::Deleted => change.link_to.is_none(),
        _ => change
            .differs
            .iter()
            .any(|difference| matches!(difference, Difference::Content | Difference::Type)),
    };
    if !has_text {
        return None;
    }
    let old = Side::of(found.open_before(change));
    let new = Side::of(found.open_after(change));
    let (old, new) = match (old, new) {
        (Side::Not(why), _) | (_, Side::Not(why)) => return Some(format!("({why})\n")),
        (Side::Absent, Side::Absent) => return None,
        sides => sides,
    };
    let diff = TextDiff::configure()
        .algorithm(Algorithm::Myers)
        .deadline(Instant::now() + LONGEST)
        .diff_lines(old.text(), new.text());
    let from = match &change.kind {
        Kind::Renamed { from } => from,
        _ => &change.path,
    };
    let (before, after) = (old.called("a", from), new.called("b", &change.path));
    let lines = diff.unified_diff().header(&before, &after).to_string();
    (!lines.is_empty()).then_some(lines)
}

/// One file of the two.
enum Side {
    Absent,
    Text(String),
    Not(&'static str),
}

impl Side {
    fn of<E>(file: Result<Option<File>, E>) -> Side {
        let file = match file {
            Ok(Some(file)) => file,
            Ok(None) => return Side::Absent,
            Err(_) => return Side::Not("it cannot be read"),
        };
        let mut bytes = Vec::new();
        match file.take(LARGEST + 1).read_to_end(&mut bytes) {
            Err(_) => Side::Not("it cannot be read"),
            Ok(read) if read as u64 > LARGEST => Side::Not("larger than 1 MiB"),
            Ok(_) if bytes.contains(&0) => Side::Not("no text"),
            Ok(_) => String::from_utf8(bytes).map_or(Side::Not("no text"), Side::Text),
        }
    }

    fn text(&self) -> &str {
        match self {
            Side::Text(text) => text,
            Side::Absent | Side::Not(_) => "",
        }
    }

    fn called(&self, side: &str, path: &Path) -> String {
        match self {
            Side::Absent => "/dev/null".to_owned(),
            _ => name(&Path::new(side).join(path)),
        }
    }
}
