//! Lines to look at: fitted to a width, painted, and compared with those of
//! the last look.

use std::collections::{HashMap, HashSet};

use crate::yaml::spelled_out;

/// What a line can be written with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pen {
    pub color: bool,
    pub unicode: bool,
    /// Where lines are cut off, if they are
    pub width: Option<usize>,
}

/// How much a line asks for attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    Strong,
    Plain,
    Faint,
}

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub text: String,
    pub weight: Weight,
    /// What has to differ for the line to count as another
    key: Option<String>,
}

/// Lines, from the top.
#[derive(Clone, Debug, Default)]
pub(super) struct Sheet {
    pub lines: Vec<Line>,
}

impl Sheet {
    /// A line that says something.
    pub fn line(&mut self, weight: Weight, text: impl Into<String>) {
        let text = text.into();
        self.lines.push(Line { key: Some(text.clone()), text, weight });
    }

    /// A line of which only the key matters when it is compared.
    pub fn keyed_line(&mut self, weight: Weight, text: impl Into<String>, key: Option<String>) {
        self.lines.push(Line { text: text.into(), weight, key });
    }

    /// A heading, with space above it.
    pub fn heading(&mut self, text: impl Into<String>) {
        if !self.lines.is_empty() {
            self.keyed_line(Weight::Plain, "", None);
        }
        self.keyed_line(Weight::Strong, text, None);
    }

    /// All of it.
    pub fn text(&self, pen: Pen) -> String {
        self.lines.iter().map(|line| pen.write("", line) + "\n").collect()
    }

    /// Whether two looks saw the same.
    pub fn is_like(&self, other: &Sheet) -> bool {
        let keys = |sheet: &Sheet| -> Vec<Option<String>> {
            sheet.lines.iter().map(|line| line.key.clone()).collect()
        };
        keys(self) == keys(other)
    }

    /// All of it, with marks at what was not there before, and what is there no more.
    pub fn marked(&self, before: Option<&Sheet>, pen: Pen) -> Vec<String> {
        let Some(before) = before else {
            return self.lines.iter().map(|line| pen.write("  ", line)).collect();
        };
        let (new, old) = (self.numbered(), before.numbered());
        let gone = Gone::between(before, &old, &new);
        let known: HashSet<&Key> = old.iter().flatten().collect();
        let mut shown = gone.write(None, pen);
        for (line, key) in self.lines.iter().zip(&new) {
            let is_new = key.as_ref().is_some_and(|key| !known.contains(key));
            shown.push(pen.write(if is_new { pen.added() } else { "  " }, line));
            if key.is_some() {
                shown.extend(gone.write(key.as_ref(), pen));
            }
        }
        shown
    }

    /// Each key with its number among its likes.
    fn numbered(&self) -> Vec<Option<Key>> {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        let numbered = self.lines.iter().map(|line| {
            let key = line.key.as_deref()?;
            let count = counts.entry(key).or_default();
            *count += 1;
            Some((key.to_owned(), *count))
        });
        numbered.collect()
    }
}

/// A line's key, and which of those with this key it is.
type Key = (String, usize);

/// Lines that are there no more, each with the last line before it that stayed.
struct Gone<'a>(Vec<(Option<&'a Key>, &'a Line)>);

impl<'a> Gone<'a> {
    fn between(before: &'a Sheet, old: &'a [Option<Key>], new: &[Option<Key>]) -> Self {
        let stayed: HashSet<&Key> = new.iter().flatten().collect();
        let mut gone = Vec::new();
        let mut last = None;
        for (line, key) in before.lines.iter().zip(old) {
            match key {
                Some(key) if stayed.contains(key) => last = Some(key),
                Some(_) => gone.push((last, line)),
                None => {}
            }
        }
        Self(gone)
    }

    /// Those that stood behind this one.
    fn write(&self, after: Option<&Key>, pen: Pen) -> Vec<String> {
        let here = self.0.iter().filter(|(last, _)| *last == after);
        here.map(|(_, line)| {
            pen.write(pen.gone(), &Line { weight: Weight::Faint, ..(*line).clone() })
        })
        .collect()
    }
}

impl Pen {
    fn added(self) -> &'static str {
        if self.unicode { "• " } else { "* " }
    }

    fn gone(self) -> &'static str {
        if self.unicode { "− " } else { "- " }
    }

    fn write(self, mark: &str, line: &Line) -> String {
        let text = self.fit(&format!("{mark}{}", line.text));
        let is_marked = !mark.trim().is_empty();
        match line.weight {
            _ if !self.color || text.is_empty() => text,
            Weight::Faint => format!("\u{1b}[2m{text}\u{1b}[0m"),
            Weight::Strong => format!("\u{1b}[1m{text}\u{1b}[0m"),
            Weight::Plain if is_marked => format!("\u{1b}[33m{text}\u{1b}[0m"),
            Weight::Plain => text,
        }
    }

    /// On one line, with nothing in it that acts on a terminal.
    fn fit(self, text: &str) -> String {
        let text = spelled_out(text);
        let text: String = match self.unicode {
            true => text.into_owned(),
            false => text.chars().flat_map(ascii).collect(),
        };
        let text = text.trim_end();
        let dots = if self.unicode { "…" } else { "..." };
        match self.width {
            Some(width) if text.chars().count() > width => {
                let kept = width.saturating_sub(dots.chars().count());
                text.chars().take(kept).chain(dots.chars()).collect()
            }
            _ => text.to_owned(),
        }
    }

    /// How a process hangs below its parent.
    pub fn branch(self, depth: usize) -> String {
        match (depth, self.unicode) {
            (0, _) => String::new(),
            (depth, true) => format!("{}└─ ", "   ".repeat(depth - 1)),
            (depth, false) => format!("{}`- ", "   ".repeat(depth - 1)),
        }
    }

    /// What stands where nothing is.
    pub fn nothing(self) -> &'static str {
        if self.unicode { "–" } else { "-" }
    }
}

fn ascii(c: char) -> Vec<char> {
    match c {
        c if c.is_ascii() => vec![c],
        c => c.escape_unicode().collect(),
    }
}

/// A cell of a table: so many columns, whatever is in it.
pub(super) fn cell(text: &str, width: usize) -> String {
    let text = spelled_out(text);
    let missing = width.saturating_sub(text.chars().count());
    format!("{text}{}", " ".repeat(missing))
}

/// How wide a column has to be for all of these.
pub(super) fn widest<'a>(cells: impl IntoIterator<Item = &'a str>) -> usize {
    cells.into_iter().map(|cell| spelled_out(cell).chars().count()).max().unwrap_or(0)
}

/// Some time, in words that do not hurry.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEN: Pen = Pen { color: false, unicode: false, width: Some(20) };

    fn sheet(lines: &[&str]) -> Sheet {
        let mut sheet = Sheet::default();
        for line in lines {
            sheet.line(Weight::Plain, *line);
        }
        sheet
    }

    #[test]
    fn what_came_and_what_went_is_marked_in_its_place() {
        let (before, after) = (sheet(&["a", "b", "c", "c"]), sheet(&["a", "x", "c"]));
        assert_eq!(after.marked(Some(&before), PEN), ["  a", "- b", "* x", "  c", "- c"]);
        assert_eq!(after.marked(None, PEN), ["  a", "  x", "  c"]);
        assert!(!after.is_like(&before) && after.is_like(&after.clone()));
    }

    #[test]
    fn a_line_without_a_key_is_never_another() {
        let mut before = Sheet::default();
        before.keyed_line(Weight::Plain, "3 s", None);
        let mut after = Sheet::default();
        after.keyed_line(Weight::Plain, "4 s", None);
        assert!(after.is_like(&before));
        assert_eq!(after.marked(Some(&before), PEN), ["  4 s"]);
    }

    #[test]
    fn a_line_is_cut_and_cannot_act() {
        let line = sheet(&["\u{1b}[31mred\u{7}", "abcdefghijklmnopqrstuvwxyz", "ä"]);
        assert_eq!(line.text(PEN), "\\u{1b}[31mred\\u{7}\nabcdefghijklmnopq...\n\\u{e4}\n");
    }
}
