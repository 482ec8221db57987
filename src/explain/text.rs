//! The text of a page: sections under headings, in a small part of Markdown.
//!
//! Pages are Markdown so that they read well where they are written. They use
//! headings, paragraphs, list items and fenced blocks, and nothing else; a
//! whole Markdown reader would be more than that takes.

/// A heading and what stands under it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Section {
    /// The heading
    pub title: &'static str,
    /// What stands under it, as it is written
    pub text: &'static str,
}

/// A part of a section.
#[derive(Clone, Debug, PartialEq)]
pub enum Block {
    /// Sentences, on one line
    Paragraph(String),
    /// An item of a list, on one line
    Item(String),
    /// What is not to be wrapped: a recipe, or what is typed and answered
    Code {
        /// What stands behind the fence: `yaml`, `console`
        kind: &'static str,
        /// As they are written
        lines: Vec<&'static str>,
    },
}

/// The sections of a page, in order; what stands above the first is none.
pub fn sections(page: &'static str) -> Vec<Section> {
    let mut sections = Vec::new();
    let mut rest = page;
    while let Some((title, after)) = next_heading(rest) {
        let end = end_of_section(after);
        let (text, later) = after.split_at(end);
        sections.push(Section { title: title.trim(), text: text.trim() });
        rest = later;
    }
    sections
}

/// The text of the next heading, and what follows it.
fn next_heading(text: &'static str) -> Option<(&'static str, &'static str)> {
    let start = end_of_section(text);
    let line = text.get(start..)?.strip_prefix("# ")?;
    Some(line.split_once('\n').unwrap_or((line, "")))
}

/// Where the next heading begins. A line of a fenced block is none: there `# ` is the prompt of root.
fn end_of_section(text: &str) -> usize {
    let mut at = 0;
    let mut is_fenced = false;
    for line in text.split_inclusive('\n') {
        is_fenced ^= line.starts_with("```");
        if !is_fenced && line.starts_with("# ") {
            return at;
        }
        at += line.len();
    }
    at
}

impl Section {
    /// Whether it is the page of a code, and no section of a layer's.
    pub fn is_code(&self) -> bool {
        self.title.contains("::")
    }

    /// The first recipe in it.
    pub fn recipe(&self) -> Option<String> {
        self.blocks().into_iter().find_map(|block| match block {
            Block::Code { kind: "yaml", lines } => {
                Some(lines.into_iter().flat_map(|line| [line, "\n"]).collect())
            }
            _ => None,
        })
    }

    /// Its parts, in order.
    pub fn blocks(&self) -> Vec<Block> {
        let mut blocks = Vec::new();
        let mut is_open = false;
        let mut lines = self.text.lines();
        while let Some(line) = lines.next() {
            if let Some(kind) = line.strip_prefix("```") {
                let lines = lines.by_ref().take_while(|line| *line != "```").collect();
                blocks.push(Block::Code { kind, lines });
                is_open = false;
            } else if line.is_empty() {
                is_open = false;
            } else if let Some(item) = line.strip_prefix("- ") {
                blocks.push(Block::Item(item.to_owned()));
                is_open = true;
            } else if let (true, Some(Block::Paragraph(words) | Block::Item(words))) =
                (is_open, blocks.last_mut())
            {
                words.push(' ');
                words.push_str(line.trim());
            } else {
                blocks.push(Block::Paragraph(line.to_owned()));
                is_open = true;
            }
        }
        blocks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "\
# What it does

It does
much.

- one
  item
- another

```console
$ unshare
# exit
```

# What it needs

Nothing.
";

    #[test]
    fn the_prompt_of_root_is_no_heading() {
        let titles: Vec<_> = sections(PAGE).iter().map(|section| section.title).collect();
        assert_eq!(titles, ["What it does", "What it needs"]);
    }

    #[test]
    fn words_are_joined_and_typed_lines_are_not() {
        let blocks = sections(PAGE)[0].blocks();
        assert_eq!(
            blocks,
            [
                Block::Paragraph("It does much.".to_owned()),
                Block::Item("one item".to_owned()),
                Block::Item("another".to_owned()),
                Block::Code { kind: "console", lines: vec!["$ unshare", "# exit"] },
            ]
        );
    }

    #[test]
    fn what_stands_above_the_first_heading_is_no_section() {
        assert_eq!(sections("words\n\n# One\n"), [Section { title: "One", text: "" }]);
        assert_eq!(sections(""), []);
    }
}
