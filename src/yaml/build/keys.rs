//! Keys: text, nothing hidden in it, once.

use std::ops::Range;

use super::super::mistake::{Mistake, is_hidden};
use super::super::tree::{Entry, Kind, Node, Scalar};
use super::super::{MOST_MISTAKES, words};
use super::{Builder, Inside, Open, Pending};

impl Builder<'_> {
    /// Takes a finished value as the key that the innermost mapping waits for.
    pub(super) fn put_key(&mut self, node: Node) {
        let span = node.span;
        let pending = match node.kind {
            Kind::Scalar(Scalar { text, plain: true }) if text == "<<" => {
                self.refuse_key(words::merge_key(), span)
            }
            Kind::Scalar(Scalar { text, .. }) if text.contains(is_hidden) => {
                self.refuse_key(words::key_does_not_show(&text), span)
            }
            Kind::Scalar(Scalar { text, .. }) => Pending::Value(text, span),
            kind => self.refuse_key(words::key_not_text(&kind, &self.text[span.clone()]), span),
        };
        if let Some(Open { inside: Inside::Mapping(_, waiting), .. }) = self.open.last_mut() {
            *waiting = pending;
        }
    }

    fn refuse_key(&mut self, mistake: Mistake, span: Range<usize>) -> Pending {
        self.miss(mistake, span);
        Pending::Nothing
    }

    /// Of a key that stands more than once the first stays.
    pub(super) fn refuse_duplicates(&mut self, entries: &mut Vec<Entry>) {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by(|&a, &b| entries[a].key.cmp(&entries[b].key));
        let mut again: Vec<(usize, usize)> = Vec::new();
        let mut first = 0;
        for index in order {
            match entries[first].key == entries[index].key {
                true if first != index => again.push((index, first)),
                _ => first = index,
            }
        }
        if again.is_empty() {
            return;
        }
        again.sort_unstable();
        let here = self.path();
        for &(index, first) in again.iter().take(MOST_MISTAKES) {
            let (entry, first) = (&entries[index], &entries[first]);
            self.record(words::duplicate_key(
                &entry.key,
                &here,
                entry.key_span.clone(),
                first.key_span.clone(),
            ));
        }
        let mut index = 0;
        entries.retain(|_| {
            let keep = again.binary_search_by_key(&index, |&(again, _)| again).is_err();
            index += 1;
            keep
        });
    }
}
