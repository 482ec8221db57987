//! `sudo isorecipe build`: whoever types `sudo` is who reads and writes; root only mounts the xfs.
//!
//! What an ordinary user is told is asked for as well, since here root is to be no more than that.

#[path = "support/images.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    process::Command,
};

use images::{is_there, recipe, sudo};
use machine::{Desk, Ran, Who};

/// Everything that a build can make.
const KINDS: [&str; 5] = ["directory", "squashfs", "erofs", "ext4", "xfs"];

#[track_caller]
fn says(ran: &Ran, code: &str) {
    assert_eq!(ran.code(), 1, "{}{}", ran.out(), ran.err());
    assert!(ran.err().contains(&format!("error[{code}]")), "{}", ran.err());
}

/// Through `sudo`, where a test can be root; as the user, otherwise.
fn built(desk: &Desk, recipe: &str) -> Ran {
    match machine::own_uid() {
        0 => sudo(desk, &["build", recipe]),
        _ => desk.run(&["build", recipe]),
    }
}

/// The kinds that [`built`] can make.
fn kinds() -> &'static [&'static str] {
    let count = if machine::own_uid() == 0 { KINDS.len() } else { KINDS.len() - 1 };
    &KINDS[..count]
}

fn close(desk: &Desk, name: &str, mode: u32) {
    let path = desk.path(name);
    if machine::own_uid() == 0 {
        std::os::unix::fs::chown(&path, Some(0), Some(0)).expect("an owner");
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("a mode");
}

#[test]
fn what_only_root_may_read_is_in_no_image() {
    for kind in kinds() {
        let desk = Desk::of(Who::ordinary());
        desk.make_dir("stuff/closed");
        desk.write("stuff/closed/deep", "secret");
        desk.write("stuff/mine", "mine");
        desk.write("stuff/secret", "secret");
        desk.write("r.yaml", &recipe(kind, "copy: [{from: stuff/., to: /}]"));
        let own = if machine::own_uid() == 0 { 0o700 } else { 0 };
        close(&desk, "stuff/closed", own);
        close(&desk, "stuff/secret", own);
        let ran = built(&desk, "r.yaml").succeeds();
        assert!(ran.err().contains("warning[build::unreadable]"), "{kind}: {}", ran.err());
        assert!(ran.err().contains("2 files are not in the image"), "{kind}: {}", ran.err());
        let status = fs::metadata(desk.path("root")).expect("an image");
        assert_eq!((status.uid(), status.gid()), (desk.who.uid(), desk.who.gid()), "{kind}");
        images::open_up(&desk);
    }
}

#[test]
fn a_folder_that_is_only_roots_gets_nothing() {
    for kind in kinds() {
        let desk = Desk::of(Who::ordinary());
        desk.make_dir("theirs");
        desk.write("theirs/r.yaml", &recipe(kind, "dirs: [/x]"));
        close(&desk, "theirs", if machine::own_uid() == 0 { 0o755 } else { 0o555 });
        says(&built(&desk, "theirs/r.yaml"), "build::unwritable");
        let names = fs::read_dir(desk.path("theirs")).expect("a directory").count();
        assert_eq!(names, 1, "{kind}");
        images::open_up(&desk);
    }
}

#[test]
fn a_folder_that_leads_to_one_of_roots_gets_nothing_there() {
    for kind in kinds() {
        let desk = Desk::of(Who::ordinary());
        desk.make_dir("theirs");
        desk.write("theirs/r.yaml", &recipe(kind, "dirs: [/x]"));
        desk.make_dir("theirs/.root.isorecipe");
        close(&desk, "theirs/.root.isorecipe", if machine::own_uid() == 0 { 0o755 } else { 0o555 });
        close(&desk, "theirs", if machine::own_uid() == 0 { 0o755 } else { 0o555 });
        symlink("theirs", desk.path("mine")).expect("a link");
        let ran = built(&desk, "mine/r.yaml");
        assert_eq!(ran.code(), 1, "{kind}: {}{}", ran.out(), ran.err());
        assert!(!is_there(&desk, "theirs/root"), "{kind}");
        let left = fs::read_dir(desk.path("theirs/.root.isorecipe")).expect("a directory").count();
        assert_eq!(left, 0, "{kind}");
        images::open_up(&desk);
    }
}

#[test]
fn a_tool_that_root_starts_is_the_users() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("bin");
    for (kind, tool) in [("squashfs", "mksquashfs"), ("xfs", "mkfs.xfs")] {
        // Its directory goes away with the build, so it says what it is as an error.
        let text = "#!/bin/sh\necho $(sed -nE 's/^(Uid|Gid|CapPrm):/\\1/p' /proc/self/status | tr '\\n\\t' '  ')\nexit 1\n";
        let fake = desk.write(&format!("bin/{tool}"), text);
        fs::set_permissions(fake, fs::Permissions::from_mode(0o755)).expect("a mode");
        desk.write("r.yaml", &recipe(kind, "dirs: [/x]"));
        if kind == "xfs" && machine::own_uid() != 0 {
            says(&built(&desk, "r.yaml"), "build::needs_root");
            continue;
        }
        let mut command = Command::new("env");
        let path = format!("PATH={}:/usr/bin:/bin", desk.path("bin").display());
        command.arg(path).arg(desk.path("isorecipe")).args(["build", "r.yaml"]);
        let mut command = match machine::own_uid() {
            0 => desk.through_sudo(command),
            _ => command,
        };
        let ran = Ran(command.current_dir(desk.folder()).output().expect("env"));
        says(&ran, "build::tool_failed");
        let (uid, gid) = (desk.who.uid(), desk.who.gid());
        // A narrow terminal breaks the line in the source that is shown.
        let is_word = |word: &&str| word.chars().all(|letter| letter.is_alphanumeric());
        let said = ran.err().split_whitespace().filter(is_word).collect::<Vec<_>>().join(" ");
        let ids = format!("Uid {uid} {uid} {uid} {uid} Gid {gid} {gid} {gid} {gid}");
        assert!(said.contains(&format!("{ids} CapPrm 0000000000000000")), "{said}");
    }
}

#[test]
fn everything_in_an_xfs_is_roots_and_the_image_is_the_users() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("stuff/below");
    desk.write("stuff/a", "one\n");
    fs::hard_link(desk.path("stuff/a"), desk.path("stuff/below/again")).expect("a hard link");
    symlink("a", desk.path("stuff/link")).expect("a link");
    let fifo = desk.path("stuff/fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("a fifo");
    if machine::own_uid() == 0 {
        std::os::unix::fs::chown(&fifo, Some(desk.who.uid()), None).expect("an owner");
    }
    let content = "copy: [{from: stuff/., to: /}]\n  programs: [sh]\n  devices: [/dev/null]";
    desk.write("r.yaml", &recipe("xfs", content));
    if machine::own_uid() != 0 {
        says(&desk.run(&["build", "r.yaml"]), "build::needs_root");
        return;
    }
    sudo(&desk, &["build", "r.yaml"]).succeeds();
    images::check(&desk, "xfs");
    let script = "mkdir at && mount -o loop,ro,nouuid root at && find at -printf '%U:%G\\n' | sort -u; \
                  cat at/a at/below/again; stat -c %F at/dev/null at/fifo; umount at; rmdir at";
    let mut look = Command::new("unshare");
    look.args(["--mount", "--propagation", "private", "sh", "-ec", script]);
    let ran = Ran(look.current_dir(desk.folder()).output().expect("unshare")).succeeds();
    assert_eq!(ran.out(), "0:0\none\none\nregular empty file\nfifo\n", "{}", ran.err());
    let status = fs::metadata(desk.path("root")).expect("an image");
    assert_eq!((status.uid(), status.gid()), (desk.who.uid(), desk.who.gid()));
    let state = fs::metadata(desk.path(".root.isorecipe/state")).expect("a state");
    assert_eq!(state.uid(), desk.who.uid());
    assert!(!images::has_loop(&desk));
}

#[test]
fn root_that_cannot_become_the_user_builds_nothing() {
    let desk = Desk::of(Who::ordinary());
    desk.write("r.yaml", &recipe("directory", "dirs: [/x]"));
    if machine::own_uid() != 0 {
        desk.run(&["build", "r.yaml"]).succeeds();
        return;
    }
    let mut command = Command::new("setpriv");
    command.args(["--bounding-set=-setuid", "--inh-caps=-setuid"]);
    command.arg(desk.path("isorecipe")).args(["build", "r.yaml"]).current_dir(desk.folder());
    let ran = Ran(desk.through_sudo(command).output().expect("setpriv"));
    says(&ran, "build::no_step_down");
    assert!(!is_there(&desk, "root") && !is_there(&desk, ".root.isorecipe"));
}
