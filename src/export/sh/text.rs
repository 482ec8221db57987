//! A script of scripts: whoever makes namespaces becomes a program that runs
//! the rest, so each `unshare` is followed by a shell of its own.

use crate::diagnostic::shell;

use super::words::Words;

/// What one shell of the script does.
#[derive(Default)]
pub(super) struct Level {
    /// What the shell before becomes, to start this one
    pub opening: Words,
    /// Words for `$1` and so on
    pub arguments: Words,
    /// Its commands
    pub lines: Vec<Line>,
}

pub(super) enum Line {
    /// A command, or a comment
    Plain(Words),
    /// What the shell becomes in the end
    Become(Words),
}

impl Level {
    /// The level behind these words.
    pub(super) fn behind(opening: Words) -> Self {
        Self { opening, ..Self::default() }
    }

    pub(super) fn push(&mut self, line: Words) {
        self.lines.push(Line::Plain(line));
    }

    /// The only thing it does is to become something else.
    fn becomes(&self) -> Option<&Words> {
        match self.lines.as_slice() {
            [Line::Become(words)] => Some(words),
            _ => None,
        }
    }
}

/// The whole script.
pub(super) fn text(levels: &[Level]) -> Vec<u8> {
    let mut text = b"#!/bin/sh\nset -e\n".to_vec();
    text.extend(body(levels, 0));
    text
}

/// The commands of the first level, and those of all the others in its last.
fn body(levels: &[Level], depth: usize) -> Vec<u8> {
    let Some((level, rest)) = levels.split_first() else { return Vec::new() };
    let indent = "    ".repeat(depth);
    let mut text = Vec::new();
    let mut push = |command: &str, words: &[u8]| {
        text.extend([indent.as_bytes(), command.as_bytes(), words, b"\n"].concat());
    };
    for line in &level.lines {
        match line {
            Line::Plain(words) => push("", words.as_bytes()),
            Line::Become(words) => push("exec ", words.as_bytes()),
        }
    }
    if !rest.is_empty() {
        push("exec ", &start(rest, depth));
    }
    text
}

/// The command that starts the next level.
fn start(levels: &[Level], depth: usize) -> Vec<u8> {
    let Some((level, rest)) = levels.split_first() else { return Vec::new() };
    let mut words = level.opening.as_bytes().to_vec();
    words.push(b' ');
    match level.becomes() {
        Some(last) => words.extend(last.as_bytes()),
        // A shell that does nothing can be left out.
        None if level.lines.is_empty() => words.extend(start(rest, depth)),
        None => {
            let mut inner = b"\n".to_vec();
            inner.extend(body(levels, depth + 1));
            inner.extend("    ".repeat(depth).bytes());
            words.extend(b"sh -ec ");
            words.extend(shell::single_quoted(&inner));
            if !level.arguments.is_empty() {
                words.extend(b" ");
                words.extend(level.arguments.as_bytes());
            }
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn level(opening: &str, lines: &[&str], last: Option<&str>) -> Level {
        let mut level = Level::behind(Words::of(opening));
        lines.iter().for_each(|line| level.push(Words::of(line)));
        level.lines.extend(last.map(|last| Line::Become(Words::of(last))));
        level
    }

    #[test]
    fn a_shell_that_does_nothing_is_left_out() {
        let levels = [level("", &[], None), level("a", &[], None), level("b", &[], Some("c"))];
        assert_eq!(text(&levels), b"#!/bin/sh\nset -e\nexec a b c\n");
    }

    #[test]
    fn a_script_stands_in_another() {
        let levels = [level("", &["x"], None), level("a", &["y 'z'"], Some("c"))];
        let expected = "#!/bin/sh\nset -e\nx\nexec a sh -ec '\n    y '\\''z'\\''\n    exec c\n'\n";
        assert_eq!(String::from_utf8_lossy(&text(&levels)), expected);
    }
}
