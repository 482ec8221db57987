//! What the code of a diagnostic means: a page for each, from beside the file
//! that gives it.

use indexmap::IndexMap;
use serde::Serialize;

use crate::layers::Layer;

use super::{Block, Section, sections};

/// The texts that have pages of codes in them, beside those of the layers.
const TEXTS: &[&str] = &[
    include_str!("../build/words.md"),
    include_str!("../cli/batch.md"),
    include_str!("../cli/batch/job.md"),
    include_str!("../cli/batch/maker.md"),
    include_str!("../cli/build.md"),
    include_str!("../cli/diff/source.md"),
    include_str!("../cli/diff/trouble.md"),
    include_str!("../cli/ending.md"),
    include_str!("../cli/explain.md"),
    include_str!("../cli/observe.md"),
    include_str!("../cli/mishap.md"),
    include_str!("../cli/plan.md"),
    include_str!("../cli/watch.md"),
    include_str!("../export/sh/command.md"),
    include_str!("../export/sh/limits.md"),
    include_str!("../export/sh/tools.md"),
    include_str!("../doctor/cause.md"),
    include_str!("../layers/forms.md"),
    include_str!("../layers/limits/share.md"),
    include_str!("../layers/lower.md"),
    include_str!("../layers/lower/way.md"),
    include_str!("../layers/rlimits/amount.md"),
    include_str!("../layers/seccomp/rule.md"),
    include_str!("../layers/span.md"),
    include_str!("../layers/words.md"),
    include_str!("../observe/words.md"),
    include_str!("../ops.md"),
    include_str!("../ops/bind.md"),
    include_str!("../ops/capabilities.md"),
    include_str!("../ops/command.md"),
    include_str!("../ops/command/trouble.md"),
    include_str!("../ops/directory.md"),
    include_str!("../ops/fuse.md"),
    include_str!("../ops/group.md"),
    include_str!("../ops/helper_map.md"),
    include_str!("../ops/identity.md"),
    include_str!("../ops/idmap.md"),
    include_str!("../ops/image.md"),
    include_str!("../ops/lie.md"),
    include_str!("../ops/limit.md"),
    include_str!("../ops/landlock.md"),
    include_str!("../ops/landlock/missing.md"),
    include_str!("../ops/maps.md"),
    include_str!("../ops/mask.md"),
    include_str!("../ops/module.md"),
    include_str!("../ops/mount.md"),
    include_str!("../ops/name.md"),
    include_str!("../ops/mount/fresh.md"),
    include_str!("../ops/namespace.md"),
    include_str!("../ops/network.md"),
    include_str!("../ops/outlet.md"),
    include_str!("../ops/nested.md"),
    include_str!("../ops/node.md"),
    include_str!("../ops/overlay.md"),
    include_str!("../ops/overlay/trouble.md"),
    include_str!("../ops/pivot.md"),
    include_str!("../ops/place.md"),
    include_str!("../ops/program.md"),
    include_str!("../ops/restrict.md"),
    include_str!("../ops/source.md"),
    include_str!("../ops/seccomp.md"),
    include_str!("../ops/time.md"),
    include_str!("../ops/unpack.md"),
    include_str!("../ops/uts.md"),
    include_str!("../plan/open/beware.md"),
    include_str!("../plan/planner/protection.md"),
    include_str!("../ops/room.md"),
    include_str!("../ops/way.md"),
    include_str!("../recipe.md"),
    include_str!("../recipe/course.md"),
    include_str!("../recipe/image.md"),
    include_str!("../recipe/last.md"),
    include_str!("../recipe/words.md"),
    include_str!("../verify/words.md"),
    include_str!("../yaml/deserialize.md"),
    include_str!("../yaml/fault.md"),
    include_str!("../yaml/read.md"),
    include_str!("../yaml/scalar.md"),
    include_str!("../yaml/source.md"),
    include_str!("../yaml/syntax.md"),
    include_str!("../yaml/words.md"),
];

/// The parts of such a page, in order: how a part begins in the text, its
/// heading, and its name for programs. The first is what stands above them.
pub const PARTS: [(&str, &str, &str); 5] = [
    ("", "", "means"),
    ("Why: ", "Why", "why"),
    ("To see it:", "To see it yourself", "see"),
    ("What to do: ", "What to do", "do"),
    ("Where: ", "Where it is common", "where"),
];

/// The page of a code.
#[derive(Clone, Debug, PartialEq)]
pub struct CodePage {
    /// `area::condition`
    pub code: &'static str,
    /// What there is to say
    pub sections: Vec<Section>,
}

impl CodePage {
    /// Every page, by code.
    pub fn all() -> Vec<CodePage> {
        let layers = Layer::MANUAL.iter().map(|manual| manual.page);
        let texts = TEXTS.iter().copied().chain(layers).flat_map(sections);
        let mut pages: Vec<CodePage> =
            texts.filter(Section::is_code).map(|section| CodePage::new(&section)).collect();
        pages.sort_by_key(|page| page.code);
        pages
    }

    /// The page of this code.
    pub fn of(code: &str) -> Option<CodePage> {
        CodePage::all().into_iter().find(|page| page.code == code)
    }

    fn new(section: &Section) -> CodePage {
        let mut sections = Vec::new();
        let mut rest = section.text;
        // From the last part to the first: each ends where the next begins.
        for (beginning, title, _) in PARTS.iter().rev() {
            if let Some((before, text)) = split_at_part(rest, beginning) {
                sections.push(Section { title, text });
                rest = before;
            }
        }
        sections.reverse();
        CodePage { code: section.title, sections }
    }

    /// What it means, in its first sentence.
    pub fn about(&self) -> String {
        let blocks = self.sections.first().map(Section::blocks).unwrap_or_default();
        let Some(Block::Paragraph(words)) = blocks.into_iter().next() else {
            return String::new();
        };
        words.split_once(". ").map_or(words.clone(), |(first, _)| format!("{first}."))
    }

    /// The page for a program, on one line.
    pub fn json(&self) -> String {
        let named = self.sections.iter().filter_map(|section| {
            let (_, _, name) = PARTS.iter().find(|(_, title, _)| *title == section.title)?;
            Some((*name, section.text))
        });
        let record = Record { code: self.code, sections: named.collect() };
        format!("{}\n", serde_json::to_string(&record).unwrap_or_default())
    }
}

/// What stands before a paragraph that begins so, and the rest of that paragraph with all below.
fn split_at_part(text: &'static str, beginning: &str) -> Option<(&'static str, &'static str)> {
    if beginning.is_empty() {
        return Some(("", text));
    }
    let (before, part) = text.split_once(&format!("\n\n{beginning}"))?;
    Some((before.trim(), part.trim()))
}

/// A page for a program; the sections are Markdown.
#[derive(Serialize)]
struct Record<'a> {
    code: &'a str,
    sections: IndexMap<&'static str, &'static str>,
}
