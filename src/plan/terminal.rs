//! Which terminal the command has: the caller's, or a new one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Plan, open};

/// Which terminal the command has, if it is started on one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Terminal {
    /// A new one where a program could type into yours, yours otherwise
    #[default]
    Auto,
    /// A new one: isorecipe passes on what is typed and printed
    New,
    /// Yours, even if a program could type into it
    Shared,
}

impl Terminal {
    /// Whether nothing is written of it.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Plan {
    /// Whether the command gets a terminal of its own, where there is one at
    /// all; `is_allowed` tells whether this kernel lets programs type into
    /// theirs (`TIOCSTI`), if that is known.
    pub fn takes_new_terminal(&self, is_allowed: impl FnOnce() -> Option<bool>) -> bool {
        match self.terminal {
            Terminal::New => true,
            Terminal::Shared => false,
            Terminal::Auto => open::may_type(self, is_allowed),
        }
    }

    /// In words.
    pub(super) fn terminal_in_words(&self) -> &'static str {
        let known = self.start.host.kernel_settings.as_ref();
        let may_type = open::may_type(self, || known.and_then(|known| known.legacy_tiocsti));
        match (self.terminal, may_type) {
            (Terminal::New, _) => "a new one, behind the caller's",
            (Terminal::Auto, true) => "a new one, since the caller's could be typed into",
            (Terminal::Shared, true) => "the caller's, which it may type into",
            (_, false) => "the caller's, which it may not type into",
        }
    }
}
