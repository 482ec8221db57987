//! The recipes that are struck: every shipped one, and a few richer ones, as everybody who may run them.

use std::{
    ffi::CString,
    fs::{self, File},
    os::{
        fd::AsRawFd,
        unix::{ffi::OsStrExt, fs::PermissionsExt},
    },
    path::{Path, PathBuf},
    process::Command,
};

use super::{
    lowers,
    machine::{Desk, Who, own_uid},
    tracer::{self, Deed, Ended, Place, Start},
    view,
};

/// What every recipe runs: it does nothing, and ends with 1, as `apply` never does of itself.
pub const COMMAND: &str = "isopayload";

/// A recipe, and as whom it is run.
#[derive(Clone, Copy)]
pub struct Case {
    pub recipe: &'static str,
    pub text: Option<&'static str>,
    pub options: &'static [&'static str],
    pub ways: &'static [Way],
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    User,
    Root,
    Sudo,
}

const ALL: &[Way] = &[Way::User, Way::Root];
const EVERY: &[Way] = &[Way::User, Way::Root, Way::Sudo];

pub const CASES: &[Case] = &[
    shipped("step0.yaml", ALL),
    shipped("step1-unmapped.yaml", ALL),
    shipped("step1.yaml", ALL),
    Case { options: &["--unchecked"], ..shipped("step2-no-uts.yaml", &[Way::User]) },
    shipped("step2.yaml", ALL),
    shipped("step3.yaml", EVERY),
    shipped("step4-rootless.yaml", EVERY),
    shipped("step4-erofs.yaml", &[Way::User]),
    shipped("step4-squashfs.yaml", &[Way::User]),
    shipped("step4-ext4.yaml", &[Way::Sudo]),
    shipped("step4.yaml", EVERY),
    own(
        "init.yaml",
        ALL,
        "\
isorecipe: 1
layers:
  - user: {map: root}
  - pid: {proc: true, init: true}
",
    ),
    own(
        "places.yaml",
        ALL,
        "\
isorecipe: 1
layers:
  - user: {map: root}
  - uts: {hostname: box}
  - domainname: place
  - pid: {init: true}
  - mount: {propagation: slave}
  - tmpfs: {at: /mnt, size: 1M, mode: 0700}
  - dir: /mnt/etc
  - bind: {from: /etc, to: /mnt/etc, read_only: true}
  - proc: /proc
no_new_privs: true
",
    ),
    own(
        "ranges.yaml",
        &[Way::Root, Way::User],
        "\
isorecipe: 1
layers:
  - user:
      map:
        uid: [{inside: 0, outside: 100000, count: 10}]
        gid: [{inside: 0, outside: 100000, count: 10}]
  - pid: {init: false}
",
    ),
];

const fn shipped(recipe: &'static str, ways: &'static [Way]) -> Case {
    Case { recipe, text: None, options: &[], ways }
}

const fn own(recipe: &'static str, ways: &'static [Way], text: &'static str) -> Case {
    Case { recipe, text: Some(text), options: &[], ways }
}

/// A recipe on a desk, ready to be run any number of times.
pub struct Scene {
    pub name: String,
    pub options: Vec<String>,
    recipe: &'static str,
    way: Way,
    desk: Desk,
    before: Vec<PathBuf>,
}

/// What one run left behind on standard error, and on the machine.
pub struct Trace {
    pub ended: Ended,
    pub words: String,
    pub left: Vec<String>,
}

impl Scene {
    /// Everything that can be set up here, one after the other.
    pub fn all(wish: &str) -> impl Iterator<Item = Scene> {
        let is_here = |way: &Way| own_uid() == 0 || *way == Way::User;
        CASES.iter().flat_map(move |case| {
            let ways = case.ways.iter().copied().filter(is_here);
            let wished = ways
                .filter(move |way| matches!(wish, "" | "all") || name(case, *way).contains(wish));
            wished.map(move |way| Scene::of(case, way))
        })
    }

    fn of(case: &Case, way: Way) -> Self {
        let who = if way == Way::Root { Who::Root } else { Who::ordinary() };
        let desk = Desk::of(who);
        for name in ["bin", "run", "cache", "tmp"] {
            desk.make_dir(name);
        }
        let private = fs::Permissions::from_mode(0o700);
        fs::set_permissions(desk.path("run"), private).expect("a mode");
        let from = which::which("false").expect("false is not installed");
        copy(&from, &desk.path(&format!("bin/{COMMAND}")));
        if case.recipe.starts_with("step4") {
            make_roots(&desk, case.recipe);
        }
        if let Some(text) = case.text {
            desk.write(case.recipe, text);
        }
        let mut scene = Self {
            name: name(case, way),
            options: case.options.iter().map(|option| (*option).to_owned()).collect(),
            recipe: case.recipe,
            way,
            desk,
            before: Vec::new(),
        };
        scene.before = scene.files();
        scene
    }

    pub fn recipe(&self) -> &str {
        self.recipe
    }

    /// The recipe as it was written, and nothing of what a run has made.
    pub fn reset(&self) {
        let made: Vec<PathBuf> = self.made().collect();
        if !made.is_empty() {
            let _ = Command::new("rm").arg("-rf").args(made).status();
        }
    }

    /// What the recipe itself says is to be made: it stays.
    fn made(&self) -> impl Iterator<Item = PathBuf> {
        self.files().into_iter().filter(|path| !self.before.contains(path))
    }

    fn files(&self) -> Vec<PathBuf> {
        let list = |folder: &Path| {
            let all = fs::read_dir(folder).into_iter().flatten().flatten();
            all.map(|entry| entry.path()).collect::<Vec<_>>()
        };
        let folders = ["", "run", "run/isorecipe", "tmp", "cache/isorecipe/unpacked"];
        folders.iter().flat_map(|folder| list(&self.desk.path(folder))).collect()
    }

    pub fn run(&self, strike: Option<(Place, Deed)>) -> Trace {
        self.run_prepared(strike, None, None)
    }

    /// Runs it once: what the child does first may narrow it, and its standard error may be another.
    pub fn run_prepared(
        &self,
        strike: Option<(Place, Deed)>,
        prepare: Option<&dyn Fn()>,
        error: Option<i32>,
    ) -> Trace {
        self.reset();
        let null = File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
        let words = tempfile::tempfile().expect("a file");
        let text = |text: &str| CString::new(text).expect("no NUL");
        let path = |path: PathBuf| CString::new(path.as_os_str().as_bytes()).expect("no NUL");
        let mut arguments = vec!["isorecipe", "--json", "apply"];
        arguments.extend(self.options.iter().map(String::as_str));
        arguments.extend([self.recipe, "--", COMMAND]);
        let place = |name: &str| self.desk.path(name).display().to_string();
        let mut environment = vec![
            format!("PATH=/usr/bin:/bin:/usr/sbin:/sbin:{}", place("bin")),
            "HOME=/".to_owned(),
            "LANG=C.UTF-8".to_owned(),
            format!("XDG_RUNTIME_DIR={}", place("run")),
            format!("XDG_CACHE_HOME={}", place("cache")),
            format!("TMPDIR={}", place("tmp")),
        ];
        let ids = (self.desk.who.uid(), self.desk.who.gid());
        if self.way == Way::Sudo {
            environment.extend([format!("SUDO_UID={}", ids.0), format!("SUDO_GID={}", ids.1)]);
        }
        let start = Start {
            program: path(self.desk.path("isorecipe")),
            words: arguments.iter().map(|word| text(word)).collect(),
            environment: environment.iter().map(|pair| text(pair)).collect(),
            folder: path(self.desk.folder().to_owned()),
            ids: (own_uid() == 0 && self.way == Way::User).then_some(ids),
            streams: [null.as_raw_fd(), null.as_raw_fd(), error.unwrap_or(words.as_raw_fd())],
            command: COMMAND,
            prepare,
        };
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let folder = self.desk.folder();
        let ended = tracer::run(&start, strike, &|pid| view::of(pid, folder));
        let mut left: Vec<String> = Vec::new();
        if fs::read_to_string("/proc/self/mountinfo").unwrap_or_default() != mounts {
            left.push("a mount".to_owned());
        }
        left.extend(self.loops());
        left.extend(self.litter().map(|path| path.display().to_string()));
        Trace { ended, words: read(&words), left }
    }

    /// Loop devices with a file of this desk.
    fn loops(&self) -> Vec<String> {
        if !self.recipe.starts_with("step4") || self.way == Way::User {
            return Vec::new();
        }
        let folder = self.desk.folder().display().to_string();
        let devices = fs::read_dir("/sys/block").into_iter().flatten().flatten();
        let files = devices
            .filter_map(|device| fs::read_to_string(device.path().join("loop/backing_file")).ok());
        files.filter(|file| file.contains(&folder)).map(|file| format!("loop: {file}")).collect()
    }

    /// What a run made that no recipe names, and no later run uses.
    fn litter(&self) -> impl Iterator<Item = PathBuf> {
        let run = self.desk.path("run");
        let is_kept = move |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let is_named = ["upper", "work", "merged"].iter().any(|own| name.starts_with(own));
            is_named
                || path.parent() == Some(&run)
                || path.ends_with("isorecipe")
                || path.to_string_lossy().contains("cache/isorecipe/unpacked")
        };
        self.made().filter(move |path| !is_kept(path))
    }
}

fn name(case: &Case, way: Way) -> String {
    format!("{} as {way:?}", case.recipe)
}

/// The tree, or the image of one, that a recipe of step 4 has its root from.
fn make_roots(desk: &Desk, recipe: &str) {
    let tree = if recipe == "step4-rootless.yaml" { "rootfs" } else { "tree" };
    desk.make_rootfs(tree, &["false"]);
    copy(
        &desk.path(&format!("{tree}/usr/bin/false")),
        &desk.path(&format!("{tree}/usr/bin/{COMMAND}")),
    );
    match recipe {
        "step4-erofs.yaml" => lowers::make("erofs", &desk.path(tree), &desk.path("rootfs.erofs")),
        "step4-ext4.yaml" => lowers::make("ext4", &desk.path(tree), &desk.path("rootfs.ext4")),
        "step4-squashfs.yaml" => {
            lowers::make("squashfs", &desk.path(tree), &desk.path("rootfs.squashfs"));
        }
        "step4.yaml" if own_uid() == 0 => desk.make_image(tree, "rootfs.dat"),
        _ => {}
    }
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp").success());
}

fn read(mut file: &File) -> String {
    use std::io::{Read, Seek};
    let mut text = Vec::new();
    file.rewind().and_then(|()| file.read_to_end(&mut text)).expect("a file");
    String::from_utf8_lossy(&text).into_owned()
}
