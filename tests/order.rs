//! A wrong order: said where it is wrong, and mended by moving lines. And what two recipes allow, side by side.

#[path = "support/machine.rs"]
mod machine;

use machine::{Desk, Who};

const USER: &str = "user: {map: root}";
const SHELL: &str = "command: [/bin/sh]";

/// One law broken: the layers, the code, the line it is shown at, and the order that works.
struct Case {
    law: &'static str,
    layers: &'static [&'static str],
    says: (&'static str, usize, &'static str),
    mended: &'static [usize],
}

/// The ordering laws that the layers of today can break.
const CASES: &[Case] = &[
    Case {
        law: "a user namespace comes before the others",
        layers: &["uts", USER],
        says: ("namespace::needs_user", 3, "move the `user` layer above it"),
        mended: &[1, 0],
    },
    Case {
        law: "a user namespace comes before the processes",
        layers: &["pid", USER],
        says: ("namespace::needs_user", 3, "move the `user` layer above it"),
        mended: &[1, 0],
    },
    Case {
        law: "a user namespace comes before the mounts",
        layers: &["mount", USER],
        says: ("namespace::needs_user", 3, "move the `user` layer above it"),
        mended: &[1, 0],
    },
    Case {
        law: "a name wants a namespace to be in",
        layers: &[USER, "hostname: HOGE", "uts"],
        says: ("hostname::shared", 4, "move the `uts` layer above it"),
        mended: &[0, 2, 1],
    },
    Case {
        law: "mounts come before Landlock",
        layers: &[USER, "landlock: {read: [/], execute: [/]}", "mount"],
        says: ("landlock::mounts", 5, "move the `landlock` layer below it"),
        mended: &[0, 2, 1],
    },
    Case {
        law: "so does the other name",
        layers: &[USER, "domainname: HOGE", "uts"],
        says: ("domainname::shared", 4, "move the `uts` layer above it"),
        mended: &[0, 2, 1],
    },
    Case {
        law: "a mount namespace comes before any mount",
        layers: &[USER, "tmpfs: new", "mount"],
        says: ("mount::shared", 4, "move the `mount` layer above it"),
        mended: &[0, 2, 1],
    },
    Case {
        law: "propagation is private before anything is bound",
        layers: &[USER, "bind: {from: source, to: new, read_only: true}", "mount"],
        says: ("mount::shared", 4, "move the `mount` layer above it"),
        mended: &[0, 2, 1],
    },
    Case {
        law: "a /proc shows a PID namespace",
        layers: &[USER, "mount", "proc: /proc", "pid"],
        says: ("proc::needs_pid", 5, "move the `pid` layer above it"),
        mended: &[0, 1, 3, 2],
    },
    Case {
        law: "a root is there before it becomes the root",
        layers: &[USER, "mount", "pivot_root: new", "bind: {from: /, to: new, write: true}"],
        says: ("pivot_root::not_a_mount_point", 5, "move the `bind` layer above it"),
        mended: &[0, 1, 3, 2],
    },
    Case {
        law: "directories are made before the place is read-only",
        layers: &[
            USER,
            "mount",
            "tmpfs: new",
            "bind: {from: new, to: new, read_only: true}",
            "dir: new/made",
        ],
        says: ("dir::read_only", 7, "move the `bind` layer below it"),
        mended: &[0, 1, 2, 4, 3],
    },
    Case {
        law: "several at once",
        layers: &["hostname: HOGE", "proc: /proc", "pid", "uts", "mount", USER],
        says: ("hostname::shared", 3, "move the `uts` layer above it"),
        mended: &[],
    },
];

fn recipe(layers: &[&str]) -> String {
    let lines: String = layers.iter().map(|layer| format!("  - {layer}\n")).collect();
    format!("isorecipe: 1\nlayers:\n{lines}{SHELL}\n")
}

fn desk() -> Desk {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("source");
    desk.make_dir("new");
    desk
}

#[test]
fn a_wrong_order_is_shown_at_its_line_and_mended_by_moving_lines() {
    let desk = desk();
    for case in CASES {
        desk.write("box.yaml", &recipe(case.layers));
        let (code, line, help) = case.says;
        let planned = desk.run(&["--plain", "plan", "box.yaml"]);
        assert_eq!(planned.code(), 1, "{}", case.law);
        let said = planned.err();
        let first = said.split("\n\n").next().unwrap_or_default();
        assert!(first.contains(&format!("error[{code}]")), "{}: {said}", case.law);
        assert!(first.contains(&format!("at box.yaml line {line} ")), "{}: {said}", case.law);
        assert!(first.contains(help), "{}: {said}", case.law);
        let applied = desk.run(&["--plain", "apply", "box.yaml"]);
        assert_eq!(applied.code(), 125, "{}", case.law);
        assert!(applied.err().contains(help), "{}: {}", case.law, applied.err());

        let fixed = desk.run(&["plan", "--fix", "box.yaml"]);
        assert_eq!(fixed.code(), 0, "{}: {}", case.law, fixed.err());
        assert!(fixed.err().contains("moved `"), "{}: {}", case.law, fixed.err());
        if !case.mended.is_empty() {
            let layers: Vec<&str> = case.mended.iter().map(|index| case.layers[*index]).collect();
            assert_eq!(fixed.out(), recipe(&layers), "{}", case.law);
        }
        desk.write("mended.yaml", &fixed.out());
        desk.run(&["plan", "mended.yaml"]).succeeds();
        // The kernel is the judge of it.
        desk.run(&["apply", "mended.yaml", "--", "/bin/sh", "-c", "true"]).succeeds();
    }
}

#[test]
fn comments_and_layout_go_along() {
    let desk = desk();
    let written = "\
isorecipe: 1   # the format

layers:
  # what it is called
  # by people
  - hostname: HOGE  # HOGE!

  # whose it is
  -
    uts: {}
  - user:
      # root is you
      map: root
command: [/bin/sh]
# the end";
    let mended = "\
isorecipe: 1   # the format

layers:
  - user:
      # root is you
      map: root

  # whose it is
  -
    uts: {}
  # what it is called
  # by people
  - hostname: HOGE  # HOGE!
command: [/bin/sh]
# the end";
    desk.write("box.yaml", written);
    assert_eq!(desk.run(&["plan", "--fix", "box.yaml"]).succeeds().out(), mended);
    desk.write("box.yaml", "isorecipe: 1\nlayers: [ hostname: HOGE,  uts , user: {map: root}]");
    let flow = desk.run(&["plan", "--fix", "box.yaml"]).succeeds().out();
    assert_eq!(flow, "isorecipe: 1\nlayers: [ user: {map: root},  uts , hostname: HOGE]");
    desk.write(
        "box.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - hostname: HOGE\n  - uts",
    );
    let last = desk.run(&["plan", "--fix", "box.yaml"]).succeeds().out();
    assert_eq!(last, "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - uts\n  - hostname: HOGE\n");
}

#[test]
fn what_works_stays_as_it_is() {
    let desk = desk();
    let fixed = desk.run(&["plan", "--fix", "step3.yaml"]).succeeds();
    assert_eq!(fixed.out(), desk.read("step3.yaml"));
    assert!(fixed.err().contains("nothing to mend"), "{}", fixed.err());
}

/// Moving `proc` before the pivot would make the plan work, and lose the /proc that the author asked for.
#[test]
fn what_order_alone_does_not_mend_is_not_mended() {
    let desk = desk();
    desk.make_rootfs("rootfs", &["sh"]);
    let pivot = &[
        USER,
        "pid",
        "mount",
        "overlay: {lower: rootfs, at: new}",
        "pivot_root: new",
        "proc: /proc",
    ];
    for layers in [&["hostname: HOGE"][..], &[USER, "hostname: HOGE"], pivot] {
        desk.write("box.yaml", &recipe(layers));
        let fixed = desk.run(&["plan", "--fix", "box.yaml"]);
        assert_eq!((fixed.code(), fixed.out()), (1, String::new()), "{layers:?}");
        assert!(fixed.err().contains("error["), "{}", fixed.err());
        assert!(fixed.err().contains("another order alone does not mend this"), "{}", fixed.err());
    }
}

#[test]
fn what_a_change_allows_can_be_read_before_it_is_made() {
    let desk = desk();
    let same = desk.run(&["plan", "step2.yaml", "--against", "step2.yaml"]).succeeds();
    assert_eq!(same.out(), "no difference: both sandboxes could do the same\n");
    let changed = desk.run(&["plan", "step2.yaml", "--against", "step3.yaml"]);
    assert_eq!(changed.code(), 1);
    let out = changed.out();
    for line in
        ["- step3.yaml", "+ step2.yaml", "+ shares     processes", "+ PID 1      the host's"]
    {
        assert!(out.lines().any(|printed| printed == line), "{line} in {out}");
    }
    desk.write("open.yaml", &recipe(&[USER, "mount", "bind: {from: source, to: new}"]));
    desk.write(
        "shut.yaml",
        &recipe(&[USER, "mount", "bind: {from: source, to: new, read_only: true}"]),
    );
    let json = desk.run(&["--json", "plan", "open.yaml", "--against", "shut.yaml"]).out();
    let json: serde_json::Value = serde_json::from_str(&json).expect("an object");
    assert_eq!(json["more"][0]["how"], "./new: ./source of the host");
    assert_eq!(json["less"][0]["how"], "./new: ./source of the host, read-only");
}

#[test]
fn a_program_is_told_the_moves_the_recipe_and_what_is_in_the_way() {
    let desk = desk();
    let fix = |layers: &[&str]| {
        desk.write("box.yaml", &recipe(layers));
        desk.run(&["--json", "plan", "--fix", "box.yaml"])
    };
    let object = |ran: machine::Ran| -> serde_json::Value {
        assert_eq!(ran.err(), "");
        serde_json::from_str(&ran.succeeds().out()).expect("an object")
    };
    let mended = object(fix(&[USER, "hostname: HOGE", "uts"]));
    let (hostname, uts) = (("hostname", 4), ("uts", 5));
    let moved = &mended["moves"][0];
    let (layer, side, of) = match moved["side"].as_str() {
        Some("below") => (hostname, "below", uts),
        _ => (uts, "above", hostname),
    };
    let one = serde_json::json!({
        "layer": layer.0, "line": layer.1, "side": side, "of": {"layer": of.0, "line": of.1},
    });
    assert_eq!(mended["moves"], serde_json::json!([one]));
    assert_eq!(mended["recipe"], recipe(&[USER, "uts", "hostname: HOGE"]));
    assert_eq!(mended["works"], true);

    let fine = object(fix(&[USER]));
    assert_eq!((&fine["moves"], &fine["works"]), (&serde_json::json!([]), &true.into()));

    let ran = fix(&[USER, "hostname: HOGE"]);
    assert_eq!((ran.code(), ran.out()), (1, String::new()));
    let problems: Vec<serde_json::Value> =
        ran.err().lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    assert_eq!(problems[0]["code"], "hostname::shared");
}

#[test]
fn a_program_that_serves_an_image_wants_the_processes_to_be_apart_first() {
    let desk = desk();
    std::fs::write(desk.path("box.img"), include_bytes!("support/conform/tiny.squashfs"))
        .expect("an image");
    let image = "overlay: {lower: {image: box.img, via: fuse}, at: new}";
    desk.write("box.yaml", &recipe(&[USER, "mount", image, "pid"]));
    // This machine, with a /dev/fuse that opens.
    let mut host: serde_json::Value =
        serde_json::from_str(&desk.run(&["host", "box.yaml"]).out()).expect("a host");
    host["images"]["fuse"] = "opens".into();
    desk.write("host.json", &host.to_string());
    let planned = desk.run(&["--plain", "plan", "--host", "host.json", "box.yaml"]);
    assert_eq!(planned.code(), 1);
    assert!(planned.err().contains("error[image::fuse_needs_pid]"), "{}", planned.err());
    let fixed = desk.run(&["plan", "--host", "host.json", "--fix", "box.yaml"]);
    assert_eq!(fixed.out(), recipe(&[USER, "mount", "pid", image]), "{}", fixed.err());
    desk.write("mended.yaml", &fixed.out());
    desk.run(&["plan", "--host", "host.json", "mended.yaml"]).succeeds();
}
