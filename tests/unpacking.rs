//! Unpacking an image goes wrong: nothing half done is used, nothing is left, nothing outside is touched.
//!
//! What unpacks an image is a script here, which stands in for `unsquashfs` and does what a test wants.

#[path = "support/lowers.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use images::{Bench, is_running};
use machine::{Desk, Ran, Who, eventually, own_uid};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Says that it has begun, with its number, and then waits for a word.
const SLOW: &str = "#!/bin/bash\nmkdir usr; echo $$ > begun\nuntil [ -e go ]; do sleep 0.01; done\nexec /usr/bin/unsquashfs \"$@\"\n";

fn bench(script: &str) -> Bench {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    bench.stand_in("unsquashfs", script);
    bench
}

/// Starts, and waits until the script has begun: its directory and its number.
fn begin(bench: &Bench) -> (Child, PathBuf, i32) {
    let mut command = bench.command(&["apply", "lower.yaml", "--", "cat", "/hello"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().expect("the program");
    let begun = || {
        bench
            .cached()
            .into_iter()
            .map(|entry| entry.join("root/begun"))
            .find(|begun| begun.exists())
    };
    let number = || fs::read_to_string(begun()?).ok()?.trim().parse::<i32>().ok();
    eventually("it has begun", || number().is_some());
    let tree = begun().and_then(|begun| Some(begun.parent()?.to_owned()));
    (child, tree.expect("a directory"), number().expect("a number"))
}

fn end(child: Child) -> Ran {
    Ran(child.wait_with_output().expect("an end"))
}

#[test]
fn half_of_an_image_is_never_used_though_isorecipe_is_killed() {
    let bench = bench(SLOW);
    let (mut child, _, script) = begin(&bench);
    child.kill().expect("a kill");
    child.wait().expect("an end");
    eventually("what unpacked it is gone", || !is_running(script));
    assert_eq!(bench.cached().len(), 1, "nobody could clean up");
    fs::remove_file(bench.desk.path("unsquashfs")).expect("the script");
    assert_eq!(bench.run(&["cat", "/hello"]).succeeds().out(), "hello\n");
    assert_eq!(bench.cached().len(), 1, "the next one has");
}

#[test]
fn a_signal_stops_unpacking_and_leaves_nothing() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let bench = bench(SLOW);
        let (child, _, script) = begin(&bench);
        kill(Pid::from_raw(child.id() as i32), signal).expect("a signal");
        let ran = end(child);
        assert_eq!(ran.code(), 125);
        assert!(ran.err().contains("error[image::interrupted]"), "{}", ran.err());
        assert!(!is_running(script));
        assert_eq!(bench.cached(), Vec::<PathBuf>::new());
    }
}

#[test]
fn an_image_that_changes_meanwhile_is_not_used() {
    let bench = bench(SLOW);
    let (child, tree, _) = begin(&bench);
    bench.make_image();
    fs::write(tree.join("go"), "").expect("a word");
    let ran = end(child);
    assert!(ran.err().contains("error[image::changed]"), "{}", ran.err());
    assert_eq!(bench.cached(), Vec::<PathBuf>::new());
}

#[test]
fn whatever_an_image_makes_of_its_reader_it_can_write_to_the_tree_only() {
    for through_sudo in [false, true].into_iter().filter(|sudo| !sudo || own_uid() == 0) {
        let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
        let desk = bench.desk.folder().file_name().expect("a name").display();
        let name = format!("{desk}-outside");
        let script = "#!/bin/bash\n\
            for place in $FOLDER $FOLDER/cache $FOLDER/cache/isorecipe/unpacked/.u*/ /tmp /dev/shm; do\n\
            touch $place/$NAME; mv $place/image.squashfs $place/image; done\n\
            (: < /dev/zero) && echo open > device || echo closed > device\n\
            mount -o remount,rw / ; mount -t tmpfs tmpfs $FOLDER; unshare -U true && id -u\n\
            grep -E '^(Cap(Prm|Eff)|NoNewPrivs)' /proc/self/status > status; cat /proc/self/mountinfo > mounts\n\
            ls /proc/self/fd > descriptors; exec /usr/bin/unsquashfs \"$@\"\n"
            .replace("$FOLDER", &bench.desk.folder().display().to_string())
            .replace("$NAME", &name);
        bench.stand_in("unsquashfs", &script);
        let before = outside(&bench);
        let ran = match through_sudo {
            true => bench.run_as_root(&["cat", "/hello"]),
            false => bench.run(&["cat", "/hello"]),
        };
        assert_eq!(ran.succeeds().out(), "hello\n");
        let tree = bench.cached()[0].join("root");
        let read = |file| fs::read_to_string(tree.join(file)).expect("a file of the script");
        let status = read("status").split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(status, "CapPrm: 0000000000000000 CapEff: 0000000000000000 NoNewPrivs: 1");
        let writable =
            |line: &&str| line.split(' ').nth(5).is_some_and(|how| how.starts_with("rw"));
        assert_eq!(read("mounts").lines().filter(writable).count(), 1);
        let opens_devices = |line: &str| !line.split(' ').any(|how| how.contains("nodev"));
        assert_eq!(read("mounts").lines().find(|line| opens_devices(line)), None);
        assert_eq!(read("device"), "closed\n");
        // Its streams, the image, what bash has of the script, and the directory that `ls` reads.
        assert!(read("descriptors").lines().count() <= 6, "{}", read("descriptors"));
        assert_eq!(outside(&bench), before);
        assert_eq!(fs::read_dir(&bench.cached()[0]).expect("an entry").count(), 2, "tree, record");
        let elsewhere = ["/tmp", "/dev/shm"].map(|folder| PathBuf::from(folder).join(&name));
        assert!(elsewhere.iter().all(|outside| !outside.exists()));
    }
}

fn outside(bench: &Bench) -> Vec<PathBuf> {
    let folders = ["", "cache", "cache/isorecipe"].map(|folder| bench.desk.path(folder));
    let all = folders.iter().flat_map(|folder| fs::read_dir(folder).into_iter().flatten());
    let mut all: Vec<PathBuf> = all.map(|found| found.expect("an entry").path()).collect();
    // What the recipe makes, and what the cache is.
    all.retain(|path| {
        !["upper", "work", "merged", "isorecipe", "unpacked"]
            .iter()
            .any(|made| path.ends_with(made))
    });
    all.push(bench.image());
    all.sort();
    all
}

#[test]
fn a_disk_without_room_is_named_and_left_as_it_was() {
    for kind in images::KINDS {
        let bench = Bench::of(Who::ordinary(), kind, "unpack");
        // A cache of its own, too small, in a namespace that goes with the test.
        let script = "mount -t tmpfs -o size=1M,mode=777 tmpfs cache && \"$@\"; status=$?; ls -A cache/isorecipe/unpacked; exit $status";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private"]);
        let inner = bench.command(&["--plain", "apply", "lower.yaml", "--", "cat", "/hello"]);
        if own_uid() != 0 {
            command.args(["--user", "--map-root-user"]);
        }
        command.args(["bash", "-c", script, "-"]);
        if let (Who::User(uid), 0) = (bench.desk.who, own_uid()) {
            let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
            command.arg("setpriv").args(ids).arg("--clear-groups");
        }
        command.arg(inner.get_program()).args(inner.get_args()).current_dir(bench.desk.folder());
        command.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ran = Ran(command.output().expect("unshare"));
        assert_eq!(ran.code(), 125, "{kind}: {}", ran.err());
        assert!(ran.err().contains("error[image::no_room]"), "{kind}: {}", ran.err());
        assert_eq!(ran.out(), "", "{kind}: nothing is left in the cache");
    }
}

#[test]
fn a_cache_that_others_can_change_is_refused() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    bench.desk.make_dir("cache/isorecipe/unpacked");
    let open = fs::Permissions::from_mode(0o777);
    fs::set_permissions(bench.desk.path("cache/isorecipe"), open).expect("a mode");
    let ran = bench.run(&["cat", "/hello"]);
    assert!(ran.err().contains("error[image::cache_foreign]"), "{}", ran.err());
}

#[test]
fn a_user_without_a_place_for_a_cache_is_told_to_name_one() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    for cache in ["/proc/nowhere", ""] {
        let mut command = bench.command(&["apply", "lower.yaml", "--", "cat", "/hello"]);
        command.env("XDG_CACHE_HOME", cache).env("HOME", "");
        let ran = Ran(command.output().expect("the program"));
        assert!(ran.err().contains("error[image::no_cache]"), "{cache}: {}", ran.err());
    }
}

#[test]
fn an_image_that_nobody_may_read_is_refused() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    fs::set_permissions(bench.image(), fs::Permissions::from_mode(0o000)).expect("a mode");
    let ran = bench.run(&["cat", "/hello"]);
    assert!(ran.err().contains("error[image::hidden]"), "{}", ran.err());
}

/// Anybody may have put them there, and root may be who asks.
#[test]
fn what_reads_images_is_not_run_to_learn_about_it() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.make_dir("bin");
        for name in ["squashfuse", "erofsfuse", "fuse2fs", "unsquashfs", "fsck.erofs", "debugfs"] {
            let ran = desk.path("ran");
            let program = format!("bin/{name}");
            desk.write(&program, &format!("#!/bin/sh\necho {name} >> {}\n", ran.display()));
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(desk.path(&program), mode).expect("a mode");
        }
        desk.write("image.yaml", "isorecipe: 1\nlayers: [{overlay: {lower: image, at: merged}}]\n");
        for words in [
            &["plan", "step2.yaml"][..],
            &["plan", "image.yaml"],
            &["apply", "image.yaml"],
            &["doctor"],
            &["doctor", "image.yaml"],
            &["host"],
        ] {
            let mut command = desk.command(words);
            let path = format!("{}:/usr/bin:/bin", desk.path("bin").display());
            let ran = Ran(command.env("PATH", path).output().expect("the program"));
            assert!(matches!(ran.code(), 0 | 1 | 125), "{words:?}: {}", ran.err());
            assert_eq!(desk.read("ran"), "", "{words:?} as {who:?}");
        }
    }
}

/// As `fsck.erofs` was before erofs-utils 1.5.
#[test]
fn a_tool_that_cannot_unpack_is_believed_when_it_says_so() {
    let bench = Bench::of(Who::ordinary(), "erofs", "unpack");
    let said = "fsck.erofs: unrecognized option '--extract=.'";
    bench.stand_in("fsck.erofs", &format!("#!/bin/sh\necho \"{said}\" >&2; exit 1\n"));
    let ran = bench.run(&["cat", "/hello"]);
    assert!(ran.err().contains("error[image::not_unpacked]"), "{}", ran.err());
    assert!(ran.err().contains("unrecognized option '--extract=.'"), "{}", ran.err());
}

/// Root's home is not the place for what an ordinary user unpacks.
#[test]
fn a_user_behind_sudo_without_a_home_has_no_cache() {
    let bench = Bench::of(Who::ordinary(), "squashfs", "unpack");
    let mut command = Command::new("./isorecipe");
    command.args(["plan", "lower.yaml"]).current_dir(bench.desk.folder());
    let stranger = machine::STRANGER.to_string();
    command.env_remove("XDG_CACHE_HOME").env("HOME", "/root");
    let ran = Ran(command
        .env("SUDO_UID", &stranger)
        .env("SUDO_GID", &stranger)
        .output()
        .expect("the program"));
    let said = format!("{}{}", ran.out(), ran.err());
    assert!(said.contains("unpack the squashfs image"), "{said}");
    // Of an ordinary user nobody believes that there is a `sudo`: the cache is where HOME says.
    assert_eq!(said.contains("/root/.cache"), own_uid() != 0, "{said}");
}
