//! What a layer comes to: the steps it takes in the recipe on its own page,
//! planned for an ordinary user of a machine of which nothing else is known.

use std::{path::Path, rc::Rc};

use serde::Serialize;

use crate::{
    host::{Caller, Host},
    model::capability,
    plan,
    recipe::{Recipe, Run},
    yaml::Segment,
};

/// Whose machine it is.
const FOLDER: &str = "/home/ann";
const UID: u32 = 1000;

/// One step of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What it does
    pub what: String,
    /// The capability that the kernel asks for
    pub needs: Option<Needs>,
}

/// A capability, and over what it has to be held.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Needs {
    /// `CAP_SYS_ADMIN`
    pub capability: &'static str,
    /// `the mount namespace`
    pub over: &'static str,
}

/// The steps of a layer in a recipe; none if the recipe is wrong.
pub fn steps(layer: &str, recipe: &str) -> Vec<Step> {
    let (recipe, _, _) = Recipe::read(recipe.as_bytes(), layer, Path::new(FOLDER));
    let Some(recipe) = recipe else { return Vec::new() };
    let caller = Caller {
        uid: UID,
        gid: UID,
        groups: Some(vec![UID]),
        name: Some("ann".to_owned()),
        home: Some(FOLDER.into()),
        directory: Some(FOLDER.into()),
        ..Caller::default()
    };
    let plan = recipe.plan(Rc::new(Host { caller, ..Host::default() }), &Run::default());
    plan.steps.iter().filter(|step| is_of(layer, step)).map(Step::of).collect()
}

/// Whether a step comes from a layer of this name.
fn is_of(layer: &str, step: &plan::Step) -> bool {
    matches!(step.origin.segments(), [_, Segment::Index(_), Segment::Key(name), ..] if name == layer)
}

impl Step {
    fn of(step: &plan::Step) -> Self {
        Self {
            what: step.op.to_string().replace(FOLDER, "."),
            needs: step.needs.map(|need| Needs {
                capability: capability::name(need.capability),
                over: need.what,
            }),
        }
    }
}
