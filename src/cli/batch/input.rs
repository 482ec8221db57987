//! Standard input, line by line, as far as it has come.

use std::os::fd::BorrowedFd;

use crate::sys::Errno;

use super::job::LONGEST;

const PART: usize = 16 * 1024;

/// Lines that are still to be handed out.
#[derive(Default)]
pub(super) struct Input {
    held: Vec<u8>,
    /// In so much of what is held there is no end of a line
    looked: usize,
    number: u64,
    is_over: bool,
    /// Whether what comes is still of a line that is too long
    is_too_long: bool,
}

impl Input {
    /// Reads what there is.
    ///
    /// # Errors
    /// As `read(2)`; nothing more comes then.
    pub(super) fn fill(&mut self, from: BorrowedFd) -> Result<(), Errno> {
        let mut part = [0; PART];
        match nix::unistd::read(from, &mut part) {
            Ok(0) => self.is_over = true,
            Ok(length) => self.held.extend_from_slice(part.get(..length).unwrap_or_default()),
            Err(Errno::EINTR | Errno::EAGAIN) => {}
            Err(errno) => {
                self.close();
                return Err(errno);
            }
        }
        Ok(())
    }

    /// Nothing more comes.
    pub(super) fn close(&mut self) {
        self.is_over = true;
        self.held.clear();
    }

    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The next line with something in it but a comment, and its number.
    pub(super) fn next_line(&mut self) -> Option<(u64, Vec<u8>)> {
        loop {
            let line = self.cut()?;
            self.number += 1;
            if !matches!(line.trim_ascii().first(), None | Some(b'#')) {
                return Some((self.number, line));
            }
        }
    }

    /// The next whole line; of one that is too long, so much that it shows.
    fn cut(&mut self) -> Option<Vec<u8>> {
        loop {
            let rest = self.held.get(self.looked..).unwrap_or_default();
            let end = rest.iter().position(|&byte| byte == b'\n').map(|at| self.looked + at);
            let is_tail = std::mem::replace(&mut self.is_too_long, false);
            let line = match end {
                Some(end) => {
                    let mut line: Vec<u8> = self.held.drain(..=end).collect();
                    line.pop();
                    line
                }
                None if self.is_over && self.held.is_empty() => return None,
                None if self.is_over => std::mem::take(&mut self.held),
                None if is_tail || self.held.len() > LONGEST => {
                    self.is_too_long = true;
                    std::mem::take(&mut self.held)
                }
                None => {
                    self.looked = self.held.len();
                    return None;
                }
            };
            self.looked = 0;
            match is_tail {
                false => return Some(line),
                true if self.is_too_long && line.is_empty() => return None,
                true => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of the lines, and how long they are, however the input is cut into parts.
    fn lines(text: &[u8], part: usize) -> Vec<(u64, usize)> {
        let (mut input, mut found) = (Input::default(), Vec::new());
        let mut take = |input: &mut Input| {
            while let Some((number, line)) = input.next_line() {
                found.push((number, line.len().min(LONGEST + 1)));
            }
        };
        for part in text.chunks(part) {
            input.held.extend_from_slice(part);
            take(&mut input);
        }
        input.is_over = true;
        take(&mut input);
        found
    }

    #[test]
    fn lines_are_counted_with_those_that_say_nothing() {
        let text = b"one\n\n  # two\n four \n\nend";
        for part in 1..text.len() {
            assert_eq!(lines(text, part), [(1, 3), (4, 6), (6, 3)]);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_one_line() {
        let text = [&[b'a'; 3 * LONGEST][..], b"\nb\n"].concat();
        for part in [1000, LONGEST / 2, LONGEST + 1, text.len()] {
            assert_eq!(lines(&text, part), [(1, LONGEST + 1), (2, 1)]);
        }
    }
}
