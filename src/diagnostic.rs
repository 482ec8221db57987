//! What isorecipe says when the answer is no.
//!
//! The words and the place are known to different people. An operation makes a [`Refusal`]: words only. [`Refusal::at`]
//! adds the path in the recipe and makes a [`Diagnostic`]. Whoever holds the file adds the span, with
//! [`Diagnostic::locate`]; a recipe built in Rust code has none, and its path stands in. [`render`] prints them all.
//!
//! **Invariant:** no control, bidi or escape character of a recipe or of the system reaches the output. Words are made
//! legible as they enter, a source as it is shown.

mod json;
mod legible;
mod picture;
mod render;
pub mod shell;
mod source;

use std::{borrow::Cow, error::Error, fmt, hash::Hash, ops::Range, path::PathBuf, sync::Arc};

use miette::LabeledSpan;
use nix::errno::Errno;
use schemars::JsonSchema;
use serde::Serialize;

use crate::yaml::{Mistake, Path};

pub use json::{Other, Record, Where};
pub use render::{Format, Style, paragraph, render};
pub use shell::typed;
pub use source::{Position, Source};

/// A no, in words, from an operation that knows no file.
///
/// ```
/// # use isorecipe::{diagnostic::Refusal, yaml::Path};
/// let hostname = Path::root().key("layers").index(2).key("hostname");
/// let diagnostic = Refusal::new("hostname::shared", "this hostname belongs to the host")
///     .why("no UTS namespace yet")
///     .help("put a `uts` layer before it")
///     .at(hostname);
/// assert_eq!(diagnostic.to_string(), "this hostname belongs to the host");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub struct Refusal(Box<Words>);

/// In a box: a result that is nearly never a refusal should not be as large as one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Words {
    code: Cow<'static, str>,
    message: String,
    why: String,
    help: String,
    also: Option<Also>,
    observed: Option<Observed>,
    field: Option<&'static str>,
    wants: Option<&'static str>,
    lacks: Option<PathBuf>,
    once: bool,
}

/// The other place involved. A [`Mistake`] knows it only as a span.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Also {
    path: Option<Path>,
    why: String,
}

impl Refusal {
    /// `code` is `area::condition` and never changes; `message` says what is.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl AsRef<str>) -> Refusal {
        Refusal(Box::new(Words {
            code: legible::code(code.into()),
            message: legible::words(message.as_ref()),
            why: String::new(),
            help: String::new(),
            also: None,
            observed: None,
            field: None,
            wants: None,
            lacks: None,
            once: false,
        }))
    }

    /// `area::condition`
    pub fn code(&self) -> &str {
        &self.0.code
    }

    /// What is.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Says why, at the place.
    pub fn why(mut self, why: impl AsRef<str>) -> Refusal {
        self.0.why = legible::words(why.as_ref());
        self
    }

    /// Says what to type.
    pub fn help(mut self, help: impl AsRef<str>) -> Refusal {
        self.0.help = legible::words(help.as_ref());
        self
    }

    /// Says which field of the layer it is about.
    pub fn field(mut self, field: &'static str) -> Refusal {
        self.0.field = Some(field);
        self
    }

    /// Says which layer is missing before it.
    pub fn wants(mut self, layer: &'static str) -> Refusal {
        self.0.wants = Some(layer);
        self
    }

    /// Says which file is missing; the recipe may tell how it is made.
    pub fn lacks(mut self, file: impl Into<PathBuf>) -> Refusal {
        self.0.lacks = Some(file.into());
        self
    }

    /// The file that is missing.
    pub fn lacked_file(&self) -> Option<&std::path::Path> {
        self.0.lacks.as_deref()
    }

    /// Whatever else has this code has the same cause.
    pub fn once(mut self) -> Refusal {
        self.0.once = true;
        self
    }

    /// Whether one of this code is all there is to say.
    pub fn is_once(&self) -> bool {
        self.0.once
    }

    /// The layer that is missing before it.
    pub fn wanted_layer(&self) -> Option<&'static str> {
        self.0.wants
    }

    /// Marks the other place involved, and says what it has to do with this one.
    pub fn also(mut self, path: Path, why: impl AsRef<str>) -> Refusal {
        self.0.also = Some(Also { path: Some(path), why: legible::words(why.as_ref()) });
        self
    }

    /// Says which call answered what, where the kernel was asked.
    pub fn observed(mut self, observed: Observed) -> Refusal {
        self.0.observed = Some(observed);
        self
    }

    /// Puts the words at a place of the recipe.
    pub fn at(self, path: Path) -> Diagnostic {
        let path = match self.0.field {
            Some(field) => path.key(field),
            None => path,
        };
        Diagnostic {
            severity: Severity::Error,
            refusal: self,
            path,
            source: None,
            span: None,
            also_span: None,
        }
    }
}

/// Which call of which step answered with which errno.
///
/// Shown as `step 4: sethostname: EPERM (Operation not permitted)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Observed {
    step: usize,
    call: String,
    errno: i32,
}

impl Observed {
    /// `step` is its number in the plan, from 1. `call` is named as its manual page is, `sethostname` or `sethostname(2)`.
    pub fn new(step: usize, call: &str, errno: i32) -> Observed {
        let call = call.strip_suffix("(2)").unwrap_or(call);
        Observed { step, call: legible::words(call), errno }
    }

    /// The step's number in the plan, from 1.
    pub fn step(&self) -> usize {
        self.step
    }

    /// The system call, without the manual's section.
    pub fn call(&self) -> &str {
        &self.call
    }

    /// What the kernel answered.
    pub fn errno(&self) -> i32 {
        self.errno
    }

    /// `EPERM`; nothing for a number that has no name.
    pub fn errno_name(&self) -> Option<String> {
        match Errno::from_raw(self.errno) {
            Errno::UnknownErrno => None,
            errno => Some(format!("{errno:?}")),
        }
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}: ", self.step, self.call)?;
        match Errno::from_raw(self.errno) {
            _ if self.errno == 0 => f.write_str("yes, and it is not done"),
            Errno::UnknownErrno => write!(f, "errno {}", self.errno),
            errno => write!(f, "{errno:?} ({})", errno.desc()),
        }
    }
}

/// Whether isorecipe stops or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The command does not start.
    Error,
    /// The command starts, and the author should know.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// Words at a place: what a person, or `--json`, is told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct Diagnostic {
    severity: Severity,
    refusal: Refusal,
    path: Path,
    source: Option<Arc<Source>>,
    span: Option<Range<usize>>,
    also_span: Option<Range<usize>>,
}

impl Diagnostic {
    /// Says it without stopping.
    pub fn warning(mut self) -> Diagnostic {
        self.severity = Severity::Warning;
        self
    }

    /// Adds the file and where in it the two paths are, as byte ranges. A range that does not fit the file is made to fit.
    pub fn locate(
        mut self,
        source: &Arc<Source>,
        span: Option<Range<usize>>,
        also_span: Option<Range<usize>>,
    ) -> Diagnostic {
        self.span = span.map(|span| source.fit(span));
        self.also_span =
            also_span.filter(|_| self.refusal.0.also.is_some()).map(|span| source.fit(span));
        self.source = Some(Arc::clone(source));
        self
    }

    /// A mistake of the file itself, whose spans are known from the start.
    pub fn mistake(mistake: Mistake, source: &Arc<Source>) -> Diagnostic {
        let (also_span, also_why) = mistake.also.unzip();
        let mut refusal =
            Refusal::new(mistake.code, mistake.message).why(mistake.why).help(mistake.help);
        refusal.0.also = also_why.map(|why| Also { path: None, why: legible::words(&why) });
        refusal.at(mistake.path).locate(source, Some(mistake.span), also_span)
    }

    /// Marks the other place involved, once it is known, with the remedy that follows from it.
    pub fn pointing(mut self, also: Path, why: &str, help: &str) -> Diagnostic {
        self.refusal = self.refusal.also(also, why).help(help);
        self
    }

    /// Whether isorecipe stops or goes on.
    pub fn severity(&self) -> Severity {
        self.severity
    }

    /// `area::condition`, which has a page behind `isorecipe explain`.
    pub fn code(&self) -> &str {
        &self.refusal.0.code
    }

    /// What is.
    pub fn message(&self) -> &str {
        &self.refusal.0.message
    }

    /// Why, at the place; empty where nobody knows.
    pub fn why(&self) -> &str {
        &self.refusal.0.why
    }

    /// What to type; empty where nobody knows.
    pub fn help(&self) -> &str {
        &self.refusal.0.help
    }

    /// Where in the recipe.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The other place involved, where it was named by a path.
    pub fn also(&self) -> Option<&Path> {
        self.refusal.0.also.as_ref()?.path.as_ref()
    }

    /// Where in the file, in bytes.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    /// Which call answered what.
    pub fn observed(&self) -> Option<&Observed> {
        self.refusal.0.observed.as_ref()
    }

    /// Whether both say that the same step met the same condition.
    pub fn is_about_the_same(&self, other: &Diagnostic) -> bool {
        self.code() == other.code()
            && self.path == other.path
            && self.observed() == other.observed()
    }

    /// What two diagnostics have in common when a reader would take them for one.
    fn facts(&self) -> impl Eq + Hash {
        let name = self.source.as_deref().map(Source::name);
        let spans = (&self.span, &self.also_span);
        (self.severity, &self.refusal, &self.path, name, spans)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.refusal.0.message)
    }
}

impl Error for Diagnostic {}

impl miette::Diagnostic for Diagnostic {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        said(&self.refusal.0.code)
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        said(&self.refusal.0.help)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.source.as_deref().map(|source| source as &dyn miette::SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        let why = Some(self.refusal.0.why.clone()).filter(|why| !why.is_empty());
        let here = LabeledSpan::new_primary_with_span(why, span);

        let also = self.refusal.0.also.as_ref().zip(self.also_span.clone());
        let there =
            also.map(|(also, span)| LabeledSpan::new_with_span(Some(also.why.clone()), span));
        Some(Box::new([here].into_iter().chain(there)))
    }
}

fn said(words: &str) -> Option<Box<dyn fmt::Display + '_>> {
    (!words.is_empty()).then(|| Box::new(words) as Box<dyn fmt::Display>)
}
