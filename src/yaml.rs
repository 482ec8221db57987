//! YAML in: from bytes nobody vouches for to typed values and *all* their mistakes, each with its place.
//!
//! Two floors. [`parse`] checks the bytes against limits, then makes a [`Tree`] that remembers where every key and
//! value stands. [`read`] takes any part of that tree into a `serde` type, and goes on behind a mistake. Nothing
//! outside this room knows which parser is used.
//!
//! **Invariant:** no input makes this room panic, or take more than a small multiple of its own size in memory.
//! **Invariant:** every [`Mistake`] has a span inside the source, on character boundaries, and words that are safe to
//! print on a terminal.
//!
//! # Codes
//! `yaml::…` is what [`parse`] finds: `too_large` `line_too_long` `too_deep` `too_many_nodes` `not_utf8`
//! `byte_order_mark` `control_character` `tab` `syntax` `unquoted_variable` `directive` `second_document` `empty` `tag`
//! `merge_key` `key_not_text` `duplicate_key` `alias_unknown` `alias_cycle`.
//!
//! `recipe::…` is what [`read`] finds: `unknown_key` `missing_key` `unknown_word` `two_keys` `wrong_kind`
//! `not_a_boolean` `not_a_number` `out_of_range` `wrong_length` `value`, and whatever code a type brings by [`refuse`].

mod alias;
mod build;
mod deserialize;
mod fault;
mod hint;
mod locate;
mod mistake;
mod path;
mod read;
mod scalar;
mod source;
mod syntax;
mod tree;
mod words;

pub use alias::NODE_LIMIT;
pub use build::{DEPTH_LIMIT, parse};
pub use fault::refuse;
pub use hint::nearest;
pub use locate::Part;
pub use mistake::{Mistake, is_hidden, printable, spelled_out};
pub use path::{Path, Segment};
pub use read::read;
pub use source::{FILE_LIMIT, LINE_LIMIT};
pub use tree::{Entry, Kind, Node, Scalar, Tree};

/// Nobody mends more than this in one go, and a hostile file could have a hundred thousand.
const MOST_MISTAKES: usize = 100;
