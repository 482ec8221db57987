//! The schema that editors use says about a recipe what isorecipe says when it reads it.
//!
//! `UPDATE_SCHEMA=1 cargo test --test schema` writes `schemas/recipe.schema.json`.

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::json_schema;
use support::program::isorecipe;

#[test]
fn the_schema_of_the_repository_is_the_one_that_is_printed() {
    let printed = isorecipe(["schema"]).run(b"").stdout;
    let file = checkout("schemas/recipe.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&file, &printed).expect("the schema can be written");
    }
    let kept = fs::read_to_string(&file).expect("schemas/recipe.schema.json");
    assert!(kept == printed, "`isorecipe schema` now prints\n{printed}");
}

#[test]
fn the_schema_of_what_is_observed_is_the_one_of_its_types() {
    let schema = schemars::schema_for!(isorecipe::observe::Report);
    let printed = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
    let file = checkout("schemas/observe.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&file, &printed).expect("the schema can be written");
    }
    let kept = fs::read_to_string(&file).expect("schemas/observe.schema.json");
    assert!(kept == printed, "the schema now is\n{printed}");
}

#[test]
fn the_schema_of_a_diagnostic_is_the_one_of_its_types() {
    let schema = schemars::schema_for!(isorecipe::diagnostic::Record);
    let printed = format!("{}\n", serde_json::to_string_pretty(&schema).expect("JSON"));
    let file = checkout("schemas/diagnostic.schema.json");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(&file, &printed).expect("the schema can be written");
    }
    let kept = fs::read_to_string(&file).expect("schemas/diagnostic.schema.json");
    assert!(kept == printed, "the schema now is\n{printed}");
}

#[test]
fn every_recipe_that_comes_with_isorecipe_is_right() {
    for entry in fs::read_dir(checkout("recipes")).expect("recipes") {
        let file = entry.expect("an entry").path();
        let recipe = fs::read_to_string(&file).expect("a recipe");
        assert_eq!(both(&recipe), (Ok(()), true), "{}", file.display());
    }
}

#[test]
fn every_recipe_names_the_schema() {
    for entry in fs::read_dir(checkout("recipes")).expect("recipes") {
        let file = entry.expect("an entry").path();
        let recipe = fs::read_to_string(&file).expect("a recipe");
        let line = recipe.lines().find_map(|line| line.split_once("$schema="));
        let (_, schema) = line.unwrap_or_else(|| panic!("no schema: {}", file.display()));
        assert!(checkout("recipes").join(schema).is_file(), "{schema}");
    }
}

#[test]
fn every_form_of_a_setting_is_right_for_both() {
    for layer in [
        "user",
        "user: ",
        "user: {}",
        "user: {map: }",
        "user: {map: self}",
        "user: {map: {}}",
        "user: {map: {uid: [{inside: 0, outside: 1000}], gid: []}}",
        "user: {setgroups: allow}",
        "uts",
        "uts: {hostname: box}",
        "hostname: box",
        "hostname: 7",
        "domainname: example",
        "pid",
        "pid: {proc: true, init: false}",
        "mount",
        "mount: {propagation: slave}",
        "proc",
        "proc: ",
        "proc: /proc",
        "proc: {at: /proc}",
        "tmpfs: /tmp",
        "tmpfs: {at: /tmp, size: 64M, mode: 0700}",
        "tmpfs: {at: /tmp, size: 4096}",
        "dir: /tmp/x",
        "dir: {path: /tmp/x, mode: 0o700}",
        "bind: {from: a, to: b, read_only: true}",
        "overlay: {lower: a, at: b}",
        "overlay: {lower: [a, b], at: c}",
        "overlay: {lower: {image: a}, at: b}",
        "overlay: {lower: [a, {image: b, trusted: true}], at: c, upper: d, work: e, create: true}",
        "pivot_root: a",
        "pivot_root: {new: a, old: b}",
        "seccomp",
        "seccomp: ",
        "seccomp: strict",
        "seccomp: {base: none, allow: [read], deny: [write], otherwise: kill, need: prefer}",
        "seccomp: {rules: [{call: ioctl, when: cmd == TIOCSTI, then: EPERM}]}",
        "seccomp: {rules: [{call: [kill, tkill], when: [arg0 == 1, arg1 != 0x9], then: log}]}",
    ] {
        let recipe = format!("isorecipe: 1\nlayers:\n  - {layer}\n");
        assert_eq!(both(&recipe), (Ok(()), true), "{layer}");
    }
}

#[test]
fn every_key_of_a_recipe_is_right_for_both() {
    for line in [
        "name: step",
        "name: 1",
        "about: ",
        "layers: []",
        "command: [bash, -c, 1, true]",
        "env: {LANG: C.UTF-8, ONE: 1, YES: true}",
        "clear_env: true",
        "pass_env: [TERM]",
        "cwd: /",
        "no_new_privs: false",
        "image: {file: a, filesystem: directory}",
        "image: {file: a, filesystem: xfs, size: 300M, owner: self}",
        "image: {file: a, filesystem: ext4, size: 4096, owner: root, programs: [sh, 7]}",
        "image: {file: a, filesystem: erofs, copy: [{from: b, to: /}, {from: [c, d], to: /e}]}",
        "image: {file: a, filesystem: squashfs, dirs: [b], links: {/c: d}, devices: [/dev/null]}",
    ] {
        assert_eq!(both(&format!("isorecipe: 1\n{line}\n")), (Ok(()), true), "{line}");
    }
}

#[test]
fn a_layer_that_is_wrong_is_wrong_for_both() {
    for layer in [
        "hostnaem: box",
        "hostname",
        "hostname: ",
        "hostname: ''",
        "hostname: [box]",
        "hostname: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "user: {mpa: root}",
        "user: {map: toor}",
        "user: {map: [root]}",
        "user: {map: {uid: [{inside: 0}]}}",
        "user: {map: {uid: [{inside: -1, outside: 0}]}}",
        "user: {map: {uid: [{inside: 4294967296, outside: 0}]}}",
        "user: {setgroups: maybe}",
        "pid: {proc: 'yes'}",
        "pid: true",
        "mount: {propagation: secret}",
        "tmpfs",
        "tmpfs: ",
        "tmpfs: ''",
        "tmpfs: {size: 64M}",
        "tmpfs: {at: /tmp, size: 64MB}",
        "tmpfs: {at: /tmp, size: 0}",
        "tmpfs: {at: /tmp, mode: rwx}",
        "bind: /usr",
        "bind: {from: a}",
        "overlay: {at: b}",
        "overlay: {lower: [], at: b}",
        "overlay: {lower: {image: a, trusted: 1}, at: b}",
        "pivot_root: {old: b}",
        "seccomp: docker",
        "seccomp: {allow: read}",
        "seccomp: {allow: [Read]}",
        "seccomp: {rules: [{call: read}]}",
        "seccomp: {rules: [{call: read, then: maybe}]}",
        "seccomp: {otherwise: deny}",
        "{uts: {}, pid: {}}",
        "[]",
        "{}",
    ] {
        let (schema, is_valid) = both(&format!("isorecipe: 1\nlayers:\n  - {layer}\n"));
        assert!(schema.is_err() && !is_valid, "{layer}: {schema:?}, {is_valid}");
    }
}

#[test]
fn a_recipe_that_is_wrong_is_wrong_for_both() {
    for recipe in [
        "layers: []",
        "isorecipe: 2",
        "isorecipe: one",
        "isorecipe: 1\nlayres: []",
        "isorecipe: 1\nlayers: {user: {}}",
        "isorecipe: 1\ncommand: bash",
        "isorecipe: 1\ncommand: []",
        "isorecipe: 1\nenv: {A: [b]}",
        "isorecipe: 1\nclear_env: 'on'",
        "isorecipe: 1\ncwd: ''",
        "isorecipe: 1\nimage: {file: a}",
        "isorecipe: 1\nimage: {file: '', filesystem: ext4}",
        "isorecipe: 1\nimage: {file: a, filesystem: btrfs}",
        "isorecipe: 1\nimage: {file: a, filesystem: ext4, size: 1T}",
        "isorecipe: 1\nimage: {file: a, filesystem: ext4, owner: ann}",
        "isorecipe: 1\nimage: {file: a, filesystem: ext4, copy: {from: b}}",
        "isorecipe: 1\nimage: {file: a, filesystem: ext4, links: [b]}",
        "[]",
        "step",
    ] {
        let (schema, is_valid) = both(recipe);
        assert!(schema.is_err() && !is_valid, "{recipe}: {schema:?}, {is_valid}");
    }
}

fn checkout(path: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What the schema says of a recipe, and whether `isorecipe validate` finds it fine.
fn both(recipe: &str) -> (Result<(), String>, bool) {
    let schema = fs::read_to_string(checkout("schemas/recipe.schema.json")).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let value: Value = serde_yaml::from_str(recipe).expect("YAML");
    let validate = isorecipe(["validate", "-"]).run(recipe.as_bytes());
    (json_schema::check(&schema, &value), validate.status == 0)
}
