//! In which order the script takes the steps: `unshare(1)` makes namespaces,
//! maps, propagation and `/proc` in one go, before anything else.
//!
//! **Invariant:** steps change places only if the model proves that every one
//! gets the same answer and the end is the same state.

use std::path::Path;

use crate::{
    ops::{MountKind, MountNew, Op},
    plan::Plan,
};

/// The numbers of the steps, as the script takes them.
pub(super) fn order(plan: &Plan) -> Vec<usize> {
    let natural: Vec<usize> = (0..plan.steps.len()).collect();
    // What will not work is said exactly as it is written.
    if !plan.works() || plan.first_no().is_some() {
        return natural;
    }
    let at_once = [with_proc, with_propagation, with_maps].map(|is_wanted| first(plan, is_wanted));
    at_once.into_iter().find(|order| is_same(plan, order)).unwrap_or(natural)
}

fn with_maps(op: &Op) -> bool {
    matches!(op, Op::DenySetgroups(_) | Op::WriteMap(_) | Op::HelperMap(_))
}

fn with_propagation(op: &Op) -> bool {
    with_maps(op) || matches!(op, Op::SetPropagation(_))
}

fn with_proc(op: &Op) -> bool {
    let is_proc = matches!(op, Op::MountNew(new) if is_proc(new));
    with_propagation(op) || is_proc
}

/// The only filesystem that `unshare` mounts, at its usual place.
pub(super) fn is_proc(new: &MountNew) -> bool {
    new.kind == MountKind::Proc && new.at.as_path() == Path::new("/proc")
}

/// The steps of the child's birth and those that are wanted before all others,
/// up to the first namespace that is made later.
fn first(plan: &Plan, is_wanted: fn(&Op) -> bool) -> Vec<usize> {
    let is_late = |index: &usize| {
        plan.steps.get(*index).is_none_or(|step| step.op.namespace().is_some() && !step.at_birth)
    };
    let end = (0..plan.steps.len()).find(is_late).unwrap_or(plan.steps.len());
    let is_first = |index: &usize| {
        let step = plan.steps.get(*index).filter(|_| *index < end);
        step.is_some_and(|step| step.at_birth || is_wanted(&step.op))
    };
    let (mut first, rest): (Vec<usize>, Vec<usize>) = (0..plan.steps.len()).partition(is_first);
    first.extend(rest);
    first
}

fn is_same(plan: &Plan, order: &[usize]) -> bool {
    let mut model = plan.start.clone();
    let mut steps = order.iter().filter_map(|index| plan.steps.get(*index));
    steps.all(|step| step.op.operation().simulate(&mut model) == step.answer) && model == plan.end
}
