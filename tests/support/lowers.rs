//! A desk with an image on it, and a recipe whose lower layer the image is.
#![allow(dead_code, missing_docs)]

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::machine::{Desk, Ran, Who, own_uid, proc_file};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// What an ordinary user can use.
pub const KINDS: [&str; 3] = ["squashfs", "ext4", "erofs"];

/// Makes `/dev/fuse` a device that everybody may open, for itself and what it becomes.
const WITH_DEVICE: &str = "\
    mount -t tmpfs tmpfs \"$0\" && mknod \"$0/fuse\" c 10 229 && chmod 666 \"$0/fuse\" && \
    mount --bind \"$0/fuse\" /dev/fuse && umount -l \"$0\" && exec \"$@\"";

pub struct Bench {
    pub desk: Desk,
    kind: &'static str,
    via: &'static str,
}

impl Bench {
    pub fn of(who: Who, kind: &'static str, via: &'static str) -> Self {
        let desk = Desk::of(who);
        desk.make_rootfs("tree", &["bash", "ls", "ps", "mount", "touch", "cat"]);
        desk.write("tree/hello", "hello\n");
        desk.make_dir("device");
        desk.make_dir("cache");
        let bench = Self { desk, kind, via };
        bench.make_image();
        let rootless = bench.desk.read("step4-rootless.yaml");
        let recipe = rootless.replace("lower: rootfs", &format!("lower: {}", bench.lower()));
        assert_ne!(recipe, rootless);
        bench.desk.write("lower.yaml", &recipe);
        bench
    }

    fn lower(&self) -> String {
        format!("{{image: image.{}, via: [{}]}}", self.kind, self.via)
    }

    pub fn image(&self) -> PathBuf {
        self.desk.path(&format!("image.{}", self.kind))
    }

    pub fn make_image(&self) {
        make(self.kind, &self.desk.path("tree"), &self.image());
    }

    pub fn truncate_image(&self) {
        let image = File::options().write(true).open(self.image()).expect("the image");
        let length = image.metadata().expect("the image").len();
        image.set_len(length / 2).expect("a length");
    }

    /// Another recipe: the overlay beside what there is, with this layer before it.
    pub fn write_overlay(&self, layer: &str) {
        self.write_layers(&format!("  - user: {{map: root}}\n{layer}  - mount\n"));
    }

    /// Another recipe: the overlay after these layers.
    pub fn write_layers(&self, layers: &str) {
        let overlay = format!("overlay: {{lower: {}, at: merged, create: true}}", self.lower());
        self.desk.write("lower.yaml", &format!("isorecipe: 1\nlayers:\n{layers}  - {overlay}\n"));
    }

    /// A program of this name that is found before any other.
    pub fn stand_in(&self, name: &str, script: &str) {
        let path = self.desk.write(name, script);
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("a mode");
    }

    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = self.desk.command(words);
        self.furnish(&mut command);
        command
    }

    fn furnish(&self, command: &mut Command) {
        command
            .env("PATH", format!("{}:{PATH}", self.desk.folder().display()))
            .env("XDG_CACHE_HOME", self.desk.path("cache"));
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran(self.applying(words).output().expect("the program"))
    }

    pub fn applying(&self, words: &[&str]) -> Command {
        self.command(&[&["apply", "lower.yaml", "--"], words].concat())
    }

    /// Root, or root with the name of who asked, as `sudo` does it.
    pub fn run_as_root(&self, words: &[&str]) -> Ran {
        let mut command = Command::new(self.desk.path("isorecipe"));
        command.args(["apply", "lower.yaml", "--"]).args(words).current_dir(self.desk.folder());
        command.env_clear().env("LANG", "C.UTF-8");
        self.furnish(&mut command);
        if let Who::User(uid) = self.desk.who {
            let id = uid.to_string();
            command.env("SUDO_UID", &id).env("SUDO_GID", &id);
        }
        let mut command = self.with_device(command).expect("root");
        Ran(command.output().expect("the program"))
    }

    pub fn plan(&self) -> String {
        let ran = Ran(self.command(&["plan", "lower.yaml"]).output().expect("the program"));
        ran.succeeds().out()
    }

    /// The program where `/dev/fuse` may be opened; `None` where it may not.
    pub fn serving(&self, words: &[&str]) -> Option<Command> {
        let words = [&["apply", "lower.yaml", "--"], words].concat();
        self.with_device(self.command(&words))
    }

    pub fn with_device(&self, command: Command) -> Option<Command> {
        if own_uid() != 0 {
            let opens = File::options().read(true).write(true).open("/dev/fuse").is_ok();
            return opens.then_some(command);
        }
        let mut all = Command::new("unshare");
        all.args(["--mount", "--propagation", "private", "bash", "-c", WITH_DEVICE])
            .arg(self.desk.path("device"));
        let is_sudo = command.get_envs().any(|(name, _)| name == "SUDO_UID");
        if let (Who::User(uid), false) = (self.desk.who, is_sudo) {
            let ids = [format!("--reuid={uid}"), format!("--regid={uid}")];
            all.arg("setpriv").args(ids).arg("--clear-groups");
        }
        // The program's own `PATH` may lead nowhere.
        let path = command.get_envs().find(|(name, _)| *name == "PATH").and_then(|(_, path)| path);
        let mut assignment = std::ffi::OsString::from("PATH=");
        assignment.push(path.unwrap_or_default());
        all.arg("env").arg(assignment).arg(command.get_program()).args(command.get_args());
        all.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        all.env("PATH", PATH).current_dir(self.desk.folder()).stdin(Stdio::null());
        Some(all)
    }

    /// An ordinary user, where the device is root's, is told so.
    #[track_caller]
    pub fn is_refused(&self, code: &str) {
        let ran = self.run(&["true"]);
        assert_eq!(ran.code(), 125);
        assert!(ran.err().contains(&format!("error[{code}]")), "{}", ran.err());
    }

    /// Everything that is in the cache, whole or not.
    pub fn cached(&self) -> Vec<PathBuf> {
        let folder = self.desk.path("cache/isorecipe/unpacked");
        let all = fs::read_dir(folder).into_iter().flatten();
        all.map(|found| found.expect("an entry").path()).collect()
    }
}

/// Makes an image of a tree, with root's name on every file but for ext4.
pub fn make(kind: &str, tree: &Path, image: &Path) {
    // Another file, as an editor or `isorecipe build` would leave it.
    let _ = fs::remove_file(image);
    let (tree, image) = (tree.display(), image.display());
    let script = match kind {
        "squashfs" => {
            format!("mksquashfs {tree} {image} -quiet -no-progress -all-root -noI -noD -noF")
        }
        "erofs" => format!("mkfs.erofs --all-root {image} {tree}"),
        _ => format!("mke2fs -q -t ext4 -d {tree} {image} 64M"),
    };
    let made = Command::new("bash").args(["-c", &script]).env("LC_ALL", "C").output();
    let made = made.expect("bash");
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(
        made.status.success(),
        "{said}\nthe packages squashfs-tools, erofs-utils and e2fsprogs have these programs"
    );
}

pub fn unpacker(kind: &str) -> &'static str {
    match kind {
        "squashfs" => "unsquashfs",
        "erofs" => "fsck.erofs",
        _ => "debugfs",
    }
}

pub fn is_running(pid: i32) -> bool {
    let state = proc_file(pid, "stat");
    !state.is_empty() && !state.contains(") Z ")
}
