//! Looking again and again. On a terminal the view is redrawn in place, with
//! marks at what changed last; elsewhere it is written again whenever something
//! has changed.

use std::{
    fs::File,
    io::{self, IsTerminal, Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use nix::sys::signalfd::SignalFd;

use crate::sys::{
    descriptor, signal,
    signal::Along,
    terminal::{self, Modes},
};

use super::sheet::{Pen, Sheet, Weight};

/// How long nobody looks, in milliseconds.
const PAUSE: u16 = 500;
/// The screen that a full-screen program has for itself, without a cursor.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
const HOME: &str = "\u{1b}[H";
const TO_END_OF_LINE: &str = "\u{1b}[K";
const TO_END_OF_SCREEN: &str = "\u{1b}[J";

/// What there was to see.
pub(super) struct Look {
    /// To compare, and to draw
    pub sheet: Sheet,
    /// To write where nothing is drawn
    pub text: String,
}

/// Why nobody looks any more.
pub(super) enum End {
    /// There is nothing more to see
    Over,
    /// The watcher has seen enough
    Left,
    /// A signal ended it
    Signal(i32),
    /// Nobody reads what is written
    Unread,
}

/// Looks until `look` has nothing more to show, or somebody has seen enough.
///
/// # Errors
/// When signals cannot be waited for, or nothing can be written.
pub(super) fn watch<E: From<io::Error>>(
    pen: Pen,
    is_drawn: bool,
    mut look: impl FnMut(Pen) -> Result<Option<Look>, E>,
) -> Result<End, E> {
    let signals = signal::descriptor().map_err(io::Error::from)?;
    let before = signal::hold().map_err(io::Error::from)?;
    let screen = if is_drawn { Screen::open() } else { None };
    let end = match screen {
        Some(mut screen) => screen.watch(pen, &signals, &mut look),
        None => follow(pen, &signals, &mut look),
    };
    let _ = signal::release(&before);
    end
}

/// Writes what is to be seen whenever it has changed.
fn follow<E: From<io::Error>>(
    pen: Pen,
    signals: &SignalFd,
    look: &mut impl FnMut(Pen) -> Result<Option<Look>, E>,
) -> Result<End, E> {
    // A pipe tells when its reader is gone.
    let output = io::stdout();
    let reader = descriptor::is_pipe(output.as_fd()).then(|| output.as_fd().try_clone_to_owned());
    let reader: Option<OwnedFd> = reader.and_then(Result::ok);
    let mut last: Option<Sheet> = None;
    loop {
        let Some(seen) = look(pen)? else { return Ok(End::Over) };
        if last.as_ref().is_none_or(|last| !seen.sheet.is_like(last)) {
            let written = output.lock().write_all(seen.text.as_bytes());
            match written.and_then(|()| output.lock().flush()) {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(End::Unread),
                other => other?,
            }
            last = Some(seen.sheet);
        }
        if let Ok((_, true)) = signal::poll_two(signals, reader.as_ref(), Some(PAUSE)) {
            return Ok(End::Unread);
        }
        while let Some(signal) = signal::next(signals) {
            match signal {
                libc::SIGTSTP => _ = signal::stop(Along::Alone),
                signal if ends(signal) => return Ok(ended_by(signal)),
                _ => {}
            }
        }
    }
}

/// A terminal that was taken over, and is given back as it was.
struct Screen {
    terminal: File,
    descriptor: OwnedFd,
    modes: Modes,
}

/// What is drawn, and what it is compared with.
#[derive(Default)]
struct Drawn {
    now: Option<Sheet>,
    before: Option<Sheet>,
}

impl Screen {
    /// The terminal that standard output is, if keys can be read from it.
    fn open() -> Option<Self> {
        let descriptor = terminal::controlling().filter(|_| io::stdout().is_terminal())?;
        // Who is in the background would be stopped for changing anything.
        let modes = terminal::modes(descriptor.as_fd()).ok()?;
        let terminal = File::from(descriptor.try_clone().ok()?);
        let screen = Self { terminal, descriptor, modes };
        screen.enter().ok()?;
        Some(screen)
    }

    fn enter(&self) -> io::Result<()> {
        terminal::set_modes(self.descriptor.as_fd(), &self.modes.key_by_key())?;
        write(ENTER)
    }

    fn leave(&self) {
        let _ = write(LEAVE);
        let _ = terminal::set_modes(self.descriptor.as_fd(), &self.modes);
    }

    fn watch<E: From<io::Error>>(
        &mut self,
        pen: Pen,
        signals: &SignalFd,
        look: &mut impl FnMut(Pen) -> Result<Option<Look>, E>,
    ) -> Result<End, E> {
        let mut drawn = Drawn::default();
        loop {
            let size = terminal::size();
            let pen = Pen { width: size.map(|(columns, _)| usize::from(columns)), ..pen };
            let Some(seen) = look(pen)? else { return Ok(End::Over) };
            drawn.take(seen.sheet);
            write(&drawn.text(pen, size.map_or(24, |(_, rows)| usize::from(rows))))?;
            if let Some(end) = self.wait(signals)? {
                return Ok(end);
            }
        }
    }

    /// Waits for a key, a signal, or for the time to look again.
    fn wait(&mut self, signals: &SignalFd) -> io::Result<Option<End>> {
        let (_, is_typed) = signal::poll_two(signals, Some(&self.descriptor), Some(PAUSE))?;
        while let Some(signal) = signal::next(signals) {
            match signal {
                libc::SIGTSTP => {
                    self.leave();
                    signal::stop(Along::Group)?;
                    self.enter()?;
                }
                signal if ends(signal) => return Ok(Some(ended_by(signal))),
                _ => {}
            }
        }
        if !is_typed {
            return Ok(None);
        }
        let mut keys = [0; 64];
        Ok(match self.terminal.read(&mut keys) {
            Ok(0) => Some(End::Unread),
            Ok(count) if keys.iter().take(count).any(|key| b"qQ\x03\x04".contains(key)) => {
                Some(End::Left)
            }
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            // The terminal is gone.
            Err(_) => Some(End::Unread),
        })
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Drawn {
    /// What changed stays marked until something else does.
    fn take(&mut self, seen: Sheet) {
        if self.now.as_ref().is_some_and(|now| !seen.is_like(now)) {
            self.before = self.now.take();
        }
        self.now = Some(seen);
    }

    fn text(&self, pen: Pen, rows: usize) -> String {
        let Some(now) = &self.now else { return String::new() };
        let before = self.before.as_ref();
        let mut lines = now.marked(before, pen);
        let room = rows.saturating_sub(2);
        if lines.len() > room {
            let hidden = lines.len() - room.saturating_sub(1);
            lines.truncate(room.saturating_sub(1));
            lines.push(format!("  {hidden} more lines do not fit"));
        }
        let mut foot = Sheet::default();
        foot.line(Weight::Faint, "q leaves; a mark is what changed last");
        lines.push(String::new());
        lines.push(foot.text(pen).trim_end().to_owned());
        // Drawn over what was there, line by line: nothing flickers.
        let body = lines.join(&format!("{TO_END_OF_LINE}\r\n"));
        format!("{HOME}{body}{TO_END_OF_LINE}{TO_END_OF_SCREEN}")
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    output.write_all(text.as_bytes())?;
    output.flush()
}

fn ends(signal: i32) -> bool {
    matches!(signal, libc::SIGINT | libc::SIGTERM | libc::SIGHUP | libc::SIGQUIT | libc::SIGPIPE)
}

/// The keyboard's way to leave is a way to leave.
fn ended_by(signal: i32) -> End {
    match signal {
        libc::SIGINT => End::Left,
        libc::SIGPIPE => End::Unread,
        signal => End::Signal(signal),
    }
}
