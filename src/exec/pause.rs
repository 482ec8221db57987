//! A wait between two layers, until somebody has looked around.
//!
//! The child waits for its turn meanwhile, so nothing happens in the sandbox.
//! On a terminal a typed line ends the wait, and SIGCONT where there is none.

use std::os::fd::{AsFd, OwnedFd};

use nix::sys::signalfd::SignalFd;

use crate::{
    plan::Pause,
    sys::{
        process::{self, Change},
        signal::{self, Along},
        terminal,
    },
};

use super::Onlooker;

/// The longest line that is an answer.
const LONGEST_ANSWER: usize = 256;

/// What ends a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndsWith {
    /// A line typed at the terminal
    Line,
    /// SIGCONT to the supervisor, which has this PID
    Signal(i32),
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With a wish to go on
    GoOn,
    /// With a wish to go on, and not to be asked again
    RunThrough,
    /// With a wish to stop, by this signal if it was one
    Abandoned(Option<i32>),
    /// With the child
    Over(Change),
}

/// Where answers come from.
pub(super) struct Wait<'a> {
    signals: &'a SignalFd,
    child: i32,
    terminal: Option<OwnedFd>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(signals: &'a SignalFd, child: i32) -> Self {
        Self { signals, child, terminal: terminal::controlling() }
    }

    /// Waits until somebody says how it goes on, or nobody can any more.
    pub(super) fn wait(&self, pause: &Pause, onlooker: &dyn Onlooker, asked_by: i32) -> Ended {
        let ends = match self.at_hand() {
            Some(_) => EndsWith::Line,
            None => EndsWith::Signal(process::own_pid()),
        };
        onlooker.pauses(pause, asked_by, ends);
        loop {
            if let Some(ended) = self.answer() {
                return ended;
            }
            onlooker.asks_again(ends);
        }
    }

    /// The answer; none if the question has to be asked again.
    fn answer(&self) -> Option<Ended> {
        loop {
            // What is typed is for whoever is in the foreground.
            let terminal = self.at_hand();
            match signal::poll_two(self.signals, terminal, None) {
                Ok((_, true)) => return self.read_line(),
                Ok((true, _)) => {
                    if let Some(heard) = self.heed_signals() {
                        return heard;
                    }
                }
                _ => {}
            }
        }
    }

    fn at_hand(&self) -> Option<&OwnedFd> {
        self.terminal.as_ref().filter(|terminal| terminal::is_foreground(terminal.as_fd()))
    }

    fn read_line(&self) -> Option<Ended> {
        let mut line = [0; LONGEST_ANSWER];
        let length = terminal::read(self.terminal.as_ref()?.as_fd(), &mut line).unwrap_or(0);
        match line.get(..length)?.trim_ascii() {
            // The end of the input, not an empty line.
            _ if length == 0 => Some(Ended::Abandoned(None)),
            b"" => Some(Ended::GoOn),
            b"c" => Some(Ended::RunThrough),
            b"q" => Some(Ended::Abandoned(None)),
            _ => None,
        }
    }

    /// Reads every signal that is there: `None` to listen on, `Some(None)` to ask again.
    fn heed_signals(&self) -> Option<Option<Ended>> {
        while let Some(signal) = signal::next(self.signals) {
            match signal {
                libc::SIGCHLD => match process::poll_child(self.child) {
                    Ok(Change::None | Change::Stopped(_)) => {}
                    Ok(end) => return Some(Some(Ended::Over(end))),
                    Err(errno) => return Some(Some(Ended::Over(Change::Unknown(errno)))),
                },
                libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT => {
                    return Some(Some(Ended::Abandoned(Some(signal))));
                }
                libc::SIGTSTP => {
                    let _ = signal::stop(Along::Group);
                    return Some(None);
                }
                libc::SIGCONT if self.at_hand().is_none() => return Some(Some(Ended::GoOn)),
                // A shell has put the job in front.
                libc::SIGCONT => return Some(None),
                _ => {}
            }
        }
        None
    }
}
