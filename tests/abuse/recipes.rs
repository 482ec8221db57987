//! The recipes that ship, shown one folder more: that of the payload.

use std::{fs, os::unix::fs::chown, path::PathBuf};

use crate::suite::ground::Ground;

pub const ALL: [&str; 3] = ["shell", "agent", "dev"];

/// Recipes that leave much open, each in its own way.
pub const WEAK: [&str; 3] = ["bare", "namespaces", "rootful"];

fn weak(name: &str) -> Option<&'static str> {
    Some(match name {
        "bare" => "layers: []\n",
        // Of its own, but for files and rights.
        "namespaces" => {
            "layers:\n  - user: {map: root}\n  - pid: {proc: true}\n  - uts\n  - ipc\n  - net: none\n"
        }
        // Its own files, with every right there, and nobody between it and the kernel.
        "rootful" => {
            "layers:\n  - user: {map: root}\n  - pid: {init: false}\n  - mount\n  - root: {read_only: [/usr, /etc]}\nclear_env: true\nno_new_privs: false\n"
        }
        _ => return None,
    })
}

/// The recipe in a repository of the caller's, as it ships but for the folder
/// that it shows as well.
pub fn lay(ground: &Ground, name: &str) -> PathBuf {
    let shipped =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("recipes").join(format!("{name}.yaml"));
    let shown = ground.shown().display().to_string();
    let text = match weak(name) {
        Some(text) => format!("isorecipe: 1\n{text}"),
        None => fs::read_to_string(shipped).expect("the recipe"),
    };
    let more = text.replace("[/usr", &format!("[{shown}, /usr"));
    assert!(more != text || !text.contains("root:"), "the recipe shows /usr first");
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
