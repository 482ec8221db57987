//! `isorecipe validate`: every mistake of every file, and nothing is run.

use super::{Output, PROBLEM_FOUND, RecipePath, print};

/// Find every mistake in recipes, without asking this machine anything
///
/// Whether a well-formed recipe would work here, `isorecipe plan` says.
///
/// Exit status: 0 if all are well formed, 1 if not, 2 for wrong usage.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe validate recipes/*.yaml
  isorecipe validate - < recipes/step3.yaml")]
pub(super) struct Validate {
    /// Recipes: files, or `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    recipes: Vec<RecipePath>,
}

impl Validate {
    pub(super) fn run(self, output: &Output) -> u8 {
        let mut code = 0;
        for path in &self.recipes {
            if path.load_or_complain(output).is_none() {
                code = PROBLEM_FOUND;
            } else {
                let line = match output.json {
                    true => {
                        format!("{}\n", serde_json::json!({ "file": path.name(), "valid": true }))
                    }
                    false => format!("{}: well formed\n", path.name()),
                };
                code = code.max(print(&line));
                output.has_printed.set(true);
            }
        }
        code
    }
}
