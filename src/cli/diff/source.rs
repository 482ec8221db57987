//! Which overlays to look at: those of a recipe, or of a running sandbox.

use std::path::{Path, PathBuf};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    diff::Flavour,
    host::Host,
    layers::{self, Layer, Lower, Place},
    recipe::Recipe,
    registry::{self, Entry},
    yaml,
};

use super::super::owner;

/// Where an overlay keeps what was there before, and what changed.
pub(super) struct Overlay {
    pub(super) upper: PathBuf,
    /// Nothing where one of them is no directory of the host's
    pub(super) lowers: Option<Vec<PathBuf>>,
    pub(super) flavour: Option<Flavour>,
    /// What makes the upper, where nobody has yet
    pub(super) made_by: Option<String>,
}

impl Overlay {
    /// Of which nothing else is known.
    pub(super) fn of_upper(upper: &Path) -> Overlay {
        Overlay { upper: upper.to_owned(), lowers: None, flavour: None, made_by: None }
    }
}

/// The overlays of a recipe that keep their changes.
pub(super) fn of_recipe(recipe: &Recipe, name: &str) -> Result<Vec<Overlay>, Box<Diagnostic>> {
    let mut is_in_user_namespace = false;
    let mut overlays = Vec::new();
    for layer in &recipe.layers {
        match layer {
            Layer::User(_) => is_in_user_namespace = true,
            Layer::Overlay(overlay) => {
                let Some(mut found) = of_layer(overlay, &recipe.folder) else { continue };
                found.made_by = Some(name.to_owned());
                // Its marks are then those of a user, whoever runs it.
                found.flavour = is_in_user_namespace.then_some(Flavour::User);
                overlays.push(found);
            }
            // From here on, paths are those of another root.
            Layer::PivotRoot(_) => break,
            _ => {}
        }
    }
    if overlays.is_empty() {
        return Err(Box::new(no_overlay(name)));
    }
    Ok(overlays)
}

fn of_layer(overlay: &layers::Overlay, folder: &Path) -> Option<Overlay> {
    let upper = path(overlay.upper.as_ref()?, folder);
    let directory = |lower: &Lower| match lower {
        Lower::Path(place) => Some(path(place, folder)).filter(|path| path.is_dir()),
        Lower::Image(_) => None,
    };
    let lowers = overlay.lower.0.iter().map(|lower| directory(&lower.0)).collect();
    Some(Overlay { upper, lowers, flavour: None, made_by: None })
}

/// What a path of a recipe means before a pivot.
fn path(place: &Place, folder: &Path) -> PathBuf {
    match (place.as_path().strip_prefix("~"), std::env::var_os("HOME")) {
        (Ok(rest), Some(home)) => Path::new(&home).join(rest),
        _ => folder.join(place.as_path()).components().collect(),
    }
}

/// Whether a word means this sandbox: its name, or the PID of a process of it.
fn is_called(entry: &Entry, word: &str) -> bool {
    let has = |pid| registry::is_within(pid, entry.supervisor.pid);
    entry.name == word || word.parse().is_ok_and(has)
}

/// The overlays of a running sandbox; without a name, of the only one.
pub(super) fn of_running(name: Option<&str>) -> Result<Vec<Overlay>, Box<Diagnostic>> {
    let running = registry::running(&owner(&Host::at_hand())).running;
    let is_meant = |entry: &&Entry| name.is_none_or(|name| is_called(entry, name));
    let found: Vec<&Entry> =
        running.iter().map(|running| &running.entry).filter(is_meant).collect();
    let entry = match found.as_slice() {
        [] => return Err(Box::new(not_running(name))),
        [only] => *only,
        several => return Err(Box::new(several_run(several))),
    };
    let overlays: Vec<_> = entry.overlays.iter().filter_map(of_entry).collect();
    match overlays.is_empty() {
        true => Err(Box::new(no_overlay(&entry.name))),
        false => Ok(overlays),
    }
}

fn of_entry(overlay: &registry::Overlay) -> Option<Overlay> {
    let directory = |path: &PathBuf| Some(path.clone()).filter(|path| path.is_dir());
    let lowers = overlay.lower.iter().map(directory).collect();
    Some(Overlay { upper: overlay.upper.clone()?, lowers, flavour: None, made_by: None })
}

fn not_running(name: Option<&str>) -> Diagnostic {
    let refusal = match name {
        Some(name) => {
            Refusal::new("diff::not_running", format!("nothing called {name} is running"))
                .why("it is no directory and no recipe either")
        }
        None => Refusal::new("diff::not_running", "no sandbox is running")
            .why("without a word, the running one would be meant"),
    };
    let help = "name a recipe or an upper directory: `isorecipe diff recipes/step4-rootless.yaml`";
    refusal.help(help).at(yaml::Path::root())
}

fn several_run(several: &[&Entry]) -> Diagnostic {
    let names: Vec<&str> = several.iter().map(|entry| entry.name.as_str()).collect();
    Refusal::new("diff::which", format!("{} sandboxes are running", several.len()))
        .why("without a word, the only one would be meant")
        .help(format!("name one: {}", names.join(", ")))
        .at(yaml::Path::root())
}

fn no_overlay(name: &str) -> Diagnostic {
    Refusal::new("diff::no_overlay", format!("{name} keeps no changes to look at"))
        .why("it has no `overlay` with an `upper` before a `pivot_root`")
        .help("give its overlay both: `upper: upper, work: work`")
        .at(yaml::Path::root())
}
