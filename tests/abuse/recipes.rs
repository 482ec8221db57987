//! The recipes that ship, shown one folder more: that of the payload.

use std::{fs, os::unix::fs::chown, path::PathBuf};

use crate::suite::ground::Ground;

pub const ALL: [&str; 3] = ["shell", "agent", "dev"];

/// The recipe in a repository of the caller's, as it ships but for the folder
/// that it shows as well.
pub fn lay(ground: &Ground, name: &str) -> PathBuf {
    let shipped =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recipes").join(format!("{name}.yaml"));
    let text = fs::read_to_string(shipped).expect("the recipe");
    let shown = ground.shown().display().to_string();
    let more = text.replace("[/usr", &format!("[{shown}, /usr"));
    assert_ne!(more, text, "the recipe shows /usr first");
    let folder = ground.path("repository/recipes");
    fs::create_dir_all(folder.join("work")).expect("a folder");
    for path in [ground.path("repository"), folder.clone(), folder.join("work")] {
        chown(&path, Some(ground.caller.uid), Some(ground.caller.gid)).expect("an owner");
    }
    let path = folder.join(format!("{name}.yaml"));
    fs::write(&path, more).expect("a file");
    path
}

/// Which layers of the suite's table a recipe claims, by its own text.
pub fn claims(text: &str, layer: &str) -> bool {
    let has = |words: &str| {
        text.lines().any(|line| line.trim_start().trim_start_matches("- ").starts_with(words))
    };
    match layer {
        "init" => has("pid:"),
        "nested" => text.contains("nested: false"),
        "strict" => has("seccomp: strict"),
        // Who is root outside as well has root's files.
        "ids" => text.contains("map: auto"),
        "groups" => text.contains("map: auto"),
        "clear_env" => has("clear_env: true"),
        "no_new_privs" => !text.contains("no_new_privs: false"),
        layer => has(&format!("{layer}:")),
    }
}
