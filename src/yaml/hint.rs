//! What the author may have meant, and what there is to choose from.

use std::fmt::Write;

/// Longer words are nobody's typing mistake, and comparing is quadratic.
const LONGEST_WORD: usize = 64;

/// The known word that `word` was probably meant to be.
pub fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    if word.len() > LONGEST_WORD {
        return None;
    }
    let word = word.to_lowercase().replace(['-', ' '], "_");
    let distance = |known: &&str| strsim::osa_distance(&word, known);
    let nearest = known.iter().copied().min_by_key(distance)?;
    // One slip in three letters; with more, another word was meant.
    (distance(&nearest) <= nearest.len().div_ceil(3)).then_some(nearest)
}

/// What to type instead of a word that is not one of `known`.
pub(super) fn instead_of(word: &str, known: &'static [&'static str]) -> String {
    match nearest(word, known) {
        _ if known.is_empty() => String::from("take it out: nothing can be set here"),
        Some(nearest) if known.len() == 1 => format!("write `{nearest}`"),
        Some(nearest) => {
            let others: Vec<&str> =
                known.iter().copied().filter(|other| *other != nearest).collect();
            format!("write `{nearest}`, or one of {}", list(&others))
        }
        None => format!("use one of {}", list(known)),
    }
}

/// `` `a`, `b`, `c` ``
pub(super) fn list(words: &[&str]) -> String {
    let mut list = String::new();
    for word in words {
        let comma = if list.is_empty() { "" } else { ", " };
        _ = write!(list, "{comma}`{word}`");
    }
    list
}
