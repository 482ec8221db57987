//! What `isorecipe plan` lists as open, held against what was measured.

use std::{collections::BTreeSet, io::Read, path::Path, process::Stdio};

use crate::suite::{
    Mark, Marks,
    driver::{GRACE, Runner},
    ground::Ground,
};

/// How exact a plan has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exact {
    /// It lists what works, and nothing else
    Both,
    /// It lists all that works; what no layer stops may not work here all the same
    NothingMissing,
}

/// The checks that a plan of this recipe lists, asked by who runs it.
fn listed(ground: &Ground, program: &Path, recipe: &Path) -> BTreeSet<String> {
    let words = [program, Path::new("--json"), Path::new("plan"), recipe];
    let prefix = words.map(|word| word.display().to_string());
    let runner = Runner { ground, prefix: &prefix, grace: GRACE };
    let mut command = runner.alone();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut plan = runner.start(command, || {});
    let mut text = String::new();
    plan.stdout.take().expect("a pipe").read_to_string(&mut text).expect("words");
    plan.wait().expect("an end");
    let plan: serde_json::Value = serde_json::from_str(&text).expect("a plan");
    let layers = plan["open"]["layers"].as_array().expect("layers");
    let checks = layers.iter().flat_map(|layer| layer["checks"].as_object().expect("checks"));
    checks.map(|(name, _)| name.clone()).collect()
}

/// Where plan and measurement differ, in words.
pub fn differences(
    (ground, program, recipe): (&Ground, &Path, &Path),
    marks: &Marks,
    exact: Exact,
) -> Vec<String> {
    let listed = listed(ground, program, recipe);
    let name = recipe.file_name().expect("a name").to_string_lossy();
    let who = format!("{name} as uid {}", ground.caller.uid);
    let wrong = marks.iter().filter_map(|(check, (mark, detail))| {
        match (mark, listed.contains(*check), exact) {
            (Mark::Fail | Mark::Open, false, _) => {
                Some(format!("{who}: the plan does not list {check}: {detail}"))
            }
            (Mark::Pass, true, Exact::Both) => {
                Some(format!("{who}: the plan lists {check}, and it was stopped: {detail}"))
            }
            _ => None,
        }
    });
    wrong.collect()
}
