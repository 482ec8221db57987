//! What is asked of the bytes before a parser sees them: size, encoding, characters, length of lines.
//!
//! A byte order mark, UTF-16 and Latin-1 are refused rather than guessed at. Characters that do not show are refused
//! wherever they stand, comments included: a shared recipe must mean what it looks like.

use std::ops::Range;

use super::mistake::{Mistake, turns_reading};
use super::path::Path;

/// The largest file, in bytes. Recipes are some hundred bytes long.
pub const FILE_LIMIT: usize = 1 << 20;
/// The longest line, in bytes. What renders a diagnostic panics on columns past 65535.
pub const LINE_LIMIT: usize = 4096;

/// The source as text, or what keeps it from being a document at all.
pub(super) fn check(source: &[u8]) -> Result<&str, Box<Mistake>> {
    if source.len() > FILE_LIMIT {
        return Err(too_large(source.len()).into());
    }
    if let Some(mark) = byte_order_mark(source) {
        return Err(mark.into());
    }
    let text =
        std::str::from_utf8(source).map_err(|error| Box::new(not_utf8(error.valid_up_to())))?;
    if let Some((at, c)) = text.char_indices().find(|(_, c)| is_refused(*c)) {
        return Err(control_character(at, c).into());
    }
    if let Some(line) = long_line(text) {
        return Err(line_too_long(line).into());
    }
    Ok(text)
}

fn is_refused(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\r' | '\t')) || turns_reading(c)
}

fn long_line(text: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in text.split(['\n', '\r']) {
        if line.len() > LINE_LIMIT {
            return Some(start..start + line.chars().next().map_or(0, char::len_utf8));
        }
        start += line.len() + 1;
    }
    None
}

fn too_large(size: usize) -> Mistake {
    Mistake::new("yaml::too_large", format!("this file has {size} bytes"))
        .why(format!("a recipe has at most {FILE_LIMIT}"))
        .help("split it, or move what is long into files of its own")
}

fn byte_order_mark(source: &[u8]) -> Option<Mistake> {
    let encoding = match source {
        [0xef, 0xbb, 0xbf, ..] => "UTF-8",
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => "UTF-16",
        _ => return None,
    };
    let mistake = Mistake::new(
        "yaml::byte_order_mark",
        format!("this file begins with a byte order mark of {encoding}"),
    )
    .why("the first bytes are not text")
    .help("save the file as UTF-8 without a byte order mark");
    Some(mistake)
}

/// The span is empty: what follows has no character boundaries to stand on.
fn not_utf8(at: usize) -> Mistake {
    Mistake::new("yaml::not_utf8", "this file is not UTF-8")
        .at(Path::root(), at..at)
        .why("the bytes from here on are not text")
        .help("save the file as UTF-8")
}

fn control_character(at: usize, c: char) -> Mistake {
    let shown = c.escape_unicode();
    let (message, help) = match c {
        '\0' => (
            String::from("this file contains a NUL byte"),
            String::from("save the file as UTF-8 text"),
        ),
        c if turns_reading(c) => (
            format!("`{shown}` turns the reading direction"),
            format!("take it out, or write `\\u{:04x}` inside double quotes", u32::from(c)),
        ),
        c => (
            format!("`{shown}` is a control character"),
            format!("take it out, or write `\\x{:02x}` inside double quotes", u32::from(c)),
        ),
    };
    Mistake::new("yaml::control_character", message)
        .at(Path::root(), at..at + c.len_utf8())
        .why("it does not show here")
        .help(help)
}

fn line_too_long(start: Range<usize>) -> Mistake {
    Mistake::new("yaml::line_too_long", format!("this line is longer than {LINE_LIMIT} bytes"))
        .at(Path::root(), start)
        .why("it begins here")
        .help("break it into several lines, for instance with `>-`")
}
