//! What is said while a run waits between two layers: what is done, how to look at it, what comes next.

use std::{
    cell::Cell,
    io::{self, Write},
};

use serde::Serialize;

use crate::{
    exec::EndsWith,
    model::Model,
    plan::{Pause, Plan, Step},
    recipe::Document,
    yaml::{self, Segment, spelled_out},
};

use super::Output;

/// The words of all pauses of a plan, made before anything runs.
pub(super) struct Prompt<'a> {
    scenes: Vec<Scene>,
    /// The process that waited at the pause before
    child: Cell<Option<i32>>,
    output: &'a Output,
}

/// One pause.
struct Scene {
    before: usize,
    done: Option<Named>,
    next: Option<Named>,
    /// The steps up to the next pause or the end, each with its number
    steps: Vec<(usize, String)>,
    maps: Vec<MapLine>,
}

/// A layer, as people call it.
#[derive(Serialize)]
struct Named {
    layer: String,
    number: usize,
    line: Option<usize>,
}

/// A line that a process outside of the user namespace may write into it.
struct MapLine {
    text: String,
    file: &'static str,
}

/// The same for programs.
#[derive(Serialize)]
struct Record<'a> {
    paused_after: &'a Option<Named>,
    next: &'a Option<Named>,
    child: i32,
    commands: Vec<String>,
    goes_on_with: String,
}

impl<'a> Prompt<'a> {
    pub(super) fn of(plan: &Plan, document: &Document, output: &'a Output) -> Self {
        let scene = |pause: &Pause| Scene::of(pause, plan, document);
        let scenes = plan.pauses.iter().map(scene).collect();
        Self { scenes, child: Cell::new(None), output }
    }
}

impl Prompt<'_> {
    /// Says where the run waits, and for what.
    pub(super) fn say(&self, pause: &Pause, child: i32, ends: EndsWith) {
        let Some(scene) = self.scenes.iter().find(|scene| scene.before == pause.before) else {
            return;
        };
        let is_another = self.child.replace(Some(child)).is_some_and(|before| before != child);
        let text = match self.output.json {
            true => scene.json(child, ends),
            false => scene.text(child, is_another, ends),
        };
        // Nobody is left to be told that standard error is gone.
        let _ = io::stderr().write_all(text.as_bytes());
    }

    /// Says once more what it waits for.
    pub(super) fn say_again(&self, ends: EndsWith) {
        if !self.output.json {
            let _ = io::stderr().write_all(question(ends).as_bytes());
        }
    }
}

/// Whoever watched has seen enough.
pub(super) fn say_abandoned(output: &Output) {
    let text = match output.json {
        true => "{\"abandoned\":true}\n",
        false => "\nended at the pause: the command never ran\n",
    };
    let _ = io::stderr().write_all(text.as_bytes());
}

fn question(ends: EndsWith) -> String {
    match ends {
        EndsWith::Line => {
            "Enter goes on; `c` runs through without pausing; `q` ends it here: ".to_owned()
        }
        EndsWith::Signal(own) => format!("no terminal is here: `kill -CONT {own}` goes on\n"),
    }
}

impl Scene {
    fn of(pause: &Pause, plan: &Plan, document: &Document) -> Self {
        let is_next = |step: &Step| match &pause.next {
            Some(layer) => step.origin.segments().starts_with(layer.segments()),
            None => true,
        };
        let steps = plan.steps.iter().enumerate().skip(pause.before);
        let steps = steps.filter(|(_, step)| is_next(step));
        Self {
            before: pause.before,
            done: pause.done.as_ref().and_then(|layer| Named::of(layer, document)),
            next: pause.next.as_ref().and_then(|layer| Named::of(layer, document)),
            steps: steps.map(|(index, step)| (index + 1, step.op.to_string())).collect(),
            maps: missing_maps(&plan.before(pause.before)),
        }
    }

    fn text(&self, child: i32, is_another: bool, ends: EndsWith) -> String {
        let mut text = match &self.done {
            Some(done) => format!("\npaused after {done}; the sandbox is process {child} so far\n"),
            None => {
                format!("\npaused before the first layer; the sandbox will be process {child}\n")
            }
        };
        if is_another {
            text.push_str(
                "  (not the one before: that forked, and its child is in the new PID namespace)\n",
            );
        }
        text.push_str("  look at it from another terminal:\n");
        text.push_str(&format!("    isorecipe observe {child}\n"));
        if !self.maps.is_empty() {
            text.push_str("  nobody has an id in it yet; this makes you its root:\n");
        }
        for line in &self.maps {
            text.push_str(&format!("    {}\n", line.command(child)));
        }
        text.push_str(&match &self.next {
            Some(next) => format!("  next comes {next}:\n"),
            None => "  next comes the command:\n".to_owned(),
        });
        for (number, what) in &self.steps {
            text.push_str(&format!("    step {number}: {}\n", spelled_out(what)));
        }
        text.push_str(&question(ends));
        text
    }

    fn json(&self, child: i32, ends: EndsWith) -> String {
        let observe = format!("isorecipe observe {child}");
        let maps = self.maps.iter().map(|line| line.command(child));
        let record = Record {
            paused_after: &self.done,
            next: &self.next,
            child,
            commands: std::iter::once(observe).chain(maps).collect(),
            goes_on_with: match ends {
                EndsWith::Line => "a line at the terminal".to_owned(),
                EndsWith::Signal(own) => format!("kill -CONT {own}"),
            },
        };
        format!("{}\n", serde_json::to_string(&record).unwrap_or_default())
    }
}

impl Named {
    fn of(layer: &yaml::Path, document: &Document) -> Option<Self> {
        let [.., Segment::Index(index), Segment::Key(name)] = layer.segments() else {
            return None;
        };
        Some(Self { layer: name.clone(), number: index + 1, line: document.line(layer) })
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "layer {}, `{}`", self.number, self.layer)?;
        match self.line {
            Some(line) => write!(f, " (line {line})"),
            None => Ok(()),
        }
    }
}

impl MapLine {
    fn command(&self, child: i32) -> String {
        format!("echo {} > /proc/{child}/{}", self.text, self.file)
    }
}

/// What is still to be written before anybody has an id in the user
/// namespace, in the order the kernel wants (`user_namespaces(7)`).
fn missing_maps(model: &Model) -> Vec<MapLine> {
    let user = model.own_user();
    let line = |text: String, file| MapLine { text, file };
    let mut lines = Vec::new();
    if user.gids.is_empty() && user.setgroups {
        lines.push(line("deny".to_owned(), "setgroups"));
    }
    if user.uids.is_empty() {
        lines.push(line(format!("\"0 {} 1\"", model.process.uid), "uid_map"));
    }
    if user.gids.is_empty() {
        lines.push(line(format!("\"0 {} 1\"", model.process.gid), "gid_map"));
    }
    lines
}
