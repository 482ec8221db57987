//! `isorecipe diff`: what a run changed in the overlays of a sandbox.

use std::{io, path::PathBuf};

use crate::{
    diagnostic::Diagnostic,
    diff::{self, Comparison},
};

use super::{Output, RecipePath, has_unicode, print};

mod line;
mod source;
mod text;
mod trouble;

use line::Look;
use source::Overlay;

/// As diff(1) says it.
const DIFFERENT: u8 = 1;
const TROUBLE: u8 = 2;
/// Printed at once.
const CHUNK: usize = 1 << 16;

/// Show what a run changed: added, modified, deleted, renamed
///
/// A sandbox with an `overlay` layer writes to `upper` and leaves `lower` as it
/// is. This compares the two, and changes nothing. A directory that was only
/// copied up, because something in it changed, is no change.
///
/// Exit status, as of diff(1): 0 if nothing changed, 1 if something did, 2 for trouble.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe diff recipes/step4-rootless.yaml          the overlays of a recipe
  isorecipe diff --text recipes/step4-rootless.yaml   with the lines that changed
  isorecipe diff recipes/upper --lower recipes/rootfs

  A  added                    D  deleted, with everything in it
  M  modified: what differs   R  renamed, and what differs besides
  ?  added or modified        only where there is no `lower` to look at

A file is renamed if what was deleted holds the same bytes; a directory, if all
in it is the same. Of a directory the time does not count. Where `lower` is an
image, overlayfs's own marks tell added from modified, and no content is compared.")]
pub(super) struct Diff {
    /// A running sandbox, the `upper` of an overlay, or a recipe
    #[arg(value_name = "NAME|UPPER|RECIPE")]
    what: Option<PathBuf>,
    /// What was there before, the topmost first; instead of what the recipe says
    #[arg(long = "lower", value_name = "DIR")]
    lowers: Vec<PathBuf>,
    /// Show the lines of text files that changed
    #[arg(long)]
    text: bool,
}

impl Diff {
    pub(super) fn run(self, output: &Output) -> u8 {
        let overlays = match self.overlays(output) {
            Ok(overlays) => overlays,
            Err(diagnostic) => {
                // A recipe with mistakes has said so.
                output.complain(
                    &diagnostic.map(|diagnostic| *diagnostic).into_iter().collect::<Vec<_>>(),
                );
                return TROUBLE;
            }
        };
        let is_one = overlays.len() == 1;
        let codes = overlays.iter().map(|overlay| self.show(output, overlay, is_one));
        // Every overlay is shown, whatever the one before it came to.
        codes.collect::<Vec<_>>().into_iter().max().unwrap_or(0)
    }

    fn overlays(&self, output: &Output) -> Result<Vec<Overlay>, Option<Box<Diagnostic>>> {
        let Some(what) = &self.what else {
            return source::of_running(None).map_err(Some);
        };
        if what.is_dir() {
            return Ok(vec![Overlay::of_upper(what)]);
        }
        if what.is_file() || what.as_os_str() == "-" {
            let path = RecipePath(what.clone());
            let (recipe, _) = path.load_or_complain(output).ok_or(None)?;
            return source::of_recipe(&recipe, &path.name()).map_err(Some);
        }
        match what.to_str() {
            Some(name) if !name.contains('/') => source::of_running(Some(name)).map_err(Some),
            _ => Err(Some(Box::new(trouble::no_upper(what)))),
        }
    }

    /// Shows one overlay, and says what diff(1) would.
    fn show(&self, output: &Output, overlay: &Overlay, is_one: bool) -> u8 {
        let lowers = match self.lowers.is_empty() {
            true => overlay.lowers.as_deref().unwrap_or_default(),
            false => &self.lowers,
        };
        let found = match diff::compare_as(overlay.flavour, &overlay.upper, lowers) {
            Ok(found) => found,
            Err(trouble) => {
                output.complain(&[trouble::explain(&trouble, overlay)]);
                return TROUBLE;
            }
        };
        let printed = self.print(output, overlay, &found, is_one);
        let mut said = trouble::explain_all(&found, overlay);
        if found.is_by_marks && !found.changes.is_empty() {
            said.push(trouble::no_lower_at_hand(overlay));
        }
        output.complain(&said);
        match (printed, found.troubles.is_empty(), found.changes.is_empty()) {
            (0, true, true) => 0,
            (0, true, false) => DIFFERENT,
            _ => TROUBLE,
        }
    }

    fn print(&self, output: &Output, overlay: &Overlay, found: &Comparison, is_one: bool) -> u8 {
        let look = Look {
            has_color: !output.plain && output.has_color(&io::stdout()),
            has_unicode: has_unicode(),
            is_plain: output.plain,
            owner: found.owner,
        };
        let mut chunk = String::new();
        if !is_one && !output.json && !found.changes.is_empty() {
            chunk = format!("{}:\n", line::name(&overlay.upper));
        }
        let mut code = 0;
        for change in &found.changes {
            let lines = if self.text { text::of(found, change) } else { None };
            match output.json {
                true => chunk.push_str(&line::json(&overlay.upper, change, lines)),
                false => {
                    chunk.push_str(&look.line(change));
                    chunk.push_str(&look.text(&lines.unwrap_or_default()));
                }
            }
            if chunk.len() > CHUNK {
                code = code.max(print(&std::mem::take(&mut chunk)));
            }
        }
        output.has_printed.set(!found.changes.is_empty());
        code.max(print(&chunk))
    }
}
