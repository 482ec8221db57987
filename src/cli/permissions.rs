//! What a plan says no to, and what of that its caller allows all the same.

use std::rc::Rc;

use crate::{
    diagnostic::Diagnostic,
    host::Host,
    ops::Op,
    plan::Plan,
    recipe::{Recipe, Run},
    sys::{Call, Errno},
};

use super::{COULD_NOT_START, ending::refusal_status};

/// What the caller allows although it looks wrong
#[derive(clap::Args, Debug, Default)]
pub(super) struct Permissions {
    /// Try even what the plan knows to fail, and explain what the kernel says
    #[arg(long)]
    unchecked: bool,
    /// Let a recipe change the host (its hostname, its mounts)
    #[arg(long)]
    allow_host_changes: bool,
}

impl Permissions {
    /// Plans with what is at hand; before it says no, with everything that can be known.
    pub(super) fn plan(&self, recipe: &Recipe, run: &Run, verifies: bool) -> Plan {
        let plan = match verifies {
            // What is to be compared has to be known.
            true => recipe.plan_learning(Host::probe(), run).0,
            false => recipe.plan(Rc::new(Host::at_hand()), run),
        };
        if !self.forbid(&plan) {
            return plan;
        }
        let (mut known, host) = recipe.plan_learning(Host::probe(), run);
        recipe.point_at_order(&mut known, &Rc::new(host), run);
        known
    }

    pub(super) fn forbid(&self, plan: &Plan) -> bool {
        !plan.prohibitions.is_empty()
            || !self.unchecked && !plan.refusals.is_empty()
            || !self.allow_host_changes && !plan.leaks.is_empty()
    }

    /// Whether it is forbidden whatever the command is.
    pub(super) fn forbid_any_command(&self, plan: &Plan) -> bool {
        let is_of_command = |refusal: &Diagnostic| refused_command(plan, refusal).is_some();
        self.forbid(plan)
            && !(plan.prohibitions.is_empty()
                && plan.leaks.is_empty()
                && plan.refusals.iter().all(is_of_command))
    }

    /// What is to be said before anything happens. `--unchecked` lets the
    /// kernel say what it refuses; it lifts no prohibition.
    pub(super) fn problems(&self, plan: &Plan) -> Vec<Diagnostic> {
        let refusals = plan.refusals.iter().filter(|_| !self.unchecked).cloned();
        let leaks = plan.leaks.iter().cloned().map(|leak| match self.allow_host_changes {
            true => leak.warning(),
            false => leak,
        });
        let prohibitions = plan.prohibitions.iter().cloned();
        refusals.chain(prohibitions).chain(leaks).chain(plan.warnings.iter().cloned()).collect()
    }
}

/// A command that cannot be executed is the only refusal with a status of its own.
pub(super) fn stopped_status(plan: &Plan) -> u8 {
    let is_alone = plan.prohibitions.is_empty() && plan.leaks.is_empty();
    match plan.refusals.as_slice() {
        [only] if is_alone => refused_command(plan, only).unwrap_or(COULD_NOT_START),
        _ => COULD_NOT_START,
    }
}

/// The status that a refusal has, if it is the command's.
fn refused_command(plan: &Plan, refusal: &Diagnostic) -> Option<u8> {
    let observed = refusal.observed()?;
    let step = plan.steps.get(observed.step().checked_sub(1)?)?;
    match step.op {
        Op::Execute(_) => {
            Some(refusal_status(Call::Execve.gave(Errno::from_raw(observed.errno()))))
        }
        _ => None,
    }
}
