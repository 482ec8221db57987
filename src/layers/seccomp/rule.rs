//! The words of a filter: calls, what is asked of their arguments, what is said.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    diagnostic::Refusal,
    layers::OneOrMany,
    seccomp::{self, Action, Case, Condition, Found, Mistake, Policy, find},
    sys::Errno,
    yaml::refuse,
};

/// A system call, by the name that its man page has.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct CallName(pub String);

impl<'de> Deserialize<'de> for CallName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let name = String::deserialize(from)?;
        if find(&name) != Found::Nowhere {
            return Ok(Self(name));
        }
        let help = match seccomp::nearest(&name) {
            Some(near) => format!("write `{near}`"),
            None => "`man 2 syscalls` lists them".to_owned(),
        };
        let message = format!("there is no system call `{name}`");
        Err(refuse("seccomp::unknown_call", message, "no architecture has it", help))
    }
}

impl JsonSchema for CallName {
    fn schema_name() -> Cow<'static, str> {
        "CallName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^_?[a-z][a-z0-9_]+$",
            "description": "A system call, by the name that its man page has.",
        })
    }
}

/// What is said to a call: `allow`, `log` (allow, and the kernel's log says so),
/// `kill` (SIGSYS ends the process), or the errno that it gives: `EPERM`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Then(pub Action);

impl Then {
    pub(super) fn word(self) -> String {
        match self.0 {
            Action::Allow => "allow".to_owned(),
            Action::Log => "log".to_owned(),
            Action::Kill => "kill".to_owned(),
            Action::Errno(errno) => format!("{errno:?}"),
        }
    }
}

impl Serialize for Then {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.word())
    }
}

/// The last errno that the kernel gives to programs (`errno(3)`).
const LAST_ERRNO: i32 = 133;

impl<'de> Deserialize<'de> for Then {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let word = String::deserialize(from)?;
        let errnos = || (1..=LAST_ERRNO).map(Errno::from_raw);
        let action = match word.as_str() {
            "allow" => Some(Action::Allow),
            "log" => Some(Action::Log),
            "kill" => Some(Action::Kill),
            "UnknownErrno" => None,
            name => errnos().find(|errno| format!("{errno:?}") == name).map(Action::Errno),
        };
        action.map(Self).ok_or_else(|| {
            refuse(
                "seccomp::unknown_action",
                format!("nothing says `{word}` to a call"),
                "it is `allow`, `log`, `kill`, or the name of an errno",
                "write `EPERM`, or another name that `errno -l` lists",
            )
        })
    }
}

impl JsonSchema for Then {
    fn schema_name() -> Cow<'static, str> {
        "Then".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(allow|log|kill|E[A-Z0-9]+)$",
            "description": "What is said to a call: `allow`, `log` (allow, and the kernel's log \
                says so), `kill` (SIGSYS ends the process), or the errno that it gives: `EPERM`.",
        })
    }
}

/// What is said to a call, depending on its arguments.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// The call, or several.
    pub call: OneOrMany<CallName>,
    /// What has to hold of an argument, or of several: `cmd == TIOCSTI`,
    /// `flags & CLONE_NEWUSER != 0`. Arguments go by their names in the man
    /// page, or by `arg0` to `arg5`; without a sign.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<OneOrMany<String>>,
    /// What is said then.
    pub then: Then,
}

/// A rule as it is written, before its words are read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    call: OneOrMany<CallName>,
    #[serde(default)]
    when: Option<OneOrMany<String>>,
    then: Then,
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Written { call, when, then } = Written::deserialize(from)?;
        let rule = Self { call, when, then };
        match rule.conditions() {
            Ok(_) => Ok(rule),
            Err(words) => Err(words.of()),
        }
    }
}

impl Rule {
    /// The calls with what is asked of their arguments.
    fn conditions(&self) -> Result<Vec<(&str, Vec<Condition>)>, Wrong> {
        let when = self.when.as_ref().map_or(&[][..], |when| &when.0);
        let mut all = Vec::new();
        for CallName(call) in &self.call.0 {
            let read = |words: &String| {
                seccomp::condition(call, words).map_err(|mistake| wrong(call, words, mistake))
            };
            all.push((call.as_str(), when.iter().map(read).collect::<Result<Vec<_>, _>>()?));
        }
        Ok(all)
    }

    pub(super) fn add_to(&self, policy: &mut Policy) -> Result<(), Wrong> {
        for (call, when) in self.conditions()? {
            if let Found::Here(number) = find(call) {
                policy.add(number, Case { when, then: self.then.0 });
            }
        }
        Ok(())
    }

    /// `ioctl EPERM where cmd == TIOCSTI`
    pub(super) fn words(&self) -> String {
        let calls: Vec<&str> = self.call.0.iter().map(|call| call.0.as_str()).collect();
        let when = self.when.as_ref().map_or(&[][..], |when| &when.0);
        let when =
            if when.is_empty() { String::new() } else { format!(" where {}", when.join(" and ")) };
        format!("{} {}{when}", calls.join(" "), self.then.word())
    }
}

/// What is wrong with a condition, in words.
pub(super) struct Wrong {
    code: &'static str,
    message: String,
    why: String,
    help: String,
}

impl Wrong {
    fn of<E: de::Error>(self) -> E {
        refuse(self.code, self.message, self.why, self.help)
    }

    /// The same, for a recipe that was made in Rust code.
    pub(super) fn refusal(self) -> Refusal {
        Refusal::new(self.code, self.message).why(self.why).help(self.help)
    }
}

fn wrong(call: &str, words: &str, mistake: Mistake) -> Wrong {
    let (code, message, why, help) = match mistake {
        Mistake::NoComparison => (
            "seccomp::no_comparison",
            format!("`{words}` compares nothing"),
            "a condition is an argument, a sign and a value".to_owned(),
            "write `cmd == TIOCSTI`; the signs are `==`, `!=`, `<`, `<=`, `>`, `>=`".to_owned(),
        ),
        Mistake::NoArgument(name, known) => (
            "seccomp::unknown_argument",
            format!("`{call}` has no argument `{name}`"),
            "not one of its names".to_owned(),
            format!("use one of `{}`", known.join("`, `")),
        ),
        Mistake::NoValue(value, near) => (
            "seccomp::unknown_value",
            format!("`{value}` is no value"),
            "neither a number nor a constant that isorecipe knows".to_owned(),
            match near {
                Some(near) => format!("write `{near}`"),
                None => "write the number: `0x5412`".to_owned(),
            },
        ),
        Mistake::TooBig(value) => (
            "seccomp::unseen_bits",
            format!("`{value}` has bits that are not looked at"),
            "the kernel reads 32 bits of this argument, or the mask leaves them out".to_owned(),
            "write a smaller value, or another mask".to_owned(),
        ),
    };
    Wrong { code, message, why, help }
}
