//! One thing wrong with a document, in words that are safe to print.
//!
//! The words of a mistake quote the document, and the document may be written by an attacker: escape sequences that
//! repaint a terminal, characters that turn the reading direction. They are spelled out in the constructor, so that
//! nobody downstream has to think of it.

use std::borrow::Cow;
use std::fmt::Write;
use std::ops::Range;

use super::path::Path;

/// One thing wrong with a document, at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The condition, `area::condition`. Owned only when a type brought its own by [`refuse`](super::refuse).
    pub code: Cow<'static, str>,
    /// The value it is about.
    pub path: Path,
    /// The bytes to point at.
    pub span: Range<usize>,
    /// What is.
    pub message: String,
    /// Why, shown at the span; may be empty.
    pub why: String,
    /// What to type; may be empty.
    pub help: String,
    /// The other place involved, and what is there.
    pub also: Option<(Range<usize>, String)>,
}

impl Mistake {
    /// A mistake that is still at no place: follow it with [`Mistake::at`].
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl AsRef<str>) -> Mistake {
        Mistake {
            code: code.into(),
            path: Path::root(),
            span: 0..0,
            message: spelled_out(message.as_ref()).into_owned(),
            why: String::new(),
            help: String::new(),
            also: None,
        }
    }

    /// Puts it at a value of the document and at the bytes to point at.
    pub fn at(self, path: Path, span: Range<usize>) -> Mistake {
        Mistake { path, span, ..self }
    }

    /// Says why, at the place.
    pub fn why(self, why: impl AsRef<str>) -> Mistake {
        Mistake { why: spelled_out(why.as_ref()).into_owned(), ..self }
    }

    /// Says what to type.
    pub fn help(self, help: impl AsRef<str>) -> Mistake {
        Mistake { help: spelled_out(help.as_ref()).into_owned(), ..self }
    }

    /// Marks the other place involved.
    pub fn also(self, span: Range<usize>, label: impl AsRef<str>) -> Mistake {
        Mistake { also: Some((span, spelled_out(label.as_ref()).into_owned())), ..self }
    }
}

/// More of a quoted text than this only hides the sentence around it.
const LONGEST_QUOTE: usize = 80;

/// `text` as it may stand in a message: what does not show is spelled out (`\u{1b}`), and 80 characters are enough.
pub fn printable(text: &str) -> Cow<'_, str> {
    let Some((end, _)) = text.char_indices().nth(LONGEST_QUOTE) else {
        return spelled_out(text);
    };
    Cow::Owned(format!("{}…", spelled_out(&text[..end])))
}

/// `text` with everything that does not show spelled out, at any length.
pub fn spelled_out(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' | '\r' | '\t' => shown.extend(c.escape_default()),
            c if is_hidden(c) => _ = write!(shown, "{}", c.escape_unicode()),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal does something with `c` other than showing it: controls, escapes, reading direction, joiners.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || turns_reading(c)
        || matches!(c,
        '\u{ad}' | '\u{200b}'..='\u{200d}' | '\u{2028}' | '\u{2029}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
}

/// Whether `c` turns the reading direction, so that what is read is not what is written (CVE-2021-42574).
pub(super) fn turns_reading(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
