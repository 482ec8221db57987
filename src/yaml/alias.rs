//! What an alias stands for: weighed first, then copied.
//!
//! Anchors and aliases are the one way in which a small file becomes a large document (the billion laughs).

use std::ops::Range;

use super::mistake::Mistake;
use super::source::FILE_LIMIT;
use super::tree::{Entry, Kind, Node};
use super::words;

/// How many values a document may have, each alias counted as all it stands for.
pub const NODE_LIMIT: usize = 100_000;
/// How many bytes of text aliases may repeat.
const REPEATED_TEXT_LIMIT: usize = FILE_LIMIT;

/// What a value costs: how many values it holds, how many bytes of text, how deep.
#[derive(Clone, Copy, Default)]
pub(super) struct Weight {
    pub(super) nodes: usize,
    pub(super) text: usize,
    pub(super) depth: usize,
}

impl Weight {
    pub(super) const ONE: Weight = Weight { nodes: 1, text: 0, depth: 0 };

    /// What writing the whole of `node` again would cost.
    pub(super) fn of(node: &Node) -> Weight {
        let mut weight = Weight::ONE;
        match &node.kind {
            Kind::Null => return weight,
            Kind::Scalar(scalar) => {
                return Weight { text: scalar.text.len(), ..weight };
            }
            Kind::Mapping(entries) => {
                weight.text = entries.iter().map(|entry| entry.key.len()).sum()
            }
            Kind::Sequence(_) => {}
        }
        for inner in node.kind.children().map(Weight::of) {
            weight.nodes += inner.nodes;
            weight.text += inner.text;
            weight.depth = weight.depth.max(inner.depth);
        }
        weight.depth += 1;
        weight
    }

    /// Adds what is about to be kept.
    pub(super) fn add(&mut self, more: Weight) {
        self.nodes += more.nodes;
        self.text += more.text;
    }

    /// The limit that is passed.
    pub(super) fn excess(&self) -> Option<Mistake> {
        if self.nodes > NODE_LIMIT {
            return Some(words::too_many_nodes());
        }
        (self.text > REPEATED_TEXT_LIMIT).then(words::too_much_text)
    }
}

impl Node {
    /// A copy whose every part stands at `span`.
    pub(super) fn moved_to(&self, span: &Range<usize>) -> Node {
        let kind = match &self.kind {
            Kind::Null => Kind::Null,
            Kind::Scalar(scalar) => Kind::Scalar(scalar.clone()),
            Kind::Sequence(items) => {
                Kind::Sequence(items.iter().map(|item| item.moved_to(span)).collect())
            }
            Kind::Mapping(entries) => {
                Kind::Mapping(entries.iter().map(|entry| entry.moved_to(span)).collect())
            }
        };
        Node { span: span.clone(), kind }
    }
}

impl Entry {
    fn moved_to(&self, span: &Range<usize>) -> Entry {
        Entry { key: self.key.clone(), key_span: span.clone(), value: self.value.moved_to(span) }
    }
}
