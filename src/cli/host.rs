//! `isorecipe host`: the facts of this machine that plans depend on, as JSON.

use std::rc::Rc;

use crate::{host, recipe::Run};

use super::{Output, PROBLEM_FOUND, RecipePath, environment, print};

/// Print what is known of this machine, to plan for it elsewhere
///
/// The result is JSON. Name recipes, and what this machine has at their paths
/// is part of it. It has your user name and your mounts: read it before you
/// send it to somebody.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe host recipes/step4-rootless.yaml > host.json
  isorecipe plan --host host.json recipes/step4-rootless.yaml")]
pub(super) struct Host {
    /// Recipes whose paths to look at
    #[arg(value_name = "RECIPE")]
    recipes: Vec<RecipePath>,
}

impl Host {
    pub(super) fn run(self, output: &Output) -> u8 {
        let mut host = host::Host::probe();
        let run = Run { environment: environment(), is_live: true, ..Run::default() };
        for path in &self.recipes {
            let Some((recipe, _)) = path.load_or_complain(output) else {
                return PROBLEM_FOUND;
            };
            let plan = recipe.plan_knowing(host, &run);
            let known = Rc::clone(&plan.start.host);
            drop(plan);
            host = Rc::unwrap_or_clone(known);
        }
        let text = match output.json {
            true => serde_json::to_string(&host),
            false => serde_json::to_string_pretty(&host),
        };
        print(&format!("{}\n", text.unwrap_or_default()))
    }
}
