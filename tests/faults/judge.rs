//! Whether a struck run kept the promise: all of the isolation, or none of the command and one diagnostic.

use serde_json::Value;

use super::{
    scene::Trace,
    tracer::Deed,
    view::{self, View},
};

/// How a run came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The command ran, as isolated as ever
    Ran,
    /// It did not run, and one diagnostic says why
    Refused,
    /// It did not run because a signal ended it
    Killed,
    /// The call was never made
    Missed,
    /// The command ran with less
    Weaker,
    /// The same after a call that was only said to be made
    Believed,
    /// It did not run, and nothing or too much was said
    Mute,
    /// Something is left
    Leak,
    /// It did not end
    Hang,
}

/// What a run without a fault does.
pub struct Whole {
    pub view: Option<View>,
    pub status: i32,
    /// How many errors it has to say
    pub errors: usize,
}

impl Whole {
    pub fn of(trace: &Trace) -> Self {
        let errors = errors(&trace.words).map_or(0, |errors| errors.len());
        Self { view: trace.ended.seen.clone(), status: trace.ended.status, errors }
    }

    /// The same, where these lines of the view are not to be compared.
    pub fn judge_but_for(
        &self,
        trace: &Trace,
        deed: Option<Deed>,
        blind: &[&str],
    ) -> (Verdict, String) {
        let seen = |view: &Option<View>| {
            let mut view = view.clone()?;
            view.retain(|key, _| !blind.contains(&key.as_str()));
            Some(view)
        };
        let whole = Self { view: seen(&self.view), ..*self };
        whole.judge_view(trace, &seen(&trace.ended.seen), deed)
    }

    /// The verdict, and what there is to say about it.
    pub fn judge(&self, trace: &Trace, deed: Option<Deed>) -> (Verdict, String) {
        self.judge_view(trace, &trace.ended.seen, deed)
    }

    fn judge_view(
        &self,
        trace: &Trace,
        seen: &Option<View>,
        deed: Option<Deed>,
    ) -> (Verdict, String) {
        let ended = &trace.ended;
        let words = trace.words.trim();
        let status = ended.status;
        if ended.hung {
            return (Verdict::Hang, words.to_owned());
        }
        if ended.survivors > 0 || !trace.left.is_empty() {
            return (Verdict::Leak, format!("{} processes, {:?}", ended.survivors, trace.left));
        }
        // The kernel or the dynamic loader has not even begun the program: it has no say.
        if !ended.has_begun || deed.is_some() && !ended.struck {
            return (Verdict::Missed, String::new());
        }
        let verdict = match (seen, &self.view) {
            (Some(seen), Some(whole)) if seen == whole => Verdict::Ran,
            (Some(seen), whole) => {
                let difference = whole.as_ref().map(|whole| view::difference(whole, seen));
                let verdict =
                    if deed == Some(Deed::Lie) { Verdict::Believed } else { Verdict::Weaker };
                return (verdict, difference.unwrap_or_else(|| "it ran at all".to_owned()));
            }
            (None, _) => Verdict::Refused,
        };
        let Some(errors) = errors(words) else {
            return (Verdict::Mute, format!("status {status:x}: not JSON: {words}"));
        };
        let is_killed = libc::WIFSIGNALED(status) || exit(status).is_some_and(|code| code > 128);
        let is_signal = matches!(deed, Some(Deed::Signal(_)));
        // What is refused by its plan anyway may have more against it: all that lies in a
        // directory which is said to be missing.
        let most = if self.view.is_none() { usize::MAX } else { 1 };
        let is_said = (self.errors.max(1)..=most.max(self.errors)).contains(&errors.len())
            && errors.iter().all(is_whole);
        match (verdict, exit(status)) {
            (Verdict::Ran, _) if status == self.status => (Verdict::Ran, String::new()),
            _ if is_killed && is_signal => (Verdict::Killed, String::new()),
            // Nobody is left to be told.
            (_, Some(125)) if ended.is_about_words => (verdict, String::new()),
            (_, Some(125..=127)) if is_said => (verdict, code(&errors)),
            _ => (Verdict::Mute, format!("{verdict:?}, status {status:x}: {words}")),
        }
    }
}

fn exit(status: i32) -> Option<i32> {
    libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status))
}

/// The errors on standard error; none if something else is there.
fn errors(words: &str) -> Option<Vec<Value>> {
    let records: Option<Vec<Value>> =
        words.lines().map(|line| serde_json::from_str(line).ok()).collect();
    let is_error = |record: &Value| record["severity"] == "error";
    records.map(|records| records.into_iter().filter(is_error).collect())
}

/// Whether it has a code, and what it says of a step is whole.
fn is_whole(record: &Value) -> bool {
    let is_there = |key: &str| !record[key].is_null();
    let step = ["step", "call", "errno"].map(is_there);
    is_there("code") && (step == [true; 3] || step == [false; 3])
}

fn code(errors: &[Value]) -> String {
    let codes = errors.iter().filter_map(|error| error["code"].as_str());
    codes.collect::<Vec<_>>().join(" ")
}
