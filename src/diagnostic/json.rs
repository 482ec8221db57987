//! A diagnostic for programs: the facts of the drawn form, one object a line.

use std::ops::Range;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Diagnostic, Severity, Source, legible};
use crate::yaml::Path;

/// One diagnostic, one line of `--json`. Every key is always there; what is not known is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Record {
    /// Whether isorecipe stops (`error`) or goes on (`warning`).
    pub severity: Severity,
    /// `area::condition`; never changes, and `isorecipe explain` has a page for it.
    pub code: String,
    /// What is.
    pub message: String,
    /// Why, at the place.
    pub why: Option<String>,
    /// What to type.
    pub help: Option<String>,
    /// Where in the recipe.
    #[serde(flatten)]
    pub place: Where,
    /// The other place involved.
    pub also: Option<Other>,
    /// The step's number in the plan, from 1, where the kernel was asked.
    pub step: Option<usize>,
    /// The system call that was asked.
    pub call: Option<String>,
    /// What it answered.
    pub errno: Option<i32>,
    /// The errno's name, such as `EPERM`.
    pub errno_name: Option<String>,
}

/// A place: in the recipe always, in a file where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Where {
    /// Such as `layers[2].hostname`.
    pub path: Option<String>,
    /// The recipe file as the user named it.
    pub file: Option<String>,
    /// The line, from 1.
    pub line: Option<usize>,
    /// The character of the line, from 1.
    pub column: Option<usize>,
    /// The line of the first character that no longer belongs to the place.
    pub end_line: Option<usize>,
    /// That character of its line.
    pub end_column: Option<usize>,
    /// The place in bytes of the file, from 0: first, and first no longer part of it.
    pub span: Option<[usize; 2]>,
}

/// The other place involved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Other {
    /// Where it is.
    #[serde(flatten)]
    pub place: Where,
    /// What it has to do with the diagnostic.
    pub why: String,
}

impl From<&Diagnostic> for Record {
    fn from(diagnostic: &Diagnostic) -> Record {
        let refusal = &diagnostic.refusal;
        let source = diagnostic.source.as_deref();
        let observed = refusal.0.observed.as_ref();
        Record {
            severity: diagnostic.severity,
            code: refusal.0.code.to_string(),
            message: refusal.0.message.clone(),
            why: said(&refusal.0.why),
            help: said(&refusal.0.help),
            place: Where::new(Some(&diagnostic.path), source, diagnostic.span.as_ref()),
            also: refusal.0.also.as_ref().map(|also| Other {
                place: Where::new(also.path.as_ref(), source, diagnostic.also_span.as_ref()),
                why: also.why.clone(),
            }),
            step: observed.map(|observed| observed.step),
            call: observed.map(|observed| observed.call.clone()),
            errno: observed.map(|observed| observed.errno),
            errno_name: observed.and_then(|observed| observed.errno_name()),
        }
    }
}

impl Where {
    fn new(path: Option<&Path>, source: Option<&Source>, span: Option<&Range<usize>>) -> Where {
        let ends = source.zip(span);
        let start = ends.map(|(source, span)| source.position(span.start));
        let end = ends.map(|(source, span)| source.position(span.end));
        Where {
            path: path.map(|path| legible::words(&path.to_string())),
            file: source.map(|source| source.name().to_owned()),
            line: start.map(|at| at.line),
            column: start.map(|at| at.column),
            end_line: end.map(|at| at.line),
            end_column: end.map(|at| at.column),
            span: span.map(|span| [span.start, span.end]),
        }
    }
}

fn said(words: &str) -> Option<String> {
    (!words.is_empty()).then(|| words.to_owned())
}

/// The record and a newline.
pub(super) fn line(diagnostic: &Diagnostic) -> String {
    let record = serde_json::to_string(&Record::from(diagnostic));
    // Strings and numbers always have a JSON form; were it not so, a line less is better than a panic.
    record.map(|record| record + "\n").unwrap_or_default()
}
