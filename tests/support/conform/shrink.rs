//! The smallest case about which model and kernel still disagree.

use super::case::Case;

/// Leaves out parts, and settings of what is left, for as long as the
/// disagreement stays.
pub fn smallest(case: &Case, mut still: impl FnMut(&Case) -> bool) -> Case {
    let mut smallest = case.clone();
    while let Some(smaller) = candidates(&smallest).into_iter().find(|case| still(case)) {
        smallest = smaller;
    }
    smallest
}

fn candidates(case: &Case) -> Vec<Case> {
    let mut all = Vec::new();
    for index in 0..case.0.len() {
        let mut parts = case.0.clone();
        parts.remove(index);
        all.push(Case(parts));
    }
    for (index, part) in case.0.iter().enumerate() {
        for simpler in simpler(part) {
            let mut parts = case.0.clone();
            parts[index] = simpler;
            all.push(Case(parts));
        }
    }
    all.retain(|case| !case.0.is_empty());
    all
}

/// A part without one of its settings: `{a: b, c: d}` becomes `{c: d}` and `{a: b}`.
fn simpler(part: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut starts = Vec::new();
    for (at, letter) in part.char_indices() {
        match letter {
            '{' | '[' => starts.push(vec![at + 1]),
            ',' => {
                if let Some(start) = starts.last_mut() {
                    start.push(at + 1);
                }
            }
            '}' | ']' => {
                let Some(marks) = starts.pop() else { continue };
                for (index, &from) in marks.iter().enumerate() {
                    let (from, to) = match marks.get(index + 1) {
                        Some(&next) => (from, next),
                        None if index > 0 => (from - 1, at),
                        None => continue,
                    };
                    found.push(format!("{}{}", &part[..from], part[to..].trim_start()));
                }
            }
            _ => {}
        }
    }
    found
}
