//! The program, run as somebody, and the machine as it looks from outside.
#![allow(dead_code, missing_docs)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::{
        fs::{PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A user that no machine has.
pub const STRANGER: u32 = 54_321;

/// Who runs the program.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Who {
    Root,
    User(u32),
}

impl Who {
    /// Everybody a test can be: as root, root and a stranger; otherwise oneself.
    pub fn all() -> Vec<Who> {
        match own_uid() {
            0 => vec![Who::Root, Who::User(STRANGER)],
            uid => vec![Who::User(uid)],
        }
    }

    /// An ordinary user.
    pub fn ordinary() -> Who {
        match own_uid() {
            0 => Who::User(STRANGER),
            uid => Who::User(uid),
        }
    }

    pub fn uid(self) -> u32 {
        match self {
            Who::Root => 0,
            Who::User(uid) => uid,
        }
    }

    pub fn gid(self) -> u32 {
        match self {
            Who::User(uid) if own_uid() == 0 => uid,
            _ => nix::unistd::getegid().as_raw(),
        }
    }
}

pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A folder of somebody's, with the program and the recipes in it.
pub struct Desk {
    pub who: Who,
    folder: TempDir,
}

impl Desk {
    pub fn of(who: Who) -> Self {
        let folder = tempfile::Builder::new().prefix("isorecipe-").tempdir().expect("a folder");
        let program = folder.path().join("isorecipe");
        copy_program(Path::new(env!("CARGO_BIN_EXE_isorecipe")), &program);
        let desk = Self { who, folder };
        let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
        for entry in fs::read_dir(recipes).expect("the recipes").flatten() {
            fs::copy(entry.path(), desk.path(&entry.file_name().to_string_lossy()))
                .expect("a recipe");
        }
        desk.give(desk.folder.path());
        fs::set_permissions(desk.folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        desk
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a file");
        self.give(&path);
        path
    }

    pub fn make_dir(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(&path).expect("a directory");
        let mut path = path.as_path();
        while path != self.folder.path() {
            self.give(path);
            path = path.parent().expect("a parent");
        }
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn give(&self, path: &Path) {
        if own_uid() == 0 {
            chown(path, Some(self.who.uid()), Some(self.who.gid())).expect("an owner");
        }
    }

    /// The program with these words, run in the folder, in a plain environment.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.path("isorecipe"));
        command.args(words).current_dir(self.folder.path()).stdin(Stdio::null()).env_clear().envs(
            [
                ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
                ("HOME", "/"),
                ("LANG", "C.UTF-8"),
                ("COLUMNS", "100"),
            ],
        );
        if own_uid() == 0 && self.who != Who::Root {
            command.uid(self.who.uid()).gid(self.who.gid());
        }
        command
    }

    /// A shell with these words, in the same surroundings.
    pub fn shell(&self, words: &[&str]) -> Command {
        let program = self.command(&[]);
        let variables = program.get_envs().filter_map(|(name, value)| Some((name, value?)));
        let mut shell = Command::new("sh");
        shell.args(words).current_dir(self.folder.path()).stdin(Stdio::null());
        shell.env_clear().envs(variables);
        if own_uid() == 0 && self.who != Who::Root {
            shell.uid(self.who.uid()).gid(self.who.gid());
        }
        shell
    }

    /// As sudo runs it for this user: root, with the name of who asked.
    pub fn through_sudo(&self, mut command: Command) -> Command {
        let ids = [("SUDO_UID", self.who.uid()), ("SUDO_GID", self.who.gid())];
        command.uid(0).gid(0).envs(ids.map(|(name, id)| (name, id.to_string())));
        command
    }

    pub fn run(&self, words: &[&str]) -> Ran {
        Ran(self.command(words).output().expect("the program"))
    }

    /// Asserts that the desk's owner, an ordinary user, is refused with this code, and says whether there is a root
    /// who can do it. So what takes root has a half that everybody tests.
    #[track_caller]
    pub fn is_refused_and_root_is_here(&self, words: &[&str], code: &str) -> bool {
        assert_ne!(self.who, Who::Root);
        let ran = self.run(words);
        assert!(matches!(ran.code(), 1 | 125), "{}: {}{}", ran.code(), ran.out(), ran.err());
        assert!(ran.err().contains(&format!("error[{code}]")), "{}", ran.err());
        own_uid() == 0
    }

    /// A small root filesystem: the programs, with the libraries they need.
    pub fn make_rootfs(&self, name: &str, programs: &[&str]) {
        for directory in ["dev", "proc", "tmp", "usr/bin"] {
            self.make_dir(&format!("{name}/{directory}"));
        }
        let root = self.path(name);
        std::os::unix::fs::symlink("usr/bin", root.join("bin")).expect("a link");
        for file in ["dev/null", "dev/zero"] {
            self.write(&format!("{name}/{file}"), "");
        }
        for program in programs {
            let from =
                which::which(program).unwrap_or_else(|_| panic!("{program} is not installed"));
            let from = from.canonicalize().expect("a program");
            copy_program(&from, &root.join("usr/bin").join(program));
            let ldd = Command::new("ldd").arg(&from).output().expect("ldd");
            for word in String::from_utf8_lossy(&ldd.stdout).split_whitespace() {
                if let Some(path) = word.strip_prefix('/') {
                    let to = root.join(path);
                    fs::create_dir_all(to.parent().expect("a parent")).expect("a directory");
                    fs::copy(word, to).expect("a library");
                }
            }
        }
        if own_uid() == 0 {
            let owner = format!("{}:{}", self.who.uid(), self.who.gid());
            let chown = Command::new("chown").arg("-R").arg(owner).arg(&root).status();
            assert!(chown.expect("chown").success());
        }
    }

    /// An xfs image of a tree, in which everything is root's, as only root can make it.
    pub fn make_image(&self, tree: &str, image: &str) {
        let script = "fallocate -l 320M \"$2\" && mkfs.xfs -q \"$2\" && mkdir \"$2.at\" && \
                      unshare -m sh -ec 'mount -o loop \"$2\" \"$2.at\"; cp -a \"$1/.\" \"$2.at/\"; \
                      chown -R 0:0 \"$2.at\"' sh \"$1\" \"$2\" && rmdir \"$2.at\"";
        let mut make = Command::new("sh");
        make.args(["-c", script, "sh"]).args([self.path(tree), self.path(image)]);
        assert!(make.status().expect("sh").success(), "the image is made");
    }

    /// Away with what the recipes of step 4 make; overlayfs made `work/work`
    /// unreadable even for its owner.
    pub fn forget_changes(&self) {
        let made = ["upper", "work", "merged"].map(|name| self.path(name));
        assert!(Command::new("rm").arg("-rf").args(made).status().expect("rm").success());
    }

    /// The program, running a command that says `ready` and then waits for input.
    pub fn start(&self, recipe: &str, script: &str) -> Running {
        let script = format!("{script}\n{WAIT}");
        Running::of(self.command(&["apply", recipe, "--", "bash", "-c", &script]))
    }
}

impl Drop for Desk {
    /// overlayfs leaves a directory that its owner may remove, and not look into.
    fn drop(&mut self) {
        let _ = Command::new("rm").arg("-rf").arg(self.folder()).status();
    }
}

/// Says that it is there, and waits until it is let go.
pub const WAIT: &str = "echo ready; read -r line; exit 7";

impl Running {
    /// A program whose end is to say [`WAIT`]'s words.
    pub fn of(mut command: Command) -> Running {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("the program");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut said = String::new();
        loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("a line");
            assert!(read > 0, "the sandbox ended early, after {said:?}");
            if line == "ready\n" {
                break;
            }
            said.push_str(&line);
        }
        Running { child, said }
    }
}

/// Not `fs::copy`: a fork on another test's thread would inherit the open file,
/// and the kernel executes nothing that is open for writing.
pub fn copy_program(from: &Path, to: &Path) {
    let cp = Command::new("cp").arg(from).arg(to).status();
    assert!(cp.expect("cp").success(), "{}", from.display());
}

/// What came of a run.
pub struct Ran(pub Output);

impl Ran {
    pub fn out(&self) -> String {
        String::from_utf8_lossy(&self.0.stdout).into_owned()
    }

    pub fn err(&self) -> String {
        String::from_utf8_lossy(&self.0.stderr).into_owned()
    }

    pub fn code(&self) -> i32 {
        self.0.status.code().unwrap_or(-1)
    }

    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert_eq!(self.code(), 0, "{}{}", self.out(), self.err());
        self
    }
}

/// A sandbox that waits.
pub struct Running {
    child: Child,
    /// What it printed before it was ready
    pub said: String,
}

impl Running {
    /// The supervisor's PID.
    pub fn supervisor(&self) -> i32 {
        self.child.id() as i32
    }

    /// The command's PID on the host: the last descendant of the supervisor.
    pub fn command(&self) -> i32 {
        let mut pid = self.supervisor();
        while let Some(&child) = children(pid).first() {
            pid = child;
        }
        pid
    }

    /// Lets the command end, and gives the exit status of the program.
    pub fn finish(mut self) -> i32 {
        self.child.stdin.take().expect("a pipe").write_all(b"\n").expect("a line");
        self.child.wait().expect("an end").code().unwrap_or(-1)
    }

    /// Kills the supervisor without a chance to clean up.
    pub fn kill(mut self) {
        let _input = self.child.stdin.take();
        self.child.kill().expect("a kill");
        self.child.wait().expect("an end");
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.supervisor()), signal)
            .expect("a signal");
    }

    /// Waits for the end, which the command finds by itself.
    pub fn wait(mut self) -> i32 {
        // `Child::wait` would close it, and the command would see an end of input.
        let _input = self.child.stdin.take();
        self.child.wait().expect("an end").code().unwrap_or(-1)
    }
}

pub fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// One file of `/proc/PID/`, with single spaces.
pub fn proc_file(pid: i32, file: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.collect::<Vec<_>>().join("\n")
}

/// Which namespace of this kind a process is in.
pub fn namespace(pid: i32, kind: &str) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/ns/{kind}")).expect("a namespace")
}

/// Processes whose command line has this text in it.
pub fn processes_with(text: &str) -> Vec<i32> {
    let own = std::process::id() as i32;
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter_map(|entry| entry.file_name().to_string_lossy().parse::<i32>().ok())
        .filter(|&pid| pid != own)
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let state = proc_file(*pid, "stat");
            String::from_utf8_lossy(&line).contains(text) && !state.contains(") Z ")
        })
        .collect()
}

/// Waits until something holds; a long time is a failure, a short one is not waited.
#[track_caller]
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
