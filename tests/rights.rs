//! What the command may do: capabilities, ids and limits, as the kernel tells of them, and what they stop.

#[path = "support/machine.rs"]
mod machine;

use machine::{Desk, Ran, Who};

fn run(desk: &Desk, layers: &str, script: &str) -> Ran {
    let text = format!("isorecipe: 1\nlayers: [{layers}]\ncommand: [bash, -c, {script:?}]\n");
    desk.write("box.yaml", &text);
    desk.run(&["--plain", "apply", "box.yaml"])
}

fn runs(layers: &str, script: &str) -> String {
    run(&Desk::of(Who::ordinary()), layers, script).succeeds().out()
}

/// Subordinate ids are there for root, and for a user who was given some.
fn with_many_ids(layers: &str, script: &str) -> String {
    let who = if machine::own_uid() == 0 { Who::Root } else { Who::ordinary() };
    run(&Desk::of(who), layers, script).succeeds().out()
}

const SETS: &str = "grep -E '^(Cap|NoNew)' /proc/self/status | tr -d '\\t' | tr '\\n' ' '";

#[test]
fn no_capability_is_none_in_all_five_sets() {
    let none = "0000000000000000";
    let said = runs("user: {map: root}, capabilities: none", SETS);
    let all = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:{none} "));
    assert_eq!(said, format!("{}NoNewPrivs:1 ", all.concat()));
}

#[test]
fn what_is_kept_is_what_root_inside_has() {
    let said = runs("user: {map: root}, capabilities: {keep: [chown, net_raw]}", SETS);
    let (none, kept) = ("0000000000000000", "0000000000002001");
    let sets = format!("CapInh:{none} CapPrm:{kept} CapEff:{kept} CapBnd:{kept} CapAmb:{none} ");
    assert_eq!(said, format!("{sets}NoNewPrivs:1 "));
}

#[test]
fn what_is_ambient_is_there_for_who_is_not_root() {
    let layers = "user: {map: self}, capabilities: {keep: [chown], ambient: [chown]}";
    let said = runs(layers, SETS);
    let sets = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:0000000000000001 "));
    assert_eq!(said, format!("{}NoNewPrivs:1 ", sets.concat()));
}

#[test]
fn what_is_dropped_is_refused() {
    let layers = "user: {map: root}, uts: {}, capabilities: {drop: [sys_admin]}";
    let desk = Desk::of(Who::ordinary());
    let ran = run(&desk, layers, "hostname HOGE && echo renamed");
    assert_ne!(ran.code(), 0);
    assert_eq!(ran.out(), "");
}

#[test]
fn another_user_has_no_group_and_no_capability_left() {
    let layers = "user: {map: auto}, identity: {uid: 1000, gid: 1001}, uts: {hostname: box}, capabilities: none";
    let script = format!("echo $(id -u) $(id -g) $(id -G) $(hostname); {SETS}");
    let said = with_many_ids(layers, &script);
    let sets = ["Inh", "Prm", "Eff", "Bnd", "Amb"].map(|set| format!("Cap{set}:0000000000000000 "));
    assert_eq!(said, format!("1000 1001 1001 box\n{}NoNewPrivs:1 ", sets.concat()));
}

#[test]
fn another_user_is_in_the_groups_that_are_named() {
    let layers = "user: {map: auto}, identity: {uid: 1000, gid: 1000, groups: [27, 100]}";
    assert_eq!(with_many_ids(layers, "id -G"), "1000 27 100\n");
}

#[test]
fn another_user_may_bind_to_a_low_port_with_one_capability() {
    let layers = "user: {map: auto}, identity: {uid: 1000, gid: 1000}, \
                  capabilities: {keep: [kill], ambient: [kill]}";
    assert_eq!(
        with_many_ids(layers, "grep CapEff /proc/self/status"),
        "CapEff:\t0000000000000020\n"
    );
}

#[test]
fn a_limit_is_the_commands_and_not_inits() {
    let layers = "user: {map: root}, pid: {proc: true}, rlimits: {nofile: 64, core: 0, cpu: 7s}";
    let script = "ulimit -n -c -t | sed 's/.* //'; grep -c 'open files  *64 ' /proc/1/limits";
    assert_eq!(run(&Desk::of(Who::ordinary()), layers, script).out(), "64\n0\n7\n0\n");
}

#[test]
fn a_step_after_few_descriptors_says_where_the_limit_belongs() {
    let desk = Desk::of(Who::ordinary());
    let ran = run(&desk, "user: {map: root}, mount: {}, rlimits: {nofile: 3}, tmpfs: /mnt", ":");
    assert_eq!(ran.code(), 125);
    assert!(ran.err().contains("error[rlimits::few_descriptors]"), "{}", ran.err());
}

#[test]
fn too_few_processes_for_a_fork_are_told() {
    let desk = Desk::of(Who::ordinary());
    let ran = run(&desk, "user: {map: root}, rlimits: {nproc: 0}, pid: {}", ":");
    assert_eq!(ran.code(), 125);
    assert!(ran.err().contains("error[rlimits::few_processes]"), "{}", ran.err());
}

#[test]
fn too_little_memory_for_a_program_is_told() {
    let desk = Desk::of(Who::ordinary());
    let long = "x".repeat(120_000);
    let recipe =
        format!("isorecipe: 1\nlayers: [rlimits: {{stack: 64K}}]\nenv: {{LONG: {long}}}\n");
    desk.write("box.yaml", &recipe);
    let ran = desk.run(&["--plain", "apply", "box.yaml", "--", "true"]);
    assert_eq!(ran.code(), 126);
    assert!(ran.err().contains("error[rlimits::little_memory]"), "{}", ran.err());
}

#[test]
fn a_limit_that_ends_the_command_is_named() {
    let desk = Desk::of(Who::ordinary());
    for (limit, script, signal) in [
        ("cpu: 1s", "while :; do :; done", 24),
        ("fsize: 1K", "exec dd if=/dev/zero of=much bs=4096 count=1 status=none", 25),
    ] {
        let recipe = format!("isorecipe: 1\nlayers: [user: {{map: root}}, rlimits: {{{limit}}}]\n");
        desk.write("box.yaml", &recipe);
        let words = ["--plain", "apply", "--report", "report.json", "box.yaml", "--"];
        let ran = desk.run(&[&words[..], &["bash", "-c", script]].concat());
        assert_eq!(ran.code(), 128 + signal, "{}", ran.err());
        let name = limit.split(':').next().unwrap_or_default();
        assert!(ran.err().contains(&format!("at its limit: {name} ")), "{}", ran.err());
        let report = desk.read("report.json");
        assert!(report.contains(&format!("\"limit\":\"{name}\"")), "{report}");
    }
}

#[test]
fn no_user_namespace_is_made_inside_and_root_cannot_allow_it() {
    let script = "unshare -U true; echo $?; \
                  echo 9 2>/dev/null > /proc/sys/user/max_user_namespaces || echo refused; \
                  cat /proc/sys/user/max_user_namespaces; unshare -U true; echo $?";
    let ran = run(&Desk::of(Who::ordinary()), "user: {map: root, nested: false}", script);
    assert_eq!(ran.out(), "1\nrefused\n0\n1\n", "{}", ran.err());
    assert!(ran.err().contains("No space left on device"), "{}", ran.err());
}

#[test]
fn the_host_keeps_its_user_namespaces() {
    let script = "unshare --user --map-root-user echo made";
    let ran = run(&Desk::of(Who::ordinary()), "user: {map: root}", script);
    assert_eq!(ran.out(), "made\n", "{}", ran.err());
}
