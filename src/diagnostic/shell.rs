//! Words of a recipe or the system as they are typed in a POSIX shell.
//!
//! **Invariant:** whoever copies a command out of a remedy gives it the very
//! word, and nothing in that word is run (held by `tests/export_words.rs`).

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

/// A word of a command that a person is told to type, quoted where it has to be.
///
/// Single quotes: between double ones an interactive shell still has its way with `!`.
pub fn typed(word: impl AsRef<OsStr>) -> String {
    let word = word.as_ref().as_bytes();
    // No path is an option.
    let here: &[u8] = if word.starts_with(b"-") && word.len() > 1 { b"./" } else { b"" };
    let quoted = if is_plain(word) { word.to_owned() } else { single_quoted(word) };
    String::from_utf8_lossy(&[here, &quoted].concat()).into_owned()
}

/// Whether a shell reads a word as it is.
pub fn is_plain(word: &[u8]) -> bool {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_@%+=:,./-".contains(byte);
    !word.is_empty() && word.iter().all(is_plain)
}

/// Any bytes as one word.
pub fn single_quoted(word: &[u8]) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word {
        match byte {
            b'\'' => quoted.extend(b"'\\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_one_word_and_no_option() {
        let words = ["/usr/bin", "/no such; touch x", "it's", "$(x) `y` !z", "", "-", "-r f"];
        let typed = words.map(typed);
        let expected = [
            "/usr/bin",
            "'/no such; touch x'",
            r"'it'\''s'",
            "'$(x) `y` !z'",
            "''",
            "-",
            "./'-r f'",
        ];
        assert_eq!(typed, expected);
    }

    #[test]
    fn a_script_is_one_word() {
        assert_eq!(single_quoted(b"echo \"it's\""), br#"'echo "it'\''s"'"#);
    }
}
