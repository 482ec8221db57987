//! The words for what YAML allows and a recipe does not.

use std::ops::Range;

use super::alias::NODE_LIMIT;
use super::build::DEPTH_LIMIT;
use super::mistake::{Mistake, printable};
use super::path::Path;
use super::source::FILE_LIMIT;
use super::tree::Kind;

pub(super) fn empty() -> Mistake {
    Mistake::new("yaml::empty", "this file says nothing")
        .why("there is no key in it")
        .help("begin with `isorecipe: 1`")
}

pub(super) fn second_document(span: Range<usize>) -> Mistake {
    Mistake::new("yaml::second_document", "a second document begins here")
        .at(Path::root(), span)
        .why("a file holds one recipe")
        .help("move what follows into a file of its own")
}

pub(super) fn too_deep() -> Mistake {
    Mistake::new(
        "yaml::too_deep",
        format!("lists and mappings stand more than {DEPTH_LIMIT} deep in each other"),
    )
    .why("one too deep")
    .help("take some brackets out")
}

pub(super) fn too_many_nodes() -> Mistake {
    Mistake::new("yaml::too_many_nodes", format!("this file has more than {NODE_LIMIT} values"))
        .why("one too many, with what the aliases stand for")
        .help("split it, or use fewer aliases")
}

pub(super) fn too_much_text() -> Mistake {
    Mistake::new(
        "yaml::too_large",
        format!("the aliases of this file repeat more than {FILE_LIMIT} bytes"),
    )
    .why("too large from here on")
    .help("use fewer aliases")
}

pub(super) fn tag(tag: &str) -> Mistake {
    let tag = printable(tag);
    Mistake::new("yaml::tag", format!("`{tag}` is a tag"))
        .why("the type of a value follows from its key")
        .help(format!("take `{tag}` out"))
}

pub(super) fn alias_unknown(name: &str) -> Mistake {
    let name = printable(name);
    Mistake::new("yaml::alias_unknown", format!("nothing before this is named `&{name}`"))
        .why("an alias repeats what has a name")
        .help(format!("write `\"*{name}\"` if the text itself is meant"))
}

pub(super) fn alias_cycle() -> Mistake {
    Mistake::new("yaml::alias_cycle", "this alias stands inside what it names")
        .why("it would never end")
        .help("write out what is meant")
}

pub(super) fn merge_key() -> Mistake {
    Mistake::new("yaml::merge_key", "`<<` merges another mapping into this one")
        .why("what a mapping holds must be written in it")
        .help("write the keys out")
}

pub(super) fn key_does_not_show(key: &str) -> Mistake {
    Mistake::new(
        "yaml::control_character",
        format!("the key `{}` has characters that do not show", printable(key)),
    )
    .why("it is not what it looks like")
    .help("take them out")
}

pub(super) fn key_not_text(kind: &Kind, written: &str) -> Mistake {
    let help = match kind {
        Kind::Null if !written.is_empty() && !written.starts_with('*') => {
            format!("write `\"{}\"`", printable(written))
        }
        _ => String::from("write the key as a word"),
    };
    let found = if written.starts_with('*') { "an alias" } else { kind.noun() };
    Mistake::new("yaml::key_not_text", format!("this key is {found}"))
        .why("a key is a text")
        .help(help)
}

pub(super) fn duplicate_key(
    key: &str,
    mapping: &Path,
    span: Range<usize>,
    first: Range<usize>,
) -> Mistake {
    Mistake::new("yaml::duplicate_key", format!("`{}` stands twice in one mapping", printable(key)))
        .at(mapping.key(key), span)
        .why("the second")
        .help("keep one of the two")
        .also(first, "the first")
}
