//! Namespaces made at once: `clone3(2)` in the place of many `unshare(2)`.
//!
//! **Invariant:** a plan is merged only if the model proves that nothing else
//! changes: every step that is left gets the same answer, and the end is the
//! same state. Anything else would be a different sandbox for speed's sake.

use crate::{
    model::{Answer, Model},
    ops::{EnterTime, Fork, NewNamespace, Op, Operation},
    sys::Namespace,
};

use super::{Plan, Step};

/// Lets the child be born into as many of its namespaces as may be.
pub(super) fn merge(plan: &mut Plan) {
    // A plan that will not work is run, if at all, exactly as it is written.
    if !plan.works() || plan.first_no().is_some() {
        return;
    }
    // Who waits between two layers wants to see what only the first has done.
    if !plan.pauses.is_empty() {
        return;
    }
    for wanted in [everything(&plan.steps), up_to_the_first_effect(&plan.steps)] {
        if !wanted.is_empty() && is_same(plan, &wanted) {
            for &index in &wanted {
                if let Some(step) = plan.steps.get_mut(index) {
                    step.at_birth = true;
                }
            }
            plan.birth = Namespace::ALL.into_iter().filter(|kind| makes(plan, *kind)).collect();
            return;
        }
    }
}

fn makes(plan: &Plan, kind: Namespace) -> bool {
    plan.steps.iter().any(|step| step.at_birth && step.op.namespace() == Some(kind))
}

/// Each kind of namespace once: the indexes of the steps, fork included.
fn everything(steps: &[Step]) -> Vec<usize> {
    let mut seen = Vec::new();
    let mut wanted = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        match &step.op {
            // Its root is the group that the process is in at that moment.
            Op::NewNamespace(NewNamespace(Namespace::Cgroup)) if enters_group(steps, index) => {}
            // Its clocks are set before anybody is in it.
            Op::NewNamespace(NewNamespace(Namespace::Time)) if sets_clocks(steps, index + 1) => {}
            Op::NewNamespace(NewNamespace(kind)) if !seen.contains(kind) => {
                seen.push(*kind);
                wanted.push(index);
            }
            // The child of `clone3` is the child of this fork.
            Op::Fork(Fork) if seen.contains(&Namespace::Pid) => wanted.push(index),
            Op::EnterTime(EnterTime) if seen.contains(&Namespace::Time) => wanted.push(index),
            _ => {}
        }
    }
    wanted
}

fn enters_group(steps: &[Step], before: usize) -> bool {
    steps.iter().take(before).any(|step| matches!(step.op, Op::EnterGroup(_)))
}

fn sets_clocks(steps: &[Step], index: usize) -> bool {
    steps.get(index).is_some_and(|step| matches!(step.op, Op::SetClocks(_)))
}

/// The same, as long as nothing but namespaces and maps comes between.
fn up_to_the_first_effect(steps: &[Step]) -> Vec<usize> {
    let is_preparation = |step: &&Step| {
        matches!(
            step.op,
            Op::NewNamespace(_)
                | Op::Fork(_)
                | Op::EnterTime(_)
                | Op::DenySetgroups(_)
                | Op::WriteMap(_)
                | Op::HelperMap(_)
        )
    };
    let count = steps.iter().take_while(is_preparation).count();
    everything(steps.get(..count).unwrap_or_default())
}

/// Whether the plan comes to the same when these steps happen first.
fn is_same(plan: &Plan, at_birth: &[usize]) -> bool {
    let mut model = plan.start.clone();
    if !is_born(&mut model, plan, at_birth) {
        return false;
    }
    for (index, step) in plan.steps.iter().enumerate() {
        if at_birth.contains(&index) {
            continue;
        }
        if step.op.simulate(&mut model) != step.answer {
            return false;
        }
    }
    model == plan.end
}

/// Makes the namespaces in the kernel's order: the user's first.
fn is_born(model: &mut Model, plan: &Plan, at_birth: &[usize]) -> bool {
    let wanted = |kind| {
        at_birth.iter().any(|&index| {
            plan.steps.get(index).is_some_and(|step| step.op.namespace() == Some(kind))
        })
    };
    for kind in Namespace::ALL.into_iter().filter(|kind| wanted(*kind)) {
        if NewNamespace(kind).simulate(model) != Answer::Yes {
            return false;
        }
    }
    model.fork();
    true
}
