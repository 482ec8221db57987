//! What was tried, as a page for people.

use std::{collections::BTreeMap, fmt::Write};

use super::{
    row::{self, Person, Row, Why},
    trial::{Done, Trial},
};

/// The page.
pub fn of(rows: &[Row], trials: &[Trial]) -> String {
    let codes = row::codes_by_fault(rows);
    let not_made = row::not_made();
    let mut page = String::from(
        "# What goes wrong, and what isorecipe says of it\n\n\
         Written by `tests/catalogue.rs`, which makes each of these situations on a real kernel, asks the plan, lets \
         the kernel refuse, and applies the remedy that was printed. The situations are in `tests/catalogue/`.\n\n",
    );
    page += &counts(rows, trials, &not_made);
    page += "\n`plan`: the plan says the same before anything runs; otherwise only the kernel knows. \
             `another`: a code that the same errno of the same call gets for another cause.\n\n\
             | situation | how | as | the kernel | code | plan | another | remedy |\n\
             |---|---|---|---|---|---|---|---|\n";
    for trial in trials {
        let Some(row) = rows.iter().find(|row| row.id == trial.id) else { continue };
        page += &line(row, trial, &codes);
    }
    page += "\n## Not made here\n\n| situation | how | why |\n|---|---|---|\n";
    for row in &not_made {
        let _ = writeln!(page, "| {} | {} | {} |", row.id, row.about, because(row.why));
    }
    page
}

fn line(
    row: &Row,
    trial: &Trial,
    codes: &BTreeMap<String, std::collections::BTreeSet<String>>,
) -> String {
    let person = match trial.person {
        Person::Root => "root",
        Person::User => "user",
    };
    let fault = row.fault.as_deref().unwrap_or("");
    let another = codes.get(fault).and_then(|all| all.iter().find(|code| **code != row.code));
    let code = match row.code.as_str() {
        "ok" => "it works".to_owned(),
        code => format!("`{code}`"),
    };
    let remedy = match (trial.remedy, &row.remedy.not_applied, &row.remedy.then) {
        (Done::Works, ..) => "works".to_owned(),
        (Done::Leads, _, Some(then)) => format!("then `{then}`"),
        (Done::NotApplied, Some(why), _) => why.clone(),
        _ => String::new(),
    };
    format!(
        "| {} | {} | {person} | {fault} | {code} | {} | {} | {remedy} |\n",
        row.id,
        row.about,
        if trial.is_foreseen { "yes" } else { "" },
        another.map_or(String::new(), |code| format!("`{code}`")),
    )
}

fn counts(rows: &[Row], trials: &[Trial], not_made: &[row::NotMade]) -> String {
    let tried = |wanted: fn(&Trial) -> bool| trials.iter().filter(|trial| wanted(trial)).count();
    let mut text = format!(
        "{} situations made, {} times: {} foreseen by the plan, {} remedies applied, 0 wrong.\n",
        rows.len(),
        trials.len(),
        tried(|trial| trial.is_foreseen),
        tried(|trial| matches!(trial.remedy, Done::Works | Done::Leads)),
    );
    let whys = [Why::NoLayer, Why::AnotherKernel, Why::Internal, Why::Avoided];
    let of = |why: Why| not_made.iter().filter(|row| row.why == why).count();
    let parts: Vec<String> =
        whys.iter().map(|&why| format!("{} {}", of(why), because(why))).collect();
    let _ = writeln!(text, "{} not made: {}.", not_made.len(), parts.join(", "));
    text
}

fn because(why: Why) -> &'static str {
    match why {
        Why::NoLayer => "no layer asks for it",
        Why::AnotherKernel => "another kernel or system says it",
        Why::Internal => "only a mistake in isorecipe could",
        Why::Avoided => "isorecipe never lets it come to that",
    }
}
