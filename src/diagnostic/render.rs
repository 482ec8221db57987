//! A diagnostic as text: drawn for a terminal, plain for a screen reader or a log, JSON for a program.
//!
//! The words are ours, the drawing under the recipe's line is miette's. Its handler is made when there is something to
//! draw and never earlier: a sandbox that starts pays nothing for this.

use std::collections::HashSet;
use std::ops::Range;

use textwrap::{Options, WordSeparator, WordSplitter};

use super::{Diagnostic, Position, Severity, json, legible, picture};
use crate::yaml::Path;

/// For whom to render.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For eyes: the recipe's line, and an arrow to the place.
    Fancy,
    /// For a screen reader or a log: whole sentences, each on a line of its own, no colour.
    Plain,
    /// For a program: a [`Record`](super::Record) a line.
    Json,
}

/// How to render. All but the format matter to [`Format::Fancy`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// For whom.
    pub format: Format,
    /// Whether the terminal shows colours.
    pub color: bool,
    /// Whether the terminal shows more than ASCII: false for `LANG=C`.
    pub unicode: bool,
    /// The terminal's columns.
    pub width: usize,
}

impl Default for Style {
    /// Drawn, 80 columns, no colour.
    fn default() -> Style {
        Style { format: Format::Fancy, color: false, unicode: true, width: 80 }
    }
}

impl Style {
    /// Below this a drawing says nothing; the terminal may break the lines itself.
    const NARROWEST: usize = 40;

    pub(super) fn columns(&self) -> usize {
        self.width.max(Style::NARROWEST)
    }
}

/// All of them, in their order, each once; every line ends in a newline.
pub fn render(diagnostics: &[Diagnostic], how: &Style) -> String {
    let mut said = HashSet::new();
    let each = diagnostics.iter().filter(|diagnostic| said.insert(diagnostic.facts()));
    match how.format {
        Format::Fancy => each.map(|one| fancy(one, how)).collect::<Vec<_>>().join("\n"),
        Format::Plain => each.map(plain).collect::<Vec<_>>().join("\n"),
        Format::Json => each.map(json::line).collect(),
    }
}

/// The drawn form. A place that cannot be drawn is named.
fn fancy(diagnostic: &Diagnostic, how: &Style) -> String {
    let paint = Paint { color: how.color };
    let (severity, refusal) = (diagnostic.severity, &diagnostic.refusal);
    let name = paint.severity(severity, &format!("{severity}[{}]", refusal.0.code));
    let message = paint.bold(&refusal.0.message);
    let mut out = fill(&format!("{name}: {message}"), "", "  ", how);

    let drawn = picture::draw(diagnostic, how);
    match &drawn {
        Some(drawn) => out.push_str(drawn),
        None => out.push_str(&fill(&here(diagnostic, short), "  ", "    ", how)),
    }
    if (drawn.is_none() || diagnostic.also_span.is_none())
        && let Some(also) = there(diagnostic, short)
    {
        out.push_str(&fill(&also, "  ", "    ", how));
    }
    if let Some(observed) = &refusal.0.observed {
        out.push_str(&fill(&observed.to_string(), "  ", "    ", how));
    }
    if !refusal.0.help.is_empty() {
        let help = format!("{} {}", paint.help("help:"), refusal.0.help);
        out.push_str(&fill(&help, "  ", "        ", how));
    }
    out
}

/// The plain form. Nothing is wrapped, nothing is aligned, nothing is only a picture.
fn plain(diagnostic: &Diagnostic) -> String {
    let (severity, refusal) = (diagnostic.severity, &diagnostic.refusal);
    let help = Some(&refusal.0.help).filter(|help| !help.is_empty());
    let lines = [
        Some(format!("{severity}[{}]: {}", refusal.0.code, refusal.0.message)),
        Some(here(diagnostic, long)).filter(|here| !here.is_empty()),
        there(diagnostic, long),
        refusal.0.observed.as_ref().map(ToString::to_string),
        help.map(|help| format!("help: {help}")),
    ];
    lines.into_iter().flatten().map(|line| line + "\n").collect()
}

/// How a place in a file is written.
type Spelling = fn(&str, Position) -> String;

/// As compilers write it and editors read it.
pub(super) fn short(name: &str, at: Position) -> String {
    format!("{name}:{}:{}", at.line, at.column)
}

/// As it is read aloud.
fn long(name: &str, at: Position) -> String {
    format!("{name} line {} column {}", at.line, at.column)
}

/// `at step2.yaml:7:5 (layers[2].hostname): no UTS namespace yet`, as much of it as is known.
fn here(diagnostic: &Diagnostic, spelling: Spelling) -> String {
    let place = place(diagnostic, diagnostic.span.as_ref(), Some(&diagnostic.path), spelling);
    let known = [place.as_str(), diagnostic.why()];
    known.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(": ")
}

/// The same for the other place, where there is one.
fn there(diagnostic: &Diagnostic, spelling: Spelling) -> Option<String> {
    let also = diagnostic.refusal.0.also.as_ref()?;
    let place = place(diagnostic, diagnostic.also_span.as_ref(), also.path.as_ref(), spelling);
    let known = ["also", place.as_str()];
    let place = known.into_iter().filter(|words| !words.is_empty()).collect::<Vec<_>>().join(" ");
    Some(format!("{place}: {}", also.why))
}

fn place(
    diagnostic: &Diagnostic,
    span: Option<&Range<usize>>,
    path: Option<&Path>,
    spelling: Spelling,
) -> String {
    let file = diagnostic.source.as_ref().map(|source| match span {
        Some(span) => spelling(source.name(), source.position(span.start)),
        None => source.name().to_owned(),
    });
    let path =
        path.filter(|path| **path != Path::root()).map(|path| legible::words(&path.to_string()));
    match (file, path) {
        (Some(file), Some(path)) => format!("at {file} ({path})"),
        (Some(place), None) | (None, Some(place)) => format!("at {place}"),
        (None, None) => String::new(),
    }
}

/// A paragraph and its newline; nothing where there is nothing to say.
fn fill(text: &str, first: &str, rest: &str, how: &Style) -> String {
    if text.is_empty() {
        return String::new();
    }
    let options = paragraph(how.columns());
    let options = options.initial_indent(first).subsequent_indent(rest);
    textwrap::fill(text, options) + "\n"
}

/// A paragraph of so many columns, in which nothing that can be typed or copied is broken.
pub fn paragraph(width: usize) -> Options<'static> {
    Options::new(width)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
}

/// The few colours of the words, which every terminal theme keeps readable.
struct Paint {
    color: bool,
}

impl Paint {
    fn severity(&self, severity: Severity, words: &str) -> String {
        match severity {
            Severity::Error => self.with("1;31", words),
            Severity::Warning => self.with("1;33", words),
        }
    }

    fn bold(&self, words: &str) -> String {
        self.with("1", words)
    }

    fn help(&self, words: &str) -> String {
        self.with("36", words)
    }

    fn with(&self, sgr: &str, words: &str) -> String {
        match self.color {
            true => format!("\u{1b}[{sgr}m{words}\u{1b}[0m"),
            false => words.to_owned(),
        }
    }
}
