//! What came of many cases, in words and as JSON.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use super::{Who, trial::Seen};

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    pub cases: usize,
    /// Cases that are no recipes, or stand on what this machine does not have
    pub unfit: BTreeMap<String, usize>,
    pub disagreements: Vec<Disagreement>,
    /// How often each step met with each answer
    pub seen: Vec<(Seen, usize)>,
    #[serde(skip)]
    index: BTreeMap<Seen, usize>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Disagreement {
    pub case: String,
    pub how: String,
    pub code: Option<String>,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    \"{}\",", self.how, self.case)?;
        self.code.as_ref().map_or(Ok(()), |code| write!(f, " // {code}"))
    }
}

impl Tally {
    /// A run that could not be.
    pub fn broken(how: String) -> Self {
        let case = String::new();
        let disagreements = vec![Disagreement { case, how, code: None }];
        Self { disagreements, ..Self::default() }
    }

    pub fn agree(&mut self, seen: Vec<Seen>) {
        self.cases += 1;
        for one in seen {
            self.count(one, 1);
        }
    }

    pub fn disagree(&mut self, found: Disagreement) {
        self.cases += 1;
        self.disagreements.push(found);
    }

    pub fn unfit(&mut self, why: String) {
        self.cases += 1;
        *self.unfit.entry(why).or_default() += 1;
    }

    fn count(&mut self, one: Seen, times: usize) {
        let end = self.seen.len();
        let at = *self.index.entry(one.clone()).or_insert(end);
        if at == end {
            self.seen.push((one, 0));
        }
        self.seen[at].1 += times;
    }

    pub fn add(&mut self, other: Tally) {
        self.cases += other.cases;
        for (why, times) in other.unfit {
            *self.unfit.entry(why).or_default() += times;
        }
        self.disagreements.extend(other.disagreements);
        for (one, times) in other.seen {
            self.count(one, times);
        }
    }

    /// Steps in all, and those that the model left to the kernel.
    pub fn steps(&self) -> (usize, usize) {
        let all = self.seen.iter().map(|(_, times)| times).sum();
        let open = self.seen.iter().filter(|(one, _)| one.is_open).map(|(_, times)| times).sum();
        (all, open)
    }

    /// The share that was left to the kernel, in tenths of a percent.
    pub fn open_per_mille(&self) -> usize {
        let (all, open) = self.steps();
        (open * 1000).checked_div(all).unwrap_or(0)
    }

    /// One line that says it all.
    pub fn summary(&self, who: Who) -> String {
        let (all, open) = self.steps();
        let share = self.open_per_mille();
        format!(
            "as {who}: {} cases, {} disagreements; {all} steps, {open} left to the kernel ({}.{} %)",
            self.cases,
            self.disagreements.len(),
            share / 10,
            share % 10,
        )
    }

    /// What was exercised how often: operation, answer, condition.
    pub fn coverage(&self) -> String {
        let mut rows: BTreeMap<(&str, &str, &str), (usize, usize)> = BTreeMap::new();
        for (one, times) in &self.seen {
            let row = rows.entry((&one.what, &one.said, &one.code)).or_default();
            row.0 += times;
            row.1 += if one.is_open { *times } else { 0 };
        }
        let mut text = format!("{:>9} {:>8}  step, answer, condition\n", "times", "open");
        for ((what, said, code), (times, open)) in rows {
            text.push_str(&format!("{times:>9} {open:>8}  {what}: {said} {code}\n"));
        }
        for (why, times) in &self.unfit {
            text.push_str(&format!("{times:>9} unfit: {why}\n"));
        }
        text
    }
}
