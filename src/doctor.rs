//! What this machine can do: each thing is tried in a child that ends at once,
//! none is read off a sysctl.
//!
//! A trial is a small recipe, planned like any other; its steps are those of
//! `apply`, and so are the words for what fails. Where `apply` can only say
//! which call was refused, a trial goes on asking: is it a seccomp filter, a
//! security module, or the kernel itself?

use std::path::Path;

use crate::{
    diagnostic::{Diagnostic, Observed, Refusal},
    host::{Host, PathFact},
    plan::Plan,
    recipe::{Recipe, Run},
    sys::Namespace,
    yaml,
};

mod cause;
mod facts;
mod thing;
mod trial;

pub use facts::facts;
pub use thing::Thing;

use trial::{Bare, End};

/// Directories to mount something on, in a mount namespace of the trial's own.
const PLACES: [&str; 7] = ["/tmp", "/run", "/mnt", "/var", "/usr", "/etc", "/bin"];

/// What came of a trial.
#[derive(Debug)]
pub enum Verdict {
    /// It works
    Works,
    /// It does not, and this is why
    No(Box<Diagnostic>),
    /// It stands on something that does not work
    StandsOn(Thing),
    /// It was not tried, for this reason
    Untried(&'static str),
}

/// A thing, and what came of trying it.
#[derive(Debug)]
pub struct Finding {
    /// What was tried
    pub thing: Thing,
    /// What came of it
    pub verdict: Verdict,
}

/// Tries everything. The calling process must have one thread.
pub fn examine(host: &Host) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    for thing in Thing::ALL {
        let works = |thing: Thing| {
            findings.iter().any(|found| found.thing == thing && found.verdict.works())
        };
        // Other ids than one's own do as well.
        let ids = match works(Thing::OwnIds) || !works(Thing::SubordinateIds) {
            true => "root",
            false => "auto",
        };
        let fails = |on: &&Thing| !works(**on) && (**on != Thing::OwnIds || ids == "root");
        let verdict = match (thing.excused(host), thing.stands_on().iter().find(fails)) {
            (Some(why), _) => Verdict::Untried(why),
            (None, Some(&on)) => Verdict::StandsOn(first_cause(&findings, on)),
            (None, None) => try_out(thing, ids, host),
        };
        findings.push(Finding { thing, verdict });
    }
    findings
}

impl Verdict {
    /// Whether it works.
    pub fn works(&self) -> bool {
        matches!(self, Verdict::Works)
    }
}

/// Whether everything works that sandboxes are made of.
pub fn is_fit(findings: &[Finding]) -> bool {
    findings.iter().all(|found| found.verdict.works() || !found.thing.is_basic())
}

/// What a plan needs and this machine does not give, at the places in the
/// recipe that need it; each cause once.
pub fn lacking(plan: &Plan, findings: &[Finding]) -> Vec<Diagnostic> {
    let mut lacking: Vec<Diagnostic> = Vec::new();
    for (index, thing) in thing::needed(plan) {
        let Some(step) = plan.steps.get(index) else { continue };
        let found = findings.iter().find(|found| found.thing == thing);
        let Some(Verdict::No(why)) = found.map(|found| &found.verdict) else { continue };
        if !lacking.iter().any(|known| known.code() == why.code()) {
            lacking.push(again(why, index + 1).at(step.origin.clone()));
        }
    }
    lacking
}

/// The same words, about the step of this number.
fn again(why: &Diagnostic, step: usize) -> Refusal {
    let refusal = Refusal::new(why.code().to_owned(), why.message());
    let refusal = refusal.why(why.why()).help(why.help());
    match why.observed() {
        Some(seen) => refusal.observed(Observed::new(step, seen.call(), seen.errno())),
        None => refusal,
    }
}

/// What keeps `thing` from working in the end.
fn first_cause(findings: &[Finding], thing: Thing) -> Thing {
    match findings.iter().find(|found| found.thing == thing).map(|found| &found.verdict) {
        Some(Verdict::StandsOn(on)) => *on,
        _ => thing,
    }
}

fn try_out(thing: Thing, ids: &str, host: &Host) -> Verdict {
    let Some(recipe) = recipe(thing, ids) else { return Verdict::Untried("it has no recipe") };
    let mut plan = recipe.plan_knowing(host.clone(), &Run { is_live: true, ..Run::default() });
    plan.unmerge();
    if let Some(prohibition) = plan.prohibitions.first() {
        return Verdict::No(Box::new(prohibition.clone()));
    }
    let bare = match thing {
        Thing::TimeNamespace => Some(Bare::Unshare(Namespace::Time)),
        Thing::Clone3 => Some(Bare::Clone3),
        Thing::Openat2 => Some(Bare::Openat2),
        Thing::Image => Some(Bare::Image),
        _ => None,
    };
    match trial::run(&plan, bare) {
        End::Worked => Verdict::Works,
        End::Failed(failure) => Verdict::No(Box::new(cause::of(thing, &plan, &failure))),
        End::Lost => Verdict::No(Box::new(lost(thing))),
    }
}

/// The recipe that tries a thing.
fn recipe(thing: Thing, ids: &str) -> Option<Recipe> {
    let is_directory =
        |place: &str| matches!(Host::look_at(Path::new(place)), PathFact::Directory(_));
    let place = PLACES.into_iter().find(|place| is_directory(place)).unwrap_or("/");
    let text = format!(
        "isorecipe: 1\nlayers: [{}]\nno_new_privs: {}\n",
        thing.layers(ids, place),
        thing == Thing::NoNewPrivs
    );
    Recipe::read(text.as_bytes(), "doctor", Path::new("/")).0
}

fn lost(thing: Thing) -> Diagnostic {
    Refusal::new("sandbox::lost", format!("the trial ended without a word: {}", thing.name()))
        .why("no process could be made for it, or something killed that")
        .help("if nobody killed it, look for the kernel's reasons: `sudo dmesg | tail`")
        .at(yaml::Path::root())
}
