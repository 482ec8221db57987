//! From a part of the tree to a typed value, and on behind every mistake.
//!
//! A `serde` type stops at its first error. So a mistake is recorded where its place is known, the entry it stands in
//! is set aside, and the type is read again without that entry; until it is read, or nothing more can be set aside. What
//! is wrong only *because* an entry was set aside, such as its key now missing, is a consequence and not reported.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use serde::de::{DeserializeOwned, DeserializeSeed};

use super::MOST_MISTAKES;
use super::fault::{Fault, Message, Said};
use super::mistake::Mistake;
use super::path::{Path, Segment};
use super::tree::{Kind, Node};

/// Each mistake costs a pass over the value, so a hostile file must not have one for each of its lines.
const MOST_PASSES: usize = 32;

/// Reads `node`, which stands `at` a place, and records all that is wrong with it. There is a value only if nothing is.
///
/// Of several keys missing in one mapping only the first is reported: `serde` tells no more.
pub fn read<T: DeserializeOwned>(node: &Node, at: &Path, mistakes: &mut Vec<Mistake>) -> Option<T> {
    let session = Session::default();
    let mut value = None;
    for _ in 0..MOST_PASSES {
        let place = Place { parent: None, step: Step::Start(at), span: &node.span, key_span: None };
        match (Reader { kind: &node.kind, place: &place, session: &session })
            .read(std::marker::PhantomData)
        {
            Ok(read) => value = Some(read),
            Err(Fault::SetAside) => continue,
            Err(_) => {}
        }
        break;
    }
    let mut found = session.mistakes.into_inner();
    let clean = found.is_empty();
    mistakes.append(&mut found);
    value.filter(|_| clean)
}

/// What several passes over one value share.
#[derive(Default)]
pub(super) struct Session {
    mistakes: RefCell<Vec<Mistake>>,
    /// Values with a mistake, by address, and the field that each would have filled.
    aside: RefCell<HashMap<*const Node, Option<&'static str>>>,
}

impl Session {
    pub(super) fn is_aside(&self, node: &Node) -> bool {
        self.aside.borrow().contains_key(&std::ptr::from_ref(node))
    }

    pub(super) fn set_aside(&self, node: &Node, field: Option<&'static str>) {
        self.aside.borrow_mut().insert(std::ptr::from_ref(node), field);
    }

    pub(super) fn is_full(&self) -> bool {
        self.mistakes.borrow().len() >= MOST_MISTAKES
    }

    /// Whether `field` is missing only because the entry that has it, or was meant to, is set aside.
    fn explains_missing(&self, field: &str, kind: &Kind) -> bool {
        let Kind::Mapping(entries) = kind else {
            return false;
        };
        let aside = self.aside.borrow();
        entries
            .iter()
            .any(|entry| aside.get(&std::ptr::from_ref(&entry.value)) == Some(&Some(field)))
    }

    /// Whether anything inside is set aside, so that a complaint about the whole may be a consequence.
    fn holds_aside(&self, kind: &Kind) -> bool {
        !self.aside.borrow().is_empty()
            && kind.children().any(|child| self.is_aside(child) || self.holds_aside(&child.kind))
    }

    fn record(&self, mistake: Mistake) {
        if !self.is_full() {
            self.mistakes.borrow_mut().push(mistake);
        }
    }
}

/// Where a value stands: a list on the stack, made a [`Path`] only for a mistake.
pub(super) struct Place<'a> {
    pub(super) parent: Option<&'a Place<'a>>,
    pub(super) step: Step<'a>,
    pub(super) span: &'a Range<usize>,
    pub(super) key_span: Option<&'a Range<usize>>,
}

pub(super) enum Step<'a> {
    Start(&'a Path),
    Key(&'a str),
    Index(usize),
}

impl Place<'_> {
    fn path(&self) -> Path {
        let outer = self.parent.map(Place::path).unwrap_or_default();
        match self.step {
            Step::Start(path) => path.clone(),
            Step::Key(key) => outer.key(key),
            Step::Index(index) => outer.index(index),
        }
    }
}

/// Hands one value of the tree to a type.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) kind: &'a Kind,
    pub(super) place: &'a Place<'a>,
    pub(super) session: &'a Session,
}

impl Reader<'_> {
    /// Reads the value, and records here, where its place is known, what is wrong with it.
    pub(super) fn read<'de, S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Fault> {
        seed.deserialize(self).map_err(|fault| self.record(fault))
    }

    /// Reads the value of an entry, which can be set aside when it has a mistake.
    pub(super) fn read_entry<'de, S>(
        self,
        seed: S,
        node: &Node,
        field: Option<&'static str>,
    ) -> Result<S::Value, Fault>
    where
        S: DeserializeSeed<'de>,
    {
        self.read(seed).map_err(|fault| {
            if matches!(fault, Fault::Recorded) {
                self.session.set_aside(node, field);
                return Fault::SetAside;
            }
            fault
        })
    }

    /// Turns a fault into a mistake at this value, unless it is the consequence of another.
    pub(super) fn record(self, fault: Fault) -> Fault {
        match fault {
            Fault::Said(said) => {
                if !self.session.holds_aside(self.kind) {
                    self.session.record(self.mistake(*said));
                }
                Fault::Recorded
            }
            Fault::Missing(key) => {
                if !self.session.explains_missing(key, self.kind) {
                    self.session.record(self.missing(key));
                }
                Fault::Recorded
            }
            recorded => recorded,
        }
    }

    /// Records what is wrong with one entry of this mapping, whatever else is.
    pub(super) fn record_entry(self, fault: Fault, key: &str) {
        if let Fault::Said(said) = fault {
            let mistake = self.mistake(*said);
            let (path, span) = (mistake.path.key(key), mistake.span.clone());
            self.session.record(mistake.at(path, span));
        }
    }

    fn mistake(self, said: Said) -> Mistake {
        let path = self.place.path();
        let message = match said.message {
            Message::Says(message) => message,
            Message::Of(rest) => format!("{} {rest}", subject(&path)),
        };
        let span = said.span.unwrap_or_else(|| self.place.span.clone());
        Mistake::new(said.code, message).at(path, span).why(said.why).help(said.help)
    }

    fn missing(self, key: &str) -> Mistake {
        let path = self.place.path();
        let span = self.place.key_span.cloned().unwrap_or_else(|| self.kind.head(self.place.span));
        Mistake::new("recipe::missing_key", format!("`{key}` is missing"))
            .why(format!("{} needs it", subject(&path)))
            .help(format!("add `{key}: …`"))
            .at(path.key(key), span)
    }
}

/// The name of a value in a sentence.
fn subject(path: &Path) -> String {
    let tail = path.tail();
    match tail.segments() {
        [] => String::from("this file"),
        [Segment::Index(_), ..] => String::from("this entry"),
        [Segment::Key(_), ..] => format!("`{tail}`"),
    }
}
