//! Recipes that want more than they say, and surroundings that are not as they should be.

#[path = "support/machine.rs"]
mod machine;

use std::{fs, os::unix::fs::symlink};

use machine::{Desk, Who};

const HEAD: &str = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount\n";

/// A recipe in a folder of its own, beside which somebody keeps something.
fn desk() -> Desk {
    let desk = Desk::of(Who::ordinary());
    for directory in ["outside", "own/x", "own/e", "own/m", "own/up", "own/wk", "own/lower/in"] {
        desk.make_dir(directory);
    }
    symlink(desk.path("outside"), desk.path("own/lower/link")).expect("a link");
    desk
}

fn run(desk: &Desk, layers: &str) -> machine::Ran {
    desk.write("own/r.yaml", &format!("{HEAD}{layers}"));
    desk.run(&["--plain", "apply", "own/r.yaml", "--", "touch", "own/e/made"])
}

#[track_caller]
fn is_refused(layers: &str) {
    let desk = desk();
    let ran = run(&desk, layers);
    assert_eq!(ran.code(), 125, "{layers}{}", ran.err());
    assert!(ran.err().contains("error[bind::writable_outside]"), "{}", ran.err());
    assert!(!desk.path("outside/made").exists());
}

#[test]
fn a_writable_bind_cannot_climb_out_of_what_the_recipe_has_made() {
    is_refused("  - tmpfs: x\n  - dir: x/new\n  - bind: {from: x/new/../../../outside, to: e}\n");
}

#[test]
fn a_writable_bind_cannot_follow_a_link_out_of_an_overlay() {
    is_refused(
        "  - overlay: {lower: lower, upper: up, work: wk, at: m}\n  - bind: {from: m/link, to: e}\n",
    );
}

#[test]
fn a_writable_bind_cannot_follow_a_link_out_of_another_bind() {
    is_refused("  - bind: {from: lower, to: m}\n  - bind: {from: m/link, to: e}\n");
}

#[test]
fn a_writable_bind_after_a_pivot_is_of_the_old_tree() {
    let desk = desk();
    let outside = desk.path("outside").display().to_string();
    let layers = format!(
        "  - tmpfs: x\n  - dir: x/{outside}\n  - dir: x/mnt\n  - pivot_root: x\n  - bind: {{from: {outside}, to: /mnt}}\n"
    );
    let ran = run(&desk, &layers);
    assert!(ran.err().contains("error[bind::writable_outside]"), "{}", ran.err());
}

#[test]
fn what_the_recipe_has_made_and_what_lies_beside_it_can_be_bound() {
    for layers in [
        "  - bind: {from: lower/in, to: e}\n",
        "  - bind: {from: lower, to: m}\n  - bind: {from: m/in, to: e}\n",
        "  - tmpfs: x\n  - dir: x/a/b\n  - bind: {from: x/a, to: e}\n",
        "  - overlay: {lower: lower, upper: up, work: wk, at: m}\n  - bind: {from: m/in, to: e}\n",
    ] {
        let desk = desk();
        run(&desk, layers).succeeds();
    }
}

#[test]
fn the_table_of_a_plan_shows_a_recipes_words_and_obeys_none() {
    let desk = Desk::of(Who::ordinary());
    let recipe = "isorecipe: 1\nname: \"n\\e]0;t\\a\"\nabout: \"a\\e[2K\"\nlayers: []\ncommand: [/bin/true, \"\\e[31m\\n   9  child\\u202e\"]\n";
    desk.write("r.yaml", recipe);
    for words in [&["plan", "r.yaml"][..], &["--plain", "plan", "r.yaml"]] {
        let shown = desk.run(words).out();
        assert!(shown.contains("\\u{1b}[31m"), "{shown}");
        let acts = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(acts), "{shown:?}");
        assert!(!shown.lines().any(|line| line.starts_with("   9")), "{shown}");
    }
}

#[test]
fn a_folder_that_is_gone_does_not_become_the_root() {
    let desk = Desk::of(Who::ordinary());
    fs::write(desk.path("r.yaml"), format!("{HEAD}  - bind: {{from: /home, to: /mnt}}\n"))
        .expect("a file");
    desk.make_dir("gone");
    let script = "cd gone; rmdir ../gone; exec $0 apply - -- true < ../r.yaml";
    let script = script.replace("../r.yaml", &desk.path("r.yaml").display().to_string());
    let plain = desk.command(&[]);
    let mut command = std::process::Command::new("bash");
    command.args(["-c", &script]).arg(plain.get_program()).current_dir(desk.folder());
    if machine::own_uid() == 0 {
        use std::os::unix::process::CommandExt;
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    let output = command.output().expect("bash");
    assert_eq!(output.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&output.stderr).contains("recipe::nowhere"));
}

#[test]
fn too_few_descriptors_are_called_by_their_name() {
    let desk = Desk::of(Who::ordinary());
    let mut command = std::process::Command::new("bash");
    command.args(["-c", "ulimit -n 5; exec $0 apply step3.yaml -- true"]);
    command.arg(desk.path("isorecipe")).current_dir(desk.folder());
    let output = command.output().expect("bash");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{said}");
    assert!(said.contains("EMFILE") && said.contains("ulimit -n"), "{said}");
}

#[test]
fn wrong_usage_of_apply_and_batch_is_125_wherever_the_options_stand() {
    let desk = Desk::of(Who::ordinary());
    for words in [
        &["--json", "apply", "--bad"][..],
        &["--color", "never", "apply"],
        &["apply"],
        &["--json", "batch", "--bad"],
        &["batch"],
    ] {
        assert_eq!(desk.run(words).code(), 125, "{words:?}");
    }
    for words in [&["plan"][..], &["--json", "plan", "--bad"], &["frob"]] {
        assert_eq!(desk.run(words).code(), 2, "{words:?}");
    }
}

#[test]
fn a_range_without_an_id_is_refused_and_does_not_panic() {
    let desk = Desk::of(Who::ordinary());
    let recipe = "isorecipe: 1\nlayers:\n  - user: {map: {uid: [{inside: 0, outside: 1, count: COUNT}]}}\ncommand: [/bin/true]\n";
    for (given, count) in [("null", "0"), ("[1, 0]", "7"), ("[4294967295, 9]", "0")] {
        desk.write("r.yaml", &recipe.replace("COUNT", count));
        let host = format!(
            r#"{{"caller": {{"uid": 5, "gid": 5, "groups": null, "name": null, "capabilities": 0, "home": null, "directory": null, "shell": null}},
            "subordinate": {{"uid": {given}, "gid": null, "free": 0, "newuidmap": "/a", "newgidmap": "/b"}}}}"#
        );
        desk.write("h.json", &host);
        let ran = desk.run(&["--plain", "plan", "--host", "h.json", "r.yaml"]);
        assert_eq!(ran.code(), 1, "{given} {count}: {}", ran.err());
    }
}

#[test]
fn a_kept_old_root_is_no_way_back_to_the_host() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("elsewhere");
    desk.make_dir("box/root");
    let out = desk.path("elsewhere").display().to_string();
    std::os::unix::fs::symlink(format!("/.old{out}"), desk.path("box/root/evil")).expect("a link");
    let before = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount\n  - bind: {from: root, to: root}\n  - pivot_root: {new: root, old: .old}\n";
    for (layer, code) in [
        ("  - dir: /evil/made\n", "dir::leads_nowhere"),
        (
            "  - overlay: {lower: /, upper: /evil/up, work: /evil/wk, at: /, create: true}\n",
            "overlay::writes_outside",
        ),
    ] {
        desk.write("box/r.yaml", &format!("{before}{layer}"));
        let ran = desk.run(&["--plain", "apply", "box/r.yaml", "--", "/true"]);
        assert_eq!(ran.code(), 125, "{layer}");
        assert!(ran.err().contains(&format!("error[{code}]")), "{layer}: {}", ran.err());
        let left = std::fs::read_dir(desk.path("elsewhere")).expect("a folder").count();
        assert_eq!(left, 0, "{layer}");
    }
}

#[test]
fn a_tree_that_is_bound_into_itself_again_and_again_is_planned_in_time() {
    let desk = Desk::of(Who::ordinary());
    let bind = "  - bind: {from: /, to: /mnt, read_only: true}\n".repeat(30);
    desk.write(
        "r.yaml",
        &format!("isorecipe: 1\nlayers:\n  - user: {{map: root}}\n  - mount\n{bind}"),
    );
    let mut plan = std::process::Command::new("timeout");
    plan.arg("60").arg(desk.path("isorecipe")).args(["plan", "r.yaml"]).current_dir(desk.folder());
    assert_ne!(plan.output().expect("timeout").status.code(), Some(124), "it hangs");
}
