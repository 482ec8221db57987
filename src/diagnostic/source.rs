//! The text a diagnostic points into.
//!
//! Spans are bytes of the text as it was read; people get lines and columns from 1, a column being one character.
//! Lines end in `\n` or `\r\n`.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::legible;

/// A recipe file, its name as the user typed it.
#[derive(Clone)]
pub struct Source {
    name: String,
    text: Arc<str>,
    /// Made when something is to be shown: a good recipe never needs it.
    shown: OnceLock<String>,
}

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Which line.
    pub line: usize,
    /// Which character of the line.
    pub column: usize,
}

impl Source {
    /// `name` is what the user calls it: a path, or `-`.
    pub fn new(name: impl AsRef<str>, text: impl Into<Arc<str>>) -> Source {
        Source { name: legible::words(name.as_ref()), text: text.into(), shown: OnceLock::new() }
    }

    /// The name, legible.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text as it was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where a byte of the text is.
    pub fn position(&self, offset: usize) -> Position {
        let offset = floor_char_boundary(&self.text, offset);
        let before = &self.text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Position {
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }

    /// The text as it may be shown, byte for byte as long.
    pub(super) fn shown(&self) -> &str {
        self.shown.get_or_init(|| legible::source(&self.text))
    }

    /// The nearest span that lies within the text and between its characters.
    pub(super) fn fit(&self, span: Range<usize>) -> Range<usize> {
        if span.start >= self.text.len() {
            // The end of a file is on a line that no editor shows: point behind the last word.
            let last = without_line_end(&self.text).len();
            return last..last;
        }
        let start = floor_char_boundary(&self.text, span.start);
        let end = ceil_char_boundary(&self.text, span.end);
        start..end.max(start)
    }
}

/// A line without its `\n` or `\r\n`.
pub(super) fn without_line_end(line: &str) -> &str {
    match line.strip_suffix('\n') {
        Some(line) => line.strip_suffix('\r').unwrap_or(line),
        None => line,
    }
}

// The standard library's own two came with Rust 1.91.
fn floor_char_boundary(text: &str, offset: usize) -> usize {
    let mut before = (0..=offset.min(text.len())).rev();
    before.find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

fn ceil_char_boundary(text: &str, offset: usize) -> usize {
    let mut after = offset..text.len();
    after.find(|&at| text.is_char_boundary(at)).unwrap_or(text.len())
}

impl SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        lines_before: usize,
        lines_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.shown();
        let span = self.fit(span.offset()..span.offset().saturating_add(span.len()));
        let at = self.position(span.start);

        let first = at.line.saturating_sub(1 + lines_before);
        let last = self.position(span.end).line - 1 + lines_after;
        let lines = text.split_inclusive('\n').skip(first);
        let start: usize = text.split_inclusive('\n').take(first).map(str::len).sum();
        let len: usize = lines.take(last + 1 - first).map(str::len).sum();
        let column = match lines_before {
            0 => at.column - 1,
            _ => 0,
        };
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            &text.as_bytes()[start..start + len],
            (start, len).into(),
            first,
            column,
            last + 1 - first,
        )))
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Source) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Source {}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}
