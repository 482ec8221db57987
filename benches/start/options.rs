//! The words of the command line.

use std::path::PathBuf;

use crate::{Problem, work::Work};

const USAGE: &str = "\
usage: cargo bench --bench start -- [--short] [--rounds N] [--only WORK] [--isorecipe NAME=FILE]
                                    [--json FILE] [--save FILE] [--against FILE]
  --isorecipe   another build to measure beside this one; may be given more than once
  --only        step1, step2, step3, step4, full, binds, mounts, throughput or defaults; more than once
  --against     a file of --save, to see what has changed";

/// What is to be measured.
#[derive(Default)]
pub struct Options {
    pub short: bool,
    pub rounds: Option<usize>,
    pub only: Vec<String>,
    pub builds: Vec<(String, PathBuf)>,
    pub saves: Vec<PathBuf>,
    pub against: Option<PathBuf>,
}

pub fn read() -> Result<Options, Problem> {
    let mut options = Options { short: true, ..Options::default() };
    let mut words = std::env::args().skip(1);
    let mut is_short = false;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} takes a value\n{USAGE}"));
        match word.as_str() {
            // What `cargo bench` says, and `cargo test` does not.
            "--bench" => options.short = false,
            "--short" | "--check" => is_short = true,
            "--rounds" => options.rounds = Some(value()?.parse()?),
            "--only" => options.only.push(value()?),
            "--isorecipe" => {
                let value = value()?;
                let (name, file) = value.split_once('=').ok_or(USAGE)?;
                options.builds.push((name.to_owned(), PathBuf::from(file).canonicalize()?));
            }
            "--json" | "--save" => options.saves.push(std::path::absolute(value()?)?),
            "--against" => options.against = Some(std::path::absolute(value()?)?),
            _ => return Err(USAGE.into()),
        }
    }
    options.short |= is_short;
    Ok(options)
}

impl Options {
    pub fn works(&self) -> Vec<Work> {
        let (binds, mounts) = if self.short { (5, 20) } else { (1000, 5000) };
        let all = [
            ("step1", Work::Step1),
            ("step2", Work::Step2),
            ("step3", Work::Step3),
            ("step4", Work::Step4),
            ("full", Work::Full),
            ("binds", Work::Binds(binds)),
            ("mounts", Work::Mounts(mounts)),
        ];
        let wanted = |(name, _): &(&str, Work)| self.wants(name);
        all.into_iter().filter(wanted).map(|(_, work)| work).collect()
    }

    pub fn measures_throughput(&self) -> bool {
        self.wants("throughput")
    }

    pub fn measures_defaults(&self) -> bool {
        self.wants("defaults")
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// How often everybody is measured.
    pub fn rounds(&self, work: Work) -> usize {
        let usual = match work {
            _ if self.short => 1,
            Work::Binds(_) | Work::Mounts(_) => 15,
            _ => 100,
        };
        self.rounds.unwrap_or(usual)
    }
}
