//! What goes wrong while a type reads a value, before it is known where.
//!
//! `serde` reports errors without a place, from anywhere between a value and the type around it. Whoever hands the
//! value out knows the place, and turns the fault into a [`Mistake`](super::Mistake) there.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{self, Expected, Unexpected};

use super::hint;
use super::mistake::{printable, spelled_out};

/// Why a value could not be read.
#[derive(Debug)]
pub(super) enum Fault {
    /// Not recorded yet.
    Said(Box<Said>),
    /// A key that a mapping must have is not there.
    Missing(&'static str),
    /// Recorded; what it is about is still in the way of another attempt.
    Recorded,
    /// Recorded, and taken out of the way.
    SetAside,
}

/// The words of a mistake without its place.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) code: Cow<'static, str>,
    pub(super) message: Message,
    pub(super) why: String,
    pub(super) help: String,
    /// Where to point, if not at the value.
    pub(super) span: Option<Range<usize>>,
}

/// What is.
#[derive(Debug)]
pub(super) enum Message {
    /// A whole sentence.
    Says(String),
    /// What comes after the name of the value, as in "`count` takes a whole number".
    Of(String),
}

impl Fault {
    pub(super) fn says(code: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(Cow::Borrowed(code), Message::Says(message.into()))
    }

    /// A sentence about the value, whose name is put in front: `of("…", "takes text")`.
    pub(super) fn of(code: &'static str, message: impl Into<String>) -> Fault {
        Fault::new(Cow::Borrowed(code), Message::Of(message.into()))
    }

    /// The value is of another kind than the type reads.
    pub(super) fn wrong_kind(takes: &str, found: &str) -> Fault {
        Fault::of("recipe::wrong_kind", format!("takes {takes}")).why(format!("this is {found}"))
    }

    /// `word` is none of the words that may stand here.
    pub(super) fn unknown_word(word: &str, known: &'static [&'static str]) -> Fault {
        Fault::of("recipe::unknown_word", format!("cannot be `{}`", printable(word)))
            .why("not a word it knows")
            .help(hint::instead_of(word, known))
    }

    /// `key` is none of the keys of a mapping.
    pub(super) fn unknown_key(key: &str, known: &'static [&'static str]) -> Fault {
        Fault::of("recipe::unknown_key", format!("has no key `{}`", printable(key)))
            .why("not one of its keys")
            .help(hint::instead_of(key, known))
    }

    fn new(code: Cow<'static, str>, message: Message) -> Fault {
        Fault::Said(Box::new(Said {
            code,
            message,
            why: String::new(),
            help: String::new(),
            span: None,
        }))
    }

    pub(super) fn why(self, why: impl Into<String>) -> Fault {
        self.with(|said| said.why = why.into())
    }

    pub(super) fn help(self, help: impl Into<String>) -> Fault {
        self.with(|said| said.help = help.into())
    }

    /// Points at `span` rather than at the value.
    pub(super) fn at(self, span: &Range<usize>) -> Fault {
        self.with(|said| said.span = Some(span.clone()))
    }

    fn with(mut self, change: impl FnOnce(&mut Said)) -> Fault {
        if let Fault::Said(said) = &mut self {
            change(said);
        }
        self
    }
}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Fault {
        let text = message.to_string();
        let coded = format!("{message:#}");
        // Only a `Refusal` answers the two differently: no text out of a document can pose as one.
        let parts: Vec<&str> =
            if coded == text { Vec::new() } else { coded.split(SEPARATOR).collect() };
        match parts[..] {
            [code, message, why, help] => {
                Fault::new(Cow::Owned(code.to_owned()), Message::Says(message.to_owned()))
                    .why(why)
                    .help(help)
            }
            _ => Fault::says("recipe::value", text),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::wrong_kind(&expected.to_string(), &noun(&found))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Fault {
        Fault::of("recipe::value", format!("takes {expected}"))
            .why(format!("this is {}", noun(&found)))
    }

    fn invalid_length(length: usize, expected: &dyn Expected) -> Fault {
        Fault::of("recipe::wrong_length", format!("takes {expected}"))
            .why(format!("here are {length}"))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Fault {
        Fault::unknown_word(word, known)
    }

    fn unknown_field(key: &str, known: &'static [&'static str]) -> Fault {
        Fault::unknown_key(key, known)
    }

    fn missing_field(key: &'static str) -> Fault {
        Fault::Missing(key)
    }

    fn duplicate_field(key: &'static str) -> Fault {
        Fault::says("yaml::duplicate_key", format!("`{key}` stands twice in one mapping"))
            .help("keep one of the two")
    }
}

impl std::error::Error for Fault {}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Said(said) => match &said.message {
                Message::Says(message) => f.write_str(message),
                Message::Of(message) => write!(f, "it {message}"),
            },
            Fault::Missing(key) => write!(f, "`{key}` is missing"),
            Fault::Recorded | Fault::SetAside => f.write_str("a mistake was recorded"),
        }
    }
}

fn noun(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("the text `{}`", printable(text)),
        Unexpected::Unit | Unexpected::Option => String::from("nothing"),
        Unexpected::Seq => String::from("a list"),
        Unexpected::Map => String::from("a mapping"),
        Unexpected::Enum
        | Unexpected::UnitVariant
        | Unexpected::NewtypeVariant
        | Unexpected::TupleVariant
        | Unexpected::StructVariant => String::from("a word of another form"),
        other => other.to_string(),
    }
}

/// ASCII's own unit separator. [`spelled_out`] keeps it out of the parts.
const SEPARATOR: char = '\u{1f}';

/// An error for a hand-written `Deserialize` that carries all the words of a mistake.
///
/// Read by [`read`](super::read) it becomes a [`Mistake`](super::Mistake) with this code; any other `serde` format
/// shows the message.
pub fn refuse<E: de::Error>(
    code: &'static str,
    message: impl fmt::Display,
    why: impl fmt::Display,
    help: impl fmt::Display,
) -> E {
    let [message, why, help] = [message.to_string(), why.to_string(), help.to_string()];
    E::custom(Refusal { code, message, why, help })
}

/// All words in the alternate form (`{:#}`), the message alone otherwise.
struct Refusal {
    code: &'static str,
    message: String,
    why: String,
    help: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return f.write_str(&self.message);
        }
        let [message, why, help] =
            [&self.message, &self.why, &self.help].map(|words| spelled_out(words));
        write!(f, "{}{SEPARATOR}{message}{SEPARATOR}{why}{SEPARATOR}{help}", self.code)
    }
}
