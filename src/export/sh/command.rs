//! The last line: what the command may do, what is in its environment, and the
//! command itself.

use std::ffi::{OsStr, OsString};

use crate::{
    diagnostic::{Diagnostic, Refusal},
    recipe::{Recipe, Run},
    yaml,
};

use super::{rights::Rights, words::Words};

/// Where a shell looks when nobody has told it.
const DEFAULT_PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// The command of a run.
pub(super) struct Command<'a> {
    pub recipe: &'a Recipe,
    pub run: &'a Run,
}

impl Command<'_> {
    /// Its words behind those of its rights and its environment.
    pub(super) fn words(&self, rights: &Rights, stays: bool) -> Words {
        let command = self.command();
        let first = command.first().map(|word| word.as_encoded_bytes()).unwrap_or_default();
        let (is_like_option, is_like_variable) = (first.starts_with(b"-"), first.contains(&b'='));
        let environment = self.environment(is_like_option);
        let mut words = rights.words().then(environment.clone());
        if !environment.is_empty() && is_like_variable {
            // To `env` it would be one more.
            words = words.raw("sh -c \"exec \\\"\\$@\\\"\" sh");
        } else if words.is_empty() && (stays || is_like_option) {
            words = words.raw("env");
        }
        if environment.is_empty() && is_like_option {
            words = words.raw("--");
        }
        match command.is_empty() {
            true => words.raw("\"${SHELL:-/bin/sh}\""),
            false => command.iter().fold(words, Words::word),
        }
    }

    /// The programs that it takes to start it.
    pub(super) fn tools(&self, rights: &Rights, stays: bool) -> Vec<&'static str> {
        let mut tools = rights.tools();
        if tools.is_empty() && self.words(rights, stays).begins_with("env") {
            tools.push("env");
        }
        tools
    }

    /// The caller's PATH, where the shell looks for its tools.
    pub(super) fn search_path(&self) -> &OsStr {
        let path = self.run.environment.iter().find(|(name, _)| name == "PATH");
        path.map_or(OsStr::new(DEFAULT_PATH), |(_, path)| path)
    }

    /// As given; nothing where it is the caller's shell.
    fn command(&self) -> Vec<OsString> {
        if !self.run.command.is_empty() {
            return self.run.command.clone();
        }
        let given = self.recipe.command.iter().flatten();
        given.map(|word| word.0.clone().into()).collect()
    }

    /// `env` and its words, if the recipe changes anything.
    fn environment(&self, ends_options: bool) -> Words {
        let recipe = self.recipe;
        if !recipe.clear_env && recipe.env.is_empty() {
            return Words::default();
        }
        let mut words = Words::of(if recipe.clear_env { "env -i" } else { "env" });
        if ends_options || recipe.env.keys().any(|name| name.starts_with('-')) {
            words = words.raw("--");
        }
        for name in self.passed() {
            words = words.raw(&format!("${{{name}+\"{name}=${name}\"}}"));
        }
        let set = |words: Words, (name, value): (&String, &crate::layers::Word)| {
            words.word(format!("{name}={}", value.0))
        };
        recipe.env.iter().fold(words, set)
    }

    /// Variables of the caller that stay though all others go.
    fn passed(&self) -> impl Iterator<Item = &String> {
        let Recipe { clear_env, pass_env, env, .. } = self.recipe;
        let is_passed = |name: &&String| *clear_env && !env.contains_key(*name);
        pass_env.iter().filter(is_passed).filter(|name| is_name(name))
    }

    /// Variables that a shell has no name for.
    pub(super) fn unsayable(&self) -> Vec<Diagnostic> {
        let recipe = self.recipe;
        let named = recipe.pass_env.iter().enumerate().filter(|_| recipe.clear_env);
        named
            .filter(|(_, name)| !is_name(name) && !recipe.env.contains_key(*name))
            .map(|(index, name)| {
                let message = format!("a shell cannot read the variable `{name}`");
                Refusal::new("export::odd_variable", message)
                    .why("its names are letters, digits and `_`")
                    .help(format!("`isorecipe apply` passes it on; or take `{name}` out"))
                    .at(yaml::Path::root().key("pass_env").index(index))
            })
            .collect()
    }
}

/// `Name` of the shell's grammar.
fn is_name(name: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}
