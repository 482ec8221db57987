//! The text of a recipe with its layers in another order: comments and layout
//! go along, and nothing else changes.

use std::ops::Range;

use crate::yaml::Node;

use super::Document;

impl Document {
    /// The text with the layers in this order: for each place, the layer that
    /// belongs there. `None` where they share lines in a way that no cut parts.
    pub fn reordered(&self, order: &[usize]) -> Option<String> {
        let text = self.source.text();
        let layers = &self.tree.as_ref()?.root.entry("layers")?.value;
        let is_flow = text.get(layers.span.clone())?.starts_with('[');
        let blocks = match is_flow {
            true => {
                items(layers).map(|item| Some(item.span.clone())).collect::<Option<Vec<_>>>()?
            }
            false => lines(text, layers)?,
        };
        let mut written = String::with_capacity(text.len() + 1);
        let mut rest = 0;
        for (place, layer) in blocks.iter().zip(order) {
            written.push_str(text.get(rest..place.start)?);
            let block = text.get(blocks.get(*layer)?.clone())?;
            written.push_str(block);
            // The last line of a file may lack its end.
            if !is_flow && !block.ends_with('\n') && place.end < text.len() {
                written.push('\n');
            }
            rest = place.end;
        }
        written.push_str(text.get(rest..)?);
        Some(written)
    }
}

fn items(list: &Node) -> impl Iterator<Item = &Node> {
    (0..).map_while(|index| list.item(index))
}

/// The whole lines of each item of a block list: from the comments above its
/// dash to the last line of its value.
fn lines(text: &str, list: &Node) -> Option<Vec<Range<usize>>> {
    let mut blocks: Vec<Range<usize>> = Vec::new();
    for item in items(list) {
        let before = text.get(..item.span.start)?;
        let dash = before.rfind('-').filter(|dash| before[dash + 1..].trim().is_empty())?;
        let own = text.get(..dash)?.rfind('\n').map_or(0, |end| end + 1);
        let begin = with_comments(text, own, blocks.last().map_or(0, |block| block.end));
        let value_end = text.get(..item.span.end)?.trim_end().len().max(item.span.start);
        let end =
            text.get(value_end..)?.find('\n').map_or(text.len(), |length| value_end + length + 1);
        // Two items on a line, or a list that begins on the line of its key.
        let is_alone = text.get(own..dash)?.chars().all(|c| c == ' ');
        if !is_alone || blocks.last().is_some_and(|block| block.end > begin) {
            return None;
        }
        blocks.push(begin..end);
    }
    Some(blocks)
}

/// Where the comments begin that stand directly above a line.
fn with_comments(text: &str, line: usize, floor: usize) -> usize {
    let mut begin = line;
    while begin > floor {
        let above = text.get(floor..begin - 1).unwrap_or_default();
        let start = above.rfind('\n').map_or(floor, |end| floor + end + 1);
        let is_comment =
            text.get(start..begin).is_some_and(|line| line.trim_start().starts_with('#'));
        if !is_comment {
            break;
        }
        begin = start;
    }
    begin
}
