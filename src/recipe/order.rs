//! A wrong order, put right: layers moved until the plan works.
//!
//! Every order is proven by planning it. **Invariant:** an order is offered
//! only if its plan works and ends as the author meant: with the same
//! namespaces, ids, names and kinds of mounts as the refused plan was to have.

use std::rc::Rc;

use crate::{
    diagnostic::Diagnostic,
    host::Host,
    model::{Answer, Filesystem, Model},
    ops::Op,
    plan::{Plan, Step},
    sys::{Namespace, landlock::Handled},
    yaml::Segment,
};

use super::{Document, Recipe, Run};

/// Longer recipes are not searched: every layer is tried at every place.
const LONGEST: usize = 40;

/// An order in which the layers work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// For each place, the layer that belongs there
    pub layers: Vec<usize>,
    /// The moves that lead there, one after the other
    pub moves: Vec<Move>,
}

/// A layer that stands at the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Move {
    /// The layer, by its index in the recipe as it is written
    pub layer: usize,
    /// The layer it belongs next to, likewise
    pub next_to: usize,
    /// Whether it belongs before or after that
    pub before: bool,
}

impl Move {
    /// Seen from one of the two layers: the other, and where it belongs.
    fn other_of(self, layer: usize) -> Option<(usize, &'static str)> {
        let sides = if self.before { ("above", "below") } else { ("below", "above") };
        match layer {
            _ if layer == self.next_to => Some((self.layer, sides.0)),
            _ if layer == self.layer => Some((self.next_to, sides.1)),
            _ => None,
        }
    }
}

/// The layer that a diagnostic is about.
fn layer_of(diagnostic: &Diagnostic) -> Option<usize> {
    match diagnostic.path().segments() {
        [_, Segment::Index(index), ..] => Some(*index),
        _ => None,
    }
}

/// A way to arrange the layers, and how far it is from working.
struct Attempt {
    layers: Vec<usize>,
    by: Move,
    faults: usize,
    distance: usize,
}

impl Recipe {
    /// The order nearest to the written one in which all layers work, if order
    /// is all that is wrong.
    pub fn mended_order(&self, host: &Rc<Host>, run: &Run) -> Option<Order> {
        let mut order = Order { layers: (0..self.layers.len()).collect(), moves: Vec::new() };
        let written = self.plan(Rc::clone(host), run);
        let mut left = faults(&written);
        if self.layers.len() > LONGEST || left == 0 {
            return None;
        }
        let search = Search { recipe: self, host, run, meant: Meaning::of(&written), written };
        while left > 0 {
            let best = search.best(&order.layers)?;
            // Each move has to help, so this comes to an end.
            if best.faults >= left {
                return None;
            }
            left = best.faults;
            order.layers = best.layers;
            order.moves.push(best.by);
        }
        Some(order)
    }

    /// Says of refusals that come of the order alone where the line belongs.
    pub fn point_at_order(&self, plan: &mut Plan, host: &Rc<Host>, run: &Run) {
        let is_silent = |diagnostic: &Diagnostic| diagnostic.also().is_none();
        if !plan.refusals.iter().any(is_silent) {
            return;
        }
        for movement in self.mended_order(host, run).map(|order| order.moves).unwrap_or_default() {
            let here =
                plan.refusals.iter_mut().filter(|refusal| is_silent(refusal)).find_map(|refusal| {
                    movement.other_of(layer_of(refusal)?).map(|other| (refusal, other))
                });
            if let Some((refusal, (other, side))) = here
                && let Some(layer) = self.layers.get(other)
            {
                let help = format!("move the `{}` layer {side} it", layer.name());
                let why = format!("this belongs {side} it");
                *refusal = refusal.clone().pointing(super::place(other, layer), &why, &help);
            }
        }
    }

    /// What people call a layer: its name, and its line if it has one.
    pub fn describe(&self, document: &Document, layer: usize) -> String {
        match self.place_of(document, layer) {
            Some((name, Some(line))) => format!("`{name}` (line {line})"),
            Some((name, None)) => format!("`{name}`"),
            None => String::new(),
        }
    }

    /// The name of a layer, and its line.
    pub fn place_of(
        &self,
        document: &Document,
        layer: usize,
    ) -> Option<(&'static str, Option<usize>)> {
        let found = self.layers.get(layer)?;
        Some((found.name(), document.line(&super::place(layer, found))))
    }

    /// The same recipe with its layers in another order.
    pub fn in_order(&self, layers: &[usize]) -> Recipe {
        let layers = layers.iter().filter_map(|index| self.layers.get(*index)).cloned().collect();
        Recipe { layers, ..self.clone() }
    }
}

/// What an order is looked for by.
struct Search<'r> {
    recipe: &'r Recipe,
    host: &'r Rc<Host>,
    run: &'r Run,
    written: Plan,
    meant: Meaning,
}

impl Search<'_> {
    /// Every layer moved to every other place: the attempt that helps most, the
    /// shortest move of those.
    fn best(&self, layers: &[usize]) -> Option<Attempt> {
        let places = (0..layers.len()).flat_map(|from| (0..layers.len()).map(move |to| (from, to)));
        let attempts = places
            .filter(|(from, to)| from != to)
            .filter_map(|(from, to)| self.attempt(layers, from, to));
        attempts.min_by_key(|attempt| (attempt.faults, attempt.distance))
    }

    fn attempt(&self, layers: &[usize], from: usize, to: usize) -> Option<Attempt> {
        let mut moved = layers.to_vec();
        let layer = moved.remove(from);
        moved.insert(to, layer);
        let plan = self.recipe.in_order(&moved).plan(Rc::clone(self.host), self.run);
        let faults = faults(&plan);
        // What works and is another sandbox is no help.
        if faults == 0 && !self.is_meant(&plan) {
            return None;
        }
        let by = Move { layer, next_to: *layers.get(to)?, before: to < from };
        Some(Attempt { layers: moved, by, faults, distance: from.abs_diff(to) })
    }

    fn is_meant(&self, plan: &Plan) -> bool {
        Meaning::of(plan) == self.meant && keeps_mounts(&self.written, plan)
    }
}

/// What speaks against a plan: each step, also where several have one cause.
fn faults(plan: &Plan) -> usize {
    let refused = plan.steps.iter().filter(|step| matches!(step.answer, Answer::No(_)));
    refused.count() + plan.prohibitions.len() + plan.leaks.len()
}

/// What an author wants to have at the end, wherever it stands.
#[derive(PartialEq)]
struct Meaning {
    namespaces: Vec<bool>,
    names: (Option<String>, Option<String>),
    ids: (Option<u32>, Option<u32>),
    is_init: bool,
    landlock: Vec<Handled>,
}

impl Meaning {
    fn of(plan: &Plan) -> Self {
        let model = &plan.end;
        let user = model.own_user();
        Self {
            namespaces: Namespace::ALL.into_iter().map(|kind| model.has_own(kind)).collect(),
            names: (model.hostname.clone(), model.domainname.clone()),
            ids: (user.uids.from_host(model.process.uid), user.gids.from_host(model.process.gid)),
            is_init: model.is_init,
            landlock: model.process.rulesets.iter().map(|ruleset| ruleset.handled).collect(),
        }
    }
}

/// Whether what was to be mounted can be seen at the end.
fn keeps_mounts(written: &Plan, mended: &Plan) -> bool {
    let seen = mounts(&mended.end);
    match loses_its_place(written) {
        true => asked_for(mended).iter().all(|kind| seen.contains(kind)),
        false => seen == mounts(&written.end),
    }
}

/// Whether a root was to be entered that was not there: where later mounts were
/// meant to be seen, nobody knows.
fn loses_its_place(plan: &Plan) -> bool {
    let is_lost =
        |step: &Step| matches!((&step.op, step.answer), (Op::PivotRoot(_), Answer::No(_)));
    plan.steps.iter().any(is_lost)
}

/// Kinds of the mounts that the steps make, but those that others lie on.
fn asked_for(plan: &Plan) -> Vec<(&'static str, bool)> {
    plan.steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::Bind(bind) => Some(("bind", bind.flags.read_only)),
            Op::MountOverlay(_) => Some(("overlay", false)),
            Op::MountNew(new) if new.is_proc() => Some(("proc", false)),
            _ => None,
        })
        .collect()
}

/// Kinds of the recipe's own mounts that can be seen, in no order.
fn mounts(model: &Model) -> Vec<(&'static str, bool)> {
    let visible = model.mounts.visible();
    let own = visible.iter().filter(|(_, mount)| mount.own);
    let mut kinds: Vec<_> = own
        .map(|(_, mount)| {
            let kind = match model.mounts.filesystem(mount.filesystem).filesystem {
                Filesystem::Host(_) => "bind",
                Filesystem::Tmpfs(_) => "tmpfs",
                Filesystem::Proc => "proc",
                Filesystem::Overlay { .. } => "overlay",
                Filesystem::Image(_) => "image",
                Filesystem::Unknown => "unknown",
            };
            (kind, mount.read_only)
        })
        .collect();
    kinds.sort_unstable();
    kinds
}
