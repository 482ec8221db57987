//! What `isorecipe build` will not do, and what it says instead: about recipes, sources and targets.

#[path = "support/images.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use images::{build, is_there, recipe};
use machine::{Desk, Ran, Who};

/// A desk of an ordinary user, with a few files to copy.
fn desk() -> Desk {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("stuff/below");
    desk.write("stuff/a", "one\n");
    desk
}

#[track_caller]
fn says(ran: &Ran, code: &str) {
    assert_eq!(ran.code(), 1, "{}{}", ran.out(), ran.err());
    assert!(ran.err().contains(&format!("error[{code}]")), "{}", ran.err());
}

/// The content makes the build end with this code, and nothing is left of it.
#[track_caller]
fn refuses(desk: &Desk, content: &str, code: &str) -> String {
    let ran = build(desk, "directory", content);
    says(&ran, code);
    assert!(!is_there(desk, "root") && !is_there(desk, ".root.isorecipe"), "{code}");
    ran.err()
}

#[test]
fn a_recipe_without_an_image_cannot_be_built() {
    let desk = desk();
    says(&desk.run(&["build", "step3.yaml"]), "build::no_image");
    assert_eq!(desk.run(&["build"]).code(), 2);
}

#[test]
fn a_source_that_is_not_there_is_named() {
    let desk = desk();
    refuses(&desk, "copy: [{from: nothing, to: /}]", "build::no_source");
    refuses(&desk, "copy: [{from: stuff/a/below, to: /}]", "build::unread");
    refuses(&desk, "copy: [{from: stuff/a/., to: /}]", "build::no_content");
    let said = refuses(&desk, "programs: [bash, frobnicate]", "build::no_program");
    assert!(said.contains("`frobnicate`") && said.contains("PATH"), "{said}");
    refuses(&desk, "programs: [./nothing]", "build::no_program");
}

#[test]
fn a_program_that_could_not_run_is_refused() {
    let desk = desk();
    let executable = |name: &str| {
        fs::set_permissions(desk.path(name), fs::Permissions::from_mode(0o755)).expect("a mode");
    };
    desk.write("script", "#!/no/such/interpreter\n");
    executable("script");
    let said = refuses(&desk, "programs: [./script]", "build::no_interpreter");
    assert!(said.contains("/no/such/interpreter"), "{said}");
    // As `true`, with another name for the library it needs.
    let program = which::which("true").map(|path| fs::read(path).expect("true"));
    let mut program = program.expect("true");
    let name = b"libc.so.6\0";
    let at = program.windows(name.len()).position(|part| part == name).expect("a needed library");
    program[at..at + 4].copy_from_slice(b"libQ");
    let path = desk.write("broken", "");
    fs::write(path, program).expect("a file");
    executable("broken");
    let said = refuses(&desk, "programs: [./broken]", "build::no_library");
    assert!(said.contains("needs libQ.so.6"), "{said}");
    // `ldd` may run what it is asked about.
    assert!(said.contains("`readelf -d /") && !said.contains("`ldd"), "{said}");
}

#[test]
fn no_path_of_a_recipe_is_led_out_of_the_image_by_a_link() {
    let desk = desk();
    desk.make_dir("outside");
    symlink(desk.path("outside"), desk.path("stuff/out")).expect("a link");
    symlink("../../../../../../..", desk.path("stuff/up")).expect("a link");
    let copied = "copy: [{from: stuff, to: /}, {from: stuff/a, to: /stuff/WHERE}]";
    for leads in ["out", "out/deeper", "up/outside"] {
        refuses(&desk, &copied.replace("WHERE", leads), "image::leads_out");
    }
    refuses(&desk, "links: {/x: ../../etc}\n  dirs: [/x/y]", "image::leads_out");
    refuses(&desk, "links: {/a: b, /b: a}\n  dirs: [/a/x]", "image::link_circle");
    let inside = fs::read_dir(desk.path("outside")).expect("a directory").count();
    assert_eq!(inside, 0, "something was written through a link");
    // Within the image a link leads where it leads.
    build(&desk, "directory", "links: {/bin: usr/bin}\n  dirs: [/bin/x]").succeeds();
    assert!(is_there(&desk, "root/usr/bin/x"));
}

#[test]
fn what_is_in_the_way_is_named() {
    let desk = desk();
    let content = "dirs: [/etc/passwd]\n  copy: [{from: /etc/passwd, to: /etc}]";
    let said = refuses(&desk, content, "image::conflict");
    assert!(said.contains("/etc/passwd is there already"), "{said}");
    refuses(&desk, "dirs: [/usr/bin/bash]\n  programs: [bash]", "image::conflict");
    // The loader of every program is behind this link.
    let link = ["/lib64", "/lib"].into_iter().find(|link| fs::read_link(link).is_ok());
    let content = format!("dirs: [{}]\n  programs: [bash]", link.expect("a merged /usr"));
    refuses(&desk, &content, "image::other_way");
}

#[test]
fn what_is_read_and_what_is_written_are_apart() {
    let desk = desk();
    let said = refuses(&desk, "copy: [{from: ., to: /}]", "build::target_in_source");
    assert!(said.contains("copied into itself"), "{said}");
    refuses(&desk, "copy: [{from: /, to: /}]", "build::target_in_source");
    build(&desk, "directory", "copy: [{from: stuff, to: /}]").succeeds();
    for content in ["copy: [{from: root/stuff, to: /}]", "copy: [{from: stuff/../root, to: /}]"] {
        says(&build(&desk, "directory", content), "build::source_in_target");
    }
    assert!(is_there(&desk, "root/stuff/a"));
}

#[test]
fn an_image_is_made_in_the_folder_of_the_recipe_and_nowhere_else() {
    let desk = desk();
    desk.make_dir("own");
    desk.make_dir("outside");
    symlink("../outside", desk.path("own/link")).expect("a link");
    for (file, code) in [
        ("../root", "build::outside"),
        ("/tmp/root", "build::outside"),
        ("link/root", "build::outside"),
        ("..", "image::no_name"),
        ("nothing/root", "build::no_folder"),
    ] {
        let text =
            recipe("directory", "dirs: [/x]").replace("file: root", &format!("file: {file}"));
        desk.write("own/r.yaml", &text);
        says(&desk.run(&["build", "own/r.yaml"]), code);
    }
    assert_eq!(fs::read_dir(desk.path("outside")).expect("a directory").count(), 0);
}

#[test]
fn what_somebody_else_has_made_stays_unless_that_is_asked_for() {
    for kind in ["directory", "squashfs"] {
        let desk = desk();
        desk.make_dir("root");
        desk.write("root/thesis", "ten years\n");
        says(&build(&desk, kind, "dirs: [/x]"), "build::not_ours");
        assert_eq!(desk.read("root/thesis"), "ten years\n");
        desk.run(&["build", "--force", "r.yaml"]).succeeds();
        assert!(!is_there(&desk, "root/thesis"));
        images::check(&desk, kind);
    }
}

#[test]
fn a_directory_that_somebody_has_put_something_into_stays() {
    let desk = desk();
    build(&desk, "directory", "dirs: [/x]").succeeds();
    desk.write("root/x/thesis", "ten years\n");
    says(&build(&desk, "directory", "dirs: [/x, /y]"), "build::changed_since");
    assert_eq!(desk.read("root/x/thesis"), "ten years\n");
}

#[test]
fn a_state_that_is_no_state_is_not_believed() {
    for state in ["", "{}", "nonsense", "{\"inputs\": 7}", &"[".repeat(100_000)] {
        let desk = desk();
        build(&desk, "squashfs", "dirs: [/x]").succeeds();
        fs::write(desk.path(".root.isorecipe/state"), state).expect("a state");
        says(&build(&desk, "squashfs", "dirs: [/x]"), "build::not_ours");
    }
    let desk = desk();
    build(&desk, "squashfs", "dirs: [/x]").succeeds();
    let mode = fs::Permissions::from_mode(0o777);
    fs::set_permissions(desk.path(".root.isorecipe"), mode).expect("a mode");
    says(&build(&desk, "squashfs", "dirs: [/x]"), "build::foreign_state");
}

#[test]
fn a_link_in_the_place_of_the_hidden_directory_is_not_followed() {
    let desk = desk();
    desk.make_dir("elsewhere");
    symlink("elsewhere", desk.path(".root.isorecipe")).expect("a link");
    says(&build(&desk, "directory", "dirs: [/x]"), "build::unwritable");
    assert_eq!(fs::read_dir(desk.path("elsewhere")).expect("a directory").count(), 0);
    // And one in the place of the image is replaced, not written through.
    fs::remove_file(desk.path(".root.isorecipe")).expect("a link");
    desk.write("precious", "ten years\n");
    symlink("precious", desk.path("root")).expect("a link");
    says(&build(&desk, "squashfs", "dirs: [/x]"), "build::not_ours");
    desk.run(&["build", "--force", "r.yaml"]).succeeds();
    assert_eq!(desk.read("precious"), "ten years\n");
    images::check(&desk, "squashfs");
}

#[test]
fn what_may_not_be_read_is_listed_and_left_out() {
    let desk = desk();
    for name in ["closed-1", "closed-2"] {
        desk.write(&format!("stuff/{name}"), "secret\n");
    }
    desk.make_dir("stuff/closed-directory");
    for name in ["closed-1", "closed-2", "closed-directory"] {
        let path = desk.path("stuff").join(name);
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).expect("a mode");
    }
    for kind in ["directory", "squashfs", "erofs", "ext4"] {
        let ran = build(&desk, kind, "copy: [{from: stuff, to: /}]").succeeds();
        assert!(ran.err().contains("warning[build::unreadable]: 3 files are not"), "{}", ran.err());
        let again = desk.run(&["--json", "build", "r.yaml"]).succeeds().out();
        let again: serde_json::Value = serde_json::from_str(&again).expect("JSON");
        assert_eq!(again["built"], false, "{kind}");
        assert_eq!(again["unreadable"]["count"], 3);
        let paths = again["unreadable"]["paths"].to_string();
        assert!(paths.contains("/stuff/closed-1") && paths.contains("/stuff/closed-directory"));
        let root = images::unpack(&desk, kind);
        assert!(root.join("stuff/a").exists() && !root.join("stuff/closed-1").exists(), "{kind}");
        let _ = fs::remove_dir_all(desk.path("unpacked"));
    }
    // Who may read them now gets them.
    let mode = fs::Permissions::from_mode(0o644);
    fs::set_permissions(desk.path("stuff/closed-1"), mode).expect("a mode");
    let said = desk.run(&["build", "r.yaml"]).succeeds().out();
    images::open_up(&desk);
    assert!(said.contains("/stuff/closed-1 changed"), "{said}");
}

#[test]
fn an_image_of_secrets_is_one_itself() {
    let desk = desk();
    let mode = |name: &str| fs::metadata(desk.path(name)).expect("an image").permissions().mode();
    build(&desk, "squashfs", "copy: [{from: stuff, to: /}]").succeeds();
    assert_eq!(mode("root") & 0o777, 0o644);
    fs::set_permissions(desk.path("stuff/a"), fs::Permissions::from_mode(0o600)).expect("a mode");
    build(&desk, "squashfs", "copy: [{from: stuff, to: /}]").succeeds();
    assert_eq!(mode("root") & 0o777, 0o600);
}

#[test]
fn files_of_root_and_nodes_that_are_none_are_refused() {
    let desk = desk();
    refuses(&desk, "owner: root", "build::owner_needs_root");
    if machine::own_uid() == 0 {
        let desk = Desk::of(Who::Root);
        refuses(&desk, "devices: [/etc/passwd]", "build::no_device");
    }
}

#[test]
fn a_tool_that_is_missing_is_named_with_its_package() {
    let desk = desk();
    desk.write("r.yaml", &recipe("squashfs", "dirs: [/x]"));
    let hidden = |path: String| {
        let output = desk.command(&["build", "r.yaml"]).env("PATH", path).output();
        Ran(output.expect("the program"))
    };
    let ran = hidden("/nowhere".to_owned());
    says(&ran, "build::no_tool");
    assert!(ran.err().contains("apt-get install squashfs-tools"), "{}", ran.err());
    desk.make_dir("bin");
    let fake = |text: &str| {
        let path = desk.write("bin/mksquashfs", text);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
        hidden(desk.path("bin").display().to_string())
    };
    says(&fake("#!/no/such/interpreter\n"), "build::no_start");
    let ran = fake("#!/bin/sh\necho working\necho the moon is wrong >&2\nexit 1\n");
    says(&ran, "build::tool_failed");
    assert!(ran.err().contains("it says: the moon is wrong"), "{}", ran.err());
    assert!(!is_there(&desk, "root"));
}
