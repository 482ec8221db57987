//! From the parser's events to the tree, within limits.
//!
//! Nothing here, nor in what walks the tree later, recurses deeper than [`DEPTH_LIMIT`].

mod keys;

use std::collections::HashMap;
use std::ops::Range;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};

use super::alias::Weight;
use super::mistake::Mistake;
use super::path::{Path, Segment};
use super::tree::{Entry, Kind, Node, Scalar, Tree};
use super::{MOST_MISTAKES, source, syntax, words};

/// How deep lists and mappings may stand inside each other.
pub const DEPTH_LIMIT: usize = 64;

/// Reads a document, and records all that is wrong with it.
///
/// There may be a tree although there are mistakes, so that what it says can be read for further mistakes in the same
/// run: of a key that stands twice the first stays, and tags are ignored. After a mistake that would cause others,
/// or when the text cannot be parsed to its end, there is none.
pub fn parse(source: &[u8], mistakes: &mut Vec<Mistake>) -> Option<Tree> {
    let text = match source::check(source) {
        Ok(text) => text,
        Err(mistake) => {
            mistakes.push(*mistake);
            return None;
        }
    };
    let mut builder = Builder::new(text);
    let outcome = builder.build();
    mistakes.append(&mut builder.mistakes);
    let root = builder.root.filter(|_| outcome.is_ok() && !builder.holes)?;
    Some(Tree { root })
}

fn options() -> Options {
    let mut options = granit_parser::options! {
        disallow_directives: true,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEPTH_LIMIT,
        block_nesting_limit: DEPTH_LIMIT,
    };
    options.set_emit_comments(false);
    options
}

/// The rest of the document cannot be trusted; why is recorded.
struct Stop;

struct Builder<'a> {
    text: &'a str,
    open: Vec<Open>,
    root: Option<Node>,
    anchors: HashMap<usize, Node>,
    spent: Weight,
    mistakes: Vec<Mistake>,
    /// Something was left out of the tree that a reader would miss.
    holes: bool,
}

/// A collection that is not closed yet.
struct Open {
    start: usize,
    anchor: usize,
    inside: Inside,
}

enum Inside {
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>, Pending),
}

/// What a mapping waits for.
enum Pending {
    Key,
    Value(String, Range<usize>),
    /// The key was refused, and so is its value.
    Nothing,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Builder<'a> {
        Builder {
            text,
            open: Vec::new(),
            root: None,
            anchors: HashMap::new(),
            spent: Weight::default(),
            mistakes: Vec::new(),
            holes: false,
        }
    }

    fn build(&mut self) -> Result<(), Stop> {
        for event in Parser::new_from_str_with_options(self.text, options()) {
            match event {
                Ok((event, span)) => self.take(event, &span)?,
                Err(error) => {
                    return Err(self.stop(syntax::explain(&error, self.text, self.path())));
                }
            }
        }
        match &self.root {
            None | Some(Node { kind: Kind::Null, .. }) => Err(self.stop(words::empty())),
            Some(_) => Ok(()),
        }
    }

    fn take(&mut self, event: Event<'_>, span: &Span) -> Result<(), Stop> {
        let bytes = self.bytes(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err(self.stop(words::second_document(bytes)));
            }
            Event::Scalar(text, style, anchor, _) => {
                self.refuse_tag(span);
                let node = self.scalar(text.into_owned(), style, bytes);
                return self.put(node, anchor);
            }
            Event::SequenceStart(_, anchor, _) => {
                self.refuse_tag(span);
                return self.open(Inside::Sequence(Vec::new()), anchor, bytes);
            }
            Event::MappingStart(_, anchor, _) => {
                self.refuse_tag(span);
                return self.open(Inside::Mapping(Vec::new(), Pending::Key), anchor, bytes);
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(bytes),
            Event::Alias(_) | Event::UnresolvedAlias(_) if self.awaits_key() => {
                self.put_key(Node { span: bytes, kind: Kind::Null });
            }
            Event::Alias(anchor) => return self.alias(anchor, bytes),
            Event::UnresolvedAlias(name) => return self.hole(words::alias_unknown(&name), bytes),
            _ => {}
        }
        Ok(())
    }

    fn scalar(&self, text: String, style: ScalarStyle, mut span: Range<usize>) -> Node {
        let plain = style == ScalarStyle::Plain;
        // The parser gives what is not written as `~`, without bytes.
        if plain && span.is_empty() {
            return Node { span, kind: Kind::Null };
        }
        // A block text goes on to the next thing written, over blank lines.
        if let Some(written) = self.text.get(span.clone()) {
            span.end = span.start + written.trim_end().len();
        }
        if plain && matches!(text.as_str(), "~" | "null") {
            return Node { span, kind: Kind::Null };
        }
        Node { span, kind: Kind::Scalar(Scalar { text, plain }) }
    }

    fn open(&mut self, inside: Inside, anchor: usize, span: Range<usize>) -> Result<(), Stop> {
        if self.open.len() >= DEPTH_LIMIT {
            return Err(self.stop(words::too_deep().at(self.path(), span)));
        }
        self.open.push(Open { start: span.start, anchor, inside });
        Ok(())
    }

    fn close(&mut self, bracket: Range<usize>) -> Result<(), Stop> {
        let Some(Open { start, anchor, inside }) = self.open.pop() else {
            return Ok(());
        };
        let (kind, last) = match inside {
            Inside::Sequence(items) => {
                let last = items.last().map(|item| item.span.end);
                (Kind::Sequence(items), last)
            }
            Inside::Mapping(mut entries, _) => {
                let last = entries.last().map(|entry| entry.value.span.end);
                self.refuse_duplicates(&mut entries);
                (Kind::Mapping(entries), last)
            }
        };
        // Without a bracket the parser ends a collection where the next thing begins.
        let end = if bracket.is_empty() { last.unwrap_or(start) } else { bracket.end };
        self.put(Node { span: start..end.max(start), kind }, anchor)
    }

    fn alias(&mut self, anchor: usize, span: Range<usize>) -> Result<(), Stop> {
        let Some(meant) = self.anchors.get(&anchor) else {
            return self.hole(words::alias_cycle(), span);
        };
        let weight = Weight::of(meant);
        if self.open.len() + weight.depth > DEPTH_LIMIT {
            return Err(self.stop(words::too_deep().at(self.path(), span)));
        }
        self.spend(weight, &span)?;
        let copy = self.anchors.get(&anchor).map(|meant| meant.moved_to(&span));
        copy.map_or(Ok(()), |copy| self.put(copy, 0))
    }

    /// Puts nothing where a value was refused.
    fn hole(&mut self, mistake: Mistake, span: Range<usize>) -> Result<(), Stop> {
        self.miss(mistake, span.clone());
        self.put(Node { span, kind: Kind::Null }, 0)
    }

    fn awaits_key(&self) -> bool {
        matches!(self.open.last(), Some(Open { inside: Inside::Mapping(_, Pending::Key), .. }))
    }

    /// Puts a finished value where the innermost open collection waits for it.
    fn put(&mut self, mut node: Node, anchor: usize) -> Result<(), Stop> {
        self.spend(Weight::ONE, &node.span)?;
        if anchor != 0 {
            self.spend(Weight::of(&node), &node.span)?;
            self.anchors.insert(anchor, node.clone());
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut open.inside {
            Inside::Sequence(items) => {
                if node.span.is_empty() && self.text[..node.span.start].ends_with('-') {
                    node.span.start -= 1;
                }
                items.push(node);
            }
            Inside::Mapping(_, Pending::Key) => self.put_key(node),
            Inside::Mapping(entries, pending) => {
                let Pending::Value(key, key_span) = std::mem::replace(pending, Pending::Key) else {
                    return Ok(());
                };
                if node.span.is_empty() {
                    node.span = key_span.clone();
                }
                entries.push(Entry { key, key_span, value: node });
            }
        }
        Ok(())
    }

    fn refuse_tag(&mut self, span: &Span) {
        let Some(tag) = span.tag_span() else { return };
        let bytes = self.bytes(&tag);
        self.record(words::tag(&self.text[bytes.clone()]).at(self.path(), bytes));
    }

    /// Records a mistake that leaves a hole in the tree.
    fn miss(&mut self, mistake: Mistake, span: Range<usize>) {
        self.holes = true;
        self.record(mistake.at(self.path(), span));
    }

    /// Records a mistake after which nothing more can be said, whatever the number before it.
    fn stop(&mut self, mistake: Mistake) -> Stop {
        self.mistakes.push(mistake);
        Stop
    }

    fn record(&mut self, mistake: Mistake) {
        if self.mistakes.len() < MOST_MISTAKES {
            self.mistakes.push(mistake);
        }
    }

    fn spend(&mut self, weight: Weight, span: &Range<usize>) -> Result<(), Stop> {
        self.spent.add(weight);
        match self.spent.excess() {
            Some(mistake) => Err(self.stop(mistake.at(self.path(), span.clone()))),
            None => Ok(()),
        }
    }

    /// Where the next value will stand.
    fn path(&self) -> Path {
        let step = |open: &Open| match &open.inside {
            Inside::Sequence(items) => Some(Segment::Index(items.len())),
            Inside::Mapping(_, Pending::Value(key, _)) => Some(Segment::Key(key.clone())),
            Inside::Mapping(..) => None,
        };
        self.open.iter().map_while(step).collect()
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        let bytes = span.byte_range().unwrap_or_default();
        if self.text.get(bytes.clone()).is_some() { bytes } else { 0..0 }
    }
}
