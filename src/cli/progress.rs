//! How far a build is, drawn on the terminal while there is one.
//!
//! Nobody waits in a thread: the work itself asks to be shown, often.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use crate::build::{Stage, Watch};

use super::{Output, has_unicode, is_dumb, width};

/// What is done sooner needs no bar.
const PATIENCE: Duration = Duration::from_millis(500);
/// How often the bar moves.
const PACE: Duration = Duration::from_millis(100);
const BAR: usize = 24;
const MIB: u64 = 1 << 20;

/// A line at the bottom of the terminal.
pub(super) struct Bar {
    start: Instant,
    last: Option<Instant>,
    is_drawn: bool,
    is_wanted: bool,
    is_json: bool,
    has_unicode: bool,
    turns: usize,
}

impl Bar {
    pub(super) fn new(output: &Output) -> Self {
        let is_wanted = !output.json && !output.plain && io::stderr().is_terminal() && !is_dumb();
        Self {
            start: Instant::now(),
            last: None,
            is_drawn: false,
            is_wanted,
            is_json: output.json,
            has_unicode: has_unicode(),
            turns: 0,
        }
    }

    fn line(&mut self, stage: Stage, done: u64, total: Option<u64>) -> String {
        let what = match stage {
            Stage::Waiting => "waiting for another build",
            Stage::Looking => "looking at what goes in",
            Stage::Copying => "copying",
            Stage::Making => "making the image",
            Stage::Syncing => "writing to disk",
            Stage::Reading => "reading it again",
        };
        self.turns += 1;
        match total.filter(|total| *total > 0) {
            Some(total) => {
                let part = (done.min(total) * BAR as u64 / total) as usize;
                let percent = done.min(total) * 100 / total;
                let (full, empty) = if self.has_unicode { ("█", "░") } else { ("#", ".") };
                format!(
                    "{what}  {}{}  {percent:3} %  {} of {} MiB",
                    full.repeat(part),
                    empty.repeat(BAR - part),
                    done / MIB,
                    total / MIB
                )
            }
            None => {
                let seconds = self.start.elapsed().as_secs();
                let dots = ".".repeat(self.turns % 4);
                format!("{what}{dots:<3}  {seconds} s")
            }
        }
    }

    fn draw(&mut self, line: &str) {
        let line: String = line.chars().take(width().saturating_sub(1)).collect();
        // A terminal that is gone needs no bar.
        let _ = io::stderr().write_all(format!("\r{line}\x1b[K").as_bytes());
        self.is_drawn = true;
    }

    /// Takes the line away again.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_drawn) {
            let _ = io::stderr().write_all(b"\r\x1b[K");
        }
    }
}

impl Watch for Bar {
    fn show(&mut self, stage: Stage, done: u64, total: Option<u64>) {
        if stage == Stage::Waiting && !self.is_wanted && !self.is_json {
            let _ = writeln!(
                io::stderr(),
                "isorecipe: another build of this image is at work; waiting"
            );
        }
        if !self.is_wanted {
            return;
        }
        let now = Instant::now();
        // Nothing moves while it waits, so it says so at once.
        let is_early = now - self.start < PATIENCE && stage != Stage::Waiting;
        if is_early || self.last.is_some_and(|last| now - last < PACE) {
            return;
        }
        self.last = Some(now);
        let line = self.line(stage, done, total);
        self.draw(&line);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
