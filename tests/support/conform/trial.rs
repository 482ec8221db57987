//! One case: planned with all the facts of this machine, run to its first
//! fault, and the two compared.

use std::path::Path;

use isorecipe::{
    exec::{self, Outcome},
    host::Host,
    model::Answer,
    plan::Plan,
    recipe::{Recipe, Run},
    sys::Fault,
};
use serde::{Deserialize, Serialize};

use super::{Who, case::Case, end::Words, ground};

/// What came of a case.
#[derive(Debug, Serialize, Deserialize)]
pub enum Verdict {
    /// Model and kernel say the same, wherever the model says something
    Agree(Vec<Seen>),
    /// They do not
    Disagree {
        /// In words
        how: String,
        /// The kernel's reason, if the model has one
        code: Option<String>,
    },
    /// It is no recipe, or there is no such ground here
    Unfit(String),
}

/// A step that was taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Seen {
    /// Which operation
    pub what: String,
    /// What the kernel said
    pub said: String,
    /// The condition behind it, as the diagnostics name it
    pub code: String,
    /// Whether the model had left it to the kernel
    pub is_open: bool,
}

/// Plans and runs a case in this process.
pub fn compare(case: &Case, who: Who, folder: &Path) -> Verdict {
    let yaml = case.recipe(folder, who.uid());
    let (recipe, _, mistakes) = Recipe::read(yaml.as_bytes(), "case", folder);
    let Some(recipe) = recipe else {
        let mistakes: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        return Verdict::Unfit(format!("no recipe: {}", mistakes.join("; ")));
    };
    if let Err(error) = ground::limit().and_then(|()| ground::prepare(case.ground(), who, folder)) {
        return Verdict::Unfit(format!("no such ground: {error}"));
    }
    let run = Run { is_live: true, ..Run::default() };
    let mut plan = recipe.plan_knowing(Host::probe(), &run);
    // Planning goes on after it as if the image were there, which it is not; and what a filter
    // does to the calls of later steps, nobody has promised.
    let is_apart = |code: &str| code.starts_with("image::") || code.starts_with("seccomp::");
    if let Some(refusal) = plan.prohibitions.iter().find(|it| is_apart(it.code())) {
        return Verdict::Unfit(refusal.code().to_owned());
    }
    let predicted = plan.first_no();
    let answers: Vec<Answer> = plan.steps.iter().map(|step| step.answer).collect();
    let codes = plan.refusals.first().map(|refusal| refusal.code().to_owned());
    let words = Words::new();
    let observed = match exec::run(&mut plan, &exec::Nobody) {
        Outcome::Refused { step, fault, .. } => Some((step, fault)),
        // However the command ends, it began.
        Outcome::Ended(_) | Outcome::AtLimit(..) => None,
        other => return disagree(format!("the run ended oddly: {other:?}")),
    };
    let is_open = |step: usize| answers.get(step) == Some(&Answer::KernelDecides);
    let is_agreed = match (predicted, observed) {
        (predicted, observed) if predicted == observed => true,
        // The model did not commit itself, and the kernel said no.
        (None, Some((step, _))) => is_open(step),
        (Some((sure, _)), Some((step, _))) => step < sure && is_open(step),
        _ => false,
    };
    if !is_agreed {
        let say = |which| say(&plan, which, folder);
        return Verdict::Disagree {
            how: format!("model {}, kernel {}", say(predicted), say(observed)),
            code: codes,
        };
    }
    if observed.is_none()
        && let Some(how) = words.difference(&plan.end)
    {
        return disagree(how);
    }
    let reached = observed.map_or(answers.len(), |(step, _)| step + 1);
    let seen = |(index, answer): (usize, &Answer)| {
        let fault = observed.filter(|(step, _)| *step == index).map(|(_, fault)| fault);
        let is_sure = matches!(answer, Answer::No(_));
        Seen {
            what: plan.steps.get(index).map_or(String::new(), |step| kind(&step.op.to_string())),
            said: fault
                .map_or("works".to_owned(), |fault| format!("{} {:?}", fault.call, fault.errno)),
            code: codes.clone().filter(|_| is_sure).unwrap_or_default(),
            is_open: *answer == Answer::KernelDecides,
        }
    };
    Verdict::Agree(answers.iter().take(reached).enumerate().map(seen).collect())
}

fn disagree(how: String) -> Verdict {
    Verdict::Disagree { how, code: None }
}

/// The words of a step up to its first path or number.
fn kind(step: &str) -> String {
    let is_plain = |word: &&str| !word.contains(['/', '.']) && !word.starts_with(char::is_numeric);
    let words: Vec<&str> = step.split([' ', ':']).take_while(is_plain).collect();
    let words = words.join(" ");
    let is_name = [
        "set the hostname to",
        "set the domain name to",
        "execute",
        "drop",
        "change the capabilities",
    ];
    let name = is_name.iter().find(|name| words.starts_with(*name));
    name.map_or(words.trim().to_owned(), |name| (*name).to_owned())
}

fn say(plan: &Plan, which: Option<(usize, Fault)>, folder: &Path) -> String {
    let Some((step, fault)) = which else { return "works".to_owned() };
    let what = plan.steps.get(step).map_or("?".to_owned(), |step| step.op.to_string());
    let what = what.replace(&folder.display().to_string(), ".");
    format!("`{what}`: {} {:?}", fault.call, fault.errno)
}
