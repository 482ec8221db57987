//! From a path back to the bytes it stands for.

use std::ops::Range;

use super::path::{Path, Segment};
use super::tree::{Entry, Node, Tree};

/// Which part of an entry is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its key. An entry of a list has none, and is pointed at by its first key or value.
    Key,
    /// Its value.
    Value,
}

/// A value on the way, with its entry if it has a key.
struct Found<'a> {
    node: &'a Node,
    entry: Option<&'a Entry>,
}

impl Tree {
    /// The bytes to point at for `path`. Where it does not exist, the key of the nearest value around it that does.
    pub fn locate(&self, path: &Path, part: Part) -> Range<usize> {
        let mut found = Found { node: &self.root, entry: None };
        for segment in path.segments() {
            let Some(inner) = found.step(segment) else {
                return found.key();
            };
            found = inner;
        }
        match part {
            Part::Key => found.key(),
            Part::Value => found.node.span.clone(),
        }
    }
}

impl<'a> Found<'a> {
    fn step(&self, segment: &Segment) -> Option<Found<'a>> {
        match segment {
            Segment::Key(key) => {
                self.node.entry(key).map(|entry| Found { node: &entry.value, entry: Some(entry) })
            }
            Segment::Index(index) => self.node.item(*index).map(|node| Found { node, entry: None }),
        }
    }

    fn key(&self) -> Range<usize> {
        self.entry.map_or_else(|| self.node.head(), |entry| entry.key_span.clone())
    }
}
