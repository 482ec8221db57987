//! `isorecipe observe`: a running sandbox, as the host sees it.

use std::{
    io::{self, Write},
    time::{Duration, SystemTime},
};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    host::Host,
    observe::{self, Report, Target},
    registry::Census,
    sys, yaml,
};

use super::{Output, PROBLEM_FOUND, has_unicode, owner, print, wished_width};

mod list;
mod sentences;
mod sheet;
mod view;
mod watch;

use sheet::{Pen, Sheet};
use watch::{End, Look};

/// Look at a running sandbox from the host: Console 2
///
/// Shows what it has of its own and what it shares with the host: namespaces,
/// ids, hostname, processes, mounts, and what it changed. Without NAME or PID
/// it lists the sandboxes that run. Nothing of a sandbox is changed, and no rights
/// are needed for one's own. What a killed isorecipe left in the list of those
/// that run is taken away.
///
/// Exit status: 0 if there was something to see, or nothing runs; 1 if not, 2
/// for wrong usage. With `--watch`: 128+N if signal N ended it.
#[derive(clap::Args)]
#[command(after_help = "\
Try:
  isorecipe observe                  the sandboxes that run
  isorecipe observe step3            one of them, by its name
  isorecipe observe $$               any process of yours, by its PID
  isorecipe observe step3 --watch    look again and again; leave with `q`")]
pub(super) struct Observe {
    /// A sandbox by its name, or any process by its PID
    #[arg(value_name = "NAME|PID")]
    who: Option<String>,
    /// Look again and again, and mark what has changed
    #[arg(long)]
    watch: bool,
}

impl Observe {
    pub(super) fn run(self, output: &Output) -> u8 {
        let mut observer = Observer { output, who: self.who, target: None, now: None };
        let end = match self.watch {
            true => observer.watch(),
            false => observer.once(),
        };
        end.unwrap_or_else(|trouble| {
            output.complain(&[at_no_place(*trouble.0)]);
            PROBLEM_FOUND
        })
    }
}

/// A name that nobody has is looked for so often, this long apart.
const LOOKS_AGAIN: usize = 6;
const A_MOMENT: Duration = Duration::from_millis(40);

/// Why there is nothing to look at.
struct Trouble(Box<Refusal>);

impl From<Box<Refusal>> for Trouble {
    fn from(refusal: Box<Refusal>) -> Self {
        Self(refusal)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        let message = "what changes cannot be shown here";
        let why = sys::error_words(&error);
        let refusal = Refusal::new("observe::unwatchable", message);
        Self(refusal.why(why).help("leave out `--watch`").into())
    }
}

/// Somebody who looks, once or often.
struct Observer<'a> {
    output: &'a Output,
    who: Option<String>,
    /// Whom the first look found
    target: Option<Target>,
    /// The time of the first look, for a test that compares
    now: Option<u64>,
}

impl Observer<'_> {
    fn once(&mut self) -> Result<u8, Trouble> {
        let report = self.look()?;
        if let Report::All { sandboxes } = &report
            && sandboxes.is_empty()
            && !self.output.json
        {
            self.say("no sandbox of yours is running");
            return Ok(0);
        }
        let pen = self.pen();
        Ok(print(&self.text(&report, &self.sheet(&report, pen), pen)))
    }

    fn watch(&mut self) -> Result<u8, Trouble> {
        let is_drawn = !self.output.json && !self.output.plain;
        let pen = self.pen();
        let end = watch::watch(pen, is_drawn, |pen| match self.look() {
            Ok(report) => {
                let sheet = self.sheet(&report, pen);
                Ok(Some(Look { text: self.text(&report, &sheet, pen), sheet }))
            }
            // Whom somebody has seen already is not missing, but gone.
            Err(refusal) if self.target.is_some() && refusal.code() == "observe::gone" => Ok(None),
            Err(refusal) => Err(Trouble(refusal)),
        })?;
        match end {
            End::Over => {
                let name = self.target.as_ref().map_or(String::new(), Target::name);
                self.say(&format!("{name} has ended"));
                Ok(0)
            }
            End::Left | End::Unread => Ok(0),
            End::Signal(signal) => Ok((128 + signal) as u8),
        }
    }

    /// What there is to see now. A sandbox that has just begun is announced in
    /// a moment.
    fn look(&mut self) -> Result<Report, Box<Refusal>> {
        for _ in 0..LOOKS_AGAIN {
            match self.look_once() {
                Err(refusal) if refusal.code() == "observe::unknown" && self.target.is_none() => {
                    std::thread::sleep(A_MOMENT);
                }
                other => return other,
            }
        }
        self.look_once()
    }

    fn look_once(&mut self) -> Result<Report, Box<Refusal>> {
        let census = observe::running(&owner(&Host::at_hand()));
        if self.now.is_none() {
            self.complain(&census);
        }
        self.now = Some(seconds_since_1970());
        let Some(who) = &self.who else {
            return Ok(Report::All { sandboxes: observe::list(&census.running) });
        };
        let target = match &self.target {
            Some(known) => observe::find_again(known, &census.running)?,
            None => observe::find(who, &census.running)?,
        };
        let view = observe::look(self.target.insert(target))?;
        Ok(Report::One(Box::new(view)))
    }

    fn complain(&self, census: &Census) {
        let complaints: Vec<Diagnostic> = census
            .distrusted
            .iter()
            .map(|distrust| at_no_place(observe::distrusted(distrust)).warning())
            .collect();
        self.output.complain(&complaints);
    }

    fn sheet(&self, report: &Report, pen: Pen) -> Sheet {
        let now = self.now.unwrap_or_default();
        match (report, self.output.plain || self.output.json) {
            (Report::One(view), true) => sentences::view(view, now),
            (Report::One(view), false) => view::sheet(view, now, pen),
            (Report::All { sandboxes }, true) => sentences::list(sandboxes, now),
            (Report::All { sandboxes }, false) => list::sheet(sandboxes, now, pen),
        }
    }

    fn text(&self, report: &Report, sheet: &Sheet, pen: Pen) -> String {
        match self.output.json {
            true => format!("{}\n", serde_json::to_string(report).unwrap_or_default()),
            false => sheet.text(pen),
        }
    }

    /// Off a terminal nothing is cut off, unless somebody asks for a width.
    fn pen(&self) -> Pen {
        let columns = || sys::terminal::size().map(|(columns, _)| usize::from(columns));
        Pen {
            color: !self.output.plain && self.output.has_color(&io::stdout()),
            unicode: has_unicode(),
            width: wished_width().or_else(columns).filter(|_| !self.output.plain),
        }
    }

    /// Something that is no problem, for people.
    fn say(&self, text: &str) {
        if !self.output.json {
            let _ = writeln!(io::stderr(), "{text}");
        }
    }
}

fn at_no_place(refusal: Refusal) -> Diagnostic {
    refusal.at(yaml::Path::root())
}

fn seconds_since_1970() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
