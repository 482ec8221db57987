//! A build that dies, at whatever moment, of whatever cause: there is the old image or the new one, whole, and nothing
//! else is left that the next build does not take away.

#[path = "support/images.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;

use std::{
    collections::BTreeSet,
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    os::unix::{fs::PermissionsExt, process::ExitStatusExt},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use images::{build, check, is_there, recipe, sudo};
use machine::{Desk, Ran, Who, eventually};
use nix::{sys::signal::Signal, unistd::Pid};

/// Of each kind so many that they are fifty in all; an ordinary user makes no xfs.
fn kills() -> usize {
    if machine::own_uid() == 0 { 10 } else { 13 }
}

const FILES: usize = 60;
const CONTENT: &str = "copy: [{from: stuff, to: /}]\n  programs: [bash]";

/// A desk with many files, all of one version.
fn desk() -> Desk {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("stuff");
    desk
}

fn write_version(desk: &Desk, version: &str) {
    for number in 0..FILES {
        desk.write(&format!("stuff/{number}"), &format!("{version}\n").repeat(3000));
    }
}

/// The program, started as whoever can make this kind.
fn start(desk: &Desk, kind: &str) -> Child {
    let mut command = desk.command(&["build", "r.yaml"]);
    if kind == "xfs" {
        command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]).arg(desk.path("isorecipe"));
        command.args(["build", "r.yaml"]).current_dir(desk.folder());
        command.env("SUDO_UID", desk.who.uid().to_string());
        command.env("SUDO_GID", desk.who.gid().to_string());
    }
    command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program")
}

fn finish(desk: &Desk, kind: &str) -> Ran {
    match kind {
        "xfs" => sudo(desk, &["build", "r.yaml"]),
        _ => desk.run(&["build", "r.yaml"]),
    }
}

fn random(below: Duration) -> Duration {
    let number = RandomState::new().build_hasher().finish();
    Duration::from_micros(number % (below.as_micros() as u64).max(1))
}

/// What no half image could look like.
#[track_caller]
fn is_whole(desk: &Desk, kind: &str, digests: &BTreeSet<String>) {
    if !is_there(desk, "root") {
        return;
    }
    match kind {
        "directory" => {
            let versions: Vec<String> =
                (0..FILES).map(|number| desk.read(&format!("root/stuff/{number}"))).collect();
            assert!(versions.iter().all(|text| *text == versions[0]), "two versions in one");
            assert_eq!(versions[0].lines().count(), 3000);
            assert!(is_there(desk, "root/usr/bin/bash"));
        }
        "squashfs" | "erofs" => {
            let sum = images::tool("sha256sum").arg(desk.path("root")).output().expect("a sum");
            let sum = String::from_utf8_lossy(&sum.stdout)[..64].to_owned();
            assert!(digests.contains(&format!("sha256:{sum}")), "{kind}: half of one");
        }
        _ => check(desk, kind),
    }
}

/// Nobody works in the desk's folder, and nothing of the host hangs on it.
fn is_quiet(desk: &Desk) {
    let folder = desk.folder().to_owned();
    eventually("no tool works on", || {
        let all = fs::read_dir("/proc").expect("/proc").flatten();
        !all.filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok())
            .any(|cwd| cwd.starts_with(&folder))
    });
    eventually("no loop device is left", || !images::has_loop(desk));
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
    assert!(!mounts.contains(folder.to_str().expect("a path")), "{mounts}");
}

fn left(desk: &Desk) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(desk.path(".root.isorecipe")) else { return Vec::new() };
    let name = |path: &PathBuf| path.file_name().is_some_and(|name| name != "state");
    entries.flatten().map(|entry| entry.path()).filter(name).collect()
}

fn kill_at_random(kind: &str) {
    let desk = desk();
    desk.write("r.yaml", &recipe(kind, CONTENT));
    let mut digests = BTreeSet::new();
    let mut longest = Duration::ZERO;
    for version in ["old", "new"] {
        write_version(&desk, version);
        let began = Instant::now();
        finish(&desk, kind).succeeds();
        longest = longest.max(began.elapsed());
        let again = match kind {
            "xfs" | "ext4" => String::new(),
            _ => desk.run(&["build", "--print-digest", "r.yaml"]).succeeds().out(),
        };
        digests.insert(again.trim().to_owned());
    }
    let mut unfinished = 0;
    for number in 0..kills() {
        write_version(&desk, if number % 2 == 0 { "old" } else { "new" });
        let mut child = start(&desk, kind);
        std::thread::sleep(random(longest));
        child.kill().expect("a kill");
        let ended = child.wait().expect("an end");
        unfinished += usize::from(ended.signal() == Some(libc::SIGKILL));
        is_quiet(&desk);
        is_whole(&desk, kind, &digests);
    }
    assert!(unfinished > 0, "{kind}: no build was killed at all");
    write_version(&desk, "old");
    finish(&desk, kind).succeeds();
    is_whole(&desk, kind, &digests);
    assert_eq!(left(&desk), Vec::<PathBuf>::new(), "{kind}");
}

#[test]
fn a_build_that_is_killed_leaves_no_half_directory() {
    kill_at_random("directory");
}

#[test]
fn a_build_that_is_killed_leaves_no_half_squashfs() {
    kill_at_random("squashfs");
}

#[test]
fn a_build_that_is_killed_leaves_no_half_erofs() {
    kill_at_random("erofs");
}

#[test]
fn a_build_that_is_killed_leaves_no_half_ext4() {
    kill_at_random("ext4");
}

#[test]
fn a_build_that_is_killed_leaves_no_half_xfs_and_no_loop_device() {
    let desk = desk();
    desk.write("r.yaml", &images::recipe("xfs", "dirs: [/x]"));
    if desk.is_refused_and_root_is_here(&["build", "r.yaml"], "build::needs_root") {
        kill_at_random("xfs");
    }
}

/// A desk where `mksquashfs` says that it has begun, and then takes its time.
fn slow_desk() -> Desk {
    let desk = desk();
    build(&desk, "squashfs", "dirs: [/old]").succeeds();
    desk.make_dir("bin");
    let tool = desk.write("bin/mksquashfs", "#!/bin/sh\n: > begun\nexec sleep 1000\n");
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).expect("a mode");
    desk.write("r.yaml", &recipe("squashfs", "dirs: [/new]"));
    desk
}

fn start_slowly(desk: &Desk) -> Child {
    // Whoever runs the tests in the background may have them ignore the keyboard's signals.
    let mut command = desk.shell(&["-c", "exec env --default-signal ./isorecipe build r.yaml"]);
    command.env("PATH", format!("{}:/usr/bin:/bin", desk.path("bin").display()));
    let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the program");
    eventually("the tool begins", || left(desk).iter().any(|work| work.join("begun").exists()));
    child
}

#[test]
fn a_build_that_is_told_to_end_cleans_up_and_ends_of_that() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let desk = slow_desk();
        let before = fs::read(desk.path("root")).expect("an image");
        let child = start_slowly(&desk);
        nix::sys::signal::kill(Pid::from_raw(child.id() as i32), signal).expect("a signal");
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.status.signal(), Some(signal as i32));
        assert_eq!(left(&desk), Vec::<PathBuf>::new());
        is_quiet(&desk);
        assert!(fs::read(desk.path("root")).expect("an image") == before);
    }
}

#[test]
fn what_a_killed_build_leaves_goes_with_the_next_and_its_tool_at_once() {
    let desk = slow_desk();
    let before = fs::read(desk.path("root")).expect("an image");
    let mut child = start_slowly(&desk);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    is_quiet(&desk);
    assert_eq!(left(&desk).len(), 1);
    assert!(fs::read(desk.path("root")).expect("an image") == before);
    desk.run(&["build", "r.yaml"]).succeeds();
    assert_eq!(left(&desk), Vec::<PathBuf>::new());
}

#[test]
fn a_second_build_of_the_same_image_waits_for_the_first() {
    let desk = slow_desk();
    let first = start_slowly(&desk);
    let second = start(&desk, "squashfs");
    // It waits where the lock is.
    eventually("the second waits", || {
        let call = fs::read_to_string(format!("/proc/{}/wchan", second.id())).unwrap_or_default();
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let waits = format!(" {} ", second.id());
        call.contains("lock")
            || locks.lines().any(|line| line.contains("->") && line.contains(&waits))
    });
    assert_eq!(left(&desk).len(), 1, "the first is at work, and nobody else");
    nix::sys::signal::kill(Pid::from_raw(first.id() as i32), Signal::SIGTERM).expect("a signal");
    first.wait_with_output().expect("an end");
    let output = second.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("another build of this image is at work"), "{said}");
    check(&desk, "squashfs");
}

#[test]
fn what_root_has_left_is_named_to_who_cannot_take_it_away() {
    let desk = desk();
    build(&desk, "squashfs", "dirs: [/x]").succeeds();
    fs::create_dir_all(desk.path(".root.isorecipe/new-1/tree/x")).expect("a directory");
    let ran = build(&desk, "squashfs", "dirs: [/y]").succeeds();
    let is_named = ran.err().contains("warning[build::leftover]");
    // As oneself one has left it oneself, and it is simply gone.
    assert_eq!(is_named, machine::own_uid() == 0, "{}", ran.err());
}
