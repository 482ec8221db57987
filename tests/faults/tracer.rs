//! Runs a program under `ptrace(2)`, strikes one of its calls, and stops the command it starts at its first instruction.
//!
//! Not `strace`: its `--seccomp-bpf` sets no_new_privs in what it traces, its `when=` counts in every process apart, and
//! it cannot hold a process still to be looked at. What it does to a call is the same: the call is skipped, and
//! something else is answered.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    fs,
    os::fd::RawFd,
    time::{Duration, Instant},
};

use super::{calls, registers, view};

/// How long a run may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long the rest may take to end after the supervisor.
const GRACE: Duration = Duration::from_secs(3);

/// One call: which process, by the order of their births; which call; the how manieth of its kind there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub process: usize,
    pub number: libc::c_long,
    pub nth: u32,
}

/// What happens to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// It is skipped, and this is the error that it gives.
    Error(i32),
    /// It is skipped, and says that all went well.
    Lie,
    /// Whose it is gets this signal.
    Signal(i32),
}

/// How to start the program.
pub struct Start<'a> {
    pub program: CString,
    pub words: Vec<CString>,
    pub environment: Vec<CString>,
    pub folder: CString,
    /// To whom it is given, if that is somebody else
    pub ids: Option<(u32, u32)>,
    pub streams: [RawFd; 3],
    /// What the command is called
    pub command: &'a str,
    /// What the child does before it becomes the program
    pub prepare: Option<&'a dyn Fn()>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Ended {
    /// As `wait(2)` gives it
    pub status: i32,
    /// Whether it came as far as to open the recipe
    pub has_begun: bool,
    /// Whether the call was made that was to be struck
    pub struck: bool,
    /// Whether it was about to say something on standard error
    pub is_about_words: bool,
    /// What was seen of the command
    pub seen: Option<BTreeMap<String, String>>,
    /// The calls between the reading of the recipe and the end, but for those of other programs
    pub made: Vec<Place>,
    /// Whether something lived on after the supervisor, or everything for too long
    pub survivors: usize,
    pub hung: bool,
}

/// A process that is watched.
struct Tracee {
    process: usize,
    counts: BTreeMap<libc::c_long, u32>,
    /// What to answer when the skipped call comes back
    answer: Option<libc::c_long>,
    /// It is another program now.
    is_other: bool,
}

struct Hunt<'a> {
    start: &'a Start<'a>,
    strike: Option<(Place, Deed)>,
    look: &'a dyn Fn(i32) -> BTreeMap<String, String>,
    tracees: BTreeMap<i32, Tracee>,
    born: usize,
    ended: Ended,
}

/// Runs the program to its end, with at most one call struck.
pub fn run(
    start: &Start,
    strike: Option<(Place, Deed)>,
    look: &dyn Fn(i32) -> BTreeMap<String, String>,
) -> Ended {
    let first = begin(start);
    let mut hunt =
        Hunt { start, strike, look, tracees: BTreeMap::new(), born: 0, ended: Ended::default() };
    hunt.meet(first);
    hunt.go_on(first, 0);
    hunt.watch(first);
    hunt.ended
}

/// Forks, attaches, and lets the child become the program.
fn begin(start: &Start) -> i32 {
    let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (words, environment) = (pointers(&start.words), pointers(&start.environment));
    let mut gate = [0; 2];
    // SAFETY: the array has room for two descriptors.
    assert_eq!(unsafe { libc::pipe2(gate.as_mut_ptr(), libc::O_CLOEXEC) }, 0, "a pipe");
    // SAFETY: this program has one thread, and the child only makes calls until it executes.
    unsafe {
        match libc::fork() {
            0 => {
                let mut byte = 0u8;
                libc::close(gate[1]);
                libc::read(gate[0], (&raw mut byte).cast(), 1);
                become_program(start, &words, &environment);
                libc::_exit(97)
            }
            pid => {
                assert!(pid > 0, "a child");
                let options = libc::PTRACE_O_TRACESYSGOOD
                    | libc::PTRACE_O_TRACEFORK
                    | libc::PTRACE_O_TRACEVFORK
                    | libc::PTRACE_O_TRACECLONE
                    | libc::PTRACE_O_TRACEEXEC
                    | libc::PTRACE_O_EXITKILL;
                let seized = libc::ptrace(libc::PTRACE_SEIZE, pid, 0, options as libc::c_long);
                assert_eq!(seized, 0, "PTRACE_SEIZE: {}", std::io::Error::last_os_error());
                libc::ptrace(libc::PTRACE_INTERRUPT, pid, 0, 0);
                let mut status = 0;
                libc::waitpid(pid, &raw mut status, libc::__WALL);
                libc::close(gate[1]);
                libc::close(gate[0]);
                pid
            }
        }
    }
}

/// # Safety
/// Only in a fresh fork: it changes the whole process.
unsafe fn become_program(
    start: &Start,
    words: &[*const libc::c_char],
    environment: &[*const libc::c_char],
) {
    // SAFETY: the pointers lead to strings of `start`, and end in null.
    unsafe {
        for (stream, fd) in start.streams.iter().enumerate() {
            libc::dup2(*fd, stream as RawFd);
        }
        libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0);
        if let Some((uid, gid)) = start.ids {
            libc::setgroups(0, std::ptr::null());
            libc::setresgid(gid, gid, gid);
            libc::setresuid(uid, uid, uid);
        }
        libc::chdir(start.folder.as_ptr());
        libc::setpgid(0, 0);
        if let Some(prepare) = start.prepare {
            prepare();
        }
        libc::execve(start.program.as_ptr(), words.as_ptr(), environment.as_ptr());
    }
}

impl Hunt<'_> {
    fn meet(&mut self, pid: i32) {
        if self.tracees.contains_key(&pid) {
            return;
        }
        let process = self.born;
        self.born += 1;
        // Until it executes the program, the first is this test.
        let is_other = process == 0 || parents(pid).iter().any(|parent| self.is_other(*parent));
        let tracee = Tracee { process, counts: BTreeMap::new(), answer: None, is_other };
        self.tracees.insert(pid, tracee);
    }

    fn is_other(&self, pid: i32) -> bool {
        self.tracees.get(&pid).is_some_and(|tracee| tracee.is_other)
    }

    fn watch(&mut self, first: i32) {
        let begin = Instant::now();
        let mut over: Option<Instant> = None;
        loop {
            let late = match over {
                Some(since) => since.elapsed() >= GRACE,
                None => begin.elapsed() >= PATIENCE,
            };
            if late {
                self.ended.hung = over.is_none();
                self.ended.survivors = self.tracees.len();
                self.kill_all();
                return;
            }
            let mut status = 0;
            // SAFETY: the status outlives the calls. The alarm ends a wait that lasts too long.
            let pid = unsafe {
                libc::alarm(1);
                libc::waitpid(-1, &raw mut status, libc::__WALL)
            };
            if pid < 0 {
                let errno = std::io::Error::last_os_error().raw_os_error();
                if errno == Some(libc::EINTR) {
                    continue;
                }
                return;
            }
            self.meet(pid);
            if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
                self.tracees.remove(&pid);
                if pid == first {
                    self.ended.status = status;
                    over = Some(Instant::now());
                }
                if over.is_some() && self.tracees.is_empty() {
                    return;
                }
                continue;
            }
            self.heed(pid, status, first);
        }
    }

    fn heed(&mut self, pid: i32, status: i32, first: i32) {
        let signal = libc::WSTOPSIG(status);
        match (status >> 16, signal) {
            (0, signal) if signal == libc::SIGTRAP | 0x80 => self.heed_call(pid),
            (libc::PTRACE_EVENT_EXEC, _) => {
                self.heed_program(pid);
                self.go_on(pid, 0);
            }
            (
                libc::PTRACE_EVENT_STOP,
                libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU,
            ) => {
                ask(libc::PTRACE_LISTEN, pid, 0, 0);
                // Whoever stopped it puts it in front again.
                if pid == first {
                    // SAFETY: `kill` takes numbers.
                    unsafe { libc::kill(pid, libc::SIGCONT) };
                }
            }
            (event, _) if event != 0 => self.go_on(pid, 0),
            (_, signal) => self.go_on(pid, signal),
        }
    }

    fn heed_program(&mut self, pid: i32) {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        tracee.is_other = name.trim_end() != "isorecipe";
        if name.trim_end() == self.start.command {
            // Of who dies meanwhile nothing is left that could be compared.
            self.ended.seen = Some((self.look)(pid)).filter(|_| !view::is_dying(pid));
        }
    }

    fn heed_call(&mut self, pid: i32) {
        let Some(call) = info(pid) else { return self.go_on(pid, 0) };
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        let (process, is_other) = (tracee.process, tracee.is_other);
        if call.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            if let Some(answer) = tracee.answer.take() {
                registers::answer(pid, answer);
            }
            return self.go_on(pid, 0);
        }
        // SAFETY: the kernel says that it is an entry.
        let entry = unsafe { call.u.entry };
        let number = entry.nr as libc::c_long;
        if is_other || calls::find(number).is_none() {
            return self.go_on(pid, 0);
        }
        let count = tracee.counts.entry(number).or_default();
        *count += 1;
        let place = Place { process, number, nth: *count };
        if !self.ended.has_begun && number == libc::SYS_openat {
            self.ended.has_begun = path(pid, entry.args[1]).ends_with(b".yaml");
        }
        if self.ended.has_begun {
            self.ended.made.push(place);
        }
        let strike = self.strike.filter(|(struck, _)| *struck == place);
        if strike.is_some() {
            self.ended.struck = true;
            self.ended.is_about_words = number == libc::SYS_write && entry.args[0] == 2;
        }
        match strike {
            None => {}
            // The kernel closes whatever it says (`close(2)`).
            Some((_, Deed::Error(errno))) if number == libc::SYS_close => {
                if let Some(tracee) = self.tracees.get_mut(&pid) {
                    tracee.answer = Some(-libc::c_long::from(errno));
                }
            }
            Some((_, Deed::Error(_) | Deed::Lie)) => {
                let written =
                    if number == libc::SYS_write { entry.args[2] as libc::c_long } else { 0 };
                self.strike_out(pid, written);
            }
            Some((_, Deed::Signal(signal))) => {
                // SAFETY: `kill` takes numbers.
                unsafe { libc::kill(pid, signal) };
            }
        }
        self.go_on(pid, 0);
    }

    /// Skips the call that a process is about to make; a lie says that everything was written.
    fn strike_out(&mut self, pid: i32, written: libc::c_long) {
        registers::skip(pid);
        let answer = match self.strike {
            Some((_, Deed::Error(errno))) => -libc::c_long::from(errno),
            _ => written,
        };
        if let Some(tracee) = self.tracees.get_mut(&pid) {
            tracee.answer = Some(answer);
        }
    }

    /// Other programs run on unseen.
    fn go_on(&self, pid: i32, signal: i32) {
        let how = if self.is_other(pid) { libc::PTRACE_CONT } else { libc::PTRACE_SYSCALL };
        ask(how, pid, 0, signal as libc::c_long);
    }

    fn kill_all(&mut self) {
        let pids: BTreeSet<i32> = self.tracees.keys().copied().collect();
        for pid in &pids {
            // SAFETY: `kill` takes numbers.
            unsafe { libc::kill(*pid, libc::SIGKILL) };
        }
        let until = Instant::now() + GRACE;
        while Instant::now() < until {
            // SAFETY: no status is asked for.
            let pid =
                unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::__WALL | libc::WNOHANG) };
            match pid {
                0 => std::thread::sleep(Duration::from_millis(5)),
                -1 => return,
                _ => {}
            }
        }
    }
}

pub fn ask(request: libc::c_uint, pid: i32, address: libc::c_long, data: libc::c_long) {
    // A process that was killed meanwhile will say so itself.
    // SAFETY: the requests used here take numbers.
    unsafe { libc::ptrace(request, pid, address, data) };
}

fn info(pid: i32) -> Option<libc::ptrace_syscall_info> {
    let mut info = std::mem::MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    // SAFETY: the kernel writes no more than the size it is told, and zeroes are a value of it.
    unsafe {
        let size = size_of::<libc::ptrace_syscall_info>();
        let got = libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, info.as_mut_ptr());
        (got > 0).then(|| info.assume_init())
    }
}

/// The process that a thread is of, and the parent.
fn parents(pid: i32) -> Vec<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let number = |line: &str| {
        let value = line.strip_prefix("Tgid:").or_else(|| line.strip_prefix("PPid:"))?;
        value.trim().parse().ok().filter(|number| *number != pid)
    };
    status.lines().filter_map(number).collect()
}

/// A path that a process gives to a call.
fn path(pid: i32, address: u64) -> Vec<u8> {
    use std::os::unix::fs::FileExt;
    let mut bytes = vec![0; 256];
    let memory = fs::File::open(format!("/proc/{pid}/mem"));
    let read = memory.and_then(|memory| memory.read_at(&mut bytes, address)).unwrap_or(0);
    bytes.truncate(read);
    bytes.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
}
