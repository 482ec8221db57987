//! `apply --verify`: the sandbox is compared with its plan before its command runs. What is not as asked stops it, whether
//! a recipe makes it so or somebody answers for the kernel; and what was found is attested, line by line.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/strike.rs"]
mod strike;

use std::{fs, process::Command};

use machine::{Desk, Ran, Who};
use serde_json::Value;
use strike::strike;

/// Every call that isolates, in the recipes that come with isorecipe and in [`BOX`].
const CALLS: &[&str] = &[
    "chdir",
    "clone",
    "clone3",
    "close_range",
    "fchdir",
    "fsconfig",
    "fsmount",
    "fsopen",
    "mkdirat",
    "mount",
    "mount_setattr",
    "move_mount",
    "open_tree",
    "openat2",
    "pivot_root",
    "prctl",
    "rmdir",
    "setdomainname",
    "setgroups",
    "sethostname",
    "setresgid",
    "setresuid",
    "setsid",
    "umount2",
    "unshare",
    "write",
];

const BOX: &str = "\
isorecipe: 1
layers:
  - user: {map: root}
  - uts: {hostname: box, domainname: example}
  - pid: {init: true}
  - mount: {propagation: private}
  - tmpfs: {at: /mnt, mode: 0750, size: 1M}
  - bind: {from: /usr, to: /srv, read_only: true}
  - proc: /proc
cwd: /srv
";

/// Lets each call lie, as often as it is made; gives how many lies were told.
fn lie(desk: &Desk, recipe: &str) -> usize {
    let words = ["--verify", recipe];
    let whole = strike(desk, &words, None).succeeds().out();
    assert!(whole.starts_with("ran "), "{whole}");
    let mut told = 0;
    for call in CALLS {
        // What is written to a file of a map counts only with its length; and later the command itself writes.
        let (yes, times) = if *call == "write" { (4, 3) } else { (0, 12) };
        for when in 1..=times {
            let ran = strike(desk, &words, Some(&format!("{call}:retval={yes}:when={when}")));
            let what =
                format!("{recipe}: {call} {when}: {}\n{}{}", ran.code(), ran.out(), ran.err());
            match ran.code() {
                0 => assert_eq!(ran.out(), whole, "believed: {what}"),
                125..=127 => assert!(!ran.out().contains("ran "), "ran all the same: {what}"),
                _ => panic!("{what}"),
            }
            told += 1;
        }
    }
    told
}

#[test]
fn no_lie_is_believed_in_step_3() {
    let desk = Desk::of(Who::ordinary());
    assert_eq!(lie(&desk, "step3.yaml"), 12 * (CALLS.len() - 1) + 3);
}

#[test]
fn no_lie_is_believed_in_step_4() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &["bash"]);
    lie(&desk, "step4-rootless.yaml");
}

#[test]
fn no_lie_is_believed_with_init() {
    let desk = Desk::of(*Who::all().first().expect("somebody"));
    desk.write("box.yaml", BOX);
    lie(&desk, "box.yaml");
}

/// A yes that no step reads back.
const LATE: &str = "fsconfig:retval=0:when=2";

#[test]
fn what_only_the_whole_shows_is_said_under_its_line() {
    let desk = Desk::of(Who::ordinary());
    desk.write("box.yaml", BOX);
    // Without --verify it is believed: that is what the tool says.
    strike(&desk, &["box.yaml"], Some(LATE)).succeeds();
    let ran = strike(&desk, &["--verify", "--report", "report.json", "box.yaml"], Some(LATE));
    assert_eq!((ran.code(), ran.out().as_str()), (125, ""));
    assert!(
        ran.err().contains("error[verify::differs]: mount /mnt: not what was asked for"),
        "{}",
        ran.err()
    );
    assert!(ran.err().contains("line 7"), "{}", ran.err());
    assert!(ran.err().contains("asked: tmpfs, rw, nosuid, nodev, mode=750"), "{}", ran.err());
    let report: Value = serde_json::from_str(&desk.read("report.json")).expect("a report");
    assert_eq!((&report["status"], &report["phase"]), (&125.into(), &"steps".into()));
    assert_eq!(report["problems"][0]["code"], "verify::differs");
    let claims = report["attestation"]["claims"].as_array().expect("claims");
    let wrong: Vec<_> = claims.iter().filter(|claim| claim["holds"] == false).collect();
    assert_eq!((wrong.len(), &wrong[0]["what"]), (1, &"mount /mnt".into()), "{wrong:?}");
}

#[test]
fn a_mount_that_a_later_one_covers_is_said() {
    let desk = Desk::of(Who::ordinary());
    let layers = "layers:\n  - user: {map: root}\n  - mount: {propagation: private}\n";
    for (first, second) in [("/mnt", "/mnt"), ("/usr/local/bin", "/usr/local")] {
        let text = format!(
            "isorecipe: 1\n{layers}  - tmpfs: {first}\n  - tmpfs: {second}\nverify: true\n"
        );
        desk.write("covered.yaml", &text);
        let ran = desk.run(&["--plain", "apply", "covered.yaml", "--", "/usr/bin/true"]);
        assert_eq!(ran.code(), 125, "{}", ran.err());
        let said = format!("error[verify::covered]: mount {first} cannot be reached");
        assert!(ran.err().contains(&said), "{}", ran.err());
        assert!(ran.err().contains("line 5"), "{}", ran.err());
    }
}

#[test]
fn groups_that_cannot_be_dropped_are_said() {
    let desk = Desk::of(Who::ordinary());
    let mut command = desk.command(&["apply", "--verify", "step1.yaml", "--", "/usr/bin/true"]);
    let mut kept = desk.who.gid().to_string();
    if machine::own_uid() == 0 {
        // Only root gives somebody a group.
        let words: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
        let ids = ["--reuid", "--regid"].map(|name| format!("{name}={}", desk.who.uid()));
        command = desk.shell(&["-c", "exec setpriv \"$@\"", "sh"]);
        command
            .args(ids)
            .arg("--groups=54321,54322")
            .arg(desk.path("isorecipe"))
            .args(words)
            .uid_of_root();
        kept = "54321, 54322".to_owned();
    }
    let ran = Ran(command.output().expect("the program")).succeeds();
    let said = "verified groups outside: ";
    let line = ran.err().lines().find_map(|line| Some(line.split_once(said)?.1.to_owned()));
    let line = line.unwrap_or_else(|| panic!("{}", ran.err()));
    assert!(line.ends_with(", kept: setgroups is denied"), "{line}");
    assert!(machine::own_uid() != 0 || line.starts_with(&kept), "{line}");
}

trait AsRoot {
    fn uid_of_root(&mut self) -> &mut Self;
}

impl AsRoot for Command {
    fn uid_of_root(&mut self) -> &mut Self {
        use std::os::unix::process::CommandExt;
        self.uid(0).gid(0)
    }
}

#[test]
fn a_sandbox_that_cannot_be_seen_is_not_taken_for_well() {
    let desk = Desk::of(Who::ordinary());
    let script = "mount -t tmpfs none /proc && exec ./isorecipe --plain apply --verify step0.yaml -- /usr/bin/true";
    let mut command = desk.shell(&[
        "-c",
        "exec unshare --user --map-root-user --mount sh -c \"$1\"",
        "sh",
        script,
    ]);
    let ran = Ran(command.output().expect("unshare"));
    assert_eq!(ran.code(), 125, "{}", ran.err());
    assert!(ran.err().contains("error[verify::unseen]"), "{}", ran.err());
}

#[test]
fn a_recipe_can_ask_for_it_and_nothing_is_said_where_all_is_well() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.write("box.yaml", &format!("{BOX}verify: true\n"));
        let ran = desk
            .run(&["apply", "--report", "report.json", "box.yaml", "--", "/usr/bin/echo", "ran"])
            .succeeds();
        assert_eq!(ran.out(), "ran\n");
        assert!(!ran.err().contains("verified"), "{}", ran.err());
        let report: Value = serde_json::from_str(&desk.read("report.json")).expect("a report");
        let claims = report["attestation"]["claims"].as_array().expect("claims");
        assert!(claims.iter().all(|claim| claim["holds"] == true), "{claims:?}");
    }
}

#[test]
fn the_attestation_is_the_same_every_time() {
    let desk = Desk::of(Who::ordinary());
    desk.write("box.yaml", BOX);
    let attest =
        || desk.run(&["apply", "--verify", "box.yaml", "--", "/usr/bin/true"]).succeeds().err();
    let first = attest();
    assert_eq!(first, attest());
    let folder = desk.folder().display().to_string();
    // What is the caller's and the machine's own.
    let foreign = ["kernel", "groups outside", "ignored signals", "bounding set", "seccomp mode"];
    let is_foreign =
        |line: &str| foreign.iter().any(|what| line.contains(&format!("verified {what}:")));
    let lines = first.lines().filter(|line| !is_foreign(line));
    let ids = [desk.who.uid(), desk.who.gid()].map(|id| id.to_string());
    let normal = |line: &str| {
        let line = line.replace(&folder, ".");
        ids.iter().fold(line, |line, id| line.replace(id, "ID")) + "\n"
    };
    let found: String = lines.map(normal).collect();
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/attestation.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(golden, &found).expect("a file");
    }
    assert_eq!(found, fs::read_to_string(golden).expect("UPDATE_GOLDEN=1 writes it"));
}
