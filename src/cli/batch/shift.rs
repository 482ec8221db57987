//! From the first line to the last result: lines to whoever is idle, results in
//! their order, and an end to all of it when somebody wants one.

use std::{
    os::fd::{AsFd, BorrowedFd},
    time::Instant,
};

use nix::sys::signalfd::SignalFd;

use crate::sys::{
    Errno, descriptor, signal,
    stream::{self, Wish},
};

use super::{
    AHEAD, GRACE,
    crew::{Crew, Task, Word},
    input::Input,
    maker::{self, END_AT_ONCE},
    results::Results,
};

/// How a batch ended.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// Every line has its result
    Done {
        /// Whether every command ran
        all_ran: bool,
    },
    /// This signal ended it
    Stopped(i32),
    /// Nobody could be made to do it
    NoCrew(Errno),
    /// The lines could not be read
    Unreadable(Errno),
    /// The results could not be written
    Unwritable(Errno),
}

/// A batch at work.
pub(super) struct Shift<'a> {
    crew: Crew<'a>,
    signals: SignalFd,
    input: Input,
    /// The line that is handed out next
    waiting: Option<(u64, Vec<u8>)>,
    /// Its place among all
    place: usize,
    results: Results,
    end: End,
    /// When what still runs is made to end, and by which signal
    harder: Option<(Instant, i32)>,
}

impl<'a> Shift<'a> {
    pub(super) fn new(crew: Crew<'a>, signals: SignalFd, results: Results) -> Self {
        Self {
            crew,
            signals,
            input: Input::default(),
            waiting: None,
            place: 0,
            results,
            end: End::Done { all_ran: true },
            harder: None,
        }
    }

    pub(super) fn run(mut self) -> End {
        loop {
            self.hand_out();
            match self.results.write() {
                Ok(()) => {}
                // Nobody reads them any more, so nobody wants them.
                Err(Errno::EPIPE) => self.stop(End::Stopped(libc::SIGPIPE)),
                Err(errno) => self.stop(End::Unwritable(errno)),
            }
            let is_done = self.input.is_over() && self.waiting.is_none() && !self.crew.is_busy();
            if is_done && self.results.is_empty() {
                break;
            }
            self.wait();
        }
        self.crew.dismiss();
        self.end
    }

    /// Gives lines to those who are idle.
    fn hand_out(&mut self) {
        let ahead = AHEAD * (self.crew.most() + 1);
        loop {
            self.waiting = self.waiting.take().or_else(|| self.input.next_line());
            if self.waiting.is_none() || !self.results.has_room(self.place, ahead) {
                return;
            }
            match self.crew.has_somebody() {
                Ok(true) => {}
                Ok(false) => return,
                Err(errno) => return self.stop(End::NoCrew(errno)),
            }
            if let Some((number, line)) = self.waiting.take() {
                self.crew.give(Task { place: self.place, number }, &line);
                self.place += 1;
            }
        }
    }

    /// Waits until something can be done, and does it.
    fn wait(&mut self) {
        let [input, output, _] = descriptor::standard_streams();
        let wants_lines = self.waiting.is_none() && !self.input.is_over();
        let mut wishes: Vec<(BorrowedFd, Wish)> = vec![(self.signals.as_fd(), Wish::Read)];
        wishes.extend(self.crew.lines().map(|line| (line, Wish::Read)));
        let members = wishes.len();
        wishes.extend(wants_lines.then_some((input, Wish::Read)));
        wishes.extend((!self.results.is_empty()).then_some((output, Wish::Write)));
        let ready = stream::poll_wishes(&wishes, self.patience()).unwrap_or_default();
        if ready.first() == Some(&true) {
            self.heed_signals();
        }
        // From behind: who is gone leaves the place to the last.
        for which in (1..members).rev().filter(|&which| ready.get(which) == Some(&true)) {
            self.hear(which - 1);
        }
        if wants_lines
            && ready.get(members) == Some(&true)
            && let Err(errno) = self.input.fill(input)
        {
            self.stop(End::Unreadable(errno));
        }
        self.press();
    }

    fn hear(&mut self, which: usize) {
        let is_stopping = self.harder.is_some();
        let (task, result) = match self.crew.hear(which) {
            Word::Nothing | Word::Gone(None, _) => return,
            Word::Result(task, result) => (task, result),
            // It was at nothing yet, or was made to end.
            Word::Gone(Some(task), _) if is_stopping => (task, Vec::new()),
            Word::Gone(Some(task), why) => (task, maker::lost(task.number, &why)),
        };
        let (head, result) = result.split_at_checked(1).unwrap_or_default();
        if head != maker::RAN
            && let End::Done { all_ran } = &mut self.end
        {
            *all_ran = false;
        }
        self.results.take(task.place, result.to_vec());
    }

    fn heed_signals(&mut self) {
        while let Some(signal) = signal::next(&self.signals) {
            match signal {
                libc::SIGCHLD => {
                    while let Some(which) = self.crew.departed() {
                        self.hear(which);
                    }
                }
                signal if signal::is_ignored(signal) => {}
                // Who asks twice does not want to wait.
                _ if self.harder.is_some() => self.harder = Some((Instant::now(), END_AT_ONCE)),
                signal => self.stop(End::Stopped(signal)),
            }
        }
    }

    /// Begins nothing new, and asks what runs to end.
    fn stop(&mut self, end: End) {
        self.input.close();
        self.waiting = None;
        if self.harder.is_none() {
            self.end = end;
            self.crew.signal(libc::SIGTERM);
            self.harder = Some((Instant::now() + GRACE, END_AT_ONCE));
        }
    }

    /// Makes what did not end by itself do so.
    fn press(&mut self) {
        if let Some((at, signal)) = self.harder
            && at <= Instant::now()
        {
            self.crew.signal(signal);
            self.harder = Some((Instant::now() + GRACE, libc::SIGKILL));
        }
    }

    /// How many milliseconds nothing may happen before there is something to do.
    fn patience(&self) -> Option<u16> {
        let (at, _) = self.harder?;
        let left = at.saturating_duration_since(Instant::now());
        Some(u16::try_from(left.as_millis().saturating_add(1)).unwrap_or(u16::MAX))
    }
}
