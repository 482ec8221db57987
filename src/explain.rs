//! The pages of the manual, for people who learn: what a layer does, what it
//! needs, what it does *not* isolate (`isorecipe explain LAYER`), and what the
//! code of a diagnostic means (`isorecipe explain CODE`).
//!
//! The page of a layer is put together from what the layer itself has: the words of its type
//! and its fields (through the schema), its text in `src/layers/<layer>.md`,
//! and the plan of the recipe in that text. What cannot be put together is held
//! by `tests/explain_layers.rs`: the commands of every page are typed, its
//! recipes applied, its codes provoked, its capabilities compared with a plan.
//!
//! The page of a code stands beside the code that gives it: that of
//! `hostname::shared` in `src/ops/uts.md`, because of `src/ops/uts.rs`. One
//! that has none does not pass `tests/explain_codes.rs`.

use indexmap::IndexMap;
use serde::Serialize;

use crate::layers::{Layer, Manual};

mod codes;
mod print;
mod settings;
mod steps;
mod text;

pub use codes::{CodePage, PARTS};
pub use print::{list, list_of_codes, print, print_code};
pub use settings::{Setting, Word, settings};
pub use steps::{Needs, Step, steps};
pub use text::{Block, Section, sections};

/// The sections of a layer's page, in order: the heading, and the name for programs.
pub const TITLES: [(&str, &str); 8] = [
    ("What it does", "does"),
    ("What it needs", "needs"),
    ("What it does not isolate", "does_not_isolate"),
    ("By hand", "by_hand"),
    ("What often goes wrong", "goes_wrong"),
    ("To see it from inside", "see_from_inside"),
    ("To see it from the host", "see_from_host"),
    ("Read on", "read_on"),
];

/// The page of a layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// Its name
    pub layer: &'static str,
    /// What it is, in a sentence
    pub about: &'static str,
    /// All that can be set; the layer itself comes first, with its own words
    pub settings: Vec<Setting>,
    /// What it comes to in the recipe of the page
    pub steps: Vec<Step>,
    /// What there is to say
    pub sections: Vec<Section>,
}

impl Page {
    /// The page of the layer of this name.
    pub fn of(layer: &str) -> Option<Page> {
        Layer::MANUAL.iter().find(|manual| manual.name == layer).map(Page::new)
    }

    fn new(manual: &Manual) -> Page {
        let sections: Vec<Section> =
            sections(manual.page).into_iter().filter(|section| !section.is_code()).collect();
        let recipe = sections.iter().find_map(Section::recipe).unwrap_or_default();
        Page {
            layer: manual.name,
            about: manual.about,
            settings: settings(manual.name),
            steps: steps(manual.name, &recipe),
            sections,
        }
    }

    /// The page for a program, on one line.
    pub fn json(&self) -> String {
        let named = self.sections.iter().filter_map(|section| {
            let (_, name) = TITLES.iter().find(|(title, _)| *title == section.title)?;
            Some((*name, section.text))
        });
        let record = Record {
            layer: self.layer,
            about: self.about,
            settings: &self.settings,
            steps: &self.steps,
            sections: named.collect(),
        };
        format!("{}\n", serde_json::to_string(&record).unwrap_or_default())
    }
}

/// A page for a program; the sections are Markdown.
#[derive(Serialize)]
struct Record<'a> {
    layer: &'a str,
    about: &'a str,
    settings: &'a [Setting],
    steps: &'a [Step],
    sections: IndexMap<&'static str, &'static str>,
}
