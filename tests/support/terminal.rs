//! A terminal with a shell in it, as a person has one: typed into and looked at through tmux.
#![allow(dead_code, missing_docs)]

use std::{
    cell::Cell,
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Output},
    rc::Rc,
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::machine::{self, Desk, Who, eventually, proc_file, processes_with};

/// How long something may take on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// So high that nothing scrolls away.
const HEIGHT: u32 = 300;

/// An interactive bash, whose prompt is `outer>`, in the folder of its desk.
pub struct Terminal {
    pub desk: Rc<Desk>,
    /// Where the terminal's own tmux listens, in the folder of the desk.
    socket: &'static str,
    /// Who sits at it: the desk's owner, or root, behind `sudo`.
    is_root: bool,
    /// The lines before this one were looked at already.
    seen: Cell<usize>,
}

impl Terminal {
    pub fn open() -> Self {
        let desk = Desk::of(Who::ordinary());
        let init = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n";
        desk.write("init.yaml", init);
        desk.write("new.yaml", &format!("{init}terminal: new\n"));
        desk.write(
            "new-alone.yaml",
            "isorecipe: 1\nlayers:\n  - user: {map: root}\nterminal: new\n",
        );
        Self::at(Rc::new(desk), "tmux", false)
    }

    /// These recipes give the command this terminal itself, whatever it may do to it.
    pub fn sharing(self, recipes: &[&str]) -> Self {
        for recipe in recipes {
            let text = self.desk.read(recipe);
            self.desk.write(recipe, &format!("{text}\nterminal: shared\n"));
        }
        self
    }

    /// Root's, as `sudo` gives it to the owner of the desk.
    pub fn behind_sudo() -> Self {
        Self::at(Rc::new(Desk::of(Who::ordinary())), "tmux", true)
    }

    /// A second one at the same desk.
    pub fn beside(&self) -> Self {
        Self::at(Rc::clone(&self.desk), "tmux2", false)
    }

    fn at(desk: Rc<Desk>, socket: &'static str, is_root: bool) -> Self {
        // Other tests' sandboxes are not the business of this desk.
        desk.make_dir("run");
        fs::set_permissions(desk.path("run"), fs::Permissions::from_mode(0o700)).expect("a mode");
        let terminal = Self { desk, socket, is_root, seen: Cell::new(0) };
        let height = HEIGHT.to_string();
        let size = ["-x", "100", "-y", &height];
        let shell = ["env", "PS1=outer> ", "bash", "--norc", "--noprofile"];
        terminal.tmux(&[&["new-session", "-d"], &size[..], &shell[..]].concat());
        terminal.expect_prompt();
        terminal
    }

    fn tmux(&self, words: &[&str]) -> Output {
        let mut command = Command::new("tmux");
        command
            .arg("-S")
            .arg(self.desk.path(self.socket))
            .args(["-f", "/dev/null"])
            .args(words)
            .current_dir(self.desk.folder())
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HOME", self.desk.folder())
            .env("SHELL", "/bin/bash")
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm")
            .env("XDG_RUNTIME_DIR", self.desk.path("run"));
        if self.is_root {
            let (uid, gid) = (self.desk.who.uid().to_string(), self.desk.who.gid().to_string());
            command.env("SUDO_UID", uid).env("SUDO_GID", gid).env("SUDO_USER", "ann");
        } else if machine::own_uid() == 0 {
            command.uid(self.desk.who.uid()).gid(self.desk.who.gid());
        }
        command.output().expect("the package `tmux` is installed")
    }

    /// The command line of a sandbox: `isorecipe apply RECIPE -- COMMAND`.
    pub fn apply(&self, recipe: &str, command: &str) -> String {
        format!("./isorecipe apply {recipe} -- {command}")
    }

    /// Types a line.
    #[track_caller]
    pub fn type_line(&self, line: &str) {
        let typed = self.tmux(&["send-keys", "-l", line]);
        assert!(typed.status.success(), "{typed:?}");
        self.press("Enter");
    }

    /// Presses a key, by tmux's name for it: `C-c`.
    #[track_caller]
    pub fn press(&self, key: &str) {
        let pressed = self.tmux(&["send-keys", key]);
        assert!(pressed.status.success(), "{pressed:?}");
    }

    pub fn resize(&self, columns: u32, rows: u32) {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        self.tmux(&["resize-window", "-x", &columns, "-y", &rows]);
    }

    pub fn screen(&self) -> String {
        let shown = self.tmux(&["capture-pane", "-p"]);
        String::from_utf8_lossy(&shown.stdout).trim_end().to_owned()
    }

    /// From here on, all of the screen is looked at again.
    pub fn look_anew(&self) {
        self.seen.set(0);
    }

    /// Waits for a line that ends like this, below those that were waited for before.
    #[track_caller]
    pub fn expect(&self, end: &str) -> String {
        self.expect_line(end, |line| line.ends_with(end))
    }

    /// Waits for a line with this in it, below those that were waited for before.
    #[track_caller]
    pub fn expect_within(&self, text: &str) -> String {
        self.expect_line(text, |line| line.contains(text))
    }

    /// Types a line, and gives what was printed until the next prompt.
    #[track_caller]
    pub fn says(&self, line: &str) -> String {
        // It is typed behind the prompt that was waited for.
        let begin = self.seen.get().saturating_sub(1);
        self.type_line(&format!("{line}; echo done$((40 + 2))"));
        self.expect("done42");
        let screen = self.screen();
        let lines = screen.lines().skip(begin).take(self.seen.get() - begin);
        let said: Vec<&str> = lines.skip_while(|line| !line.contains("; echo done")).collect();
        said[1..said.len() - 1].join("\n")
    }

    #[track_caller]
    pub fn expect_prompt(&self) {
        self.expect("outer>");
    }

    #[track_caller]
    fn expect_line(&self, what: &str, is_meant: impl Fn(&str) -> bool) -> String {
        let start = Instant::now();
        loop {
            let screen = self.screen();
            let mut lines = screen.lines().enumerate().skip(self.seen.get());
            if let Some((at, line)) = lines.find(|(_, line)| is_meant(line)) {
                self.seen.set(at + 1);
                return line.to_owned();
            }
            assert!(
                start.elapsed() < PATIENCE,
                "never {what:?} below line {} of\n{screen}\n\n{}",
                self.seen.get(),
                self.processes()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// What runs at this terminal, for who reads a failure.
    fn processes(&self) -> String {
        let pane = self.tmux(&["display-message", "-p", "#{pane_tty}"]);
        let tty = String::from_utf8_lossy(&pane.stdout).trim().to_owned();
        let fields = "pid,ppid,pgid,tpgid,stat,blocked,pending,args";
        let list = Command::new("ps").args(["-t", &tty, "-o", fields]).output();
        list.map_or_else(
            |error| error.to_string(),
            |list| String::from_utf8_lossy(&list.stdout).into_owned(),
        )
    }

    /// The shell reads what is typed, and answers.
    #[track_caller]
    pub fn expect_shell_answers(&self) {
        // What is typed while bash still edits its line is not yet for `read`.
        self.type_line("echo asked; read -r line; echo \"<$line>\"");
        self.expect("asked");
        self.type_line("hello");
        self.expect("<hello>");
        self.expect_prompt();
    }

    /// The exit status of what ran last.
    #[track_caller]
    pub fn expect_status(&self, status: &str) {
        self.type_line("echo \"status=${PIPESTATUS[*]}=\"");
        self.expect(&format!("status={status}="));
        self.expect_prompt();
    }

    /// The supervisor of the sandbox that has this in its command line.
    #[track_caller]
    pub fn supervisor(&self, marker: &str) -> i32 {
        let found = Cell::new(0);
        eventually("a supervisor", || {
            let mut supervisors = processes_with(marker)
                .into_iter()
                .filter(|&pid| comm(pid) == "isorecipe" && comm(parent(pid)) == "bash");
            found.set(supervisors.next().unwrap_or(0));
            found.get() != 0
        });
        found.get()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        self.tmux(&["kill-server"]);
        // A test that fails leaves whatever it was about.
        for pid in processes_in(self.desk.folder()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Processes that stand in this folder.
fn processes_in(folder: &Path) -> Vec<i32> {
    let all = fs::read_dir("/proc").expect("/proc").flatten();
    all.filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
        .filter_map(|entry| entry.file_name().to_string_lossy().parse().ok())
        .collect()
}

/// Seconds that no other process on this machine sleeps.
pub fn unheard_of() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{}{count:04}", std::process::id())
}

/// The process of this name that has this in its command line.
#[track_caller]
pub fn process(name: &str, marker: &str) -> i32 {
    let found = Cell::new(0);
    eventually(&format!("{name} {marker}"), || {
        let named = |&pid: &i32| comm(pid) == name;
        found.set(processes_with(marker).into_iter().find(named).unwrap_or_default());
        found.get() != 0
    });
    found.get()
}

/// Waits until a process may read the keyboard.
#[track_caller]
pub fn expect_in_front(pid: i32) {
    eventually("the process is in front", || stat(pid, GROUP) == stat(pid, FOREGROUND));
}

/// Waits until a process is stopped.
#[track_caller]
pub fn expect_stopped(pid: i32) {
    eventually("the process is stopped", || stat(pid, STATE) == "T");
}

/// Waits until a process runs, or sleeps by its own wish.
#[track_caller]
pub fn expect_going_on(pid: i32) {
    eventually("the process goes on", || ["R", "S"].contains(&stat(pid, STATE).as_str()));
}

#[track_caller]
pub fn expect_gone(pid: i32) {
    eventually("the process is gone", || ["", "Z", "X"].contains(&stat(pid, STATE).as_str()));
}

pub fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).expect("a signal");
}

fn parent(pid: i32) -> i32 {
    stat(pid, PARENT).parse().unwrap_or_default()
}

fn comm(pid: i32) -> String {
    proc_file(pid, "comm")
}

/// Fields of `/proc/PID/stat`, counted after the name.
const STATE: usize = 0;
const PARENT: usize = 1;
const GROUP: usize = 2;
const FOREGROUND: usize = 5;

fn stat(pid: i32, field: usize) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let after = text.rsplit(')').next().unwrap_or_default().to_owned();
    after.split_whitespace().nth(field).unwrap_or_default().to_owned()
}
