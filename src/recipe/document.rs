//! Where in its text a part of a recipe stands.

use std::{ops::Range, sync::Arc};

use crate::{
    diagnostic::{Diagnostic, Source},
    yaml::{self, Kind, Node, Part, Tree},
};

/// The text that a recipe was read from, to find the places of its parts.
pub struct Document {
    pub(super) source: Arc<Source>,
    pub(super) tree: Option<Tree>,
}

impl Document {
    /// How messages call it.
    pub fn name(&self) -> &str {
        self.source.name()
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        self.source.text()
    }

    /// Adds the place in the file to a diagnostic that knows only a path.
    pub fn locate(&self, diagnostic: Diagnostic) -> Diagnostic {
        let Some(tree) = &self.tree else {
            return diagnostic;
        };
        if diagnostic.span().is_some() || diagnostic.path().segments().is_empty() {
            return diagnostic;
        }
        let here = span(tree, diagnostic.path());
        let also = diagnostic.also().map(|path| span(tree, path));
        diagnostic.locate(&self.source, Some(here), also)
    }

    /// The line of a part of the recipe, counted from 1.
    pub fn line(&self, path: &yaml::Path) -> Option<usize> {
        let tree = self.tree.as_ref()?;
        if !is_in(tree, path) {
            return None;
        }
        Some(self.source.position(span(tree, path).start).line)
    }
}

/// A word is marked itself, a map by its key.
pub(super) fn span(tree: &Tree, path: &yaml::Path) -> Range<usize> {
    let mut node = Some(&tree.root);
    let mut here = yaml::Path::root();
    for segment in path.segments() {
        // A setting in short form has no fields: the word stands for all of them.
        if let Some(Node { kind: Kind::Scalar(_), .. }) = node {
            return tree.locate(&here, Part::Value);
        }
        node = node.and_then(|node| inside(node, segment));
        here = match segment {
            yaml::Segment::Key(key) => here.key(key),
            yaml::Segment::Index(index) => here.index(*index),
        };
    }
    let part = match node.map(|node| &node.kind) {
        Some(Kind::Scalar(_)) => Part::Value,
        _ => Part::Key,
    };
    tree.locate(path, part)
}

fn inside<'t>(node: &'t Node, segment: &yaml::Segment) -> Option<&'t Node> {
    match segment {
        yaml::Segment::Key(key) => node.entry(key).map(|entry| &entry.value),
        yaml::Segment::Index(index) => node.item(*index),
    }
}

/// Whether the first part of a path is in the file at all.
fn is_in(tree: &Tree, path: &yaml::Path) -> bool {
    path.segments().first().is_some_and(|first| inside(&tree.root, first).is_some())
}
