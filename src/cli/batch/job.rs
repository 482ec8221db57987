//! A line of standard input: words, or JSON.

use std::ffi::OsString;

use indexmap::IndexMap;
use serde::Deserialize;

use crate::{diagnostic::Refusal, yaml::printable};

/// The longest line.
pub(super) const LONGEST: usize = 1 << 20;

/// What is to run in a sandbox.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Job {
    /// The recipe's own command, if there are no words
    pub command: Vec<OsString>,
    /// Variables over the caller's and the recipe's
    pub variables: Vec<(OsString, OsString)>,
    /// What the command finds on standard input; nothing otherwise
    pub input: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields {
    args: Option<Vec<String>>,
    #[serde(default)]
    env: IndexMap<String, String>,
    stdin: Option<String>,
}

impl Job {
    /// Reads a line. One that begins with `{` is JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn read(line: &[u8]) -> Result<Self, Refusal> {
        if line.len() > LONGEST {
            return Err(too_long());
        }
        let text = str::from_utf8(line).map_err(|error| not_text(error.valid_up_to()))?.trim();
        let job = match text.starts_with('{') {
            true => Self::of(serde_json::from_str(text).map_err(|error| not_json(&error))?)?,
            false => Self { command: words(text)?, ..Self::default() },
        };
        job.without_nul()
    }

    fn of(fields: Fields) -> Result<Self, Refusal> {
        if fields.args.as_ref().is_some_and(Vec::is_empty) {
            return Err(no_words());
        }
        let is_name = |name: &String| !name.is_empty() && !name.contains(['=', '\0']);
        if let Some(name) = fields.env.keys().find(|name| !is_name(name)) {
            return Err(not_a_name(name));
        }
        let variables = fields.env.into_iter().map(|(name, value)| (name.into(), value.into()));
        Ok(Self {
            command: fields.args.unwrap_or_default().into_iter().map(OsString::from).collect(),
            variables: variables.collect(),
            input: fields.stdin,
        })
    }

    /// The kernel would cut a word there.
    fn without_nul(self) -> Result<Self, Refusal> {
        let values = self.variables.iter().map(|(_, value)| value);
        match self.command.iter().chain(values).any(|word| word.as_encoded_bytes().contains(&0)) {
            true => Err(nul()),
            false => Ok(self),
        }
    }
}

fn words(text: &str) -> Result<Vec<OsString>, Refusal> {
    let words = shlex::split(text).ok_or_else(not_words)?;
    Ok(words.into_iter().map(OsString::from).collect())
}

fn too_long() -> Refusal {
    Refusal::new("batch::too_long", "this line is too long")
        .why("a line has 1 MiB at most")
        .help("put what the command is to read into a file, and `bind` it")
}

fn not_text(at: usize) -> Refusal {
    Refusal::new("batch::not_text", "this line is not UTF-8")
        .why(format!("byte {} is part of no character", at + 1))
        .help("`iconv -f latin1 -t utf-8` makes UTF-8 of Latin-1")
}

fn not_words() -> Refusal {
    Refusal::new("batch::not_words", "this line cannot be split into words")
        .why("a quote is not closed, or nothing follows a backslash at its end")
        .help("close the quote, or write JSON: `{\"args\": [\"echo\", \"it's\"]}`")
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let text = error.to_string();
    let what = text.split(" at line ").next().unwrap_or_default();
    Refusal::new("batch::not_json", "this line is no command in JSON")
        .why(format!("character {}: {}", error.column(), printable(what)))
        .help("write `{\"args\": [\"id\", \"-u\"]}`, with `env` and `stdin` if need be")
}

fn no_words() -> Refusal {
    Refusal::new("command::empty", "this command has no words")
        .why("the first of `args` is the program")
        .help("leave `args` out for the recipe's own command")
}

fn not_a_name(name: &str) -> Refusal {
    Refusal::new("env::not_a_name", "this cannot be the name of a variable")
        .why(format!("`{}`: a name has a letter, and no `=` or NUL", printable(name)))
        .help("write the value behind a colon: `\"env\": {\"LANG\": \"C\"}`")
}

fn nul() -> Refusal {
    Refusal::new("word::nul", "this text has a NUL byte")
        .why("the kernel would cut it off there")
        .help("take the `\\u0000` out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(line: &str) -> Vec<String> {
        let job = Job::read(line.as_bytes()).unwrap_or_else(|refusal| panic!("{refusal:?}"));
        job.command.into_iter().map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn words_are_read_as_a_shell_reads_them_and_nothing_is_expanded() {
        assert_eq!(command("echo 'a b'  \"c\\\"d\" e\\ f # g"), ["echo", "a b", "c\"d", "e f"]);
        assert_eq!(command("echo $HOME *; ls | wc\r"), ["echo", "$HOME", "*;", "ls", "|", "wc"]);
    }

    #[test]
    fn what_json_leaves_out_is_the_recipes() {
        assert_eq!(Job::read(b"{}"), Ok(Job::default()));
        let job = Job::read(br#" {"args":["a",""],"env":{"A":"b"},"stdin":"x\n"}"#);
        let expected = Job {
            command: vec!["a".into(), "".into()],
            variables: vec![("A".into(), "b".into())],
            input: Some("x\n".to_owned()),
        };
        assert_eq!(job, Ok(expected));
    }

    #[test]
    fn a_line_that_is_no_command_is_refused_by_its_condition() {
        for (line, code) in [
            (&b"echo 'a"[..], "batch::not_words"),
            (b"echo \xff", "batch::not_text"),
            (b"{\"args\":", "batch::not_json"),
            (b"{\"cmd\":[]}", "batch::not_json"),
            (b"{\"args\":[]}", "command::empty"),
            (b"{\"env\":{\"A=\":\"\"}}", "env::not_a_name"),
            (b"{\"args\":[\"a\\u0000\"]}", "word::nul"),
            (&[b'a'; LONGEST + 1], "batch::too_long"),
        ] {
            assert_eq!(
                Job::read(line).map_err(|refusal| refusal.code().to_owned()),
                Err(code.to_owned())
            );
        }
    }
}
