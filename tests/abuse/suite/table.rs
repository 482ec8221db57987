//! The figures in words.

use super::{Mark, Marks, checks};

/// One line for each check, and the figures.
pub fn print(marks: &Marks) -> String {
    let mut text = String::new();
    for check in checks().into_iter().flatten() {
        let Some((mark, detail)) = marks.get(check.name) else { continue };
        text += &format!(
            "{:<5}  {:<16} {:<14} {} ({detail})\n",
            mark.word(),
            check.name,
            check.layer(),
            check.tries()
        );
    }
    text + &figures(marks) + "\n"
}

/// `71 checks: 60 PASS, 0 FAIL, 11 OPEN, 0 ERROR`
pub fn figures(marks: &Marks) -> String {
    let count = |mark| marks.values().filter(|(found, _)| *found == mark).count();
    let each = [Mark::Pass, Mark::Fail, Mark::Open, Mark::Error];
    let each: Vec<String> = each.map(|mark| format!("{} {}", count(mark), mark.word())).into();
    format!("{} checks: {}", marks.len(), each.join(", "))
}
