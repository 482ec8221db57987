//! Words of a command, quoted for a POSIX shell.
//!
//! **Invariant:** whatever the bytes, the shell reads back the very word, and
//! nothing in it is run; and nothing but newlines and tabs in the script acts on
//! the terminal that shows it (both held by `tests/export_words.rs`).

use std::{ffi::OsStr, os::unix::ffi::OsStrExt, path::Path};

use crate::{diagnostic::shell, yaml};

/// The words of one command, as they stand in a script.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Words(Vec<u8>);

impl Words {
    /// Words of ours, which need no quotes, with spaces between.
    pub(super) fn of(words: &str) -> Self {
        Self(words.as_bytes().to_owned())
    }

    /// One more word, quoted where it has to be.
    pub(super) fn word(self, word: impl AsRef<OsStr>) -> Self {
        self.and(quoted(word.as_ref().as_bytes()))
    }

    /// More of our own words, with whatever the shell is to expand in them.
    pub(super) fn raw(self, words: &str) -> Self {
        self.and(words.as_bytes().to_owned())
    }

    /// A path that goes on with what is in a variable.
    pub(super) fn path_before(self, path: &Path, variable: &str) -> Self {
        let path = within_quotes(path.as_os_str().as_bytes());
        self.and([b"\"", path.as_slice(), b"$", variable.as_bytes(), b"\""].concat())
    }

    /// A variable that takes what a command prints.
    pub(super) fn output_of(command: Words, variable: &str) -> Self {
        Self([variable.as_bytes(), b"=$(", &command.0, b")"].concat())
    }

    /// The words of another after these.
    pub(super) fn then(self, words: Words) -> Self {
        self.and(words.0)
    }

    /// Whether this tool is the first word.
    pub(super) fn begins_with(&self, tool: &str) -> bool {
        self.0.split(|&byte| byte == b' ').next() == Some(tool.as_bytes())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn and(mut self, more: Vec<u8>) -> Self {
        if !self.0.is_empty() && !more.is_empty() {
            self.0.push(b' ');
        }
        self.0.extend(more);
        self
    }
}

/// A word as it stands between double quotes, without them. What acts on a
/// terminal is spelled out, since a script is printed and read.
fn within_quotes(word: &[u8]) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(word.len());
    let mut hidden = Vec::new();
    for chunk in word.utf8_chunks() {
        for c in chunk.valid().chars() {
            let mut buffer = [0; 4];
            let bytes = c.encode_utf8(&mut buffer).as_bytes();
            if yaml::is_hidden(c) && !matches!(c, '\n' | '\t') {
                hidden.extend(bytes);
                continue;
            }
            spell_out(&mut hidden, &mut quoted);
            if matches!(c, '\\' | '"' | '$' | '`') {
                quoted.push(b'\\');
            }
            quoted.extend(bytes);
        }
        hidden.extend(chunk.invalid());
    }
    spell_out(&mut hidden, &mut quoted);
    quoted
}

/// Bytes as what `printf` makes of their numbers.
fn spell_out(hidden: &mut Vec<u8>, quoted: &mut Vec<u8>) {
    if hidden.is_empty() {
        return;
    }
    quoted.extend(b"$(printf ");
    for byte in hidden.drain(..) {
        quoted.extend(format!("\\\\{byte:03o}").bytes());
    }
    quoted.push(b')');
}

/// Double quotes, not single ones: most of it stands in a script that is in
/// single quotes itself.
fn quoted(word: &[u8]) -> Vec<u8> {
    if shell::is_plain(word) {
        return word.to_owned();
    }
    [b"\"", within_quotes(word).as_slice(), b"\""].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_shell_would_expand_is_quoted() {
        let words = Words::of("echo").word("a").word("").word("$(x) `y` \"z\" \\").word("it's");
        let expected = r#"echo a "" "\$(x) \`y\` \"z\" \\" "it's""#;
        assert_eq!(words.as_bytes(), expected.as_bytes());
    }
}
