//! `isorecipe build`, as people use it: what comes out, when it is made again, what is left of it.
//!
//! Everything is asked as an ordinary user, and as root where that makes another thing of it.

#[path = "support/images.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink},
        process::CommandExt,
    },
    process::Command,
};

use images::{build, check, is_there, recipe, sudo, tool, unpack};
use machine::{Desk, Who};

/// What an ordinary user can make.
const KINDS: [&str; 4] = ["directory", "squashfs", "erofs", "ext4"];

/// A folder with something of everything in it.
fn furnished(who: Who) -> Desk {
    let desk = Desk::of(who);
    desk.make_dir("stuff/below");
    desk.write("stuff/a", "one\n");
    desk.write("stuff/below/b", "two\n");
    desk.write("stuff/set-user-id", "#!/bin/sh\n");
    fs::hard_link(desk.path("stuff/a"), desk.path("stuff/again")).expect("a hard link");
    symlink("/nowhere/at/all", desk.path("stuff/link")).expect("a link");
    let sparse = desk.write("stuff/sparse", "");
    fs::File::options().write(true).open(sparse).expect("a file").set_len(8 << 20).expect("a hole");
    let fifo = desk.path("stuff/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("a fifo");
    desk.write("stuff/odd \n name", "odd\n");
    if machine::own_uid() == 0 {
        let mut chown = Command::new("chown");
        chown.arg("-hR").arg(who.uid().to_string()).arg(desk.path("stuff"));
        assert!(chown.status().expect("chown").success());
    }
    // Last: `chown(2)` takes the bit away.
    let mode = fs::Permissions::from_mode(0o4755);
    fs::set_permissions(desk.path("stuff/set-user-id"), mode).expect("a mode");
    desk
}

const STUFF: &str = "copy: [{from: stuff/., to: /}]\n  dirs: [/made/below]\n  links: {/bin: usr/bin}\n  devices: [/dev/null]";

#[test]
fn everything_arrives_in_every_kind_of_image() {
    for kind in KINDS {
        let desk = furnished(Who::ordinary());
        build(&desk, kind, STUFF).succeeds();
        let root = unpack(&desk, kind);
        let text = |name: &str| fs::read_to_string(root.join(name)).expect(name);
        assert_eq!((text("a"), text("below/b")), ("one\n".into(), "two\n".into()), "{kind}");
        assert_eq!(text("odd \n name"), "odd\n", "{kind}");
        let status = |name: &str| fs::symlink_metadata(root.join(name)).expect(name);
        assert_eq!(
            fs::read_link(root.join("link")).expect("a link").to_str(),
            Some("/nowhere/at/all")
        );
        assert_eq!(fs::read_link(root.join("bin")).expect("a link").to_str(), Some("usr/bin"));
        assert_eq!(status("sparse").len(), 8 << 20, "{kind}");
        assert!(status("made/below").is_dir() && images::has_fifo(&desk, kind), "{kind}");
        assert_eq!((status("dev/null").len(), status("dev/null").is_file()), (0, true), "{kind}");
        // Whoever else has the file would be its owner through this bit.
        assert_eq!(status("set-user-id").mode() & 0o7777, 0o755, "{kind}");
        assert_eq!(status("a").mtime(), 0, "{kind}");
        assert_eq!(images::names_of(&desk, kind, "a"), 2, "{kind}: one file of two names");
    }
}

#[test]
fn an_image_belongs_to_root_and_a_directory_to_who_made_it() {
    for kind in KINDS {
        let desk = furnished(Who::ordinary());
        build(&desk, kind, STUFF).succeeds();
        let owners = images::owners(&desk, kind);
        let expected = if kind == "directory" { desk.who.uid() } else { 0 };
        assert_eq!(owners, [expected].into(), "{kind}");
        check(&desk, kind);
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes_wherever_and_whenever() {
    for kind in ["directory", "squashfs", "erofs"] {
        let digests: Vec<String> = ["077", "000"]
            .into_iter()
            .map(|umask| {
                let desk = furnished(Who::ordinary());
                desk.write("r.yaml", &recipe(kind, &format!("{STUFF}\n  programs: [bash, ps]")));
                // The times of the sources differ, and what was there before them.
                desk.make_dir(&format!("other-{umask}"));
                let script = format!("umask {umask}; exec ./isorecipe build --print-digest r.yaml");
                let mut command = Command::new("bash");
                command.args(["-c", &script]).current_dir(desk.folder());
                if machine::own_uid() == 0 {
                    command.uid(desk.who.uid()).gid(desk.who.gid());
                }
                let output = command.output().expect("bash");
                assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
                String::from_utf8(output.stdout).expect("text")
            })
            .collect();
        assert!(digests[0].starts_with("sha256:") && digests[0].len() == 7 + 64 + 1, "{digests:?}");
        assert_eq!(digests[0], digests[1], "{kind}");
    }
}

#[test]
fn the_digest_of_an_image_is_that_of_its_file() {
    let desk = furnished(Who::ordinary());
    desk.write("r.yaml", &recipe("squashfs", STUFF));
    let printed = desk.run(&["build", "--print-digest", "r.yaml"]).succeeds().out();
    let summed = tool("sha256sum").arg(desk.path("root")).output().expect("sha256sum");
    let summed = String::from_utf8(summed.stdout).expect("text");
    assert_eq!(printed.trim(), format!("sha256:{}", &summed[..64]));
}

#[test]
fn the_time_of_every_file_is_source_date_epoch() {
    let desk = furnished(Who::ordinary());
    desk.write("r.yaml", &recipe("directory", STUFF));
    let run = |time: &str| {
        let output = desk.command(&["build", "r.yaml"]).env("SOURCE_DATE_EPOCH", time).output();
        machine::Ran(output.expect("the program"))
    };
    run("1000").succeeds();
    let time = |name: &str| fs::symlink_metadata(desk.path(name)).expect(name).mtime();
    assert_eq!((time("root"), time("root/below/b"), time("root/link")), (1000, 1000, 1000));
    assert!(run("2000").succeeds().out().contains("because SOURCE_DATE_EPOCH changed"));
    let refused = run("yesterday");
    assert_eq!(refused.code(), 1);
    assert!(refused.err().contains("error[build::bad_epoch]"), "{}", refused.err());
}

#[test]
fn it_is_made_again_only_when_something_has_changed_and_says_what() {
    for kind in KINDS {
        let desk = furnished(Who::ordinary());
        let said = build(&desk, kind, STUFF).succeeds().out();
        assert!(said.contains("because it was not there"), "{said}");
        let said = build(&desk, kind, STUFF).succeeds().out();
        assert!(said.starts_with("root: up to date"), "{said}");
        desk.write("stuff/below/b", "three\n");
        let said = build(&desk, kind, STUFF).succeeds().out();
        assert!(said.contains("/stuff/below/b changed"), "{said}");
        fs::remove_file(desk.path("stuff/fifo")).expect("a fifo");
        let said = build(&desk, kind, STUFF).succeeds().out();
        assert!(said.contains("/stuff/fifo is gone"), "{said}");
        let more = format!("{STUFF}\n  programs: [ls]");
        let said = build(&desk, kind, &more).succeeds().out();
        assert!(said.contains("because the recipe's `programs` changed"), "{said}");
        let said = build(&desk, kind, &more).succeeds().out();
        assert!(said.starts_with("root: up to date"), "{said}");
        let said = desk.run(&["build", "--force", "r.yaml"]).succeeds().out();
        assert!(said.contains("because --force was given"), "{said}");
    }
}

#[test]
fn an_image_that_somebody_has_changed_is_made_again() {
    let desk = furnished(Who::ordinary());
    build(&desk, "squashfs", STUFF).succeeds();
    desk.write("root", "nothing like an image");
    let said = build(&desk, "squashfs", STUFF).succeeds().out();
    assert!(said.contains("because root was changed by somebody else"), "{said}");
    check(&desk, "squashfs");
}

#[test]
fn a_program_brings_all_that_it_needs_and_runs() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.write("hello", "#!/usr/bin/env bash\necho hello from $0\n");
        fs::set_permissions(desk.path("hello"), fs::Permissions::from_mode(0o755)).expect("a mode");
        let layers = "layers: [user: {map: root}, mount, \
             overlay: {lower: root, at: merged, create: true}, pivot_root: merged]";
        let image = recipe("directory", "programs: [bash, mount, ./hello]");
        desk.write("r.yaml", &image.replace("layers: []", layers));
        desk.run(&["build", "r.yaml"]).succeeds();
        // `mount` needs libraries of libraries; the script its interpreter, and what `env` looks for.
        let said = desk.run(&["apply", "r.yaml", "--", "mount", "--version"]).succeeds().out();
        assert!(said.starts_with("mount from"), "{said}");
        let script = desk.path("hello").display().to_string();
        let said = desk.run(&["apply", "r.yaml", "--", &script]).succeeds().out();
        assert_eq!(said, format!("hello from {script}\n"));
    }
}

#[test]
fn a_kept_attribute_is_one_that_people_set() {
    let desk = furnished(Who::ordinary());
    let path = desk.path("stuff/below");
    for (name, value) in [("user.kept", "yes"), ("user.overlay.opaque", "y")] {
        xattr::set(&path, name, value.as_bytes()).expect("an attribute: no tmpfs before Linux 6.6");
    }
    for kind in ["directory", "squashfs", "erofs"] {
        build(&desk, kind, STUFF).succeeds();
        let found = images::attributes(&desk, kind, "below");
        assert_eq!(found, ["user.kept".to_owned()], "{kind}");
        if kind == "directory" {
            fs::remove_dir_all(desk.path("root")).expect("a directory");
        }
    }
}

#[test]
fn root_makes_an_xfs_that_belongs_to_who_asked_and_nobody_else_can() {
    let desk = furnished(Who::ordinary());
    desk.write("r.yaml", &recipe("xfs", STUFF));
    if !desk.is_refused_and_root_is_here(&["build", "r.yaml"], "build::needs_root") {
        return;
    }
    let mounts = fs::read("/proc/self/mountinfo").expect("/proc");
    sudo(&desk, &["build", "r.yaml"]).succeeds();
    check(&desk, "xfs");
    let status = fs::metadata(desk.path("root")).expect("an image");
    assert_eq!((status.uid(), status.len()), (desk.who.uid(), 300 << 20));
    assert!(status.blocks() * 512 < 200 << 20, "what is free in it takes no room");
    assert_eq!(fs::read("/proc/self/mountinfo").expect("/proc"), mounts);
    assert!(!images::has_loop(&desk));
    // What root has made is the user's to look at, and to replace.
    assert!(desk.run(&["build", "r.yaml"]).succeeds().out().starts_with("root: up to date"));
    build(&desk, "squashfs", STUFF).succeeds();
    check(&desk, "squashfs");
}

#[test]
fn the_steps_of_the_hands_on_build_and_run() {
    let script =
        "ls / > /dev/null && mount > /dev/null && ps -ef && touch /made && echo $$ $(id -u)";
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.run(&["build", "step4-rootless.yaml"]).succeeds();
        let words = ["apply", "step4-rootless.yaml", "--", "bash", "-c", script];
        let said = desk.run(&words).succeeds().out();
        assert!(said.ends_with("1 0\n"), "{said}");
        assert!(is_there(&desk, "upper/made") && !is_there(&desk, "rootfs/made"));
        for kind in ["squashfs", "erofs", "ext4"] {
            desk.run(&["build", &format!("step4-{kind}.yaml")]).succeeds();
        }
        images::open_up(&desk);
    }
    if machine::own_uid() != 0 {
        return;
    }
    for name in ["step4", "step4-squashfs", "step4-erofs", "step4-ext4"] {
        let desk = Desk::of(Who::ordinary());
        let recipe = format!("{name}.yaml");
        sudo(&desk, &["build", &recipe]).succeeds();
        let said = sudo(&desk, &["apply", &recipe, "--", "bash", "-c", script]).succeeds().out();
        assert!(said.ends_with("1 0\n"), "{name}: {said}");
    }
}

#[test]
fn a_plan_without_its_lower_says_how_it_is_made() {
    let desk = Desk::of(Who::ordinary());
    for (recipe, command) in [
        ("step4-rootless.yaml", "isorecipe build step4-rootless.yaml"),
        ("step4-squashfs.yaml", "isorecipe build step4-squashfs.yaml"),
        ("step4.yaml", "sudo isorecipe build step4.yaml"),
    ] {
        for words in [&["plan", recipe][..], &["apply", recipe], &["apply", "--unchecked", recipe]]
        {
            let said = desk.run(words).err();
            assert!(said.contains(&format!("help: `{command}` makes it")), "{words:?}: {said}");
        }
    }
}

#[test]
fn a_build_that_takes_long_shows_it_on_a_terminal_and_nowhere_else() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("bin");
    let tool =
        desk.write("bin/mksquashfs", "#!/bin/sh\nsleep 1\nexec /usr/bin/mksquashfs \"$@\"\n");
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).expect("a mode");
    desk.write("r.yaml", &recipe("squashfs", "dirs: [/x]"));
    let path = format!("{}:/usr/bin:/bin", desk.path("bin").display());
    let run = |program: &str, words: &[&str]| {
        let mut command = Command::new(program);
        command.args(words).current_dir(desk.folder()).env("PATH", &path).env("TERM", "xterm");
        command.env("LANG", "C.UTF-8").env("COLUMNS", "100");
        if machine::own_uid() == 0 {
            command.uid(desk.who.uid()).gid(desk.who.gid());
        }
        machine::Ran(command.output().expect("a program"))
    };
    let build = "./isorecipe build --force r.yaml";
    let shown = run("script", &["-qec", build, "/dev/null"]).succeeds().out();
    assert!(shown.contains("making the image"), "{shown}");
    // It is wiped away before the result.
    assert!(shown.contains("\r\u{1b}[Kroot: built"), "{shown:?}");
    for options in ["--plain", "--json"] {
        let build = format!("./isorecipe {options} build --force r.yaml");
        let shown = run("script", &["-qec", &build, "/dev/null"]).succeeds().out();
        assert!(!shown.contains("making the image"), "{shown}");
    }
    let silent = run("sh", &["-c", build]).succeeds();
    assert_eq!(silent.err(), "");
}

#[test]
fn real_nodes_are_made_where_they_can_be_opened() {
    for who in Who::all() {
        let desk = Desk::of(who);
        build(&desk, "directory", "devices: [/dev/null]").succeeds();
        let made = || fs::metadata(desk.path("root/dev/null")).expect("something there");
        match who {
            Who::Root => assert!(made().file_type().is_char_device() && made().rdev() == 0x103),
            Who::User(_) => assert!(made().is_file()),
        }
        let in_a_user_namespace = recipe("directory", "devices: [/dev/null]")
            .replace("layers: []", "layers: [user: {map: root}]");
        desk.write("r.yaml", &in_a_user_namespace);
        desk.run(&["build", "r.yaml"]).succeeds();
        assert!(made().is_file());
    }
}

#[test]
fn a_program_reads_everything_that_a_person_does() {
    let desk = furnished(Who::ordinary());
    desk.write("r.yaml", &recipe("erofs", STUFF));
    let said = desk.run(&["--json", "build", "--print-digest", "r.yaml"]).succeeds().out();
    let said: serde_json::Value = serde_json::from_str(&said).expect("JSON");
    assert_eq!(said["built"], true);
    assert_eq!(said["why"][0], "it was not there");
    assert_eq!(said["filesystem"], "erofs");
    assert_eq!(said["unreadable"]["count"], 0);
    assert!(said["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256:")));
}
