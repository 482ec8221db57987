//! The folder that the recipes of the cases stand in, the same for every case.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown, symlink},
    path::{Path, PathBuf},
};

use nix::{sys::stat::Mode, unistd::mkfifo};

use super::Who;

/// A program that ends at once and needs no loader.
#[cfg(target_arch = "x86_64")]
const MACHINE: (u8, &[u8]) = (62, &[0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05]);
#[cfg(target_arch = "aarch64")]
const MACHINE: (u8, &[u8]) = (183, &[0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4]);

/// Directories of the user's.
const DIRECTORIES: &[&str] = &[
    "target",
    "target/in",
    "source",
    "source/in",
    "lower",
    "lower/in",
    "upper",
    "work",
    "other",
    "deep",
    "deep/a",
    "deep/a/b",
    "jail",
];
/// Symbolic links, and where they lead.
const LINKS: &[(&str, &str)] = &[
    ("link", "source"),
    ("linkfile", "file"),
    ("dangling", "nowhere"),
    ("loop", "loop"),
    ("up", "../.."),
    ("source/out", "/proc"),
    ("lower/out", "../file"),
];
/// Filesystems in a file, each with a file, a directory and a link to it.
const IMAGES: &[(&str, &[u8])] = &[
    ("squashfs", include_bytes!("tiny.squashfs")),
    ("erofs", include_bytes!("tiny.erofs")),
    ("theirs/erofs", include_bytes!("tiny.erofs")),
];
/// What is unpacked goes there, and stays for the next case.
pub const CACHE: &str = "cache";
/// Somebody the user is not.
const SOMEBODY: u32 = 54_322;

pub struct Scratch {
    pub folder: PathBuf,
    who: Who,
    fresh: BTreeMap<PathBuf, (u32, u32, u32, u64)>,
}

impl Scratch {
    pub fn new(who: Who) -> Self {
        let folder = env::temp_dir().join(format!("isorecipe-conform-{}", nix::unistd::getpid()));
        // In a PID namespace of its own every worker has the same number.
        let folder = (0..)
            .map(|number| PathBuf::from(format!("{}-{number}", folder.display())))
            .find(|folder| fs::create_dir(folder).is_ok())
            .expect("a folder");
        let mut scratch = Self { folder, who, fresh: BTreeMap::new() };
        scratch.make();
        scratch
    }

    /// Puts the folder back to what every case finds.
    pub fn reset(&mut self) {
        if self.listed() != self.fresh {
            self.make();
        }
    }

    fn make(&mut self) {
        // What a case has left may still be at work for a moment.
        for _ in 0..100 {
            self.empty();
            if walk(&self.folder).len() == 1 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        for name in DIRECTORIES {
            fs::create_dir(self.at(name)).expect("a directory");
        }
        for name in ["theirs", "theirs/in", "alien", "closed"] {
            fs::create_dir(self.at(name)).expect("a directory");
        }
        for (name, to) in LINKS {
            symlink(to, self.at(name)).expect("a link");
        }
        let folder = self.folder.display().to_string();
        self.write("file", b"", 0o644);
        self.write("source/file", b"", 0o644);
        self.write("garbage", b"neither ELF nor script\n", 0o755);
        for (image, bytes) in IMAGES {
            self.write(image, bytes, 0o644);
        }
        for program in ["prog", "source/prog", "lower/prog"] {
            self.write(program, &program_bytes(b""), 0o755);
        }
        self.write("noexec", &program_bytes(b""), 0o644);
        self.write("theirprog", &program_bytes(b""), 0o700);
        self.write("loaded", &program_bytes(format!("{folder}/prog").as_bytes()), 0o755);
        self.write("unloaded", &program_bytes(b"/missing"), 0o755);
        self.write("script", format!("#!{folder}/prog\n").as_bytes(), 0o755);
        self.write("lower/script", b"#!/prog -x\n", 0o755);
        self.write("badscript", b"#! /missing/interpreter\n", 0o755);
        self.write("twice", format!("#!{folder}/script\n").as_bytes(), 0o755);
        mkfifo(&self.at("fifo"), Mode::S_IRWXU).expect("a pipe");
        self.own();
        self.fresh = self.listed();
    }

    fn own(&self) {
        let mode = |name: &str, mode| {
            fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("a mode");
        };
        if self.who.has_ground() {
            let uid = self.who.uid();
            for path in walk(&self.folder) {
                lchown(&path, Some(uid), Some(uid)).expect("an owner");
            }
            for name in ["theirs", "theirs/in", "theirprog", "alien"] {
                chown(self.at(name), Some(SOMEBODY), Some(SOMEBODY)).expect("an owner");
            }
        }
        mode("", 0o755);
        for name in DIRECTORIES {
            mode(name, 0o755);
        }
        mode("alien", 0o777);
        mode("theirs/in", 0o755);
        mode("theirs", 0o700);
        mode("closed", 0);
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) {
        fs::write(self.at(name), bytes).expect("a file");
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).expect("a mode");
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn empty(&self) {
        // A directory that lets nobody in is emptied by nobody.
        for path in walk(&self.folder) {
            if path.is_dir() && !path.is_symlink() {
                let _ = fs::set_permissions(&path, fs::Permissions::from_mode(0o700));
            }
        }
        for entry in fs::read_dir(&self.folder).expect("the folder").flatten() {
            let path = entry.path();
            let _ = match path.is_dir() && !path.is_symlink() {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
        }
    }

    /// What is there, with its mode, owner and size.
    fn listed(&self) -> BTreeMap<PathBuf, (u32, u32, u32, u64)> {
        let cache = self.at(CACHE);
        walk(&self.folder)
            .into_iter()
            .filter(|path| !path.starts_with(&cache))
            .filter_map(|path| {
                let found = fs::symlink_metadata(&path).ok()?;
                let size = if found.is_file() { found.len() } else { 0 };
                Some((path, (found.mode(), found.uid(), found.gid(), size)))
            })
            .collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.empty();
        let _ = fs::remove_dir(&self.folder);
    }
}

/// A directory and all that is in it, itself first.
fn walk(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    let mut next = 0;
    while let Some(path) = found.get(next).cloned() {
        next += 1;
        if !path.is_symlink()
            && let Ok(entries) = fs::read_dir(&path)
        {
            found.extend(entries.flatten().map(|entry| entry.path()));
        }
    }
    found
}

/// The smallest ELF file there is, with a loader if one is named (`elf(5)`).
fn program_bytes(loader: &[u8]) -> Vec<u8> {
    const BASE: u64 = 0x40_0000;
    let headers: u16 = if loader.is_empty() { 1 } else { 2 };
    let start = 64 + 56 * u64::from(headers);
    let (machine, code) = MACHINE;
    let loader_at = start + code.len() as u64;
    let size = loader_at + loader.len() as u64 + 1;
    let mut file = b"\x7fELF\x02\x01\x01".to_vec();
    file.resize(16, 0);
    file.extend([2, 0, machine, 0, 1, 0, 0, 0]);
    file.extend([BASE + start, 64, 0].iter().flat_map(|number| number.to_le_bytes()));
    file.extend([0; 4]);
    file.extend([64, 56, headers, 64, 0, 0].iter().flat_map(|number| number.to_le_bytes()));
    let mut header = |kind: u32, from: u64, length: u64| {
        file.extend([kind, 5].iter().flat_map(|number| number.to_le_bytes()));
        let numbers = [from, BASE + from, BASE + from, length, length, 0x1000];
        file.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    };
    if !loader.is_empty() {
        header(3, loader_at, loader.len() as u64 + 1);
    }
    header(1, 0, size);
    file.extend(code);
    file.extend(loader);
    file.push(0);
    file
}
