//! The command line: one file a command.
//!
//! Results go to standard output, everything isorecipe has to say about itself
//! goes to standard error; `apply` leaves standard output to its command.

use std::{
    cell::{Cell, RefCell},
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal, Read, Write},
    path::{Component, Path, PathBuf},
    process::ExitCode,
};

use clap::{CommandFactory, Parser, Subcommand};

use crate::{
    diagnostic::{Diagnostic, Format, Severity, Style, render, typed},
    host::Host,
    recipe::{self, Document, Recipe},
    registry::Owner,
    sys,
    yaml::FILE_LIMIT,
};

mod apply;
mod batch;
mod build;
mod choice;
mod completions;
mod diff;
mod doctor;
mod ending;
mod explain;
mod export;
mod host;
mod inspection;
mod kernel_log;
mod limits;
mod man;
mod mend;
mod mishap;
mod observe;
mod pause;
mod permissions;
mod plan;
mod progress;
mod report;
mod schema;
mod speak;
mod validate;
mod watch;

use choice::Choice;

/// The command could not be started (`env(1)`, `timeout(1)`, `docker run` say the same).
const COULD_NOT_START: u8 = 125;
const PROBLEM_FOUND: u8 = 1;
const WRONG_USAGE: u8 = 2;

/// Run a command in a sandbox that a recipe describes, step by step
///
/// A recipe is a YAML file that lists layers of isolation. isorecipe makes a
/// plan of it, shows the plan (`plan`), or carries it out in a child process
/// and runs a command there (`apply`). When a step cannot work, it says
/// which line of the recipe, which call, which errno, why, and what to type.
#[derive(Parser)]
#[command(name = "isorecipe", version, propagate_version = true, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    output: Output,
}

const EXAMPLES: &str = "\
Try:
  isorecipe apply recipes/step3.yaml -- ps -ef   one process: ps itself, as PID 1
  isorecipe plan recipes/step3.yaml              what it would do, and what it needs
  isorecipe validate recipes/*.yaml              every mistake of every file";

/// How isorecipe talks
#[derive(clap::Args, Default)]
struct Output {
    /// One JSON object a line instead of pictures and tables
    #[arg(long, global = true)]
    json: bool,
    /// Plain sentences instead of pictures, for screen readers and logs
    #[arg(long, global = true)]
    plain: bool,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// Whether something stands above what is printed next
    #[arg(skip)]
    has_printed: Cell<bool>,
    /// What was to be said, where it is to be said elsewhere
    #[arg(skip)]
    kept: Option<RefCell<Vec<Diagnostic>>>,
}

#[derive(Clone, Copy, Default, PartialEq, clap::ValueEnum)]
enum Color {
    #[default]
    /// On a terminal, unless NO_COLOR is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Subcommand)]
enum Command {
    Apply(apply::Apply),
    Batch(batch::Batch),
    Plan(plan::Plan),
    Validate(validate::Validate),
    Doctor(doctor::Doctor),
    Build(build::Build),
    Export(export::Export),
    Observe(observe::Observe),
    Diff(diff::Diff),
    Explain(explain::Explain),
    Host(host::Host),
    Schema(schema::Schema),
    Completions(completions::Completions),
    Man(man::Man),
}

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    // Nothing in a sandbox tool may run with rights its caller does not have.
    if sys::process::is_privileged_by_file() {
        let _ = writeln!(
            io::stderr(),
            "isorecipe does not run set-user-ID or with file capabilities\n\
             help: take them away: `sudo chmod u-s` or `sudo setcap -r`"
        );
        return ExitCode::from(COULD_NOT_START);
    }
    // Of what is typed most often, the parser of everything need not be built.
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(apply) = apply::Apply::plainly(&words) {
        return ExitCode::from(apply.run(&Output::default()));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return usage(&error),
    };
    let output = arguments.output;
    let code = match arguments.command {
        Command::Apply(command) => command.run(&output),
        Command::Batch(command) => command.run(&output),
        Command::Plan(command) => command.run(&output),
        Command::Validate(command) => command.run(&output),
        Command::Doctor(command) => command.run(&output),
        Command::Build(command) => command.run(&output),
        Command::Export(command) => command.run(&output),
        Command::Observe(command) => command.run(&output),
        Command::Diff(command) => command.run(&output),
        Command::Explain(command) => command.run(&output),
        Command::Host(command) => command.run(&output),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    };
    ExitCode::from(code)
}

/// Help and version are results; anything else is wrong usage, which must not
/// look like an end of the command that `apply` was to run.
fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    if !error.use_stderr() {
        return ExitCode::SUCCESS;
    }
    if let Some(recipe) = std::env::args_os().nth(1).filter(|word| Path::new(word).is_file()) {
        let typed = typed(recipe);
        let typed = crate::yaml::spelled_out(&typed);
        let _ = writeln!(io::stderr(), "\nhelp: `isorecipe apply {typed}`");
    }
    let is_command = |word: &OsString| {
        word.to_str().is_some_and(|word| Arguments::command().find_subcommand(word).is_some())
    };
    let first = std::env::args_os().skip(1).find(is_command);
    let starts = first.is_some_and(|word| word == "apply" || word == "batch");
    ExitCode::from(if starts { COULD_NOT_START } else { WRONG_USAGE })
}

impl Output {
    /// One that keeps what is to be said.
    fn keeping() -> Self {
        Self { kept: Some(RefCell::default()), ..Self::default() }
    }

    /// What was kept, which it then keeps no more.
    fn take_kept(&self) -> Vec<Diagnostic> {
        self.kept.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// Says something on standard error that is no diagnostic, where anything is said there.
    fn say(&self, text: &str) {
        if self.kept.is_none() {
            speak::on_stderr(text);
        }
    }

    /// Shows diagnostics on standard error.
    fn complain(&self, diagnostics: &[Diagnostic]) {
        if diagnostics.is_empty() {
            return;
        }
        if let Some(kept) = &self.kept {
            kept.borrow_mut().extend_from_slice(diagnostics);
            return;
        }
        // A picture does not stick to what was printed above it.
        let space = if self.has_printed.replace(true) && !self.json { "\n" } else { "" };
        let text = format!("{space}{}", render(diagnostics, &self.style()));
        speak::on_stderr(&text);
    }

    /// How to show what goes to standard error.
    fn style(&self) -> Style {
        let format = match (self.json, self.plain) {
            (true, _) => Format::Json,
            (_, true) => Format::Plain,
            _ => Format::Fancy,
        };
        let color = self.has_color(&io::stderr());
        Style { format, color, unicode: has_unicode(), width: width() }
    }

    /// How to show what goes to standard output.
    fn style_of_results(&self) -> Style {
        Style { color: self.has_color(&io::stdout()), ..self.style() }
    }

    fn has_color(&self, stream: &impl IsTerminal) -> bool {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        match self.color {
            Color::Always => true,
            Color::Never => false,
            Color::Auto if is_set("NO_COLOR") => false,
            Color::Auto if std::env::var_os("CLICOLOR_FORCE").is_some_and(|value| value != "0") => {
                true
            }
            Color::Auto => stream.is_terminal() && !is_dumb(),
        }
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Whether the locale says UTF-8, in the order of `setlocale(3)`.
fn has_unicode() -> bool {
    ["LC_ALL", "LC_CTYPE", "LANG"]
        .into_iter()
        .filter_map(std::env::var_os)
        .find(|value| !value.is_empty())
        .is_some_and(|locale| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            locale.contains("utf-8") || locale.contains("utf8")
        })
}

/// How wide the terminal is; `COLUMNS` wins.
fn width() -> usize {
    wished_width().or_else(|| sys::terminal::width().map(usize::from)).unwrap_or(100)
}

/// The width that `COLUMNS` asks for.
fn wished_width() -> Option<usize> {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok())
}

/// Where a recipe comes from.
#[derive(Clone, Debug, Default)]
struct RecipePath(PathBuf);

impl From<OsString> for RecipePath {
    fn from(path: OsString) -> Self {
        Self(path.into())
    }
}

/// A recipe that was read, with its text.
struct Loaded {
    recipe: Option<Recipe>,
    document: Document,
    diagnostics: Vec<Diagnostic>,
}

impl RecipePath {
    /// How messages call it.
    fn name(&self) -> String {
        match self.0.as_os_str() == "-" {
            true => "(standard input)".to_owned(),
            false => self.0.display().to_string(),
        }
    }

    /// Where its relative paths start.
    fn folder(&self) -> io::Result<PathBuf> {
        match self.0.parent() {
            Some(parent) if parent.is_absolute() => Ok(parent.components().collect()),
            Some(parent) if self.0.as_os_str() != "-" => {
                let folder: PathBuf = std::env::current_dir()?.join(parent).components().collect();
                // What is not there yet lies in it by its name only.
                let climbs = parent.components().any(|part| part == Component::ParentDir);
                Ok(if climbs { folder.canonicalize().unwrap_or(folder) } else { folder })
            }
            _ => std::env::current_dir(),
        }
    }

    /// The file, by a path that means the same everywhere.
    fn file(&self, folder: &Path) -> Option<PathBuf> {
        let name = self.0.file_name().filter(|name| *name != "-")?;
        Some(folder.join(name))
    }

    /// Reads no more than a recipe may have, wherever it comes from.
    fn bytes(&self) -> io::Result<Vec<u8>> {
        let limit = FILE_LIMIT as u64 + 1;
        // Most recipes are no longer than this, and read at once.
        let mut bytes = Vec::with_capacity(8 * 1024);
        match self.0.as_os_str() == "-" {
            true => io::stdin().lock().take(limit).read_to_end(&mut bytes)?,
            false => File::open(&self.0)?.take(limit).read_to_end(&mut bytes)?,
        };
        Ok(bytes)
    }

    fn load(&self) -> Result<Loaded, Box<Diagnostic>> {
        let bytes =
            self.bytes().map_err(|error| Box::new(recipe::unreadable(&self.name(), &error)))?;
        // A folder that is gone must not become another, in which everything would be the recipe's.
        let folder = self.folder().map_err(|error| Box::new(recipe::nowhere(&error)))?;
        let (recipe, document, diagnostics) = Recipe::read(&bytes, &self.name(), &folder);
        Ok(Loaded { recipe, document, diagnostics })
    }

    /// The recipe, or the exit code after saying what is wrong with it.
    fn load_or_complain(&self, output: &Output) -> Option<(Recipe, Document)> {
        match self.load() {
            Err(diagnostic) => {
                output.complain(&[*diagnostic]);
                None
            }
            Ok(Loaded { recipe, document, diagnostics }) => {
                output.complain(&diagnostics);
                recipe.map(|recipe| (recipe, document))
            }
        }
    }
}

/// Adds places to diagnostics, errors first.
fn located(document: &Document, diagnostics: Vec<Diagnostic>) -> Vec<Diagnostic> {
    let mut located: Vec<_> =
        diagnostics.into_iter().map(|diagnostic| document.locate(diagnostic)).collect();
    located.sort_by_key(|diagnostic| diagnostic.severity() == Severity::Warning);
    located
}

/// Writes a result to standard output; a reader that went away is no problem.
fn print(text: &str) -> u8 {
    print_bytes(text.as_bytes())
}

/// The same for a result with paths in it, which need not be text.
fn print_bytes(bytes: &[u8]) -> u8 {
    match io::stdout().write_all(bytes).and_then(|()| io::stdout().flush()) {
        Ok(()) => 0,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let _ = writeln!(io::stderr(), "isorecipe: standard output: {error}");
            PROBLEM_FOUND
        }
    }
}

/// Whose sandboxes are meant: the caller's, or those of the user behind `sudo`.
fn owner(host: &Host) -> Owner {
    let by_root = host.is_root();
    match &host.invoker {
        Some(invoker) => Owner { uid: invoker.uid, gid: invoker.gid, by_root },
        None => Owner { uid: host.caller.uid, gid: host.caller.gid, by_root: false },
    }
}

/// The caller's environment.
fn environment() -> Vec<(OsString, OsString)> {
    std::env::vars_os().collect()
}
