//! `isorecipe observe`: a running sandbox, as the host sees it.

use crate::{
    diagnostic::{Diagnostic, Refusal},
    host::Host,
    observe::{self, Report},
    registry::Running,
    yaml,
};

use super::{Output, PROBLEM_FOUND, owner, print};

/// Look at a running sandbox from the host: Console 2
///
/// Shows what it has of its own and what it shares with the host: namespaces,
/// ids, hostname, processes, mounts, and what it changed. Without NAME or PID
/// it lists the sandboxes that run. Nothing is changed by looking, and no
/// rights are needed for one's own sandboxes.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe observe                  the sandboxes that run
  isorecipe observe step3            one of them, by its name
  isorecipe observe $$               any process of yours, by its PID
  isorecipe observe step3 --watch    look again and again; leave with `q`")]
pub(super) struct Observe {
    /// A sandbox by its name, or any process by its PID
    #[arg(value_name = "NAME|PID")]
    who: Option<String>,
    /// Look again and again, and mark what has changed
    #[arg(long)]
    watch: bool,
}

impl Observe {
    pub(super) fn run(self, output: &Output) -> u8 {
        match self.report(output) {
            Ok(report) => print(&json(&report)),
            Err(refusal) => {
                output.complain(&[at_no_place(*refusal)]);
                PROBLEM_FOUND
            }
        }
    }

    fn report(&self, output: &Output) -> Result<Report, Box<Refusal>> {
        let running = running(output);
        match &self.who {
            None => Ok(Report::All { sandboxes: observe::list(&running) }),
            Some(who) => {
                let target = observe::find(who, &running)?;
                Ok(Report::One(Box::new(observe::look(&target)?)))
            }
        }
    }
}

/// The sandboxes that run; places that cannot be trusted are complained of.
fn running(output: &Output) -> Vec<Running> {
    let census = observe::running(&owner(&Host::at_hand()));
    let complaints: Vec<Diagnostic> = census
        .distrusted
        .iter()
        .map(|distrust| at_no_place(observe::distrusted(distrust)).warning())
        .collect();
    output.complain(&complaints);
    census.running
}

fn at_no_place(refusal: Refusal) -> Diagnostic {
    refusal.at(yaml::Path::root())
}

fn json(report: &Report) -> String {
    format!("{}\n", serde_json::to_string(report).unwrap_or_default())
}
