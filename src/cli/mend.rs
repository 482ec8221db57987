//! `isorecipe plan --fix`: the recipe again, with its layers in an order that works.

use std::{io::Write, rc::Rc};

use serde_json::json;

use crate::{
    host::Host,
    recipe::{Move, Order, Recipe, Run},
};

use super::{
    Output, PROBLEM_FOUND,
    plan::{Planned, problems},
    print,
};

/// Prints the mended recipe, and says on standard error what was moved.
pub(super) fn mend(planned: &Planned, host: &Host, run: &Run, output: &Output) -> u8 {
    let text = planned.document.text();
    if planned.plan.works() {
        say(output, "nothing to mend: the order works");
        return print(&result(&[], text, planned, output));
    }
    let order = planned.recipe.mended_order(&Rc::new(host.clone()), run);
    let Some((order, mended)) = order.and_then(|order| proven(planned, order, host, run)) else {
        output.complain(&problems(planned.document, planned.plan));
        say(output, "another order alone does not mend this");
        return PROBLEM_FOUND;
    };
    for movement in &order.moves {
        say(output, &in_words(movement, planned));
    }
    print(&result(&order.moves, &mended, planned, output))
}

/// The recipe as text; for a program with the moves that lead to it.
fn result(moves: &[Move], text: &str, planned: &Planned, output: &Output) -> String {
    if !output.json {
        return text.to_owned();
    }
    let layer = |index| {
        let (layer, line) = planned.recipe.place_of(planned.document, index).unzip();
        json!({ "layer": layer, "line": line.flatten() })
    };
    let moves: Vec<_> = moves
        .iter()
        .map(|movement| {
            let mut moved = layer(movement.layer);
            moved["side"] = side(movement).into();
            moved["of"] = layer(movement.next_to);
            moved
        })
        .collect();
    format!("{}\n", json!({ "moves": moves, "recipe": text, "works": true }))
}

fn side(movement: &Move) -> &'static str {
    if movement.before { "above" } else { "below" }
}

/// The text in this order, if what is read from it works.
fn proven(planned: &Planned, order: Order, host: &Host, run: &Run) -> Option<(Order, String)> {
    let text = planned.document.reordered(&order.layers)?;
    let (name, folder) = (planned.document.name(), &planned.recipe.folder);
    let (again, _, mistakes) = Recipe::read(text.as_bytes(), name, folder);
    let again = again.filter(|_| mistakes.is_empty())?;
    let is_meant = again == planned.recipe.in_order(&order.layers);
    let works = is_meant && again.plan_learning(host.clone(), run).0.works();
    works.then_some((order, text))
}

fn in_words(movement: &Move, planned: &Planned) -> String {
    let layer = |index| planned.recipe.describe(planned.document, index);
    let side = side(movement);
    format!("moved {} {side} {}", layer(movement.layer), layer(movement.next_to))
}

fn say(output: &Output, words: &str) {
    if !output.json {
        // Nobody is left to be told that standard error is gone.
        let _ = writeln!(std::io::stderr(), "{words}");
    }
}
