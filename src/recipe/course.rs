//! Which layers of a recipe one run takes, and where it waits to be looked at.

use std::{collections::BTreeSet, ffi::OsString};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    layers::Layer,
    yaml,
};

use super::Recipe;

/// What a caller asks for, in words: a layer is its name, or its number in the recipe from 1.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// Layers to leave out
    pub skip: Vec<String>,
    /// The last layer to take
    pub until: Option<String>,
    /// Layers to pause after
    pub pause_after: Vec<String>,
    /// To pause before every layer, and before the command
    pub step_by_step: bool,
}

/// The layers that one run takes, and where it pauses.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Course {
    skipped: BTreeSet<usize>,
    last: Option<usize>,
    pauses: BTreeSet<usize>,
    is_step_by_step: bool,
}

/// What one run adds to a recipe.
#[derive(Clone, Debug, Default)]
pub struct Run {
    /// The command line's own command
    pub command: Vec<OsString>,
    /// The caller's environment
    pub environment: Vec<(OsString, OsString)>,
    /// Variables of this run, over the caller's and the recipe's
    pub variables: Vec<(OsString, OsString)>,
    /// Whether the host planned for is this machine, so that it can be asked
    pub is_live: bool,
    /// Which layers it takes, and where it pauses
    pub course: Course,
}

impl Course {
    /// Whether the run takes this layer, counted from 0.
    pub fn takes(&self, layer: usize) -> bool {
        !self.skipped.contains(&layer) && self.last.is_none_or(|last| layer <= last)
    }

    /// Whether the run ends before the recipe does.
    pub fn is_cut_short(&self) -> bool {
        self.last.is_some()
    }

    /// Whether it pauses when this layer is done, or when none is yet.
    pub(super) fn pauses_after(&self, layer: Option<usize>) -> bool {
        self.is_step_by_step || layer.is_some_and(|layer| self.pauses.contains(&layer))
    }
}

impl Recipe {
    /// Finds the layers that a caller names.
    ///
    /// # Errors
    /// A name or number that is no layer of this recipe, that is several, or
    /// one to pause after that is left out.
    pub fn course(&self, wishes: &Wishes) -> Result<Course, Box<Diagnostic>> {
        let all = |names: &[String]| -> Result<BTreeSet<usize>, Box<Diagnostic>> {
            names.iter().map(|name| self.layer_called(name)).collect()
        };
        let course = Course {
            skipped: all(&wishes.skip)?,
            last: wishes.until.as_ref().map(|name| self.layer_called(name)).transpose()?,
            pauses: all(&wishes.pause_after)?,
            is_step_by_step: wishes.step_by_step,
        };
        match course.pauses.iter().chain(&course.last).find(|&&layer| !course.takes(layer)) {
            Some(&left_out) => Err(Box::new(self.never_reached(left_out))),
            None => Ok(course),
        }
    }

    /// The layers that a run takes, each with its place in the recipe.
    pub(super) fn taken<'r>(
        &'r self,
        course: &'r Course,
    ) -> impl DoubleEndedIterator<Item = (usize, &'r Layer)> {
        self.layers.iter().enumerate().filter(|(index, _)| course.takes(*index))
    }

    /// Where the layers stand that a run leaves out.
    pub(super) fn left_out(&self, course: &Course) -> Vec<yaml::Path> {
        let all = self.layers.iter().enumerate();
        let left_out = all.filter(|(index, _)| course.skipped.contains(index));
        left_out.map(|(index, layer)| super::place(index, layer)).collect()
    }

    fn layer_called(&self, wish: &str) -> Result<usize, Box<Diagnostic>> {
        if let Ok(number) = wish.parse::<usize>() {
            let index = number.checked_sub(1).filter(|index| *index < self.layers.len());
            return index.ok_or_else(|| Box::new(self.no_layer(wish)));
        }
        let called = self.layers.iter().enumerate().filter(|(_, layer)| layer.name() == wish);
        let called: Vec<usize> = called.map(|(index, _)| index).collect();
        match called.as_slice() {
            [] => Err(Box::new(self.no_layer(wish))),
            [only] => Ok(*only),
            several => Err(Box::new(ambiguous(wish, several))),
        }
    }

    fn no_layer(&self, wish: &str) -> Diagnostic {
        let known = self.layers.iter().enumerate();
        let known: Vec<_> =
            known.map(|(index, layer)| format!("{} {}", index + 1, layer.name())).collect();
        let help = match known.is_empty() {
            true => "this recipe has no layers".to_owned(),
            false => format!("name one of these, or its number: {}", known.join(", ")),
        };
        Refusal::new("layer::unknown", format!("this recipe has no layer `{wish}`"))
            .why("the command line names one that is not here")
            .help(help)
            .at(layers())
    }

    fn never_reached(&self, layer: usize) -> Diagnostic {
        let name = self.layers.get(layer).map_or("", Layer::name);
        Refusal::new("layer::left_out", format!("the run never comes to the layer `{name}`"))
            .why("the command line leaves it out")
            .help("take `--skip` away, or name a layer that is before `--until`")
            .at(layers().index(layer).key(name))
    }
}

fn ambiguous(wish: &str, several: &[usize]) -> Diagnostic {
    let numbers: Vec<_> = several.iter().map(|index| (index + 1).to_string()).collect();
    let count = several.len();
    let first = several.first().copied().unwrap_or_default();
    Refusal::new("layer::ambiguous", format!("this recipe has {count} layers `{wish}`"))
        .why("the first of them")
        .help(format!("say which by its number: {}", numbers.join(", ")))
        .at(layers().index(first).key(wish))
}

fn layers() -> yaml::Path {
    yaml::Path::root().key("layers")
}
