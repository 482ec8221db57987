//! What a `landlock` layer lets a command do, and what it does not: seen from the command, as root and as a user.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/strike.rs"]
mod strike;

use machine::{Desk, Ran, Who};

/// Enough for a shell and its programs.
const SHELL: &str = "execute: [/usr, /bin, /lib, {path: /lib64, optional: true}]";

/// A desk with files inside and outside of what is allowed.
fn desk(who: Who) -> Desk {
    let desk = Desk::of(who);
    for folder in ["work", "other", "closed"] {
        desk.make_dir(folder);
        desk.write(&format!("{folder}/file"), "hoge");
    }
    desk
}

/// Runs a script in a sandbox with these settings of its only layer.
fn run(desk: &Desk, settings: &str, script: &str) -> Ran {
    let recipe = format!("isorecipe: 1\nlayers:\n  - landlock: {{{settings}}}\n");
    desk.write("box.yaml", &recipe);
    desk.run(&["apply", "box.yaml", "--", "/usr/bin/bash", "-c", script])
}

/// Each line of a script, and what it says to standard error; nothing if it works.
#[track_caller]
fn check(settings: &str, lines: &[(&str, &str)]) {
    for who in Who::all() {
        let desk = desk(who);
        for (line, says) in lines {
            let ran = run(&desk, settings, line);
            let works = ran.code() == 0;
            assert_eq!(works, says.is_empty(), "{who:?}: {line}: {}", ran.err());
            assert!(ran.err().contains(says), "{who:?}: {line}: {}", ran.err());
        }
    }
}

#[test]
fn only_what_is_listed_is_read_written_and_executed() {
    let settings = format!("read: [other, /etc], write: [work, /dev/null], {SHELL}");
    let denied = "Permission denied";
    check(
        &settings,
        &[
            ("cat other/file work/file", ""),
            ("cat closed/file", denied),
            ("ls closed", denied),
            ("echo more >> work/file; mkdir work/new; rm work/file", ""),
            ("echo more >> other/file", denied),
            ("mkdir other/new", denied),
            ("rm other/file", denied),
            ("truncate -s 0 other/file", denied),
            ("cp /usr/bin/true work/true; work/true", denied),
            ("mv work/new work/newer", ""),
            ("mv work/newer closed/", denied),
        ],
    );
}

#[test]
fn what_is_open_already_stays_open() {
    let desk = desk(Who::ordinary());
    let ran = run(&desk, SHELL, "echo hoge; echo hage >&2").succeeds();
    assert_eq!((ran.out().as_str(), ran.err().as_str()), ("hoge\n", "hage\n"));
}

#[test]
fn only_listed_ports_are_bound_and_connected_to() {
    let refused = "Connection refused";
    // Nobody listens there, which is said only to who may ask.
    check(
        "connect: [7]",
        &[
            ("echo > /dev/tcp/127.0.0.1/7", refused),
            ("echo > /dev/tcp/127.0.0.1/9", "Permission denied"),
        ],
    );
    check("bind: [7]", &[("echo > /dev/tcp/127.0.0.1/7", "Permission denied")]);
}

#[test]
fn a_signal_stays_inside() {
    let own = std::process::id();
    for who in Who::all() {
        let desk = desk(who);
        // The supervisor is the same user's.
        let free = run(&desk, "connect: []", "kill -0 $PPID");
        let held = run(&desk, "scope: [signal]", "kill -0 $$ && kill -0 $PPID");
        assert_eq!((free.code(), held.code()), (0, 1), "{who:?} {own}: {}", held.err());
        assert!(held.err().contains("not permitted"), "{}", held.err());
    }
}

#[test]
fn paths_are_those_of_the_new_root() {
    let desk = desk(Who::ordinary());
    desk.make_rootfs("rootfs", &["bash", "cat"]);
    let recipe = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount\n  \
                  - bind: {from: rootfs, to: rootfs}\n  - dir: rootfs/work\n  - pivot_root: rootfs\n  \
                  - landlock: {read: [/dev], write: [/work], execute: [/usr, /bin, /lib, {path: /lib64, optional: true}]}\n";
    desk.write("box.yaml", recipe);
    let script = "echo hoge > /work/file && cat /work/file && ! echo hoge > /file";
    let ran = desk.run(&["apply", "box.yaml", "--", "bash", "-c", script]).succeeds();
    assert_eq!(ran.out(), "hoge\n");
    assert_eq!(desk.read("rootfs/work/file"), "hoge\n");
}

#[test]
fn who_could_gain_rights_may_not_take_them() {
    let refused = "landlock::needs_no_new_privs";
    let recipe = "isorecipe: 1\nlayers:\n  - landlock: {scope: [signal]}\nno_new_privs: false\n";
    for who in Who::all() {
        let desk = desk(who);
        desk.write("box.yaml", recipe);
        for words in [
            &["apply", "box.yaml", "--", "true"][..],
            &["apply", "--unchecked", "box.yaml", "--", "true"],
        ] {
            let ran = desk.run(words);
            let is_root = who == Who::Root;
            assert_eq!(ran.code(), if is_root { 0 } else { 125 }, "{who:?}: {}", ran.err());
            assert_eq!(ran.err().contains(refused), !is_root, "{who:?}: {}", ran.err());
        }
    }
}

#[test]
fn a_seventeenth_ruleset_is_refused() {
    let desk = desk(Who::ordinary());
    let layers = "  - landlock: {scope: [signal]}\n".repeat(17);
    desk.write("box.yaml", &format!("isorecipe: 1\nlayers:\n{layers}"));
    let ran = desk.run(&["apply", "box.yaml", "--", "true"]);
    assert_eq!(ran.code(), 125);
    assert!(ran.err().contains("landlock::too_many"), "{}", ran.err());
}

/// The kernel answers, and a filter in its place, where the model was sure.
#[test]
fn a_kernel_without_it_is_told_by_its_own_words() {
    let desk = desk(Who::ordinary());
    for (need, errno, code) in [
        ("require", "ENOSYS", "landlock::missing"),
        ("require", "EOPNOTSUPP", "landlock::off"),
        ("prefer", "ENOSYS", "landlock::missing"),
        ("optional", "ENOSYS", ""),
    ] {
        let layer = format!("landlock: {{scope: [signal], need: {need}}}");
        desk.write("box.yaml", &format!("isorecipe: 1\nlayers:\n  - {layer}\n"));
        let ran = strike::strike(
            &desk,
            &["box.yaml"],
            Some(&format!("landlock_create_ruleset:error={errno}")),
        );
        let is_required = need == "require";
        assert_eq!(ran.code(), if is_required { 125 } else { 0 }, "{layer}: {}", ran.err());
        assert_eq!(ran.out().contains("ran"), !is_required, "{layer}: {}", ran.out());
        assert_eq!(ran.err().contains("landlock::"), !code.is_empty(), "{layer}: {}", ran.err());
        assert!(ran.err().contains(code), "{layer}: {}", ran.err());
    }
}

#[test]
fn a_ruleset_that_does_not_hold_is_found_out() {
    for who in Who::all() {
        let desk = desk(who);
        for settings in [SHELL, "connect: [7]"] {
            desk.write(
                "box.yaml",
                &format!("isorecipe: 1\nlayers:\n  - landlock: {{{settings}}}\n"),
            );
            let ran = strike::strike(&desk, &["box.yaml"], Some("landlock_restrict_self:retval=0"));
            assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{settings}: {}", ran.err());
            assert!(ran.err().contains("verify::not_done"), "{settings}: {}", ran.err());
        }
    }
}
