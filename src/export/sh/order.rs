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
    matches!(op, Op::DenySetgroups(_) | Op::WriteMap(_) | Op::HelperMap(_) | Op::Become(_))
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

/// What comes before the first namespace; then all namespaces, up to one that
/// is made a second time, with what is wanted of the rest; then the rest.
fn first(plan: &Plan, is_wanted: fn(&Op) -> bool) -> Vec<usize> {
    let mut made = Vec::new();
    let mut is_over = false;
    let is_first = |index: &usize| {
        let Some(step) = plan.steps.get(*index) else { return false };
        let kind = step.op.namespace();
        is_over |= kind.is_some_and(|kind| made.contains(&kind));
        made.extend(kind);
        let is_named = kind.is_some() || matches!(step.op, Op::Fork(_)) || is_wanted(&step.op);
        !is_over && (made.is_empty() || is_named)
    };
    let (mut first, rest): (Vec<usize>, Vec<usize>) = (0..plan.steps.len()).partition(is_first);
    first.extend(rest);
    first
}

fn is_same(plan: &Plan, order: &[usize]) -> bool {
    let mut model = plan.start.clone();
    let mut steps = order.iter().filter_map(|index| plan.steps.get(*index));
    steps.all(|step| step.op.simulate(&mut model) == step.answer) && model == plan.end
}
