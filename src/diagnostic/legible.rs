//! Makes text from a recipe or the system safe to show.
//!
//! Which characters hide or act on a terminal is [`yaml::printable`](crate::yaml::printable)'s business; it is asked
//! one character at a time, because it also shortens, and a sentence is not to be shortened as a value is.

use std::borrow::Cow;

use crate::yaml;

/// As long as a path can be. A recipe may hold a megabyte where a name belongs.
const LONGEST: usize = 4096;

/// A sentence, on one line, with what cannot be seen spelled out as `\u{1b}`.
pub(super) fn words(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(LONGEST));
    for (place, c) in text.chars().enumerate() {
        if place == LONGEST {
            shown.push_str("...");
            break;
        }
        match is_legible(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_unicode()),
        }
    }
    shown
}

/// A code, which nearly always is a literal.
pub(super) fn code(code: Cow<'static, str>) -> Cow<'static, str> {
    match code.chars().all(is_legible) {
        true => code,
        false => Cow::Owned(words(&code)),
    }
}

/// A file, byte for byte as long as before, so that spans stay true.
pub(super) fn source(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let ends_a_line = c == '\n' || (c == '\r' && rest.peek() == Some(&'\n'));
        match ends_a_line || c == '\t' || is_legible(c) {
            true => shown.push(c),
            false => shown.extend(std::iter::repeat_n('?', c.len_utf8())),
        }
    }
    shown
}

fn is_legible(c: char) -> bool {
    if c.is_ascii() || c.is_control() {
        return !c.is_control();
    }
    let mut bytes = [0; 4];
    let alone: &str = c.encode_utf8(&mut bytes);
    yaml::printable(alone) == alone
}
