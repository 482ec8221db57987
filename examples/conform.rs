//! Random recipes, planned and run, any number: does the kernel do what the
//! model says?
//!
//! ```console
//! cargo run --release --example conform -- --count 10000 --seed 7
//! cargo run --release --example conform -- --case 'user: {map: root} + hostname: box'
//! ```
//!
//! A disagreement is printed as small as it goes, ready to be added to
//! `tests/support/conform/found.rs`. Started as root, `--as-user UID` runs the
//! cases as that user instead.

use std::process::ExitCode;

use clap::Parser;

#[path = "../tests/support/conform/mod.rs"]
mod conform;

use conform::{Who, case::Case, generate, workers};

/// Runs random recipes and compares the kernel's answers with the model's.
#[derive(Parser)]
struct Options {
    /// How many recipes
    #[arg(long, default_value_t = 1000)]
    count: usize,
    /// What the recipes come from; the same seed gives the same ones
    #[arg(long)]
    seed: Option<u64>,
    /// The most layers that a recipe has
    #[arg(long, default_value_t = 8)]
    layers: usize,
    /// Become this user first (as root)
    #[arg(long, value_name = "UID")]
    as_user: Option<u32>,
    /// Processes that work at once
    #[arg(long, default_value_t = 4)]
    workers: usize,
    /// One case instead, as a line of `found.rs` has it
    #[arg(long)]
    case: Option<String>,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| u64::from(std::process::id()) ^ 0x5eed_0000_0000);
    let who = match (options.as_user, nix::unistd::geteuid().is_root()) {
        (Some(uid), true) => Who::User(uid),
        (Some(_), false) => {
            eprintln!("only root can become another user; leave `--as-user` out");
            return ExitCode::from(2);
        }
        (None, true) => Who::Root,
        (None, false) => Who::Caller,
    };
    let cases = match &options.case {
        Some(case) => vec![Case::parse(case)],
        None => generate::cases(seed, options.count, options.layers, who.has_ground()),
    };
    if let (Some(_), [case]) = (&options.case, cases.as_slice()) {
        eprint!("{}", case.recipe(std::path::Path::new("."), who.uid()));
    }
    let tally = workers::run(&cases, who, options.workers.clamp(1, cases.len().max(1)));
    if options.json {
        println!("{}", serde_json::to_string(&tally).expect("JSON"));
    } else {
        print!("{}", tally.coverage());
        println!("seed {seed}, {}", tally.summary(who));
        for found in &tally.disagreements {
            println!("\n{found}");
        }
    }
    ExitCode::from(u8::from(!tally.disagreements.is_empty()))
}
