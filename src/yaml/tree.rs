//! A document as it is written: every key and value with its span, every scalar with its own text.
//!
//! No value is typed here. `0755`, `yes` and `1.50` are texts until a type that knows better reads them.

use std::ops::Range;

/// A document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// Its outermost value.
    pub root: Node,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its bytes in the source, quotes and brackets included. A value that is not written (`ipc:`) has the span of its
    /// key. Everything an alias stands for has the span of the alias: a mistake there is about this use of it.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing, `~` or `null`, without quotes.
    Null,
    /// A text.
    Scalar(Scalar),
    /// A list.
    Sequence(Vec<Node>),
    /// A mapping, in the order it is written, no key twice.
    Mapping(Vec<Entry>),
}

/// A text as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scalar {
    /// Without its quotes, its escapes read.
    pub text: String,
    /// Written without quotes: only such a text can be a number or `true`.
    pub plain: bool,
}

/// A key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key; keys are always text, and safe to print.
    pub key: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Node,
}

impl Node {
    /// The entry of this key, if this is a mapping that has it.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Mapping(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The entry at this index, if this is a list that long.
    pub fn item(&self, index: usize) -> Option<&Node> {
        match &self.kind {
            Kind::Sequence(items) => items.get(index),
            _ => None,
        }
    }

    /// The short place to point at when the whole is meant: the first key of a mapping, the first entry of a list.
    pub fn head(&self) -> Range<usize> {
        self.kind.head(&self.span)
    }
}

impl Kind {
    /// The first key or entry of what stands at `span`, if it has any.
    pub(super) fn head(&self, span: &Range<usize>) -> Range<usize> {
        let head = match self {
            Kind::Mapping(entries) => entries.first().map(|entry| entry.key_span.clone()),
            Kind::Sequence(items) => items.first().map(Node::head),
            Kind::Null | Kind::Scalar(_) => None,
        };
        head.unwrap_or_else(|| span.clone())
    }

    /// The values directly inside.
    pub(super) fn children(&self) -> impl Iterator<Item = &Node> {
        let (items, entries): (&[Node], &[Entry]) = match self {
            Kind::Sequence(items) => (items, &[]),
            Kind::Mapping(entries) => (&[], entries),
            Kind::Null | Kind::Scalar(_) => (&[], &[]),
        };
        items.iter().chain(entries.iter().map(|entry| &entry.value))
    }

    /// What an author calls it.
    pub(super) fn noun(&self) -> &'static str {
        match self {
            Kind::Null => "nothing",
            Kind::Scalar(_) => "text",
            Kind::Sequence(_) => "a list",
            Kind::Mapping(_) => "a mapping",
        }
    }
}
