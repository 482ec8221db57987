//! What `apply` does beside the run: says where it waits, and lets `observe` know of it.

use std::{borrow::Cow, cell::RefCell, path::PathBuf};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    exec::{EndsWith, Onlooker},
    host::Host,
    plan::{Pause, Plan},
    recipe::{Document, Recipe},
    registry::{self, Entry, Overlay, Process, Registration, Subject},
    yaml,
};

use super::{Output, RecipePath, inspection::Inspection, owner, pause::Prompt};

/// Everything there is to say of a run, made before it begins.
pub(super) struct Watch<'a> {
    prompt: Prompt<'a>,
    output: &'a Output,
    subject: Subject,
    overlays: Vec<Overlay>,
    registration: RefCell<Option<Registration>>,
    inspection: Option<Inspection<'a>>,
}

impl<'a> Watch<'a> {
    pub(super) fn of(
        plan: &Plan,
        recipe: (&Recipe, &RecipePath, &Document),
        output: &'a Output,
    ) -> Self {
        let (recipe, path, document) = recipe;
        Self {
            prompt: Prompt::of(plan, document, output),
            output,
            subject: subject(recipe, path, &plan.start.host),
            overlays: plan.overlays(),
            registration: RefCell::new(None),
            inspection: None,
        }
    }

    /// The same, with an inspection before the command runs.
    pub(super) fn inspecting(self, inspection: Option<Inspection<'a>>) -> Self {
        Self { inspection, ..self }
    }

    /// What was inspected.
    pub(super) fn inspection(&self) -> Option<&Inspection<'a>> {
        self.inspection.as_ref()
    }

    /// What others' sandboxes have to do with this one: the kernel lets two
    /// overlays write to one upper, and says only in its log that it should not be.
    pub(super) fn warnings(&self) -> Vec<Diagnostic> {
        let uppers: Vec<&PathBuf> =
            self.overlays.iter().filter_map(|overlay| overlay.upper.as_ref()).collect();
        if uppers.is_empty() {
            return Vec::new();
        }
        let others = registry::running(&self.subject.owner).running;
        let shares = |entry: &Entry| {
            entry
                .overlays
                .iter()
                .any(|overlay| overlay.upper.iter().any(|upper| uppers.contains(&upper)))
        };
        let others = others.iter().map(|running| &running.entry).filter(|entry| shares(entry));
        others
            .map(|other| upper_in_use(other).at(yaml::Path::root().key("layers")).warning())
            .collect()
    }

    /// Lets others know of the sandbox, and what it waits after. One that
    /// cannot be registered runs unseen.
    fn register(&self, child: i32, paused: Option<String>) {
        let mut registration = self.registration.borrow_mut();
        if let Some(registration) = registration.as_mut() {
            registration.update(|entry| {
                entry.paused = paused;
                entry.command = Process::with_pid(child).unwrap_or(entry.command);
            });
            return;
        }
        let described = Registration::begin(&self.subject, child, |entry| {
            entry.paused = paused;
            entry.overlays = self.overlays.clone();
        });
        *registration = described.ok();
    }
}

impl Onlooker for Watch<'_> {
    fn runs(&self, command: i32) {
        self.register(command, None);
    }

    fn pauses(&self, pause: &Pause, child: i32, ends: EndsWith) {
        self.register(child, Some(pause.done_layer().unwrap_or_default().to_owned()));
        self.prompt.say(pause, child, ends);
    }

    fn asks_again(&self, ends: EndsWith) {
        self.prompt.say_again(ends);
    }

    fn wants_to_inspect(&self) -> bool {
        self.inspection.is_some()
    }

    fn inspects(&self, plan: &Plan, child: i32) -> bool {
        self.inspection.as_ref().is_none_or(|inspection| inspection.of(plan, child))
    }

    fn is_over(&self) {
        self.registration.replace(None);
    }

    fn leaves_behind(&self, what: &str) {
        self.output.complain(&[group_left(what).at(yaml::Path::root()).warning()]);
    }
}

fn group_left(what: &str) -> Refusal {
    Refusal::new("limits::group_left", "a control group of this sandbox is still there")
        .why(what)
        .help("something in it cannot be killed; the next run removes it, once it is empty")
}

fn upper_in_use(other: &Entry) -> Refusal {
    let name = &other.name;
    Refusal::new(
        "overlay::upper_in_use",
        format!("the sandbox {name} writes to this `upper` as well"),
    )
    .why("what two overlays make of one upper, overlayfs leaves open")
    .help("end the other first, or name another `upper` and `work`")
}

/// How the running sandbox is called, and whose it is.
fn subject(recipe: &Recipe, path: &RecipePath, host: &Host) -> Subject {
    let file = path.file(&recipe.folder);
    let stem = file.as_ref().and_then(|file| Some(file.file_stem()?.to_string_lossy()));
    let name = recipe.name.clone().or(stem.map(Cow::into_owned)).unwrap_or_default();
    Subject { name, recipe: file, owner: owner(host) }
}
