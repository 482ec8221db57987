//! The folder in which everything happens: the floor, the recipes, the trees
//! that the sandboxes show.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    mount::{MsFlags, mount},
    sched::{CloneFlags, unshare},
    sys::prctl,
    unistd::{Gid, Uid, getegid, geteuid, setgroups, setresgid, setresuid},
};
use tempfile::TempDir;

use crate::{Problem, options::Options, work::Work};

/// The trees of the machine that the whole root has.
pub const TREES: [&str; 12] =
    ["usr", "etc", "bin", "lib", "lib64", "sbin", "opt", "var", "srv", "home", "root", "media"];
/// Commands of the sandboxes with a root of their own, and of scripts that make one.
const PROGRAMS: [&str; 3] = ["/bin/true", "/bin/sh", "/bin/umount"];
const NOBODY: u32 = 65_534;
/// As small as a C compiler makes it.
const FLOOR_FLAGS: [&str; 13] = [
    "-O2",
    "-Wall",
    "-nostdlib",
    "-static",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-asynchronous-unwind-tables",
    "-fno-builtin",
    "-fno-pie",
    "-no-pie",
    "-s",
    "-Wl,--build-id=none",
    "-Wl,-z,noseparate-code",
];

/// The folder, and who works in it.
pub struct Scene {
    folder: TempDir,
    pub uid: u32,
}

impl Scene {
    /// Makes the folder, and becomes an ordinary user in it: whoever `sudo`
    /// names, or nobody.
    pub fn new(options: &Options) -> Result<Self, Problem> {
        let folder = tempfile::Builder::new().prefix("isorecipe-bench-").tempdir()?;
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        let scene = Self { folder, uid: ordinary_user() };
        for name in ["lower/proc", "lower/dev", "lower/tmp", "upper", "work", "merged", "binds"] {
            fs::create_dir_all(scene.path(name))?;
        }
        for tree in TREES {
            fs::create_dir_all(scene.path("lower").join(tree))?;
        }
        scene.build_floor()?;
        PROGRAMS.iter().try_for_each(|program| scene.bring(program))?;
        fs::copy(scene.floor(), scene.path("lower/bin/floor"))?;
        scene.write_recipes(options)?;
        fs::copy(env!("CARGO_BIN_EXE_isorecipe"), scene.path("isorecipe"))?;
        for (name, file) in &options.builds {
            fs::copy(file, scene.path(&format!("isorecipe-{name}")))?;
        }
        scene.become_ordinary()?;
        std::env::set_current_dir(scene.folder.path())?;
        Ok(scene)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn floor(&self) -> PathBuf {
        self.path("floor")
    }

    fn build_floor(&self) -> Result<(), Problem> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/start/floor.c");
        let cc = which::which("cc").map_err(|_| "there is no C compiler: install `gcc`")?;
        let built =
            Command::new(cc).args(FLOOR_FLAGS).arg("-o").args([self.floor(), source]).output()?;
        match built.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&built.stderr).into()),
        }
    }

    /// Copies a program with the libraries it loads.
    fn bring(&self, program: &str) -> Result<(), Problem> {
        let listed = Command::new("ldd").arg(program).output()?;
        let listed = String::from_utf8(listed.stdout)?;
        let libraries = listed.split_whitespace().filter(|word| word.starts_with('/'));
        for file in libraries.chain([program]) {
            let copy = self.path("lower").join(file.trim_start_matches('/'));
            fs::create_dir_all(copy.parent().unwrap_or(Path::new("/")))?;
            fs::copy(file, copy)?;
        }
        Ok(())
    }

    fn write_recipes(&self, options: &Options) -> Result<(), Problem> {
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/recipes");
        for entry in fs::read_dir(recipes)?.flatten() {
            fs::copy(entry.path(), self.path(&entry.file_name().to_string_lossy()))?;
        }
        for (name, recipe) in crate::defaults::recipes() {
            fs::write(self.path(&name), recipe)?;
        }
        let count = options.works().iter().map(|work| work.binds()).max().unwrap_or(0);
        let mut more = "  - dir: merged/binds\n".to_owned();
        for number in 0..count {
            fs::create_dir(self.path("binds").join(number.to_string()))?;
            more.push_str(&format!(
                "  - dir: merged/binds/{number}\n  - bind: {{from: binds/{number}, \
                 to: merged/binds/{number}, read_only: true, nosuid: true, nodev: true}}\n"
            ));
        }
        let full = fs::read_to_string(self.path("full.yaml"))?;
        let full = full.replace("  # More binds come here.\n", &more);
        Ok(fs::write(self.path("binds.yaml"), full)?)
    }

    fn become_ordinary(&self) -> Result<(), Problem> {
        if !geteuid().is_root() {
            return Ok(());
        }
        for name in ["", "upper", "work", "merged", "lower", "binds"] {
            chown(self.path(name), Some(self.uid), Some(self.uid))?;
        }
        for tree in TREES {
            chown(self.path("lower").join(tree), Some(self.uid), Some(self.uid))?;
        }
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.uid));
        setgroups(&[gid])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        // Its files in `/proc` are its own again.
        Ok(prctl::set_dumpable(true)?)
    }

    /// Gives this process, and so everybody after it, a machine with many mounts.
    pub fn mount_many(&self, work: Work) -> Result<(), Problem> {
        let Work::Mounts(count) = work else { return Ok(()) };
        let (uid, gid) = (geteuid(), getegid());
        unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
        fs::write("/proc/self/setgroups", "deny")?;
        fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
        let nothing = None::<&str>;
        mount(nothing, "/", nothing, MsFlags::MS_PRIVATE | MsFlags::MS_REC, nothing)?;
        fs::create_dir(self.path("mounts"))?;
        for number in 0..count {
            let at = self.path("mounts").join(number.to_string());
            fs::create_dir(&at)?;
            mount(Some("lower"), &at, nothing, MsFlags::MS_BIND, nothing)?;
        }
        Ok(())
    }
}

fn ordinary_user() -> u32 {
    let invoker = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok());
    match geteuid().as_raw() {
        0 => invoker.filter(|uid| *uid != 0).unwrap_or(NOBODY),
        own => own,
    }
}
