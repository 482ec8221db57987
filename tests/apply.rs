//! What the kernel itself refuses, seen from outside: the words, and the exit status of `apply`.
//!
//! What an ordinary user gets is asked as one, also when root runs the tests.

mod support;

use std::{
    fs,
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use support::program::{Program, Run, program};
use tempfile::TempDir;

const NOBODY: u32 = 65534;

#[test]
fn a_command_that_does_not_exist_ends_in_127() {
    let place = Place::new();
    let run = place.apply("[]", &["/no/such/command"]);
    assert_eq!(run.code_and_status(), ("command::not_found".into(), 127));
}

#[test]
fn a_command_whose_interpreter_does_not_exist_ends_in_127() {
    let place = Place::new();
    let script = place.program("script", "#!/no/such/interpreter\n", 0o755);
    let run = place.apply("[]", &[&script]);
    assert_eq!(run.code_and_status(), ("command::no_interpreter".into(), 127));
    assert!(run.stderr.contains("/no/such/interpreter"), "{}", run.stderr);
}

#[test]
fn a_command_that_may_not_be_executed_ends_in_126() {
    let place = Place::new();
    let script = place.program("script", "#!/bin/sh\n", 0o644);
    let run = place.apply("[]", &[&script]);
    assert_eq!(run.code_and_status(), ("command::not_executable".into(), 126));
}

#[test]
fn a_command_that_is_a_directory_ends_in_126() {
    let place = Place::new();
    let run = place.apply("[]", &["/usr/bin"]);
    assert_eq!(run.code_and_status(), ("command::is_directory".into(), 126));
}

#[test]
fn a_directory_of_path_that_nobody_may_search_is_passed_by() {
    let place = Place::new();
    let run = place.apply("[]\nenv: {PATH: \"/root/nowhere:/usr/bin:/bin\"}", &["no-such-command"]);
    assert_eq!(run.code_and_status(), ("command::path_hidden".into(), 127));
}

#[test]
fn a_command_that_is_no_program_ends_in_126() {
    let place = Place::new();
    let text = place.program("text", "Dear kernel,\n", 0o755);
    let run = place.apply("[]", &[&text]);
    assert_eq!(run.code_and_status(), ("command::not_a_program".into(), 126));
}

#[test]
fn a_variable_longer_than_the_kernel_takes_ends_in_126() {
    let place = Place::new();
    // One text over many lines, 160 000 characters long; the kernel takes 131 071.
    let text = format!("{}\\\n", "x".repeat(4000)).repeat(40);
    let run = place.apply(&format!("[]\nenv: {{X: \"{text}\"}}"), &["/bin/true"]);
    assert_eq!(run.code_and_status(), ("command::too_long".into(), 126));
}

#[test]
fn a_refusal_of_the_kernel_reads_like_a_predicted_one() {
    let place = Place::new();
    let layers = "[user: {map: root}, hostname: box]";
    let predicted = place.apply(layers, &["true"]);
    let observed = place.run("apply", &["--unchecked"], layers, &["true"]);
    assert_eq!(predicted.stderr, observed.stderr);
    assert_eq!(observed.code_and_status(), ("hostname::shared".into(), 125));
}

#[test]
fn a_sandbox_without_proc_cannot_map_ids() {
    let place = Place::new();
    let run = place.apply_within("user: {map: self}, mount, tmpfs: /proc", "[user: {map: root}]");
    assert_eq!(run.code_and_status(), ("map::no_proc".into(), 125));
}

#[test]
fn a_sandbox_whose_proc_is_read_only_cannot_map_ids() {
    let place = Place::new();
    let outer = "user: {map: self}, mount, bind: {from: /proc, to: /proc, read_only: true}";
    let run = place.apply_within(outer, "[user: {map: root}]");
    assert_eq!(run.code_and_status(), ("map::read_only_proc".into(), 125));
}

#[test]
fn an_old_root_over_a_directory_with_something_in_it_cannot_be_tidied_away() {
    let place = Place::new();
    fs::create_dir_all(place.path("root/old/something")).expect("a directory");
    place.give_away();
    let layers = "[user: {map: root}, mount, bind: {from: root, to: root}, \
                   pivot_root: {new: root, old: old}]";
    let run = place.apply(layers, &["true"]);
    assert_eq!(run.code_and_status(), ("pivot_root::old_not_empty".into(), 125));
}

#[test]
fn ids_that_nobody_has_given_cannot_be_mapped() {
    let place = Place::new();
    place.program("newuidmap", "#!/bin/sh\nexit 1\n", 0o755);
    let run = place.apply_with_path("[user: {map: {uid: [{inside: 0, outside: 7}]}}]");
    // Who has subordinate ids is told which; 7 is among nobody's.
    let code =
        if has_subordinate_ids() { "map::outside_your_ids" } else { "map::no_subordinate_ids" };
    assert_eq!(run.code_and_status(), (code.into(), 125));
}

/// Whether /etc/subuid has a line for the user that these recipes run as.
fn has_subordinate_ids() -> bool {
    let uid = nix::unistd::geteuid();
    let name = match nix::unistd::User::from_uid(uid) {
        // Root's tests run as nobody, who has none.
        Ok(Some(user)) if !uid.is_root() => user.name,
        _ => return false,
    };
    let lines = fs::read_to_string("/etc/subuid").unwrap_or_default();
    lines.lines().any(|line| line.split(':').next() == Some(name.as_str()))
}

#[test]
fn a_sandbox_that_is_killed_before_its_command_begins_is_lost() {
    let place = Place::new();
    place.program("newuidmap", "#!/bin/sh\nkill -9 $1\n", 0o755);
    let run = place.apply_with_path("[user: {map: {uid: [{inside: 0, outside: 7}]}}]");
    assert_eq!(run.code_and_status(), ("sandbox::lost".into(), 125));
}

#[test]
fn a_user_with_too_many_processes_gets_no_sandbox() {
    let place = Place::new();
    let recipe = b"isorecipe: 1\n";
    let script = "ulimit -u 0; exec ./isorecipe apply --json - true";
    let run = place.ordinary(program("/bin/bash")).args(&["-c", script]).run(recipe);
    assert_eq!(run.code_and_status(), ("sandbox::not_born".into(), 125));
}

#[test]
fn a_recipe_behind_a_closed_door_is_hidden() {
    let place = Place::new();
    fs::create_dir(place.path("closed")).expect("a directory");
    place.give_away();
    fs::set_permissions(place.path("closed"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let run = place
        .ordinary(program(place.path("isorecipe")))
        .args(&["validate", "--json", "closed/recipe.yaml"])
        .run(b"");
    assert_eq!(run.code_and_status(), ("recipe::hidden".into(), 1));
}

/// A folder that an ordinary user can use, with a copy of isorecipe in it: a checkout may lie in root's home.
struct Place {
    folder: TempDir,
    /// A file that another test's child has inherited open, to write, cannot be executed: one test at a time.
    _alone: MutexGuard<'static, ()>,
}

static ALONE: Mutex<()> = Mutex::new(());

impl Place {
    fn new() -> Place {
        let place = Place {
            _alone: ALONE.lock().unwrap_or_else(PoisonError::into_inner),
            folder: tempfile::tempdir().expect("a folder"),
        };
        fs::copy(env!("CARGO_BIN_EXE_isorecipe"), place.path("isorecipe")).expect("a copy");
        place.give_away();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes everything here the ordinary user's.
    fn give_away(&self) {
        if is_root() {
            give(self.folder.path());
        }
    }

    /// A file that is to be executed.
    fn program(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a mode");
        self.give_away();
        path.display().to_string()
    }

    fn ordinary(&self, mut program: Program) -> Program {
        if is_root() {
            program.command().uid(NOBODY).gid(NOBODY);
        }
        program.current_dir(self.folder.path())
    }

    fn apply(&self, layers: &str, command: &[&str]) -> Run {
        self.run("apply", &[], layers, command)
    }

    fn run(&self, name: &str, options: &[&str], layers: &str, command: &[&str]) -> Run {
        let recipe = format!("isorecipe: 1\nlayers: {layers}\n");
        self.ordinary(program(self.path("isorecipe")))
            .args(&[name, "--json"])
            .args(options)
            .arg("-")
            .args(command)
            .run(recipe.as_bytes())
    }

    /// Applies a recipe inside another one.
    fn apply_within(&self, outer: &str, layers: &str) -> Run {
        let recipe = format!("isorecipe: 1\nlayers: {layers}\n");
        fs::write(self.path("inner.yaml"), recipe).expect("a recipe");
        let own = self.path("isorecipe").display().to_string();
        self.apply(&format!("[{outer}]"), &[&own, "apply", "--json", "inner.yaml", "true"])
    }

    /// Applies a recipe with the programs of this folder before all others.
    fn apply_with_path(&self, layers: &str) -> Run {
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        self.ordinary(program(self.path("isorecipe")))
            .env([("PATH", &path)])
            .args(&["apply", "--json", "-", "true"])
            .run(format!("isorecipe: 1\nlayers: {layers}\n").as_bytes())
    }
}

impl Run {
    /// The code of the only problem, and the exit status.
    #[track_caller]
    fn code_and_status(&self) -> (String, i32) {
        let problem: Value = serde_json::from_str(&self.stderr)
            .unwrap_or_else(|error| panic!("{error}, in {self:?}"));
        (problem["code"].as_str().expect("a code").to_owned(), self.status)
    }
}

fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

fn give(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).expect("a new owner");
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("a directory") {
            give(&entry.expect("an entry").path());
        }
    }
}
