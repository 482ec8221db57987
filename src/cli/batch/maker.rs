//! A member of the crew: makes one sandbox after the other, and says of each how
//! it ended.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    io::{BufRead, BufReader, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;

use crate::{
    diagnostic::{Diagnostic, Record, Refusal},
    exec::{self, EndsWith, Kept, Onlooker, Outcome, Printed},
    plan::{Pause, Plan},
    recipe::{Document, Recipe, Run},
    sys::{Call, descriptor, memory_file, process::Usage},
    yaml,
};

use super::{
    super::{
        Output, RecipePath,
        ending::{Account, Ending, Phase, stillborn},
        inspection::Inspection,
        located,
        permissions::{Permissions, stopped_status},
        watch::Watch,
    },
    job::Job,
};

/// What ends a sandbox at once, and is not passed on to its command.
pub(super) const END_AT_ONCE: i32 = libc::SIGUSR1;

/// Stands before the result of a command that ran.
pub(super) const RAN: &[u8] = b"+";
/// Stands before the result of a command that did not.
const DID_NOT_RUN: u8 = b'-';

/// Of so many programs the plan is kept.
const PROGRAMS: usize = 8;

/// What every sandbox of a batch has in common.
pub(super) struct Maker<'a> {
    pub recipe: &'a Recipe,
    pub document: &'a Document,
    pub path: &'a RecipePath,
    pub permissions: &'a Permissions,
    pub verifies: bool,
    /// Whether a result has what was compared
    pub attests: bool,
    pub keep: usize,
    pub time: Option<Duration>,
    pub run: Run,
    /// Plans that work, each for another program; what it is told may differ
    pub plans: VecDeque<Plan>,
    pub output: Output,
}

/// What is said of one line.
#[derive(Serialize)]
struct Answer {
    line: u64,
    #[serde(flatten)]
    account: Account,
    stdout: String,
    stdout_cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stdout_base64: Option<String>,
    stderr: String,
    stderr_cut: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stderr_base64: Option<String>,
}

/// What became of a line whose supervisor is gone.
pub(super) fn lost(number: u64, why: &str) -> Vec<u8> {
    let refusal = Refusal::new("batch::lost", "nobody knows how this command ended")
        .why(format!("the process of isorecipe that looked after it is gone: {why}"))
        .help("if nobody killed it, look for the kernel's reasons: `sudo dmesg | tail`");
    let account = Account { phase: Phase::Lost, ..refused(&[refusal.at(yaml::Path::root())]) };
    Answer::new(number, account, Printed::default()).written()
}

fn refused(problems: &[Diagnostic]) -> Account {
    Account::of_plan(super::COULD_NOT_START, problems)
}

impl Maker<'_> {
    /// Answers every line with a line, until there are no more.
    pub(super) fn serve(mut self, line: UnixStream) -> u8 {
        let mut lines = BufReader::new(&line);
        let mut text = Vec::new();
        loop {
            text.clear();
            match lines.read_until(b'\n', &mut text) {
                Ok(length) if length > 0 => {}
                _ => return 0,
            }
            let end = text.strip_suffix(b"\n").unwrap_or(&text);
            let head = end.iter().position(|&byte| byte == b' ').unwrap_or(0);
            let (number, words) = end.split_at(head);
            let number = str::from_utf8(number).ok().and_then(|number| number.parse().ok());
            let words = words.get(1..).unwrap_or_default();
            let answer = self.answer(number.unwrap_or_default(), words);
            if (&line).write_all(&answer).is_err() {
                return 0;
            }
        }
    }

    fn answer(&mut self, number: u64, line: &[u8]) -> Vec<u8> {
        let told = |refusal: Refusal| refused(&[refusal.at(yaml::Path::root())]);
        let (account, printed) = match Job::read(line) {
            Ok(job) => self.make(job),
            Err(refusal) => (told(refusal), Printed::default()),
        };
        Answer::new(number, account, printed).written()
    }

    /// Makes a sandbox, and sees it to its end.
    fn make(&mut self, job: Job) -> (Account, Printed) {
        // Opened anew for each: who has one open file with somebody else can talk to them.
        let given = match &job.input {
            None => descriptor::open_to_read(c"/dev/null"),
            Some(text) => memory_file::with(text.as_bytes()),
        };
        let given = given.and_then(|file| descriptor::put_at(file.as_fd(), 0));
        if let Err(errno) = given {
            let born = located(self.document, vec![stillborn(Call::MemoryFile.gave(errno))]);
            return (Account { phase: Phase::Steps, ..refused(&born) }, Printed::default());
        }
        self.run.command = job.command;
        self.run.variables = job.variables;
        let mut plan = match self.plan() {
            Ok(plan) => plan,
            Err(account) => return (*account, Printed::default()),
        };
        let (account, printed) = self.carry_out(&mut plan);
        // What went wrong might go right another time, with a plan that knows more.
        if account.phase == Phase::Command {
            self.plans.truncate(PROGRAMS - 1);
            self.plans.push_front(plan);
        }
        (account, printed)
    }

    /// The plan for this command: the same for every one of a program.
    fn plan(&mut self) -> Result<Plan, Box<Account>> {
        if let Some(plan) = self.take_plan() {
            return Ok(plan);
        }
        let mut plan = self.permissions.plan(self.recipe, &self.run, self.verifies);
        if self.permissions.forbid(&plan) {
            let problems = located(self.document, self.permissions.problems(&plan));
            return Err(Box::new(Account::of_plan(stopped_status(&plan), &problems)));
        }
        plan.watched.limit_time(self.time);
        Ok(plan)
    }

    fn take_plan(&mut self) -> Option<Plan> {
        let host = &self.plans.front()?.start.host;
        let mut execute = self.recipe.execution(&self.run, host);
        let is_same = |plan: &mut Plan| plan.execute_alike(&mut execute);
        let index = self.plans.iter_mut().position(is_same)?;
        let mut plan = self.plans.remove(index)?;
        plan.watched.limit_time(self.time);
        Some(plan)
    }

    fn carry_out(&self, plan: &mut Plan) -> (Account, Printed) {
        let inspection = self.verifies.then(|| Inspection::new(self.document, &self.output, false));
        let watch = Watch::of(plan, (self.recipe, self.path, self.document), &self.output);
        let ear = Ear {
            watch: watch.inspecting(inspection),
            keep: self.keep,
            printed: RefCell::default(),
            usage: Cell::default(),
        };
        let begin = Instant::now();
        let outcome = exec::run(plan, &ear);
        let duration = begin.elapsed();
        let ending = Ending {
            recipe: self.recipe,
            document: self.document,
            run: &self.run,
            plan,
            output: &self.output,
            inspection: ear.watch.inspection(),
        };
        let mut account = self.report(&ending, outcome, duration);
        account.usage = ear.usage.get();
        (account, ear.printed.take())
    }

    fn report(&self, ending: &Ending, outcome: Outcome, duration: Duration) -> Account {
        let mut account = ending.report(outcome, duration);
        if !self.attests {
            account.attestation = None;
        }
        account.problems = self.output.take_kept().iter().map(Record::from).collect();
        account
    }
}

/// Listens to one sandbox.
struct Ear<'a> {
    watch: Watch<'a>,
    keep: usize,
    printed: RefCell<Printed>,
    usage: Cell<Option<Usage>>,
}

impl Onlooker for Ear<'_> {
    fn runs(&self, command: i32) {
        self.watch.runs(command);
    }

    fn pauses(&self, pause: &Pause, child: i32, ends: EndsWith) {
        self.watch.pauses(pause, child, ends);
    }

    fn wants_to_inspect(&self) -> bool {
        self.watch.wants_to_inspect()
    }

    fn inspects(&self, plan: &Plan, child: i32) -> bool {
        self.watch.inspects(plan, child)
    }

    fn keeps(&self) -> Option<usize> {
        Some(self.keep)
    }

    fn hears(&self, printed: Printed) {
        self.printed.replace(printed);
    }

    fn counts(&self, usage: Usage) {
        self.usage.set(Some(usage));
    }

    fn is_end(&self, signal: i32) -> bool {
        signal == END_AT_ONCE
    }

    fn is_over(&self) {
        self.watch.is_over();
    }

    fn leaves_behind(&self, what: &str) {
        self.watch.leaves_behind(what);
    }
}

impl Answer {
    fn new(line: u64, account: Account, printed: Printed) -> Self {
        let (stdout_cut, stderr_cut) = (printed.output.is_cut, printed.error.is_cut);
        let (stdout, stdout_base64) = text(printed.output);
        let (stderr, stderr_base64) = text(printed.error);
        Self { line, account, stdout, stdout_cut, stdout_base64, stderr, stderr_cut, stderr_base64 }
    }

    fn written(&self) -> Vec<u8> {
        let is_run = self.account.phase == Phase::Command;
        let mut text = if is_run { RAN.to_vec() } else { vec![DID_NOT_RUN] };
        // Numbers and texts can always be written.
        let json = serde_json::to_string(self).unwrap_or_default();
        text.extend_from_slice(harmless(&json).as_bytes());
        text.push(b'\n');
        text
    }
}

/// The same JSON without what a terminal obeys, and what some readers take for the end of a line.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(character)));
            }
            _ => text.push(character),
        }
    }
    text
}

/// What was printed, as text; and the bytes themselves where they are none.
fn text(printed: Kept) -> (String, Option<String>) {
    let Kept { mut bytes, is_cut } = printed;
    match str::from_utf8(&bytes) {
        // Only its last character was cut.
        Err(error) if is_cut && error.error_len().is_none() => bytes.truncate(error.valid_up_to()),
        _ => {}
    }
    match String::from_utf8(bytes) {
        Ok(text) => (text, None),
        Err(error) => {
            let lossy = String::from_utf8_lossy(error.as_bytes()).into_owned();
            (lossy, Some(BASE64_STANDARD.encode(error.as_bytes())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_cut_within_a_character_is_text_all_the_same() {
        let kept = |bytes: &[u8], is_cut| text(Kept { bytes: bytes.to_vec(), is_cut });
        assert_eq!(kept("aé".as_bytes(), false), ("aé".to_owned(), None));
        assert_eq!(kept(b"a\xc3", true), ("a".to_owned(), None));
        assert_eq!(kept(b"a\xc3", false), ("a\u{fffd}".to_owned(), Some("YcM=".to_owned())));
    }
}
