//! Every situation in which a sandbox does not come up, made on the real kernel, and what isorecipe says of it.
//!
//! `tests/catalogue/*.yaml` are the situations, as data (`support/catalogue/row.rs` says what a row may hold): what is
//! around, a recipe, the code, words of the cause, and the remedy, which is then applied as it was printed. Each is
//! planned, and applied with `--unchecked` so that the kernel itself refuses, as root and as an ordinary user.
//! `tests/catalogue/not-made.yaml` lists those that no recipe can make here, and why.
//!
//! `UPDATE_GOLDEN=1 cargo test --test catalogue`, as root, writes `tests/pages/catalogue.md`.
//! `CATALOGUE=overlay/ cargo test --test catalogue` tries those whose name begins so.

#[path = "support/catalogue/mod.rs"]
mod catalogue;
#[path = "support/json_schema.rs"]
mod json_schema;
#[path = "support/machine.rs"]
mod machine;

use std::{fs, path::Path};

use catalogue::{page, row, trial};
use machine::own_uid;

#[test]
fn each_situation_gets_its_code_its_cause_and_a_remedy_that_works() {
    let rows = row::all();
    let results = trial::of_all(&rows);
    let wrong: Vec<String> = results.iter().filter_map(trial::Trial::wrong).collect();
    let count = wrong.len();
    assert!(wrong.is_empty(), "{}\n{count} of {} are wrong", wrong.join("\n"), results.len());
    if std::env::var_os("CATALOGUE").is_some() {
        return;
    }
    let printed = page::of(&rows, &results);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/catalogue.md");
    if std::env::var_os("UPDATE_GOLDEN").is_some() && own_uid() == 0 {
        fs::write(&file, &printed).expect("the page can be written");
    }
    let kept = fs::read_to_string(&file).expect("tests/pages/catalogue.md");
    // Who is not root sees a part of it.
    let lines = printed.lines().filter(|line| own_uid() == 0 || line.contains("| user |"));
    let missing: Vec<&str> =
        lines.filter(|line| !kept.lines().any(|other| other == *line)).collect();
    assert!(missing.is_empty(), "not on the page:\n{}", missing.join("\n"));
    assert!(own_uid() != 0 || kept == printed, "the page has more than there is");
}

#[test]
fn one_errno_of_one_call_has_more_than_one_code_wherever_it_has_more_than_one_cause() {
    let codes = row::codes_by_fault(&row::all());
    let alone = codes.iter().filter(|(_, codes)| codes.len() == 1);
    let alone: Vec<&str> = alone.map(|(fault, _)| fault.as_str()).collect();
    assert_eq!(alone, row::only_causes());
}
