//! `apply --verify`: the sandbox is compared with its plan before its command
//! runs, and what was found is said and kept.

use std::{cell::RefCell, io::Write};

use crate::{
    diagnostic::{Diagnostic, Record},
    plan::Plan,
    recipe::Document,
    verify::Attestation,
    yaml::spelled_out,
};

use super::{Output, located};

/// The comparison of one run.
pub(super) struct Inspection<'a> {
    document: &'a Document,
    output: &'a Output,
    /// Whether it was asked for on the command line, and is to be seen there
    is_shown: bool,
    attestation: RefCell<Option<Attestation>>,
    problems: RefCell<Vec<Record>>,
}

impl<'a> Inspection<'a> {
    pub(super) fn new(document: &'a Document, output: &'a Output, is_shown: bool) -> Self {
        let (attestation, problems) = Default::default();
        Self { document, output, is_shown, attestation, problems }
    }

    /// Compares, says what was found, and whether the command may run.
    pub(super) fn of(&self, plan: &Plan, child: i32) -> bool {
        match Attestation::of(plan, self.document.text().as_bytes(), child) {
            Err(diagnostic) => self.complain(vec![*diagnostic]),
            Ok(attestation) => {
                let differences = attestation.differences();
                let is_well = differences.is_empty();
                if is_well && self.is_shown {
                    self.show(&attestation);
                }
                self.attestation.replace(Some(attestation));
                is_well || self.complain(differences)
            }
        }
    }

    fn complain(&self, problems: Vec<Diagnostic>) -> bool {
        let problems = located(self.document, problems);
        self.output.complain(&problems);
        self.problems.replace(problems.iter().map(Record::from).collect());
        false
    }

    fn show(&self, attestation: &Attestation) {
        let text = match self.output.json {
            true => format!("{}\n", serde_json::json!({ "attestation": attestation })),
            false => in_words(attestation),
        };
        // Nobody is left to be told that standard error is gone.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }

    /// What was found, for the report.
    pub(super) fn take(&self) -> (Option<Attestation>, Vec<Record>) {
        (self.attestation.take(), self.problems.take())
    }
}

fn in_words(attestation: &Attestation) -> String {
    let head = [("recipe", &attestation.recipe), ("kernel", &attestation.kernel)];
    let head = head.into_iter().map(|(what, is)| (what, is.clone()));
    let claims = attestation.claims.iter().map(|claim| (claim.what.as_str(), claim.is.clone()));
    let lines = head.chain(claims).map(|(what, is)| {
        format!("isorecipe: verified {}: {}\n", spelled_out(what), spelled_out(&is))
    });
    lines.collect()
}
