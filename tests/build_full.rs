//! What a build says when the machine does not play along: a full disk, an image that is too small, a kernel that
//! refuses. Whatever was there before is there still.

#[path = "support/images.rs"]
mod images;
#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    io::Read,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::Command,
};

use images::{build, check, is_there, recipe};
use machine::{Desk, Ran, Who};

const MIB: usize = 1 << 20;

/// A desk with a file of so many bytes that nothing can compress.
fn desk(bytes: usize) -> Desk {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("stuff");
    let mut random = vec![0; MIB];
    fs::File::open("/dev/urandom").expect("a device").read_exact(&mut random).expect("bytes");
    let path = desk.write("stuff/large", "");
    let mut content = Vec::with_capacity(bytes);
    while content.len() < bytes {
        content.extend_from_slice(&random[..MIB.min(bytes - content.len())]);
        random.rotate_left(7);
    }
    fs::write(path, content).expect("a file");
    desk
}

const LARGE: &str = "copy: [{from: stuff, to: /}]";
const LARGE_FROM_ABOVE: &str = "copy: [{from: ../stuff, to: /}]";

/// A script of the desk's owner, root of namespaces of its own.
fn inside(desk: &Desk, script: &str) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "bash", "-ec", script]);
    command.current_dir(desk.folder());
    if machine::own_uid() == 0 {
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    Ran(command.output().expect("unshare"))
}

/// A script of root's, in mounts of its own.
fn as_root(desk: &Desk, script: &str) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "bash", "-ec", script]);
    Ran(command.current_dir(desk.folder()).output().expect("unshare"))
}

#[track_caller]
fn says(ran: &Ran, code: &str) {
    assert!(ran.err().contains(&format!("error[{code}]")), "{}{}", ran.out(), ran.err());
}

#[test]
fn a_full_disk_is_called_by_its_name_and_the_old_image_stays() {
    for kind in ["directory", "squashfs", "erofs", "ext4"] {
        // Room for what is copied, but not for the image of it as well.
        let (size, room) = if kind == "directory" { (8, 4) } else { (8, 12) };
        for room in [4, room] {
            let desk = desk(size * MIB);
            desk.make_dir("disk");
            desk.write(
                "old.yaml",
                &recipe(kind, "dirs: [/old]\n  size: 3M")
                    .replace(if kind == "ext4" { "\u{0}" } else { "\n  size: 3M" }, ""),
            );
            desk.write("new.yaml", &recipe(kind, LARGE_FROM_ABOVE));
            let script = format!(
                "mount -t tmpfs -o size={room}m disk disk\n\
                 cp old.yaml new.yaml disk\n\
                 ./isorecipe build disk/old.yaml\n\
                 old=$(ls -lR --time-style=full-iso disk/root; cat $(find disk/root -type f) | sha256sum)\n\
                 ./isorecipe build disk/new.yaml && exit 9\n\
                 new=$(ls -lR --time-style=full-iso disk/root; cat $(find disk/root -type f) | sha256sum)\n\
                 test \"$old\" = \"$new\"\n\
                 ls -A disk disk/.root.isorecipe"
            );
            let ran = inside(&desk, &script);
            assert_eq!(ran.code(), 0, "{kind}, {room}: {}{}", ran.out(), ran.err());
            says(&ran, "build::disk_full");
            assert!(!ran.out().contains("new-"), "{}", ran.out());
        }
    }
}

#[test]
fn a_disk_that_cannot_hold_an_xfs_says_so_before_it_is_made() {
    let desk = desk(1);
    desk.make_dir("disk");
    desk.write("r.yaml", &recipe("xfs", "dirs: [/x]"));
    if !desk.is_refused_and_root_is_here(&["build", "r.yaml"], "build::needs_root") {
        return;
    }
    let script = "mount -t tmpfs -o size=100m disk disk; cp r.yaml disk; ./isorecipe build disk/r.yaml || ls -A disk";
    let ran = as_root(&desk, script);
    says(&ran, "build::disk_full");
    assert_eq!(ran.out(), "r.yaml\n");
}

#[test]
fn an_image_that_is_too_small_says_what_would_do() {
    for size in ["1M", "8204K"] {
        let desk = desk(8 * MIB);
        let content = format!("{LARGE}\n  size: {size}");
        let ran = build(&desk, "ext4", &content);
        says(&ran, "image::too_small");
        assert!(!is_there(&desk, "root"));
        let help = ran.err();
        let enough = help.split("write `size: ").nth(1).expect("a size").split('`').next();
        let enough = format!("{LARGE}\n  size: {}", enough.expect("a size"));
        build(&desk, "ext4", &enough).succeeds();
        check(&desk, "ext4");
    }
}

#[test]
fn an_xfs_that_is_too_small_says_what_would_do() {
    let desk = desk(250 * MIB);
    desk.write("r.yaml", &recipe("xfs", &format!("{LARGE}\n  size: 300M")));
    if !desk.is_refused_and_root_is_here(&["build", "r.yaml"], "build::needs_root") {
        return;
    }
    let ran = images::sudo(&desk, &["build", "r.yaml"]);
    says(&ran, "image::too_small");
    assert!(!is_there(&desk, "root"));
    desk.write("r.yaml", &recipe("xfs", LARGE));
    images::sudo(&desk, &["build", "r.yaml"]).succeeds();
    check(&desk, "xfs");
}

#[test]
fn a_kernel_that_cannot_mount_an_xfs_is_quoted() {
    let desk = desk(1);
    desk.write("r.yaml", &recipe("xfs", "dirs: [/x]"));
    if !desk.is_refused_and_root_is_here(&["build", "r.yaml"], "build::needs_root") {
        return;
    }
    let script = "mount -t tmpfs dev /dev; mknod /dev/null c 1 3; ./isorecipe build r.yaml";
    says(&as_root(&desk, script), "image::no_loop");
    desk.make_dir("bin");
    let fake = desk.write("bin/mkfs.xfs", "#!/bin/sh\n");
    fs::set_permissions(fake, fs::Permissions::from_mode(0o755)).expect("a mode");
    let ran = as_root(&desk, "PATH=$PWD/bin:$PATH ./isorecipe build r.yaml");
    says(&ran, "build::no_mount");
    assert!(ran.err().contains("fsconfig gave EINVAL"), "{}", ran.err());
    assert!(!is_there(&desk, "root") && !images::has_loop(&desk));
}

#[test]
fn a_file_that_is_too_large_to_write_is_named() {
    let desk = desk(8 * MIB);
    desk.write("r.yaml", &recipe("directory", LARGE));
    let ran = inside(&desk, "trap '' XFSZ; ulimit -f 1000; exec ./isorecipe build r.yaml");
    says(&ran, "build::unwritten");
    assert!(ran.err().contains("stuff/large cannot be written"), "{}", ran.err());
    assert!(ran.err().contains("EFBIG"), "{}", ran.err());
}

#[test]
fn an_image_that_something_is_mounted_on_cannot_be_replaced() {
    let desk = desk(1);
    for (kind, mount) in [("directory", "-t tmpfs tmpfs"), ("squashfs", "--bind r.yaml")] {
        let _ = fs::remove_dir_all(desk.path("root"));
        build(&desk, kind, LARGE).succeeds();
        let ran = inside(&desk, &format!("mount {mount} root; ./isorecipe build --force r.yaml"));
        says(&ran, "build::unplaced");
        assert!(ran.err().contains("EBUSY"), "{}", ran.err());
    }
}

#[test]
fn an_ext4_of_an_ordinary_user_takes_a_user_namespace() {
    let desk = desk(1);
    desk.write("r.yaml", &recipe("ext4", LARGE));
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-user=5", "--keep-caps", "bash", "-ec"]);
    command.arg(
        "echo 0 > /proc/sys/user/max_user_namespaces
         exec setpriv --ambient-caps=-all --inh-caps=-all ./isorecipe build r.yaml",
    );
    command.current_dir(desk.folder());
    if machine::own_uid() == 0 {
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    let ran = Ran(command.output().expect("unshare"));
    says(&ran, "build::no_user_namespace");
    assert!(!is_there(&desk, "root"));
}

#[test]
fn too_few_descriptors_are_called_by_their_name() {
    let desk = desk(1);
    desk.write("r.yaml", &recipe("squashfs", LARGE));
    let mut all = String::new();
    for count in 4..16 {
        let ran = inside(&desk, &format!("ulimit -n {count}; exec ./isorecipe build r.yaml"));
        assert!(ran.code() <= 1, "{count}: {}", ran.err());
        all += &ran.err();
        let _ = fs::remove_file(desk.path("root"));
    }
    assert!(all.contains("error[build::no_signals]"), "{all}");
}

#[test]
fn a_folder_that_may_not_be_written_is_named() {
    let desk = desk(1);
    desk.make_dir("closed");
    desk.write("closed/r.yaml", &recipe("directory", "dirs: [/x]"));
    fs::set_permissions(desk.path("closed"), fs::Permissions::from_mode(0o555)).expect("a mode");
    let ran = desk.run(&["build", "closed/r.yaml"]);
    images::open_up(&desk);
    says(&ran, "build::unwritable");
}
