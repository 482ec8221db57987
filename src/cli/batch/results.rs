//! What goes to standard output: the results, in the order of the lines or as they come.

use std::{
    collections::BTreeMap,
    os::fd::{AsFd, BorrowedFd},
};

use crate::sys::{Errno, stream};

/// As much as a pipe that takes anything takes at once (`PIPE_BUF`, `pipe(7)`).
const PART: usize = 4096;
/// Nobody begins anything new while so much waits for a reader.
const ENOUGH: usize = 1 << 20;

/// Results on their way.
pub(super) struct Results {
    is_ordered: bool,
    /// The first whose turn has not come, counted from 0
    next: usize,
    early: BTreeMap<usize, Vec<u8>>,
    ready: Vec<u8>,
}

impl Results {
    pub(super) fn new(is_ordered: bool) -> Self {
        Self { is_ordered, next: 0, early: BTreeMap::new(), ready: Vec::new() }
    }

    /// Takes a result; an empty one only lets the others go on.
    pub(super) fn take(&mut self, place: usize, result: Vec<u8>) {
        if !self.is_ordered {
            self.next += 1;
            self.ready.extend(result);
            return;
        }
        self.early.insert(place, result);
        while let Some(result) = self.early.remove(&self.next) {
            self.next += 1;
            self.ready.extend(result);
        }
    }

    /// Whether another may be begun in this place, so that a slow one does not
    /// make all others pile up.
    pub(super) fn has_room(&self, place: usize, ahead: usize) -> bool {
        place < self.next + ahead && self.ready.len() < ENOUGH
    }

    pub(super) fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Writes what is taken without waiting.
    ///
    /// # Errors
    /// As `write(2)`; then nothing is left.
    pub(super) fn write(&mut self) -> Result<(), Errno> {
        let output = std::io::stdout();
        let to: BorrowedFd = output.as_fd();
        let mut done = 0;
        while let Some(rest) = self.ready.get(done..).filter(|rest| !rest.is_empty()) {
            if !stream::takes_more(to) {
                break;
            }
            match nix::unistd::write(to, rest.get(..PART).unwrap_or(rest)) {
                Ok(written) => done += written,
                Err(Errno::EINTR | Errno::EAGAIN) => break,
                Err(errno) => {
                    self.ready.clear();
                    return Err(errno);
                }
            }
        }
        self.ready.drain(..done);
        Ok(())
    }
}
