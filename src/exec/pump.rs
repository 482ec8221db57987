//! What the command prints, on its way through the supervisor, which counts it
//! and passes it on, or keeps it for the onlooker.
//!
//! Only where output is limited or kept: otherwise the command has the caller's
//! own streams. A stream is read no faster than it can be passed on, so that the
//! supervisor never waits for whoever reads.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys::{
    Errno, descriptor,
    stream::{self, Wish},
};

/// As much as a pipe that takes anything takes at once (`pipe(7)`, `PIPE_BUF`).
const PART: usize = 4096;
/// After so many parts, somebody else gets a turn.
const PARTS: usize = 16;
/// As many are in the largest pipe (`/proc/sys/fs/pipe-max-size`). Who was left in
/// the background may go on printing for ever.
const PARTS_OF_REST: usize = 256;

/// The two ends that the command writes to, in the places of 1 and 2.
pub(super) struct Ends(Vec<OwnedFd>);

/// Output on its way.
pub(super) struct Pump {
    streams: Vec<Stream>,
    most: u64,
    passed: u64,
    is_exceeded: bool,
}

struct Stream {
    /// Nothing, once nobody writes any more
    from: Option<OwnedFd>,
    to: To,
    held: Vec<u8>,
}

/// Where it goes.
enum To {
    Stream(BorrowedFd<'static>),
    /// To the onlooker, up to so many bytes
    Onlooker(usize, Kept),
}

/// What was printed on one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Its beginning
    pub bytes: Vec<u8>,
    /// Whether there was more
    pub is_cut: bool,
}

/// What a command printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed {
    /// On standard output
    pub output: Kept,
    /// On standard error
    pub error: Kept,
}

impl Pump {
    /// Pipes for standard output and error, if there is a limit or somebody keeps
    /// so many bytes of each.
    ///
    /// # Errors
    /// As `pipe2(2)` and `fstat(2)`.
    pub(super) fn open(
        most: Option<u64>,
        kept: Option<usize>,
    ) -> Result<(Option<Self>, Ends), Errno> {
        let to = match (most, kept) {
            (None, None) => return Ok((None, Ends(Vec::new()))),
            (_, Some(kept)) => vec![To::onlooker(kept), To::onlooker(kept)],
            (Some(_), None) => To::streams()?,
        };
        let (mut streams, mut ends) = (Vec::new(), Vec::new());
        for to in to {
            let (from, end) = stream::pipe()?;
            streams.push(Stream { from: Some(from), to, held: Vec::new() });
            ends.push(end);
        }
        let most = most.unwrap_or(u64::MAX);
        Ok((Some(Self { streams, most, passed: 0, is_exceeded: false }), Ends(ends)))
    }

    /// What was kept of both streams, if it was to be.
    pub(super) fn take_kept(&mut self) -> Option<Printed> {
        match self.streams.as_mut_slice() {
            [
                Stream { to: To::Onlooker(_, output), .. },
                Stream { to: To::Onlooker(_, error), .. },
            ] => {
                let (output, error) = (std::mem::take(output), std::mem::take(error));
                Some(Printed { output, error })
            }
            _ => None,
        }
    }

    /// What the supervisor has to wait for.
    pub(super) fn wishes(&self) -> Vec<(BorrowedFd<'_>, Wish)> {
        self.streams.iter().filter_map(Stream::wish).collect()
    }

    /// Passes on what there is, as far as it is taken without waiting; says
    /// whether the limit is exceeded by now.
    pub(super) fn turn(&mut self) -> bool {
        self.pass_on(PARTS);
        self.is_exceeded
    }

    fn pass_on(&mut self, parts: usize) {
        let Self { streams, most, passed, is_exceeded } = self;
        for stream in streams {
            for _ in 0..parts {
                if stream.held.is_empty() && !stream.read(*most, passed, is_exceeded) {
                    break;
                }
                if !stream.write() {
                    break;
                }
            }
        }
    }

    /// Whether everything that was printed is passed on.
    pub(super) fn is_empty(&mut self) -> bool {
        self.pass_on(PARTS_OF_REST);
        self.streams.iter().all(|stream| stream.held.is_empty())
    }

    /// Whether the limit is exceeded.
    pub(super) fn is_over(&self) -> bool {
        self.is_exceeded
    }

    /// The limit, if it was exceeded.
    pub(super) fn exceeded(&self) -> Option<u64> {
        self.is_exceeded.then_some(self.most)
    }
}

impl To {
    /// The caller's streams; one for both where they are the same place, so that
    /// what is printed stays in order.
    fn streams() -> Result<Vec<Self>, Errno> {
        let [_, output, error] = descriptor::standard_streams();
        Ok(match stream::is_same(output, error)? {
            true => vec![Self::Stream(output)],
            false => vec![Self::Stream(output), Self::Stream(error)],
        })
    }

    fn onlooker(most: usize) -> Self {
        Self::Onlooker(most, Kept::default())
    }
}

impl Stream {
    fn wish(&self) -> Option<(BorrowedFd<'_>, Wish)> {
        match (&self.from, &self.to, self.held.is_empty()) {
            (_, To::Stream(to), false) => Some((*to, Wish::Write)),
            (Some(from), _, _) => Some((from.as_fd(), Wish::Read)),
            (None, _, _) => None,
        }
    }

    /// Takes the next part, up to the limit; says whether there is something to write.
    fn read(&mut self, most: u64, passed: &mut u64, is_exceeded: &mut bool) -> bool {
        let Some(from) = &self.from else { return false };
        let mut part = [0; PART];
        let length = match nix::unistd::read(from, &mut part) {
            Err(Errno::EAGAIN | Errno::EINTR) => return false,
            Ok(0) | Err(_) => {
                self.from = None;
                return false;
            }
            Ok(length) => length,
        };
        let left = usize::try_from(most.saturating_sub(*passed)).unwrap_or(usize::MAX);
        if length > left {
            *is_exceeded = true;
            self.from = None;
        }
        let allowed = part.get(..length.min(left)).unwrap_or_default();
        *passed = passed.saturating_add(allowed.len() as u64);
        self.held.extend_from_slice(allowed);
        !self.held.is_empty()
    }

    /// Passes on what is held; says whether all of it is gone.
    fn write(&mut self) -> bool {
        let to = match &mut self.to {
            To::Stream(to) => *to,
            To::Onlooker(most, kept) => {
                kept.take(&mut self.held, *most);
                return true;
            }
        };
        if !stream::takes_more(to) {
            return false;
        }
        match nix::unistd::write(to, &self.held) {
            Ok(length) => drop(self.held.drain(..length.min(self.held.len()))),
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            // Nobody reads any more: so it shall be for the command.
            Err(_) => {
                self.from = None;
                self.held.clear();
            }
        }
        self.held.is_empty()
    }
}

impl Kept {
    fn take(&mut self, held: &mut Vec<u8>, most: usize) {
        let room = most.saturating_sub(self.bytes.len());
        self.is_cut |= held.len() > room;
        held.truncate(room);
        self.bytes.append(held);
    }
}

impl Ends {
    /// Puts the pipes where the command prints to. In the child: nothing is allocated.
    ///
    /// # Errors
    /// As `dup2(2)`.
    pub(super) fn take_places(&self) -> Result<(), Errno> {
        let Some(output) = self.0.first() else { return Ok(()) };
        let error = self.0.last().unwrap_or(output);
        descriptor::put_at(output.as_fd(), 1)?;
        descriptor::put_at(error.as_fd(), 2)
    }
}
