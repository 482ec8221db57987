//! `isorecipe explain`: the pages of the manual.

use clap::{
    builder::{PossibleValue, StringValueParser, TypedValueParser},
    error::Error,
};

use crate::{
    diagnostic::{Format, Refusal, Style},
    explain::{self, CodePage, Page},
    layers::{Layer, Manual},
    yaml,
};

use super::{Output, WRONG_USAGE, print};

/// Show what a layer does and does not isolate, or what the code of an error means
///
/// The page of a layer has what it needs, the same by hand, with unshare and
/// mount, what often goes wrong, and how to look at it from inside the sandbox
/// and from the host. A code is what stands in brackets: `error[hostname::shared]`.
///
/// Exit status: 0, or 2 if there is no such page.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe explain               every layer in a line
  isorecipe explain user | less   the page of one
  isorecipe explain hostname::shared
  isorecipe explain --list        every code in a line")]
pub(super) struct Explain {
    /// A layer, or the code of a diagnostic; without it, every layer in a line
    #[arg(value_name = "LAYER|CODE", value_parser = Subject)]
    subject: Option<String>,
    /// List every code that a diagnostic can have
    #[arg(long, conflicts_with = "subject")]
    list: bool,
}

/// Any word; shells offer those that have a page.
#[derive(Clone)]
struct Subject;

impl TypedValueParser for Subject {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let known = |manual: &Manual| PossibleValue::new(manual.name).help(manual.about);
        Some(Box::new(Layer::MANUAL.iter().map(known)))
    }
}

impl Explain {
    pub(super) fn run(self, output: &Output) -> u8 {
        let how = output.style_of_results();
        let text = match self.subject {
            None if self.list => Some(explain::list_of_codes(&how)),
            None => Some(explain::list(&how)),
            Some(subject) => page(&subject, &how).or_else(|| {
                output.complain(&[no_page(&subject).at(yaml::Path::root())]);
                None
            }),
        };
        text.map_or(WRONG_USAGE, |text| print(&text))
    }
}

fn page(subject: &str, how: &Style) -> Option<String> {
    let is_json = how.format == Format::Json;
    if let Some(page) = Page::of(subject) {
        return Some(if is_json { page.json() } else { explain::print(&page, how) });
    }
    let page = CodePage::of(subject)?;
    Some(if is_json { page.json() } else { explain::print_code(&page, how) })
}

fn no_page(subject: &str) -> Refusal {
    let codes: Vec<&str> = CodePage::all().iter().map(|page| page.code).collect();
    let (noun, known, list) = match subject.contains("::") {
        true => ("code", codes.as_slice(), "`isorecipe explain --list` lists the codes"),
        false => ("layer", Layer::NAMES, "`isorecipe explain` lists the layers"),
    };
    let refusal = Refusal::new("explain::no_page", format!("there is no {noun} `{subject}`"))
        .why("only layers and codes have a page");
    match yaml::nearest(subject, known) {
        Some(name) => {
            refusal.help(format!("`isorecipe explain {}`", crate::diagnostic::typed(name)))
        }
        None => refusal.help(list),
    }
}
