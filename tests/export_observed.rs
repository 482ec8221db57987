//! Console 2 looks at a sandbox that `apply` made, and at one that an exported
//! script made: it sees the same, but for the numbers of processes.

#[path = "support/machine.rs"]
mod machine;

use std::fs;

use serde_json::{Value, json};

use machine::{Desk, Running, WAIT, Who, own_uid};

/// What the new roots have in them: the hands-on's programs, and the shell's.
const PROGRAMS: [&str; 6] = ["bash", "cat", "mount", "rmdir", "touch", "umount"];

/// Who runs the program and the script.
#[derive(Clone, Copy)]
enum Asking {
    Plainly,
    ThroughSudo,
}

/// Starts both, looks at both, and compares.
#[track_caller]
fn check(desk: &Desk, recipe: &str, asking: Asking) {
    let command = ["bash", "-c", WAIT];
    let ask_for = |command| match asking {
        Asking::Plainly => command,
        Asking::ThroughSudo => desk.through_sudo(command),
    };
    let ask = |words: &[&str]| ask_for(desk.command(words));
    let applied = Running::of(ask(&[&["apply", recipe, "--"], &command[..]].concat()));
    let expected = observed(desk, &applied);
    assert_eq!(applied.finish(), 7);
    desk.forget_changes();

    let exported = ask(&[&["export", "--to", "sh", recipe, "--"], &command[..]].concat()).output();
    let script = exported.expect("a script").stdout;
    fs::write(desk.path("script.sh"), &script).expect("a file");
    let by_hand = Running::of(ask_for(desk.shell(&["script.sh"])));
    let found = observed(desk, &by_hand);
    assert_eq!(by_hand.finish(), 7);
    desk.forget_changes();

    let script = String::from_utf8_lossy(&script);
    for key in ["namespaces", "ids", "hostname", "mounts", "processes", "overlays"] {
        assert!(!expected[key].is_null(), "{key} is seen");
        let both = [&found, &expected].map(|seen| format!("{:#}", seen[key]));
        assert!(both[0] == both[1], "{recipe}: {key}: {}\nand not {}\n{script}", both[0], both[1]);
    }
}

/// What `observe` says of the command, without what no two runs have in common.
#[track_caller]
fn observed(desk: &Desk, running: &Running) -> Value {
    let pid = running.command().to_string();
    let out = desk.run(&["observe", &pid, "--json"]).succeeds().out();
    let seen: Value = serde_json::from_str(&out).expect("JSON");
    let namespaces = list(&seen["namespaces"]);
    let processes = list(&seen["processes"]);
    json!({
        "namespaces": namespaces.iter().map(|one| json!([one["kind"], one["own"]])).collect::<Vec<_>>(),
        "ids": seen["ids"],
        "hostname": seen["hostname"],
        "mounts": { "added": sorted(&seen["mounts"]["added"]), "gone": sorted(&seen["mounts"]["gone"]) },
        "processes": processes
            .iter()
            .map(|one| json!([one["outside"], one["inside"], one["command"], inside_pid(one)]))
            .collect::<Vec<_>>(),
        "overlays": seen["overlays"],
    })
}

/// PID 1 is PID 1; any other number is the next one that was free.
fn inside_pid(process: &Value) -> Value {
    let pid = &process["inside_pid"];
    if *pid == json!(1) { pid.clone() } else { json!(pid.is_null()) }
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().cloned().unwrap_or_default()
}

/// A bind that was held over the pivot is an older mount than one made after it.
fn sorted(mounts: &Value) -> Vec<Value> {
    let mut mounts = list(mounts);
    mounts.sort_by_key(Value::to_string);
    mounts
}

#[test]
fn the_host_sees_the_same_sandbox_in_steps_0_to_3() {
    let desk = Desk::of(Who::ordinary());
    for step in ["step0", "step1-unmapped", "step1", "step2", "step3"] {
        check(&desk, &format!("{step}.yaml"), Asking::Plainly);
    }
}

#[test]
fn the_host_sees_the_same_sandbox_in_step_4() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &PROGRAMS);
    check(&desk, "step4-rootless.yaml", Asking::Plainly);
}

#[test]
fn the_host_sees_the_same_sandbox_in_step_4_with_an_image() {
    let desk = Desk::of(Who::ordinary());
    if own_uid() != 0 {
        fs::write(desk.path("rootfs.dat"), [b"XFSB", &[0; 4096][..]].concat()).expect("a file");
        let ran = desk.run(&["export", "--to", "sh", "step4.yaml"]);
        assert!(ran.err().contains("error[image::needs_root]"), "{}", ran.err());
        return;
    }
    desk.make_rootfs("tree", &PROGRAMS);
    desk.make_image("tree", "rootfs.dat");
    check(&desk, "step4.yaml", Asking::ThroughSudo);
}
