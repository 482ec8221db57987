//! Images, looked into with the tools of their filesystems.
#![allow(dead_code, missing_docs)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{FileTypeExt, MetadataExt},
    path::{Path, PathBuf},
    process::Command,
};

use crate::machine::{Desk, Ran};

/// A recipe without layers whose image is `root`.
pub fn recipe(kind: &str, content: &str) -> String {
    format!(
        "isorecipe: 1\nlayers: []\nimage:\n  file: root\n  filesystem: {kind}\n  {content}\ncommand: [\"true\"]\n"
    )
}

/// Builds such a recipe as the desk's owner.
pub fn build(desk: &Desk, kind: &str, content: &str) -> Ran {
    desk.write("r.yaml", &recipe(kind, content));
    desk.run(&["build", "r.yaml"])
}

/// The program as root, as `sudo` starts it for the desk's owner.
pub fn sudo(desk: &Desk, words: &[&str]) -> Ran {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(desk.path("isorecipe"));
    command.args(words).current_dir(desk.folder());
    command.env("SUDO_UID", desk.who.uid().to_string());
    command.env("SUDO_GID", desk.who.gid().to_string());
    command.env("SUDO_USER", "ann");
    Ran(command.output().expect("unshare"))
}

/// A tool, which may be where only root's PATH looks.
pub fn tool(name: &str) -> Command {
    let package = match name {
        "unsquashfs" => "squashfs-tools",
        "fsck.erofs" | "dump.erofs" => "erofs-utils",
        "xfs_repair" => "xfsprogs",
        "e2fsck" | "debugfs" => "e2fsprogs",
        _ => "coreutils",
    };
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let found = which::which_in(name, Some(path), "/");
    Command::new(found.unwrap_or_else(|_| panic!("{name} is missing: `apt-get install {package}`")))
}

#[track_caller]
fn run(command: &mut Command) -> String {
    let output = command.output().expect("a tool");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    said(&output.stdout)
}

/// The content of an image, as a directory.
#[track_caller]
pub fn unpack(desk: &Desk, kind: &str) -> PathBuf {
    let (image, to) = (desk.path("root"), desk.path("unpacked"));
    match kind {
        "directory" => return image,
        "squashfs" => run(tool("unsquashfs").arg("-q").arg("-n").arg("-d").arg(&to).arg(&image)),
        "erofs" => {
            let extract = format!("--extract={}", to.display());
            // Who is not root cannot give files to root.
            run(tool("fsck.erofs").args([&extract, "--no-preserve-owner"]).arg(&image))
        }
        _ => {
            fs::create_dir(&to).expect("a directory");
            let dump = format!("rdump / {}", to.display());
            run(tool("debugfs").args(["-R", &dump]).arg(&image))
        }
    };
    to
}

/// Whose the files of an image are.
#[track_caller]
pub fn owners(desk: &Desk, kind: &str) -> BTreeSet<u32> {
    let image = desk.path("root");
    let text = match kind {
        "directory" => return all(&image).iter().map(|path| uid(path)).collect(),
        "squashfs" => run(tool("unsquashfs").arg("-lln").arg(&image)),
        "erofs" => {
            let name = |path: &str| format!("--path={path}");
            ["/", "/a", "/below/b", "/link", "/dev/null"]
                .map(|path| run(tool("dump.erofs").arg(name(path)).arg(&image)))
                .concat()
        }
        _ => ["/", "/a", "/below/b", "/link", "/dev/null"]
            .map(|path| run(tool("debugfs").args(["-R", &format!("stat {path}")]).arg(&image)))
            .concat(),
    };
    let uid = match kind {
        "squashfs" => regex::Regex::new(r"(?m)^\S{10}\s+(\d+)/"),
        "erofs" => regex::Regex::new(r"Uid:\s+(\d+)"),
        _ => regex::Regex::new(r"User:\s+(\d+)"),
    };
    let uid = uid.expect("a pattern");
    let found: BTreeSet<u32> =
        uid.captures_iter(&text).map(|found| found[1].parse().expect("a number")).collect();
    assert!(!found.is_empty(), "{text}");
    found
}

fn uid(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("a file").uid()
}

/// Everything in a directory, and itself.
fn all(path: &Path) -> Vec<PathBuf> {
    let mut found = vec![path.to_owned()];
    if fs::symlink_metadata(path).expect("a file").is_dir() {
        let entries = fs::read_dir(path).expect("a directory").flatten();
        found.extend(entries.flat_map(|entry| all(&entry.path())));
    }
    found
}

/// How many names a file of an image has.
#[track_caller]
pub fn names_of(desk: &Desk, kind: &str, name: &str) -> u64 {
    let image = desk.path("root");
    let text = match kind {
        "directory" => return fs::metadata(image.join(name)).expect("a file").nlink(),
        "squashfs" => {
            return fs::metadata(desk.path("unpacked").join(name)).expect("a file").nlink();
        }
        "erofs" => run(tool("dump.erofs").arg(format!("--path=/{name}")).arg(&image)),
        _ => run(tool("debugfs").args(["-R", &format!("stat /{name}")]).arg(&image)),
    };
    let links = regex::Regex::new(r"Links:\s+(\d+)").expect("a pattern");
    links.captures(&text).expect("links")[1].parse().expect("a number")
}

/// Whether there is a fifo of that name in an image that was unpacked.
#[track_caller]
pub fn has_fifo(desk: &Desk, kind: &str) -> bool {
    let path = match kind {
        "directory" => desk.path("root/fifo"),
        // debugfs unpacks files, directories and links alone.
        "ext4" => {
            let said = run(tool("debugfs").args(["-R", "stat /fifo"]).arg(desk.path("root")));
            return said.contains("Type: FIFO");
        }
        _ => desk.path("unpacked/fifo"),
    };
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_fifo())
}

/// The attributes of a file in an image.
pub fn attributes(desk: &Desk, kind: &str, name: &str) -> Vec<String> {
    if kind == "erofs" {
        // fsck.erofs 1.5 leaves attributes out; their names are in the image as they are.
        let bytes = fs::read(desk.path("root")).expect("an image");
        let is_in = |name: &str| bytes.windows(name.len()).any(|part| part == name.as_bytes());
        assert!(!is_in("overlay.opaque"));
        return if is_in("kept") { vec!["user.kept".to_owned()] } else { Vec::new() };
    }
    let root = unpack(desk, kind);
    let names = xattr::list(root.join(name)).expect("attributes");
    let names: Vec<String> = names
        .map(|name| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("user."))
        .collect();
    if kind != "directory" {
        let _ = fs::remove_dir_all(root);
    }
    names
}

/// The filesystem's own tool finds nothing wrong.
#[track_caller]
pub fn check(desk: &Desk, kind: &str) {
    let image = desk.path("root");
    match kind {
        "directory" => assert!(image.is_dir()),
        "squashfs" => drop(run(tool("unsquashfs").arg("-s").arg(&image))),
        "erofs" => drop(run(tool("fsck.erofs").arg(&image))),
        "xfs" => drop(run(tool("xfs_repair").arg("-n").arg(&image))),
        _ => drop(run(tool("e2fsck").args(["-f", "-n"]).arg(&image))),
    }
}

/// Whether a loop device is attached to a file on this desk.
pub fn has_loop(desk: &Desk) -> bool {
    let folder = desk.folder().display().to_string();
    let devices = fs::read_dir("/sys/block").expect("/sys").flatten();
    devices
        .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok())
        .any(|file| file.contains(&folder))
}

/// Lets everything on a desk be taken away by its owner: overlayfs closes its `work` to everybody.
pub fn open_up(desk: &Desk) {
    let opened = Command::new("chmod").args(["-R", "u+rwX"]).arg(desk.folder()).status();
    assert!(opened.expect("chmod").success());
}

pub fn is_there(desk: &Desk, name: &str) -> bool {
    fs::symlink_metadata(desk.path(name)).is_ok()
}
