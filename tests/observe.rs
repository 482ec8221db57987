//! Console 2 is one command: what `isorecipe observe` says of sandboxes, and of processes that nobody registered.

#[path = "support/json_schema.rs"]
mod json_schema;
#[path = "support/machine.rs"]
mod machine;
#[path = "support/observing.rs"]
mod observing;
#[path = "support/terminal.rs"]
mod terminal;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Stdio,
};

use machine::{Desk, Ran, Who, eventually};
use observing::{ByHand, changes, json, name_of, observe, observe_as, own, view};
use serde_json::{Value, json};
use terminal::Terminal;

fn pid(pid: i32) -> String {
    pid.to_string()
}

#[test]
fn step_1_shows_the_same_process_as_two_users() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let sandbox = desk.start("step1.yaml", "");
        let seen = view(&desk, &pid(sandbox.command()));
        assert_eq!(own(&seen), ["user"]);
        assert_eq!(seen["ids"]["uid"][0]["inside"], 0);
        assert_eq!(seen["ids"]["uid"][0]["inside_name"], "root");
        assert_eq!(seen["ids"]["uid"][0]["outside"], who.uid());
        assert_eq!(seen["ids"]["gid"][0]["outside"], who.gid());
        let process = &seen["processes"][0];
        assert_eq!(process["outside"]["uid"], who.uid());
        assert_eq!(process["inside"], json!({"uid": 0, "name": "root", "mapped": true}));
        assert_eq!(seen["mounts"]["added"], json!([]));
        sandbox.finish();
    }
}

#[test]
fn step_1_unmapped_shows_that_nobody_is_mapped_until_somebody_is() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step1-unmapped.yaml", "");
    let command = pid(sandbox.command());
    let seen = view(&desk, &command);
    assert_eq!(seen["ids"], json!({"uid": [], "gid": [], "setgroups": "allow"}));
    assert_eq!(seen["processes"][0]["inside"]["mapped"], false);
    assert_eq!(seen["processes"][0]["inside"]["uid"], 65534);
    let uid = desk.who.uid();
    let script = format!("echo '0 {uid} 1' > /proc/{command}/uid_map");
    let by_hand = ByHand::start(desk.who, &["bash", "-c", &script]);
    eventually("the map is seen", || view(&desk, &command)["ids"]["uid"][0]["outside"] == uid);
    assert_eq!(view(&desk, &command)["processes"][0]["inside"]["uid"], 0);
    drop(by_hand);
    sandbox.finish();
}

#[test]
fn step_2_shows_both_names() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let sandbox = desk.start("step2.yaml", "");
        let seen = view(&desk, &pid(sandbox.command()));
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        assert_eq!(seen["hostname"], json!({"host": host.trim(), "sandbox": "HOGE"}));
        assert_eq!(own(&seen), ["user", "uts"]);
        sandbox.finish();
    }
}

#[test]
fn step_3_counts_processes_on_both_sides() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let sandbox = desk.start("step3.yaml", "sleep 1000 &");
        let name = name_of(&desk, &sandbox);
        let seen = view(&desk, &name);
        assert_eq!(own(&seen), ["user", "uts", "pid", "mnt"]);
        assert_eq!(seen["sandbox"]["supervisor"], sandbox.supervisor());
        assert_eq!(seen["parent"]["host_pid"], sandbox.supervisor());
        assert_eq!(seen["parent"]["inside_pid"], Value::Null);
        let processes = seen["processes"].as_array().expect("processes");
        let pids: Vec<&Value> = processes.iter().map(|found| &found["inside_pid"]).collect();
        assert_eq!(pids, [1, 2]);
        assert_eq!(processes[1]["command"], "sleep 1000");
        assert_eq!(processes[1]["parent"], processes[0]["host_pid"]);
        assert_eq!(seen["mounts"]["added"][0]["at"], "/proc");
        sandbox.finish();
    }
}

#[test]
fn the_init_of_a_sandbox_is_one_of_its_processes() {
    let desk = Desk::of(Who::ordinary());
    desk.write("init.yaml", "isorecipe: 1\nlayers: [user: {map: root}, pid: {proc: true}]\n");
    let sandbox = desk.start("init.yaml", "");
    name_of(&desk, &sandbox);
    let init = machine::children(sandbox.supervisor())[0];
    let seen = view(&desk, &pid(init));
    assert_eq!(seen["pid"], sandbox.command(), "the command is looked at, not its init");
    let pids: Vec<&Value> =
        seen["processes"].as_array().expect("some").iter().map(|p| &p["inside_pid"]).collect();
    assert_eq!(pids, [1, 2]);
    sandbox.finish();
}

#[test]
fn step_4_shows_other_mounts_and_what_changed_in_upper() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.make_rootfs("rootfs", &["bash", "rm", "mkdir"]);
        desk.write("rootfs/tmp/old", "");
        desk.write("rootfs/tmp/same", "");
        let script = "echo x > /hoge; echo x >> /tmp/same; rm /tmp/old; mkdir /tmp/new";
        let sandbox = desk.start("step4-rootless.yaml", script);
        name_of(&desk, &sandbox);
        let seen = view(&desk, &pid(sandbox.command()));
        let root = &seen["mounts"]["added"][0];
        assert_eq!((&root["at"], &root["filesystem"]), (&json!("/"), &json!("overlay")));
        let folder = desk.folder().display();
        assert_eq!(root["lower"], json!([format!("{folder}/rootfs")]));
        assert_eq!(root["upper"], format!("{folder}/upper"));
        assert_eq!(seen["mounts"]["common"], 0);
        let expected = [
            ("/hoge", "added"),
            ("/tmp/new", "added"),
            ("/tmp/old", "deleted"),
            ("/tmp/same", "modified"),
        ];
        assert_eq!(changes(&seen), expected.map(|(at, how)| (at.to_owned(), how.to_owned())));
        sandbox.finish();
    }
}

#[test]
fn changes_that_go_to_memory_are_not_looked_for_on_the_host() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("at");
    let layers = "[user: {map: root}, mount, overlay: {lower: /usr/bin, at: at}]";
    desk.write("memory.yaml", &format!("isorecipe: 1\nlayers: {layers}\n"));
    let sandbox = desk.start("memory.yaml", "echo x > at/new");
    name_of(&desk, &sandbox);
    let overlay = &view(&desk, &pid(sandbox.command()))["overlays"][0];
    assert_eq!((&overlay["upper"], &overlay["changes"]), (&Value::Null, &json!([])));
    sandbox.finish();
}

#[test]
fn what_was_made_by_hand_looks_the_same() {
    let desk = Desk::of(Who::ordinary());
    let words = ["unshare", "--user", "--map-root-user", "--uts", "--pid", "--fork"];
    let shell = ["--mount-proc", "bash", "-c", "hostname HOGE; read -r line"];
    let by_hand = ByHand::start(desk.who, &[&words[..], &shell[..]].concat());
    let bash = by_hand.is_now("bash");
    eventually("the name is set", || view(&desk, &pid(bash))["hostname"]["sandbox"] == "HOGE");
    let sandbox = desk.start("step3.yaml", "");
    name_of(&desk, &sandbox);
    let (one, other) = (view(&desk, &pid(bash)), view(&desk, &pid(sandbox.command())));
    assert_eq!(one["sandbox"], Value::Null);
    assert_eq!(own(&one), own(&other));
    for same in ["ids", "hostname", "mounts", "overlays"] {
        assert_eq!(one[same], other[same], "{same}");
    }
    assert_eq!(one["processes"][0]["inside_pid"], 1);
    // Whoever forked for it is still in the host's, and its children are not.
    let parent = view(&desk, &pid(by_hand.pid()));
    let pid_namespace = &parent["namespaces"][2];
    assert_eq!((&pid_namespace["kind"], &pid_namespace["own"]), (&json!("pid"), &json!(false)));
    assert_eq!(pid_namespace["for_children"], one["namespaces"][2]["sandbox"]);
    sandbox.finish();
}

#[test]
fn a_sandbox_is_found_by_its_name_and_by_every_pid_of_it() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step3.yaml", "sleep 1000 &");
    let name = name_of(&desk, &sandbox);
    let seen = view(&desk, &name);
    let inside = seen["processes"][1]["host_pid"].to_string();
    for who in [&name, &pid(sandbox.supervisor()), &seen["pid"].to_string(), &inside] {
        assert_eq!(view(&desk, who)["sandbox"]["name"], name.as_str(), "{who}");
    }
    sandbox.finish();
}

#[test]
fn a_process_without_a_sandbox_shares_everything() {
    let desk = Desk::of(Who::ordinary());
    let by_hand = ByHand::start(desk.who, &["sleep", "1000"]);
    let seen = view(&desk, &pid(by_hand.is_now("sleep")));
    assert_eq!((own(&seen), &seen["sandbox"]), (vec![], &Value::Null));
    assert_eq!(seen["processes"][0]["inside_pid"], by_hand.pid());
    assert_eq!(seen["processes"][0]["outside"]["uid"], seen["processes"][0]["inside"]["uid"]);
}

#[track_caller]
fn assert_refused(ran: Ran, code: &str) {
    assert_eq!(ran.code(), 1, "{}", ran.out());
    assert!(ran.err().contains(&format!("error[{code}]")), "{code}: {}", ran.err());
    assert_eq!(ran.out(), "", "no half of the truth");
}

#[test]
fn who_cannot_be_looked_at_is_told_with_the_reason() {
    let desk = Desk::of(Who::ordinary());
    assert_refused(observe(&desk, &["no-such-sandbox"]), "observe::unknown");
    assert_refused(observe(&desk, &["--", "-1"]), "observe::unknown");
    assert_refused(observe(&desk, &[&pid(i32::MAX)]), "observe::gone");
    assert_refused(observe(&desk, &["1"]), "observe::not_yours");
    // A program that may be executed and not read is not dumpable.
    let sleep = desk.path("sleep");
    machine::copy_program(&which::which("sleep").expect("sleep"), &sleep);
    fs::set_permissions(&sleep, fs::Permissions::from_mode(0o111)).expect("a mode");
    let hidden = ByHand::start(desk.who, &[&sleep.display().to_string(), "1000"]);
    assert_refused(observe(&desk, &[&pid(hidden.is_now("sleep"))]), "observe::undumpable");
    if machine::own_uid() == 0 {
        assert_eq!(observe_as(Who::Root, &desk, &[&pid(hidden.pid())]).code(), 0);
    }
}

/// Only root can give a process rights that its user does not have.
#[test]
fn a_process_with_more_rights_than_its_user_is_told_with_the_kernels_answer() {
    if machine::own_uid() != 0 {
        return assert_refused(observe(&Desk::of(Who::ordinary()), &["1"]), "observe::not_yours");
    }
    let desk = Desk::of(Who::ordinary());
    let uid = pid(desk.who.uid() as i32);
    let rights = ["--inh-caps=+net_raw", "--ambient-caps=+net_raw", "sleep", "1000"];
    let words = [&["setpriv", "--reuid", &uid, "--regid", &uid, "--clear-groups"], &rights[..]];
    let able = ByHand::start(Who::Root, &words.concat());
    let ran = observe(&desk, &[&pid(able.is_now("sleep"))]);
    assert!(ran.err().contains("Permission denied"), "{}", ran.err());
    assert_refused(ran, "observe::unreadable");
}

#[test]
fn a_name_is_understood_that_is_nearly_right() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step3.yaml", "");
    let name = name_of(&desk, &sandbox);
    let ran = observe(&desk, &[&format!("{name}x")]);
    assert!(ran.err().contains(&format!("`isorecipe observe {name}`")), "{}", ran.err());
    sandbox.finish();
}

#[test]
fn the_result_is_what_its_schema_says() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas/observe.schema.json");
    let schema = fs::read_to_string(schema).expect("the schema");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &["bash"]);
    let sandbox = desk.start("step4-rootless.yaml", "echo x > /new");
    let name = name_of(&desk, &sandbox);
    for found in [view(&desk, &name), json(observe(&desk, &["--json"]))] {
        assert_eq!(json_schema::check(&schema, &found), Ok(()), "{found}");
    }
    assert!(json_schema::check(&schema, &json!({"pid": 1})).is_err());
    sandbox.finish();
}

#[test]
fn words_of_a_sandbox_do_not_act_on_the_terminal() {
    let desk = Desk::of(Who::ordinary());
    let script = "exec -a $'sly\\e[2J\\u202e\\n\\n' sleep 1000 & trap \"kill $!\" EXIT";
    let sandbox = desk.start("step2.yaml", script);
    name_of(&desk, &sandbox);
    let who = pid(sandbox.command());
    eventually("it calls itself otherwise", || {
        observe(&desk, &["--plain", &who]).out().contains("sly")
    });
    for words in [&[who.as_str()][..], &["--plain", &who], &["--color", "always", &who], &[]] {
        let out = observe(&desk, words).succeeds().out();
        assert!(!out.contains("\u{1b}[2J") && !out.contains('\u{202e}'), "{out}");
    }
    sandbox.finish();
}

#[test]
fn a_view_fits_its_width_and_its_locale() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step3.yaml", &format!(": {}", "x".repeat(300)));
    name_of(&desk, &sandbox);
    let who = pid(sandbox.command());
    for (width, locale, dots) in [("60", "C", "..."), ("200", "C.UTF-8", "…")] {
        let mut command = desk.command(&["observe", &who]);
        let ran = Ran(command.env("COLUMNS", width).env("LANG", locale).output().expect("a view"));
        let out = ran.succeeds().out();
        let widest = out.lines().map(|line| line.chars().count()).max();
        assert_eq!(widest, width.parse().ok(), "the longest command line is cut off\n{out}");
        assert!(out.contains(dots) && (locale != "C" || out.is_ascii()), "{out}");
    }
    sandbox.finish();
}

#[test]
fn watching_off_a_terminal_says_it_again_whenever_something_changes() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &["bash"]);
    let sandbox = desk.start("step4-rootless.yaml", "");
    name_of(&desk, &sandbox);
    let who = pid(sandbox.supervisor());
    let mut watching = desk.command(&["observe", "--watch", "--json", &who]);
    let mut watching = watching.stdout(Stdio::piped()).spawn().expect("the program");
    let mut lines = BufReader::new(watching.stdout.take().expect("a pipe")).lines();
    let mut next = || -> Value {
        let line = lines.next().expect("a line").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    };
    assert_eq!(changes(&next()), []);
    desk.write("upper/new", "");
    assert_eq!(changes(&next()), [("/new".to_owned(), "added".to_owned())]);
    sandbox.finish();
    assert!(watching.wait().expect("an end").success());
    assert!(lines.all(|line| line.is_ok_and(|line| line.starts_with('{'))));
}

#[test]
fn watching_ends_when_nobody_reads_or_nothing_can_be_written() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step1.yaml", "");
    let who = pid(sandbox.command());
    let mut watching = desk.command(&["observe", "--watch", &who]);
    let mut watching = watching.stdout(Stdio::piped()).spawn().expect("the program");
    drop(watching.stdout.take());
    assert!(watching.wait().expect("an end").success());
    let mut full = desk.command(&["observe", "--watch", &who]);
    let file = fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    assert_refused(Ran(full.stdout(file).output().expect("an end")), "observe::unwatchable");
    sandbox.finish();
}

#[test]
fn watching_at_a_terminal_marks_what_changed_and_gives_the_terminal_back() {
    let terminal = Terminal::open();
    let desk = &terminal.desk;
    desk.make_rootfs("rootfs", &["bash"]);
    let sandbox = desk.start("step4-rootless.yaml", "");
    name_of(desk, &sandbox);
    let watch = format!("./isorecipe observe --watch {}", sandbox.supervisor());
    terminal.type_line(&watch);
    terminal.look_anew();
    terminal.expect_within("SANDBOX");
    desk.write("upper/new", "");
    terminal.expect("• A /new");
    fs::remove_file(desk.path("upper/new")).expect("it was there");
    terminal.look_anew();
    terminal.expect("− A /new");
    terminal.press("q");
    terminal.look_anew();
    terminal.expect(&watch);
    terminal.expect_prompt();
    terminal.expect_shell_answers();
    terminal.expect_status("0");
    // Whoever stays until the end is told of it.
    terminal.type_line(&watch);
    terminal.look_anew();
    terminal.expect_within("SANDBOX");
    sandbox.finish();
    terminal.look_anew();
    terminal.expect("has ended");
    terminal.expect_prompt();
    terminal.expect_shell_answers();
}
