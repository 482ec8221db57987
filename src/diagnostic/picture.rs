//! Draws the recipe's line with an arrow to the place.
//!
//! miette draws; it neither crops nor wraps, and it panics on an arrow beyond column 65535. So it gets a picture: a
//! copy of the diagnostic whose only words are those at the arrows, with a source cropped to the terminal, whose lines
//! nobody looks at are empty, so that the others keep their numbers.

use std::ops::Range;
use std::sync::Arc;

use miette::{GraphicalReportHandler, GraphicalTheme, ThemeCharacters, ThemeStyles};
use textwrap::core::display_width;

use super::render::{paragraph, short};
use super::{Also, Diagnostic, Refusal, Severity, Source, Style, source::without_line_end};
use crate::yaml::Path;

/// Lines shown before and after the one that is meant.
const AROUND: usize = 1;

/// A longer line was not written for people; its place is told in words.
const LONGEST_LINE: usize = 4096;

const TAB: usize = 4;

/// From an arrow's column to its words: `╰─┤ `.
const ELBOW: usize = 4;

/// Words narrower than this cannot be read.
const NARROWEST_WORDS: usize = 20;

/// A place to point at, on one line, and what to say there.
#[derive(Clone)]
struct Mark {
    /// From 0.
    line: usize,
    /// Bytes of the line.
    span: Range<usize>,
    words: String,
    /// What the frame says: `step2.yaml:7:5`.
    place: String,
    is_other: bool,
}

/// The picture, or nothing where the words must do: no file, no span, nothing to see, or a line too long.
pub(super) fn draw(diagnostic: &Diagnostic, how: &Style) -> Option<String> {
    let source = diagnostic.source.as_deref()?;
    let refusal = &diagnostic.refusal;
    let here = Mark::new(source, diagnostic.span.as_ref()?, &refusal.0.why);
    let there = refusal.0.also.as_ref().zip(diagnostic.also_span.as_ref());
    let there =
        there.map(|(also, span)| Mark { is_other: true, ..Mark::new(source, span, &also.why) });

    let Some(there) = there else {
        return frame(diagnostic.severity, source, &[here], how);
    };
    // Neighbours share a frame. Others get their own, the place itself first, wherever it is in the file.
    if here.line.abs_diff(there.line) <= 2 * AROUND {
        return frame(diagnostic.severity, source, &[here, there], how);
    }
    let first = frame(diagnostic.severity, source, &[here], how)?;
    let second = frame(diagnostic.severity, source, &[there], how)?;
    Some(first + &second)
}

impl Mark {
    /// A place of several lines is marked on its first.
    fn new(source: &Source, span: &Range<usize>, words: &str) -> Mark {
        let text = source.shown();
        let start = text[..span.start].rfind('\n').map_or(0, |newline| newline + 1);
        let line = text[start..].split_inclusive('\n').next().unwrap_or_default();
        let last = without_line_end(line).len();
        let at = source.position(span.start);
        Mark {
            line: at.line - 1,
            span: (span.start - start).min(last)..(span.end - start).min(last),
            words: words.to_owned(),
            place: short(source.name(), at),
            is_other: false,
        }
    }
}

fn frame(severity: Severity, source: &Source, marks: &[Mark], how: &Style) -> Option<String> {
    let picture = picture(severity, source, marks, how)?;
    let handler = GraphicalReportHandler::new_themed(theme(severity, marks, how))
        .with_links(false)
        .without_cause_chain()
        .without_syntax_highlighting()
        .without_primary_span_start()
        .with_context_lines(AROUND)
        .with_wrap_lines(false)
        .tab_width(TAB);
    let mut drawn = String::new();
    handler.render_report(&mut drawn, &picture).ok()?;

    // The first line would be the message, which the picture does not have.
    let lines = drawn.lines().skip(1);
    Some(lines.map(|line| line.trim_end().to_owned() + "\n").collect())
}

/// A diagnostic for miette: `marks` and nothing else, in the part of the source that the terminal has room for.
fn picture(severity: Severity, source: &Source, marks: &[Mark], how: &Style) -> Option<Diagnostic> {
    let text = source.shown();
    if text.is_empty() {
        return None;
    }
    let last = marks.iter().map(|mark| mark.line).max()? + AROUND;
    let frame_width = format!(" {} │ ", last + 1).chars().count();
    let room = how.columns().saturating_sub(frame_width);

    let mut marks = marks.to_vec();
    let mut cropped = String::new();
    for (number, line) in text.split_inclusive('\n').enumerate().take(last + 1) {
        if marks.iter().any(|mark| mark.line.abs_diff(number) <= AROUND) {
            let line = without_line_end(line);
            if line.len() > LONGEST_LINE {
                return None;
            }
            let leader = marks.iter().find(|mark| mark.line == number);
            let window = Window::new(line, leader, room, how);
            for mark in marks.iter_mut().filter(|mark| mark.line == number) {
                mark.enter(&window, room, cropped.len());
            }
            cropped.push_str(&window.text);
        }
        cropped.push('\n');
    }

    let mut marks = marks.into_iter();
    let here = marks.next()?;
    let there = marks.next();
    // Legible already, and aligned: nothing may touch these words again.
    let mut refusal = Refusal::new("", "");
    refusal.0.why = here.words;
    refusal.0.also = there.as_ref().map(|there| Also { path: None, why: there.words.clone() });
    Some(Diagnostic {
        severity,
        refusal,
        path: Path::root(),
        source: Some(Arc::new(Source::new(here.place, cropped))),
        span: Some(here.span),
        also_span: there.map(|there| there.span),
    })
}

impl Mark {
    /// Moves from the line to its visible part, which starts at `offset` of the picture.
    fn enter(&mut self, window: &Window, room: usize, offset: usize) {
        let span = window.visible(self.span.start)..window.visible(self.span.end);
        let arrow = arrow(&window.text, &span);
        let words_room = room.saturating_sub(arrow + ELBOW).max(NARROWEST_WORDS);
        self.words = textwrap::wrap(&self.words, paragraph(words_room)).join("\n");
        self.span = span.start + offset..span.end + offset;
    }
}

/// The visible part of a line.
struct Window {
    text: String,
    /// Which bytes of the line it shows.
    shows: Range<usize>,
    /// Bytes of the dots in front.
    dots_before: usize,
}

impl Window {
    /// Chosen so that `mark` is in it, its arrow far enough to the left for its words.
    fn new(line: &str, mark: Option<&Mark>, room: usize, how: &Style) -> Window {
        let dots = if how.unicode { "…" } else { "..." };
        let cut = mark.map_or(0, |mark| {
            let start = columns(&line[..mark.span.start]);
            let end = columns(&line[..mark.span.end]).min(start + room);
            let words = (ELBOW + 1 + columns(&mark.words)).min(room / 2);
            let too_far = ((start + end) / 2 + words).saturating_sub(room);
            match too_far {
                0 => 0,
                _ => (too_far + columns(dots)).min(start),
            }
        });
        let from = byte_at(line, cut);
        let dots_before = if from > 0 { dots } else { "" };
        let room = room.saturating_sub(columns(dots_before));

        let rest = &line[from..];
        if columns(rest) <= room {
            return Window {
                text: format!("{dots_before}{rest}"),
                shows: from..line.len(),
                dots_before: dots_before.len(),
            };
        }
        let rest = &rest[..byte_before(rest, room.saturating_sub(columns(dots)))];
        Window {
            text: format!("{dots_before}{rest}{dots}"),
            shows: from..from + rest.len(),
            dots_before: dots_before.len(),
        }
    }

    /// Where a byte of the line is in the window; at its edge when it is outside.
    fn visible(&self, offset: usize) -> usize {
        match offset < self.shows.start {
            true => 0,
            false => offset.min(self.shows.end) - self.shows.start + self.dots_before,
        }
    }
}

/// The column of the arrow that miette draws under `span`.
fn arrow(line: &str, span: &Range<usize>) -> usize {
    (columns(&line[..span.start]) + columns(&line[..span.end])) / 2
}

/// How wide a text is on a terminal.
fn columns(text: &str) -> usize {
    text.chars().map(width).sum()
}

/// A tab is as wide as it can be: where it stands is not known yet.
fn width(c: char) -> usize {
    match c {
        '\t' => TAB,
        c => display_width(c.encode_utf8(&mut [0; 4])),
    }
}

/// The first character that starts at `column` or behind it.
fn byte_at(line: &str, column: usize) -> usize {
    let mut before = 0;
    for (at, c) in line.char_indices() {
        if before >= column {
            return at;
        }
        before += width(c);
    }
    line.len()
}

/// The end of the last character that fits into so many columns.
fn byte_before(line: &str, column: usize) -> usize {
    let mut end = 0;
    for (at, c) in line.char_indices() {
        end += width(c);
        if end > column {
            return at;
        }
    }
    line.len()
}

fn theme(severity: Severity, marks: &[Mark], how: &Style) -> GraphicalTheme {
    let mut styles = match how.color {
        true => ThemeStyles::ansi(),
        false => ThemeStyles::none(),
    };
    let here = match severity {
        Severity::Error => styles.error.bold(),
        Severity::Warning => styles.warning.bold(),
    };
    let there = styles.advice.bold();
    // miette hands them out from the first mark in the file to the last.
    let mut in_order: Vec<&Mark> = marks.iter().collect();
    in_order.sort_by_key(|mark| (mark.line, mark.span.start));
    if how.color {
        let hue = |mark: &&Mark| if mark.is_other { there } else { here };
        styles.highlights = in_order.iter().map(hue).collect();
        styles.link = styles.advice;
    }
    GraphicalTheme {
        characters: match how.unicode {
            true => ThemeCharacters::unicode(),
            false => ThemeCharacters::ascii(),
        },
        styles,
    }
}
