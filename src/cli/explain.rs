//! `isorecipe explain`: the pages of the manual.

use clap::{
    builder::{PossibleValue, StringValueParser, TypedValueParser},
    error::Error,
};

use crate::{
    diagnostic::{Format, Refusal},
    explain::{self, Page},
    layers::{Layer, Manual},
    yaml,
};

use super::{Output, WRONG_USAGE, print};

/// Show what a layer does, what it needs and what it does not isolate
///
/// A page has the same by hand, with unshare and mount, what often goes wrong,
/// and how to look at it from inside the sandbox and from the host.
///
/// Exit status: 0, or 2 if there is no such page.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe explain               every layer in a line
  isorecipe explain user          the page of one
  isorecipe explain pid | less")]
pub(super) struct Explain {
    /// A layer: `user`, `pid` and so on; all of them in a line each without it
    #[arg(value_name = "LAYER", value_parser = Subject)]
    subject: Option<String>,
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
        let Some(subject) = self.subject else {
            return print(&explain::list(&how));
        };
        let Some(page) = Page::of(&subject) else {
            output.complain(&[no_page(&subject).at(yaml::Path::root())]);
            return WRONG_USAGE;
        };
        print(&match how.format {
            Format::Json => page.json(),
            _ => explain::print(&page, &how),
        })
    }
}

fn no_page(subject: &str) -> Refusal {
    let refusal = Refusal::new("explain::no_page", format!("there is no layer `{subject}`"))
        .why("only layers have a page");
    match yaml::nearest(subject, Layer::NAMES) {
        Some(name) => refusal.help(format!("`isorecipe explain {name}`")),
        None => refusal.help("`isorecipe explain` lists the layers"),
    }
}
