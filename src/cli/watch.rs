//! What `apply` does beside the run: says where it waits, and lets `observe` know of it.

use std::{borrow::Cow, cell::RefCell};

use crate::{
    exec::{EndsWith, Onlooker},
    host::Host,
    plan::{Pause, Plan},
    recipe::{Document, Recipe},
    registry::{Overlay, Process, Registration, Subject},
};

use super::{Output, RecipePath, owner, pause::Prompt};

/// Everything there is to say of a run, made before it begins.
pub(super) struct Watch<'a> {
    prompt: Prompt<'a>,
    subject: Subject,
    overlays: Vec<Overlay>,
    registration: RefCell<Option<Registration>>,
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
            subject: subject(recipe, path, &plan.start.host),
            overlays: plan.overlays(),
            registration: RefCell::new(None),
        }
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

    fn is_over(&self) {
        self.registration.replace(None);
    }
}

/// How the running sandbox is called, and whose it is.
fn subject(recipe: &Recipe, path: &RecipePath, host: &Host) -> Subject {
    let file = path.file(&recipe.folder);
    let stem = file.as_ref().and_then(|file| Some(file.file_stem()?.to_string_lossy()));
    let name = recipe.name.clone().or(stem.map(Cow::into_owned)).unwrap_or_default();
    Subject { name, recipe: file, owner: owner(host) }
}
