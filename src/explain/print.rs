//! A page as text: for eyes, with indentation, or in plain sentences.

use serde_json::json;

use crate::{
    diagnostic::{Format, Style, paragraph},
    layers::{Layer, Manual},
};

use super::{Block, CodePage, Page, Section, Setting, Step};

/// Narrower than this nothing can be read, wider than that nobody reads well.
const WIDTHS: std::ops::RangeInclusive<usize> = 60..=200;

/// What is typed on the host speaks of a `$sandbox`.
const SANDBOX: &str = "`$sandbox` is the process id of the command, which `isorecipe observe` shows under PID: \
                       `sandbox=4711`";

/// Every layer in a line, and how to go on.
pub fn list(how: &Style) -> String {
    if how.format == Format::Json {
        let line = |one: &Manual| json!({ "layer": one.name, "about": one.about }).to_string();
        return Layer::MANUAL.iter().map(|one| line(one) + "\n").collect();
    }
    let mut out = Printer::new(how);
    let longest = Layer::NAMES.iter().map(|name| name.len()).max().unwrap_or(0);
    out.words("The layers of a recipe, in the order in which they are mostly used:", "", "");
    out.blank();
    for manual in Layer::MANUAL {
        let name = format!("{:longest$}", manual.name);
        let rest = " ".repeat(longest + 4);
        match how.format {
            Format::Plain => out.words(&format!("{}: {}", manual.name, manual.about), "", ""),
            _ => out.words(&format!("{}  {}", out.bold(&name), manual.about), "  ", &rest),
        }
    }
    out.blank();
    out.words("`isorecipe explain LAYER` shows the page of one: `isorecipe explain user`.", "", "");
    out.words(
        "`isorecipe explain CODE` shows what an error means: `isorecipe explain hostname::shared`.",
        "",
        "",
    );
    out.text
}

/// Every code, and what it means in a sentence.
pub fn list_of_codes(how: &Style) -> String {
    let pages = CodePage::all();
    if how.format == Format::Json {
        let line = |one: &CodePage| json!({ "code": one.code, "about": one.about() }).to_string();
        return pages.iter().map(|one| line(one) + "\n").collect();
    }
    let mut out = Printer::new(how);
    for page in &pages {
        match out.is_plain() {
            true => out.words(&format!("{}: {}", page.code, page.about()), "", ""),
            false => {
                out.line(&out.bold(page.code));
                out.words(&page.about(), "    ", "    ");
            }
        }
    }
    out.text
}

/// The page of a code, whole.
pub fn print_code(page: &CodePage, how: &Style) -> String {
    let mut out = Printer::new(how);
    out.line(&out.bold(page.code));
    for section in &page.sections {
        // What it means needs no heading below the code itself.
        match section.title.is_empty() {
            true => out.blank(),
            false => out.heading(section.title),
        }
        out.blocks(section);
    }
    out.text
}

/// The page of a layer, whole.
pub fn print(page: &Page, how: &Style) -> String {
    let mut out = Printer::new(how);
    out.line(&out.bold(&format!("The layer `{}`", page.layer)));
    out.blank();
    if let Some(layer) = page.settings.first() {
        out.words(&layer.about, "  ", "  ");
    }
    for (index, section) in page.sections.iter().enumerate() {
        out.heading(section.title);
        out.blocks(section);
        if index == 0 {
            out.settings(&page.settings);
            out.steps(&page.steps);
        }
    }
    out.text
}

/// A space at which no line ends: what can be typed stays whole.
const UNBROKEN: char = '\u{a0}';

fn unbroken(words: &str) -> String {
    let mut is_typed = false;
    let keep = |c| {
        is_typed ^= c == '`';
        if is_typed && c == ' ' { UNBROKEN } else { c }
    };
    words.chars().map(keep).collect()
}

struct Printer<'a> {
    how: &'a Style,
    text: String,
}

impl<'a> Printer<'a> {
    fn new(how: &'a Style) -> Self {
        Self { how, text: String::new() }
    }

    fn is_plain(&self) -> bool {
        self.how.format == Format::Plain
    }

    fn heading(&mut self, title: &str) {
        self.blank();
        self.line(&self.bold(title));
        self.blank();
    }

    fn blocks(&mut self, section: &Section) {
        let blocks = section.blocks();
        for (index, block) in blocks.iter().enumerate() {
            let is_item = |block: Option<&Block>| matches!(block, Some(Block::Item(_)));
            let before = index.checked_sub(1).and_then(|before| blocks.get(before));
            if index > 0 && !(is_item(Some(block)) && is_item(before)) {
                self.blank();
            }
            self.block(block);
        }
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Paragraph(words) => self.words(words, "  ", "  "),
            Block::Item(words) => self.words(words, "  - ", "    "),
            Block::Code { kind, lines } => {
                if *kind == "console host" {
                    self.words(SANDBOX, "  ", "  ");
                    self.blank();
                }
                for line in lines {
                    self.code(line);
                }
            }
        }
    }

    /// A line to be typed, or what comes of it.
    fn code(&mut self, line: &str) {
        let is_typed = line.starts_with("$ ") || line.starts_with("# ");
        let line = match is_typed {
            true => self.painted("36", line),
            false => line.to_owned(),
        };
        self.line(&format!("      {line}"));
    }

    fn settings(&mut self, settings: &[Setting]) {
        self.heading("What can be set");
        for (index, setting) in settings.iter().enumerate() {
            let Setting { name, takes, .. } = setting;
            let left_out = match (&setting.default, setting.required) {
                (Some(word), _) => format!("; `{word}` if it is left out"),
                (None, true) => String::new(),
                (None, false) => "; may be left out".to_owned(),
            };
            self.words(&format!("{}: {takes}{left_out}", self.bold(name)), "  ", "    ");
            // The layer's own words stand at the head of the page.
            if index > 0 {
                self.words(&setting.about, "    ", "    ");
            }
            for word in &setting.words {
                self.words(&format!("`{}`: {}", word.word, word.about), "    - ", "      ");
            }
        }
    }

    fn steps(&mut self, steps: &[Step]) {
        self.heading("Its steps in that recipe, for an ordinary user");
        for step in steps {
            let needs = match &step.needs {
                Some(needs) => format!("; needs {} over {}", needs.capability, needs.over),
                None => String::new(),
            };
            self.words(&format!("{}{needs}", step.what), "  - ", "    ");
        }
    }

    /// A paragraph. In plain form nothing is wrapped and nothing is indented.
    fn words(&mut self, words: &str, first: &str, rest: &str) {
        if self.is_plain() {
            return self.line(words);
        }
        let width = self.how.width.clamp(*WIDTHS.start(), *WIDTHS.end());
        let options = paragraph(width).initial_indent(first).subsequent_indent(rest);
        let text = textwrap::fill(&unbroken(words), options);
        self.line(&text.replace(UNBROKEN, " "));
    }

    fn line(&mut self, line: &str) {
        match self.how.unicode {
            true => self.text.push_str(line),
            false => self.text.push_str(&line.replace('…', "...")),
        }
        self.text.push('\n');
    }

    fn blank(&mut self) {
        self.text.push('\n');
    }

    fn bold(&self, words: &str) -> String {
        self.painted("1", words)
    }

    fn painted(&self, sgr: &str, words: &str) -> String {
        match self.how.color && !self.is_plain() {
            true => format!("\u{1b}[{sgr}m{words}\u{1b}[0m"),
            false => words.to_owned(),
        }
    }
}
