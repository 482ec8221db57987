//! Files that cannot be read as what they are given as, before anything is planned.

mod support;

use serde_json::Value;
use support::program::{Run, folder_of_tests, isorecipe};

#[test]
fn a_recipe_that_does_not_exist_is_missing() {
    let run = validate("no-such-recipe.yaml");
    assert_eq!(code(&run), "recipe::missing");
    assert_eq!(run.status, 1);
}

#[test]
fn a_recipe_is_no_directory() {
    assert_eq!(code(&validate("fixtures")), "recipe::is_directory");
}

#[test]
fn a_recipe_that_gives_an_error_is_unreadable() {
    // Nobody has mapped the first page of a process.
    assert_eq!(code(&validate("/proc/self/mem")), "recipe::unreadable");
}

#[test]
fn a_path_that_the_kernel_would_not_take_is_too_long() {
    // One text over two lines, since a line has an end before that.
    let path = format!("{}\\\n{}", "x".repeat(4000), "y".repeat(96));
    let recipe = format!("isorecipe: 1\ncwd: \"{path}\"\n");
    let run = isorecipe(["validate", "--json", "-"]).run(recipe.as_bytes());
    assert_eq!(code(&run), "path::too_long");
}

#[test]
fn a_file_that_is_no_recorded_host_is_wrong_usage() {
    for host in ["no-such-host.json", "fixtures", "files.rs"] {
        let run = isorecipe(["plan", "--json", "--host", host, "-"])
            .current_dir(&folder_of_tests())
            .run(b"isorecipe: 1\n");
        assert_eq!((code(&run).as_str(), run.status), ("host::unreadable", 2));
    }
}

fn validate(recipe: &str) -> Run {
    isorecipe(["validate", "--json", recipe]).current_dir(&folder_of_tests()).run(b"")
}

/// The code of the only problem.
#[track_caller]
fn code(run: &Run) -> String {
    let problem: Value =
        serde_json::from_str(&run.stderr).unwrap_or_else(|error| panic!("{error}, in {run:?}"));
    problem["code"].as_str().expect("a code").to_owned()
}
