//! What two files do not have in common: properties, bytes, attributes.

use std::{collections::BTreeSet, io};

use super::{
    change::{Difference, Reason},
    content,
    entry::Entry,
    layers::{Layers, Part},
    marks::Marks,
};

/// One file of two.
pub struct Side<'f> {
    pub entry: &'f Entry,
    pub marks: &'f Marks,
    /// Where its bytes are
    pub bytes: Option<&'f Part>,
}

/// What differs, in the order of importance, and what could not be looked at.
pub fn sides(layers: &Layers, before: &Side, after: &Side) -> (Vec<Difference>, Vec<Reason>) {
    let (old, new) = (&before.entry.facts, &after.entry.facts);
    let mut differs = old.compare(new);
    let mut troubles = Vec::new();
    if differs.contains(&Difference::Type) {
        return (differs, troubles);
    }
    // Other sizes need no reading, and neither do no bytes.
    if differs.contains(&Difference::Size) {
        differs.push(Difference::Content);
    } else if new.is_file() && new.size > 0 && before.bytes != after.bytes {
        match is_same(layers, before, after) {
            Ok(true) => {}
            Ok(false) => differs.push(Difference::Content),
            Err(reason) => {
                differs.push(Difference::ContentUnknown);
                troubles.push(reason);
            }
        }
    }
    match xattrs(before, after) {
        Ok(names) if names.is_empty() => {}
        Ok(names) => differs.push(Difference::Xattrs(names)),
        Err(error) => troubles.push(error.into()),
    }
    differs.sort();
    (differs, troubles)
}

fn is_same(layers: &Layers, before: &Side, after: &Side) -> Result<bool, Reason> {
    let (Some(old), Some(new)) = (before.bytes, after.bytes) else {
        return Err(Reason::Changing);
    };
    let (old, new) = (layers.open_file(old)?, layers.open_file(new)?);
    Ok(content::is_same(&old, &new, after.entry.facts.size)?)
}

/// Attributes that only one has, or that have other values.
fn xattrs(before: &Side, after: &Side) -> io::Result<Vec<String>> {
    let (old, new) = (&before.marks.xattrs, &after.marks.xattrs);
    if old.is_empty() && new.is_empty() {
        return Ok(Vec::new());
    }
    let (old, new) = (before.entry.xattrs(old)?, after.entry.xattrs(new)?);
    let names: BTreeSet<&Vec<u8>> = old.keys().chain(new.keys()).collect();
    let differing = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    Ok(differing.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
}
