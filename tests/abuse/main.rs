//! The abuse suite against the recipes that ship, as root and as an ordinary
//! user: none may fail. And against runners that are weak on purpose, under
//! which every check has to fail at least once. What `isorecipe plan` lists as
//! open has to be what works.
//!
//! `cargo run --example abuse -- bwrap … --` runs it with anything in front.
#![allow(unsafe_code, missing_docs)]

mod listed;
mod page;
mod recipes;
mod suite;

use std::{collections::BTreeSet, fs, process::ExitCode, time::Duration};

use listed::Exact;
use suite::{
    Mark, Marks,
    driver::{GRACE, Runner},
    ground::{self, Caller, Ground},
    peers::PEERS,
};

/// A user that no machine has.
const STRANGER: u32 = 54_321;

/// Who is left behind by a weak runner is left for ever.
const MOMENT: Duration = Duration::from_millis(100);

/// What cannot be held, and why.
struct Exception {
    recipe: &'static str,
    is_root: bool,
    check: &'static str,
    why: &'static str,
}

const EXCEPTIONS: &[Exception] = &[
    Exception {
        recipe: "shell",
        is_root: false,
        check: "groups",
        why: "without subordinate group ids the kernel lets nobody drop a group",
    },
    Exception {
        recipe: "agent",
        is_root: false,
        check: "groups",
        why: "without subordinate group ids the kernel lets nobody drop a group",
    },
    Exception {
        recipe: "agent",
        is_root: false,
        check: "memory_limit",
        why: "without a control group of its own a user gets limits of each process",
    },
    Exception {
        recipe: "agent",
        is_root: false,
        check: "pids_limit",
        why: "without a control group of its own a user gets limits of each process",
    },
];

/// What this kernel does not have, so that no runner can be too weak for it.
const NEVER_FAILS: &[(&str, &str)] = &[
    ("x32", "the kernel has to be built with it"),
    ("af_alg", "the kernel has to be built with it"),
];

fn main() -> ExitCode {
    if let Some(status) = suite::play() {
        return ExitCode::from(status as u8);
    }
    ground::enter();
    let mut problems = Vec::new();
    let mut columns = page::Columns::new();
    for recipe in recipes::ALL {
        for caller in callers() {
            let (marks, differences) = attack_recipe(caller, recipe, Exact::Both);
            let name = column(recipe, caller);
            page::say(&name, &marks);
            problems.extend(unexpected(&marks, caller, recipe));
            problems.extend(differences);
            columns.push((name, marks));
        }
    }
    for recipe in recipes::WEAK {
        for caller in callers() {
            let (marks, differences) = attack_recipe(caller, recipe, Exact::NothingMissing);
            page::say(&column(recipe, caller), &marks);
            problems.extend(differences);
        }
    }
    if std::env::var_os("ABUSE_PAGE").is_some() {
        columns.extend(attack_peers());
        page::write(&columns);
    }
    problems.extend(never_failed());
    for problem in &problems {
        println!("{problem}");
    }
    ExitCode::from(u8::from(!problems.is_empty()))
}

fn column(name: &str, caller: Caller) -> String {
    format!("{name} {}", if caller.uid == 0 { "r" } else { "u" })
}

/// Other runners, held to everything.
fn attack_peers() -> page::Columns {
    let mut columns = page::Columns::new();
    for peer in &PEERS {
        for caller in callers() {
            let ground = Ground::new(caller);
            let prefix = peer.prefix(
                &ground.payload().display().to_string(),
                &ground.shown().display().to_string(),
            );
            let runner = Runner { ground: &ground, prefix: &prefix, grace: GRACE };
            let marks = suite::marks(&runner.measure(&suite::checks()), &|_| true);
            let name = column(peer.name, caller);
            page::say(&name, &marks);
            columns.push((name, marks));
        }
    }
    columns
}

/// As root, root and a stranger; otherwise oneself.
fn callers() -> Vec<Caller> {
    let own = Caller::own();
    let stranger = Caller { uid: STRANGER, gid: STRANGER };
    if own.uid == 0 { vec![own, stranger] } else { vec![own] }
}

/// What came of every check, and where the plan said otherwise.
fn attack_recipe(caller: Caller, name: &str, exact: Exact) -> (Marks, Vec<String>) {
    let ground = Ground::new(caller);
    let program = ground.path("isorecipe");
    fs::copy(env!("CARGO_BIN_EXE_isorecipe"), &program).expect("the program");
    let recipe = recipes::lay(&ground, name);
    let text = fs::read_to_string(&recipe).expect("the recipe");
    let words =
        [&program.display().to_string(), "--plain", "apply", &recipe.display().to_string(), "--"];
    let prefix = words.map(str::to_owned);
    let found = Runner { ground: &ground, prefix: &prefix, grace: GRACE }.measure(&suite::checks());
    let marks = suite::marks(&found, &|layer| recipes::claims(&text, layer));
    let differences = listed::differences((&ground, &program, &recipe), &marks, exact);
    (marks, differences)
}

fn unexpected(marks: &Marks, caller: Caller, recipe: &str) -> Vec<String> {
    let is_known = |check: &str| {
        EXCEPTIONS.iter().any(|known| {
            known.recipe == recipe
                && known.is_root == (caller.uid == 0)
                && known.check == check
                && !known.why.is_empty()
        })
    };
    let bad = marks.iter().filter(|(check, (mark, _))| {
        matches!(mark, Mark::Fail | Mark::Error) && !is_known(check) && !takes_root(check, *mark)
    });
    bad.map(|(check, (mark, detail))| {
        format!("{recipe} as uid {}: {} {check}: {detail}", caller.uid, mark.word())
    })
    .collect()
}

/// What an ordinary user cannot prepare is tried when the suite is run as root.
fn takes_root(check: &str, mark: Mark) -> bool {
    let prepared = ["bound_dev", "setgroups", "suid", "groups"];
    mark == Mark::Error && Caller::own().uid != 0 && prepared.contains(&check)
}

/// Checks that no weak runner fails.
fn never_failed() -> Vec<String> {
    let mut failed = BTreeSet::new();
    for name in suite::weak::NAMES {
        let ground = Ground::new(Caller::own());
        let own = ground.payload().display().to_string();
        let prefix = [own, "weak".to_owned(), name.to_owned()];
        let found =
            Runner { ground: &ground, prefix: &prefix, grace: MOMENT }.measure(&suite::checks());
        let marks = suite::marks(&found, &|_| true);
        println!("weak {name}: {}", suite::table::figures(&marks));
        failed.extend(
            marks.iter().filter(|(_, (mark, _))| *mark == Mark::Fail).map(|(check, _)| *check),
        );
    }
    // Without root, less is within reach even of who is not held at all.
    if Caller::own().uid != 0 {
        return Vec::new();
    }
    let all = suite::checks().into_iter().flatten().map(|check| check.name);
    let never = all.filter(|check| {
        !failed.contains(check) && !NEVER_FAILS.iter().any(|(known, _)| known == check)
    });
    never.map(|check| format!("{check} was never seen to fail")).collect()
}
