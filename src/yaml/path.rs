//! Where a value sits in a document: `layers[2].hostname`.

use std::fmt;

use super::mistake::printable;

/// Where a value sits in a document, from its root: `layers[2].hostname`.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path(Vec<Segment>);

/// One step from a collection to a value in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// To the value of this key.
    Key(String),
    /// To this entry of a list, counted from 0.
    Index(usize),
}

impl Path {
    /// The whole document; shown as nothing.
    pub fn root() -> Path {
        Path::default()
    }

    /// The value of `key` in the mapping at this path.
    pub fn key(&self, key: impl Into<String>) -> Path {
        self.then(Segment::Key(key.into()))
    }

    /// The entry `index` of the list at this path.
    pub fn index(&self, index: usize) -> Path {
        self.then(Segment::Index(index))
    }

    /// The value that a path leads to from here.
    pub fn join(&self, rest: &Path) -> Path {
        self.0.iter().chain(&rest.0).cloned().collect()
    }

    /// The steps from the root.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }

    /// The path from its last key on, `uid[0]` of `layers[2].uid[0]`: short enough to be the subject of a sentence.
    pub fn tail(&self) -> Path {
        let last_key = self.0.iter().rposition(|segment| matches!(segment, Segment::Key(_)));
        Path(self.0.iter().skip(last_key.unwrap_or(0)).cloned().collect())
    }

    fn then(&self, segment: Segment) -> Path {
        let mut segments = Vec::with_capacity(self.0.len() + 1);
        segments.extend_from_slice(&self.0);
        segments.push(segment);
        Path(segments)
    }
}

impl FromIterator<Segment> for Path {
    fn from_iter<I: IntoIterator<Item = Segment>>(segments: I) -> Path {
        Path(segments.into_iter().collect())
    }
}

/// Keys that are not plain words are shown quoted, so that a path is never ambiguous: `env["a.b"]`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Key(key) if !is_word(key) => {
                    write!(f, "[\"{}\"]", printable(key).replace('"', "\\\""))?
                }
                Segment::Key(key) if depth == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

fn is_word(key: &str) -> bool {
    (1..=64).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}
