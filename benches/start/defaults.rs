//! What each thing costs that isorecipe does for safety, measured alone: one
//! recipe without, and the same with it.

use serde::{Deserialize, Serialize};

use crate::{
    Problem,
    options::Options,
    scene::Scene,
    statistics::{Spread, differences},
    stopwatch,
};

/// What is added to the recipe of step 3, and to the command line.
struct Added {
    name: &'static str,
    layers: &'static str,
    keys: &'static str,
    options: &'static str,
}

const NOTHING: Added = Added { name: "nothing", layers: "", keys: "", options: "" };
const ALL: [Added; 8] = [
    Added { name: "init (on)", layers: "pid", ..NOTHING },
    Added { name: "no_new_privs (on), taken away", keys: "no_new_privs: false\n", ..NOTHING },
    Added { name: "capabilities: none", layers: "  - capabilities: none\n", ..NOTHING },
    Added { name: "landlock", layers: "  - landlock: {read: [/], execute: [/]}\n", ..NOTHING },
    Added { name: "seccomp", layers: "  - seccomp: {}\n", ..NOTHING },
    Added { name: "rlimits", layers: "  - rlimits: {nofile: 64, core: 0}\n", ..NOTHING },
    Added { name: "a time limit", options: "--timeout 1h", ..NOTHING },
    Added { name: "--verify", options: "--verify", ..NOTHING },
];

/// What one of them costs.
#[derive(Serialize, Deserialize)]
pub struct Cost {
    pub name: String,
    /// Microseconds of a run without it
    pub without: f64,
    /// Microseconds more, in the same turn
    pub more: Spread,
}

/// The recipes, one for each.
pub fn recipes() -> impl Iterator<Item = (String, String)> {
    std::iter::once(&NOTHING).chain(&ALL).enumerate().map(|(number, added)| {
        let (init, layers) = match added.layers {
            "pid" => ("true", ""),
            layers => ("false", layers),
        };
        let recipe = format!(
            "isorecipe: 1\nlayers:\n  - user: {{map: root}}\n  - uts: {{}}\n  - hostname: sandbox\n  \
             - pid: {{proc: true, init: {init}}}\n{layers}{}command: [/bin/true]\n",
            added.keys
        );
        (format!("default{number}.yaml"), recipe)
    })
}

/// Everything in turn with the recipe without; then other builds with that one.
pub fn measure(scene: &Scene, options: &Options) -> Result<Vec<Cost>, Problem> {
    let words = |program: &str, number: usize, added: &Added| {
        let program = scene.path(program).display().to_string();
        let words = format!("{program} apply {} default{number}.yaml -- /bin/true", added.options);
        words.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    // Of several builds the first is asked: the static one, if it is given.
    let first = options.builds.first().map(|(name, _)| format!("isorecipe-{name}"));
    let program = first.unwrap_or_else(|| "isorecipe".to_owned());
    let numbered = std::iter::once(&NOTHING).chain(&ALL).enumerate();
    let mut names: Vec<String> = Vec::new();
    let mut all = Vec::new();
    for (number, added) in numbered {
        names.push(added.name.to_owned());
        all.push(words(&program, number, added));
    }
    for (name, _) in options.builds.iter().skip(1) {
        names.push(format!("build {name}"));
        all.push(words(&format!("isorecipe-{name}"), 0, &NOTHING));
    }
    let rounds = options.rounds.unwrap_or(if options.short { 1 } else { 100 });
    let times = stopwatch::words_in_turn(&all, rounds)?;
    let without = times.first().cloned().unwrap_or_default();
    let costs = names.into_iter().zip(&times).skip(1).map(|(name, times)| Cost {
        name,
        without: Spread::of(&without).median,
        more: Spread::of(&differences(times, &without)),
    });
    Ok(costs.collect())
}
