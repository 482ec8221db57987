//! Images as the lower layer of somebody who is not root: served by a program, or unpacked once.
//!
//! Only root can make an openable `/dev/fuse` where it is closed; an ordinary user then asserts the refusal.

#[path = "support/lowers.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Stdio,
};

use images::{Bench, KINDS, is_running};
use machine::{Desk, Ran, Who, eventually, own_uid, proc_file};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// What the hands-on does inside, step 4.
const TOUR: &str = "ls /; ps -ef; mount; touch /hoge; echo more >> /hello; cat /hello; echo x > /dev/null && echo thrown";

fn check_tour(said: &str) {
    for part in
        ["usr", "overlay on / type overlay", "proc on /proc type proc", "hello\nmore", "thrown"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("fuse") && !said.contains(".old"), "{said}");
}

#[test]
fn a_program_serves_an_image_in_the_sandbox_alone() {
    for kind in ["squashfs", "ext4"] {
        let bench = Bench::of(Who::ordinary(), kind, "fuse");
        let Some(command) =
            bench.serving(&["bash", "-c", &format!("{TOUR}; echo ready; read -r line")])
        else {
            return bench.is_refused("image::fuse_closed");
        };
        let mounts = proc_file(std::process::id() as i32, "mountinfo");
        let sandbox = machine::Running::of(command);
        check_tour(&sandbox.said);
        // The command, and the program, which the sandbox does not see.
        let all = machine::children(sandbox.supervisor());
        assert_eq!(all.len(), 2, "{}", sandbox.said);
        let server = all[1];
        assert!(proc_file(server, "cmdline").contains("/proc/self/fd/"));
        assert_eq!(proc_file(server, "status").matches("NSpid").count(), 1);
        assert_eq!(machine::namespace(server, "user"), machine::namespace(all[0], "user"));
        assert_ne!(machine::namespace(server, "pid"), machine::namespace(all[0], "pid"));
        assert_ne!(machine::namespace(server, "mnt"), machine::namespace(all[0], "mnt"));
        assert!(!proc_file(server, "mountinfo").contains("fuse."), "nothing is left at its place");
        assert_eq!(proc_file(std::process::id() as i32, "mountinfo"), mounts, "the host's mounts");
        assert_eq!(bench.desk.read("upper/hello"), "hello\nmore\n");
        assert_eq!(sandbox.finish(), 0);
        assert!(!std::path::Path::new(&format!("/proc/{server}")).exists(), "{kind}");
    }
}

#[test]
fn a_program_that_serves_ends_with_a_supervisor_that_is_killed() {
    for pid in ["  - pid: {init: false}\n", "  - pid\n"] {
        let bench = Bench::of(Who::ordinary(), "squashfs", "fuse");
        bench.write_overlay(pid);
        let Some(command) =
            bench.serving(&["bash", "-c", "cat merged/hello; echo ready; read -r line"])
        else {
            return bench.is_refused("image::fuse_closed");
        };
        let sandbox = machine::Running::of(command);
        assert_eq!(sandbox.said, "hello\n");
        let all = machine::children(sandbox.supervisor());
        assert_eq!(all.len(), 2);
        sandbox.kill();
        eventually("nothing is left", || all.iter().all(|&pid| !is_running(pid)));
    }
}

#[test]
fn who_comes_through_sudo_may_have_an_image_served() {
    if own_uid() != 0 {
        return Bench::of(Who::ordinary(), "squashfs", "kernel").is_refused("image::needs_root");
    }
    for (kind, via) in [("squashfs", "fuse"), ("ext4", "fuse"), ("erofs", "unpack")] {
        let who = Who::ordinary();
        let bench = Bench::of(who, kind, via);
        let words = ["bash", "-c", &format!("{TOUR}; cat /proc/self/uid_map")];
        let ran = bench.run_as_root(&words).succeeds();
        check_tour(&ran.out());
        let map = ran.out().split_whitespace().rev().take(3).collect::<Vec<_>>().join(" ");
        assert_eq!(map.split(' ').rev().collect::<Vec<_>>().join(" "), "0 54321 1");
        assert!(!ran.err().contains("image::unpinned"), "{}", ran.err());
        assert_eq!(fs::metadata(bench.desk.path("upper/hoge")).expect("a file").uid(), who.uid());
        for entry in bench.cached() {
            assert_eq!(fs::metadata(entry.join("root/hello")).expect("a file").uid(), who.uid());
        }
    }
}

#[test]
fn root_lets_no_program_read_an_image() {
    if own_uid() != 0 {
        return Bench::of(Who::ordinary(), "squashfs", "kernel").is_refused("image::needs_root");
    }
    for via in ["fuse", "unpack"] {
        let of_root = Bench::of(Who::Root, "squashfs", via);
        let without_user = Bench::of(Who::ordinary(), "squashfs", via);
        without_user.write_layers("  - pid\n  - mount\n");
        for bench in [of_root, without_user] {
            let ran = bench.run_as_root(&["true"]);
            assert_eq!(ran.code(), 125, "{via}");
            assert!(ran.err().contains("error[image::root_uses_kernel]"), "{via}: {}", ran.err());
            assert_eq!(bench.cached().len(), 0);
        }
    }
}

#[test]
fn the_program_that_serves_is_nothing_the_sandbox_could_name() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "fuse");
    bench.write_overlay("");
    let refused = bench.serving(&["true"]);
    if let Some(mut command) = refused {
        let ran = machine::Ran(command.output().expect("the program"));
        assert_eq!(ran.code(), 125);
        assert!(ran.err().contains("error[image::fuse_needs_pid]"), "{}", ran.err());
    }
    bench.is_refused("image::fuse_needs_pid");
    let recipe = bench.desk.read("lower.yaml");
    bench.desk.write("lower.yaml", &format!("{recipe}  - pid\n"));
    let ran = bench.run(&["true"]);
    assert!(ran.err().contains("move the `pid` layer above it"), "{}", ran.err());
    // With another way allowed, nobody is there to be named.
    let bench = Bench::of(Who::ordinary(), "squashfs", "fuse, unpack");
    bench.write_overlay("");
    let words = ["bash", "-c", "cat merged/hello; echo ready; read -r line"];
    let sandbox = machine::Running::of(bench.serving(&words).unwrap_or(bench.applying(&words)));
    assert_eq!(sandbox.said, "hello\n");
    assert_eq!(machine::children(sandbox.supervisor()).len(), 1, "the command alone");
    assert_eq!(bench.cached().len(), 1);
    assert_eq!(sandbox.finish(), 0);
}

#[test]
fn nobody_else_gets_at_what_was_unpacked() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    let tool = bench.desk.path("tree/hello");
    fs::set_permissions(&tool, fs::Permissions::from_mode(0o4755)).expect("a mode");
    bench.make_image();
    bench.run(&["cat", "/hello"]).succeeds();
    for entry in bench.cached() {
        let mode = |path: &str| fs::metadata(entry.join(path)).expect("a file").mode();
        assert_eq!(mode("") & 0o7777, 0o700, "closed to others");
        assert_eq!(mode("root/hello") & 0o755, 0o755);
    }
    let folder = bench.desk.path("cache/isorecipe/unpacked");
    assert_eq!(fs::metadata(folder).expect("the cache").mode() & 0o077, 0);
}

#[test]
fn another_program_is_told_the_same() {
    // There is no package of erofsfuse on every system: this one serves something else.
    let bench = Bench::of(Who::ordinary(), "erofs", "fuse");
    let other = bench.desk.path("other.squashfs");
    images::make("squashfs", &bench.desk.path("tree"), &other);
    let script = format!(
        "#!/bin/bash\n[ $# = 5 ] && exec squashfuse \"$1\" \"$2\" \"$3\" {} \"$5\"\n",
        other.display()
    );
    bench.stand_in("erofsfuse", &script);
    match bench.serving(&["cat", "/hello"]) {
        None => bench.is_refused("image::fuse_closed"),
        Some(mut command) => {
            let ran = machine::Ran(command.output().expect("the program")).succeeds();
            assert_eq!(ran.out(), "hello\n");
        }
    }
}

#[test]
fn what_a_program_says_of_a_broken_image_is_told() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "fuse");
    bench.truncate_image();
    match bench.serving(&["true"]) {
        None => bench.is_refused("image::fuse_closed"),
        Some(mut command) => {
            let ran = machine::Ran(command.output().expect("the program"));
            assert_eq!(ran.code(), 125);
            assert!(ran.err().contains("error[image::not_served]"), "{}", ran.err());
            assert!(ran.err().contains("it says: "), "{}", ran.err());
        }
    }
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    bench.truncate_image();
    let ran = bench.run(&["true"]);
    assert!(ran.err().contains("error[image::not_unpacked]"), "{}", ran.err());
    assert!(ran.err().contains("it says: "), "{}", ran.err());
    assert_eq!(bench.cached(), [""; 0].map(std::path::PathBuf::from));
}

#[test]
fn an_image_is_unpacked_once_and_taken_from_the_cache_then() {
    for kind in KINDS {
        let bench = Bench::of(Who::ordinary(), kind, "unpack");
        assert!(bench.plan().contains("unpack the "), "{}", bench.plan());
        assert_eq!(bench.cached().len(), 0, "`plan` unpacks nothing");
        check_tour(&bench.run(&["bash", "-c", TOUR]).succeeds().out());
        assert_eq!(bench.cached().len(), 1);
        assert!(bench.plan().contains("from the cache, unpacked on 20"), "{}", bench.plan());
        // Whoever would unpack it again could not.
        bench.stand_in(images::unpacker(kind), "#!/bin/sh\nexit 1\n");
        check_tour(&bench.run(&["bash", "-c", TOUR]).succeeds().out());
    }
}

#[test]
fn another_image_under_the_same_name_is_another_tree() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    assert_eq!(bench.run(&["cat", "/hello"]).succeeds().out(), "hello\n");
    fs::write(bench.desk.path("tree/hello"), "again\n").expect("a file");
    bench.make_image();
    assert_eq!(bench.run(&["cat", "/hello"]).succeeds().out(), "again\n");
    assert_eq!(bench.cached().len(), 1, "the old one is swept");
}

#[test]
fn two_that_unpack_the_same_image_do_not_disturb_each_other() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    bench.write_overlay("");
    bench.desk.write("beside.yaml", &bench.desk.read("lower.yaml").replace("merged", "beside"));
    let start = |recipe: &str| {
        let mut command =
            bench.command(&["apply", recipe, "--", "cat", "merged/hello", "beside/hello"]);
        command.stdout(Stdio::piped()).spawn().expect("the program")
    };
    let both = ["lower.yaml", "beside.yaml"].map(start);
    for one in both {
        let output = one.wait_with_output().expect("an end");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
    }
    assert_eq!(bench.cached().len(), 1);
}

#[test]
fn a_program_that_is_missing_is_named_with_its_package() {
    for (kind, via, package) in [
        ("squashfs", "unpack", "squashfs-tools"),
        ("erofs", "unpack", "erofs-utils"),
        ("erofs", "fuse", "erofsfuse"),
    ] {
        let bench = Bench::of(Who::ordinary(), kind, via);
        let mut command = bench.command(&["apply", "lower.yaml", "--", "/bin/true"]);
        command.env("PATH", bench.desk.folder());
        let ran = match via {
            "fuse" => match bench.with_device(command) {
                None => return bench.is_refused("image::fuse_closed"),
                Some(mut command) => command.output(),
            },
            _ => command.output(),
        };
        let ran = machine::Ran(ran.expect("the program"));
        assert!(ran.err().contains("error[image::no_program]"), "{kind}: {}", ran.err());
        assert!(ran.err().contains(package), "{kind}: {}", ran.err());
    }
}

#[test]
fn a_signal_stops_the_wait_for_a_program_that_never_serves() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "fuse");
    bench.stand_in("squashfuse", "#!/bin/sh\nexec sleep 1000\n");
    let Some(mut command) = bench.serving(&["true"]) else {
        return bench.is_refused("image::fuse_closed");
    };
    let child = command.stderr(Stdio::piped()).spawn().expect("the program");
    let pid = child.id() as i32;
    let program =
        || machine::children(pid).into_iter().find(|&one| proc_file(one, "comm") == "sleep");
    eventually("it has begun", || program().is_some());
    let program = program().expect("a program");
    kill(Pid::from_raw(pid), Signal::SIGINT).expect("a signal");
    let ran = machine::Ran(child.wait_with_output().expect("an end"));
    assert!(ran.err().contains("error[image::interrupted]"), "{}", ran.err());
    assert!(!is_running(program));
}

#[test]
fn a_recipe_may_be_named_from_a_folder_below_it() {
    let desk = Desk::of(Who::ordinary());
    desk.write(
        "above.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount\n  \
         - overlay: {lower: ., upper: new/upper, work: new/work, at: new/at, create: true}\n",
    );
    let line = "mkdir below && cd below && exec ../isorecipe plan ../above.yaml";
    Ran(desk.shell(&["-c", line]).output().expect("a shell")).succeeds();
}
