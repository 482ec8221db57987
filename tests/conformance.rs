//! What the model says, the kernel does: step by step and errno by errno.
//!
//! Every case that was ever found, every ordered list of up to three layers,
//! and random recipes of up to eight layers, half of them the same every time,
//! half of them fresh. Run as root, as root and as an ordinary user; otherwise
//! as whoever runs it. `examples/conform.rs` runs any number.

use std::{env, process::ExitCode};

#[path = "support/conform/mod.rs"]
mod conform;

use conform::{Who, case::Case, found, generate, workers};

/// The layers that every list is made of.
const VARIANTS: &[&str] = &[
    "user: {map: root}",
    "user: {map: none}",
    "uts: {}",
    "hostname: box",
    "pid: {proc: true, init: false}",
    "mount: {}",
    "proc: PROC",
    "tmpfs: TARGET",
    "bind: {from: source, to: TARGET, read_only: true}",
    "dir: TARGET/made",
    "overlay: {lower: lower, upper: upper, work: work, at: TARGET}",
    "pivot_root: {new: TARGET}",
];
const LONGEST: usize = 3;
const RANDOM: usize = 1000;
const MOST_LAYERS: usize = 8;
/// Of a thousand answers, so many at most may be left to the kernel: a model
/// that leaves everything to it is never wrong and worth nothing.
const MOST_OPEN: usize = 20;
const WORKERS: usize = 4;

fn main() -> ExitCode {
    let seed = env::var("CONFORM_SEED").ok().and_then(|seed| seed.parse().ok());
    let fresh = seed.unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed_0000_0000);
    println!("fresh seed {fresh}");
    let failed = Who::all().into_iter().filter(|who| !agrees(*who, fresh)).count();
    let words = if failed == 0 { "ok" } else { "FAILED" };
    println!("\ntest result: {words}. {} passed; {failed} failed", Who::all().len() - failed);
    ExitCode::from(u8::from(failed > 0))
}

fn agrees(who: Who, fresh: u64) -> bool {
    let mut cases: Vec<Case> = found::FOUND.iter().map(|case| Case::parse(case)).collect();
    // Without root there is no ground to prepare.
    cases.retain(|case| who.has_ground() || case.ground().next().is_none());
    cases.extend(every_list());
    for seed in [1, fresh] {
        cases.extend(generate::cases(seed, RANDOM, MOST_LAYERS, who.has_ground()));
    }
    let tally = workers::run(&cases, who, WORKERS);
    println!("{}", tally.summary(who));
    for found in &tally.disagreements {
        println!("\n{found}");
    }
    let is_decided = tally.open_per_mille() <= MOST_OPEN;
    if !is_decided {
        println!("\nthe model leaves more than {MOST_OPEN} of 1000 answers to the kernel");
    }
    // Ground that cannot be had makes no case; nor does a filter that the plan
    // itself forbids, whatever the kernel would say.
    let is_unfit = |(code, _): &(&String, &usize)| *code != "seccomp::not_last";
    let unfit: usize = tally.unfit.iter().filter(is_unfit).map(|(_, count)| count).sum();
    let is_fit = unfit * 20 < tally.cases;
    if !is_fit {
        println!("\n{unfit} of {} cases could not be tried:\n{:?}", tally.cases, tally.unfit);
    }
    tally.disagreements.is_empty() && is_decided && is_fit
}

/// Ordered lists of one to three of the variants, no variant twice.
fn every_list() -> Vec<Case> {
    let mut all: Vec<Case> = Vec::new();
    let mut longest = vec![Case(Vec::new())];
    for _ in 0..LONGEST {
        longest = longest.iter().flat_map(longer).collect();
        all.extend(longest.iter().cloned());
    }
    all
}

fn longer(list: &Case) -> Vec<Case> {
    let is_new = |layer: &&&str| !list.0.iter().any(|had| had == **layer);
    let with = |layer: &&str| Case(list.0.iter().cloned().chain([(*layer).to_owned()]).collect());
    VARIANTS.iter().filter(is_new).map(with).collect()
}
