//! What `isorecipe diff` says when it cannot look, and what a tree made by
//! somebody hostile does to it: nothing.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/observing.rs"]
mod observing;
#[path = "support/scene.rs"]
mod scene;

use std::{
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use machine::{Desk, Ran, Who};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use scene::Scene;

/// The exit status is that of trouble, and this is the only problem.
#[track_caller]
fn assert_trouble(ran: &Ran, code: &str) {
    let err = ran.err();
    let codes: Vec<&str> =
        err.lines().filter_map(|line| line.strip_prefix("error[")?.split(']').next()).collect();
    assert_eq!((codes, ran.code()), (vec![code], 2), "{}{err}", ran.out());
}

/// A desk with a `lower` and an `upper` made by hand, with a mark on it as if a user had mounted it.
fn by_hand(directories: &[&str]) -> Desk {
    let desk = Desk::of(Who::ordinary());
    for directory in [&["lower", "upper"], directories].concat() {
        desk.make_dir(directory);
    }
    mark(&desk.path("upper"), "impure", "y");
    desk
}

fn mark(path: &Path, name: &str, value: &str) {
    xattr::set(path, format!("user.overlay.{name}"), value.as_bytes()).expect("a mark");
}

fn diff(desk: &Desk) -> Ran {
    desk.run(&["diff", "upper", "--lower", "lower"])
}

#[test]
fn an_upper_that_is_not_there_is_missed() {
    let desk = Desk::of(Who::ordinary());
    assert_trouble(&desk.run(&["diff", "./nowhere"]), "diff::no_upper");
}

#[test]
fn an_upper_that_no_run_has_made_yet_is_missed() {
    let desk = Desk::of(Who::ordinary());
    let ran = desk.run(&["diff", "step4-rootless.yaml"]);
    assert_trouble(&ran, "diff::no_upper");
    assert!(ran.err().contains("`isorecipe apply step4-rootless.yaml`"), "{}", ran.err());
}

#[test]
fn a_lower_that_is_not_there_is_missed() {
    let desk = by_hand(&[]);
    let ran = desk.run(&["diff", "upper", "--lower", "lower", "--lower", "nowhere"]);
    assert_trouble(&ran, "diff::no_lower");
}

#[test]
fn a_recipe_that_keeps_no_changes_has_none_to_show() {
    let desk = Desk::of(Who::ordinary());
    assert_trouble(&desk.run(&["diff", "step3.yaml"]), "diff::no_overlay");
}

#[test]
fn a_recipe_with_mistakes_is_trouble() {
    let desk = Desk::of(Who::ordinary());
    desk.write("wrong.yaml", "isorecipe: 1\nlayers: [utss: {}]\n");
    assert_trouble(&desk.run(&["diff", "wrong.yaml"]), "recipe::unknown_word");
}

#[test]
fn a_name_that_nothing_has_is_not_running() {
    let desk = Desk::of(Who::ordinary());
    assert_trouble(&desk.run(&["diff", "nothing-like-it"]), "diff::not_running");
}

#[test]
fn troubles_of_one_kind_are_said_once_and_counted() {
    let desk = Desk::of(Who::ordinary());
    let names: Vec<String> = (0..5).map(|n| format!("upper/d{n}")).collect();
    desk.make_dir("lower");
    names.iter().for_each(|name| desk.make_dir(name));
    for name in &names {
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o0);
        std::fs::set_permissions(desk.path(name), closed).expect("a mode");
    }
    let err = diff(&desk).err();
    assert!(err.contains("and 4 more like it"), "{err}");
    assert_eq!(err.matches("cannot be looked at").count(), 1, "{err}");
}

#[test]
fn a_running_sandbox_is_looked_at_by_its_name() {
    let scene = Scene::new(Who::ordinary(), "touch f", "");
    let desk = &scene.desk;
    let (first, second) = (desk.start("box.yaml", "rm m/f"), desk.start("bare.yaml", ""));
    let name = observing::name_of(desk, &first);
    let ran = desk.run(&["diff", &name]);
    assert_eq!((ran.out().as_str(), ran.code()), ("D  f  (file, 0 B, 0644)\n", 1));
    let by_pid = desk.run(&["diff", &first.command().to_string()]);
    assert_eq!((by_pid.out(), by_pid.code()), (ran.out(), 1), "{}", by_pid.err());
    observing::name_of(desk, &second);
    assert_trouble(&desk.run(&["diff"]), "diff::which");
    first.finish();
    second.finish();
}

#[test]
fn an_unknown_option_is_trouble_too() {
    let desk = Desk::of(Who::ordinary());
    assert_eq!(desk.run(&["diff", "--nonsense"]).code(), 2);
}

#[test]
fn a_directory_that_may_not_be_read_is_said() {
    for who in Who::all() {
        let scene = Scene::new(who, "", "mkdir d; touch d/f; chmod 0 d; touch g");
        let ran = scene.diff(&["box.yaml"]);
        let (inside, others) = ("A  d/f  (file, 0 B, 0644)\n", "A  g  (file, 0 B, 0644)\n");
        let d = "A  d/  (directory, 0000)\n";
        match who {
            Who::Root => assert_eq!(ran.out(), format!("{d}{inside}{others}")),
            Who::User(_) => {
                assert_eq!(ran.out(), format!("{d}{others}"));
                assert_trouble(&ran, "diff::unreadable");
            }
        }
    }
}

#[test]
fn bytes_that_may_not_be_read_are_not_guessed() {
    for who in Who::all() {
        let scene = Scene::new(who, "echo hi > f", "echo ho > f; chmod 0 f");
        let ran = scene.diff(&["box.yaml"]);
        match who {
            Who::Root => assert_eq!(ran.out(), "M  f  (content, mode 0644 → 0000)\n"),
            Who::User(_) => {
                let line = "M  f  (content not compared, mode 0644 → 0000, mtime)\n";
                assert_eq!(ran.out(), line);
                assert_trouble(&ran, "diff::unreadable");
            }
        }
    }
}

#[test]
fn a_path_that_is_far_too_long_is_said_and_the_rest_is_shown() {
    let deep = "touch a; name=$(printf '%0200d' 0)
                for i in $(seq 90); do mkdir $name; cd $name; done";
    let scene = Scene::new(Who::ordinary(), "", deep);
    let ran = scene.diff(&["box.yaml"]);
    assert_trouble(&ran, "diff::unreadable");
    assert!(ran.out().lines().count() > 80, "{}", ran.out());
    assert!(ran.out().contains("A  a  (file"));
    assert!(ran.err().len() < 1000, "{}", ran.err());
}

#[test]
fn marks_that_only_root_can_read_are_not_guessed() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("upper/d");
    desk.make_dir("lower/d");
    desk.write("lower/d/f", "");
    let ran = diff(&desk);
    assert_trouble(&ran, "diff::marks_hidden");
    assert_eq!(ran.out(), "");
}

#[test]
fn an_upper_alone_whose_marks_only_root_can_read_tells_nothing() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("upper/d");
    desk.write("upper/d/f", "");
    let ran = desk.run(&["diff", "upper"]);
    assert_eq!(ran.out(), "?  d/  (directory, 0755)\n?  d/f  (file, 0 B, 0644)\n");
    assert_eq!(ran.code(), 1);
}

#[test]
fn a_redirect_out_of_the_lower_is_not_followed() {
    for target in ["../secret", "/../secret", "a/b", "..", "/"] {
        let desk = by_hand(&["upper/d", "secret", "lower/a/b"]);
        desk.write("secret/treasure", "");
        mark(&desk.path("upper/d"), "redirect", target);
        let ran = diff(&desk);
        assert_trouble(&ran, "diff::redirect");
        assert!(!ran.out().contains("treasure"), "{target}: {}", ran.out());
    }
}

#[test]
fn a_user_overlay_that_records_a_rename_is_understood() {
    let desk = by_hand(&["upper/n/sub", "lower/d/sub"]);
    desk.write("lower/d/f", "hi\n");
    desk.write("upper/n/f", "ho\n");
    mark(&desk.path("upper/n"), "redirect", "/d");
    assert_eq!(diff(&desk).out(), "R  n/  (from d)\nM  n/f  (content)\n");
}

#[test]
fn a_symlink_in_the_lower_is_not_followed() {
    let desk = by_hand(&["upper/d", "secret"]);
    desk.write("secret/treasure", "");
    desk.write("upper/d/treasure", "");
    symlink("../secret", desk.path("lower/d")).expect("a link");
    mark(&desk.path("upper/d"), "origin", "");
    let ran = diff(&desk);
    assert_eq!(ran.out(), "M  d/  (symlink → directory)\nA  d/treasure  (file, 0 B, 0644)\n");
}

#[test]
fn a_directory_that_somebody_exchanges_for_a_link_is_never_followed() {
    let desk = by_hand(&["upper/d", "upper/e", "secret"]);
    desk.write("upper/d/mine", "");
    desk.write("secret/treasure", "");
    symlink("../secret", desk.path("upper/link")).expect("a link");
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (d, link) = (desk.path("upper/d"), desk.path("upper/link"));
        let is_over = &is_over;
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                renameat2(AT_FDCWD, &d, AT_FDCWD, &link, RenameFlags::RENAME_EXCHANGE)
                    .expect("two names");
            }
        });
        let outs: Vec<String> = (0..40).map(|_| diff(&desk).out()).collect();
        is_over.store(true, Ordering::Relaxed);
        let seen = outs.iter().filter(|out| out.contains("treasure")).count();
        assert_eq!(seen, 0);
    });
}

#[test]
fn what_a_mount_covers_is_not_taken_for_the_lower() {
    let desk = by_hand(&["upper/d", "lower/d"]);
    desk.write("upper/d/f", "");
    mark(&desk.path("upper/d"), "origin", "");
    desk.write(
        "covered.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount: {}\n  - tmpfs: lower/d\n",
    );
    let words = ["apply", "covered.yaml", "--", "./isorecipe", "diff", "upper", "--lower", "lower"];
    let ran = desk.run(&words);
    assert_trouble(&ran, "diff::mounted_over");
}

#[test]
fn without_proc_nothing_can_be_looked_at() {
    let desk = by_hand(&[]);
    desk.write(
        "no-proc.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount: {}\n  - tmpfs: /proc\n",
    );
    let words = ["apply", "no-proc.yaml", "--", "./isorecipe", "diff", "upper", "--lower", "lower"];
    assert_trouble(&desk.run(&words), "diff::no_proc");
}

#[test]
fn when_very_much_was_deleted_it_is_not_looked_for_elsewhere() {
    // A hundred directories of the top lead to the same one below.
    let desk = by_hand(&["upper/new", "top", "lower/big"]);
    for file in 0..1000 {
        desk.write(&format!("lower/big/{file}"), "");
    }
    let whiteouts = (0..101).map(|number| {
        desk.make_dir(&format!("top/d{number}"));
        mark(&desk.path(&format!("top/d{number}")), "redirect", "/big");
        format!("d{number}")
    });
    let names: Vec<String> = whiteouts.collect();
    for name in &names {
        let path = desk.path("upper").join(name);
        let (kind, none) = (nix::sys::stat::SFlag::S_IFCHR, nix::sys::stat::Mode::empty());
        nix::sys::stat::mknod(&path, kind, none, 0).expect("a whiteout");
    }
    let ran = desk.run(&["diff", "upper", "--lower", "top", "--lower", "lower"]);
    assert_trouble(&ran, "diff::too_many");
    assert_eq!(ran.out().lines().count(), 102, "{}", ran.out());
}
