//! Runs commands and measures them.

use std::{
    ffi::CString,
    fs,
    process::{Command, Stdio},
    time::Instant,
};

use nix::{
    fcntl::OFlag,
    spawn::{PosixSpawnAttr, PosixSpawnFileActions, posix_spawn},
    sys::{stat::Mode, wait},
    unistd::Pid,
};

use crate::{Problem, contender::Contender, scene::Scene, work::Work};

/// Set by `cargo bench`, and looked through by the loader of every command.
const OF_CARGO: &str = "LD_LIBRARY_PATH";

/// A command made ready, so that nothing but its run is timed.
pub struct Ready {
    words: Vec<CString>,
    environment: Vec<CString>,
    actions: PosixSpawnFileActions,
    attributes: PosixSpawnAttr,
}

impl Ready {
    pub fn new(words: &[String]) -> Result<Self, Problem> {
        let words =
            words.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>()?;
        let environment = std::env::vars()
            .filter(|(name, _)| name != OF_CARGO)
            .map(|(name, value)| CString::new(format!("{name}={value}")))
            .collect::<Result<_, _>>()?;
        let mut actions = PosixSpawnFileActions::init()?;
        for stream in 0..3 {
            actions.add_open(stream, "/dev/null", OFlag::O_RDWR, Mode::empty())?;
        }
        Ok(Self { words, environment, actions, attributes: PosixSpawnAttr::init()? })
    }

    pub fn start(&self) -> Result<Pid, Problem> {
        let program = self.words.first().ok_or("no command")?.as_c_str();
        let Self { words, environment, actions, attributes } = self;
        Ok(posix_spawn(program, actions, attributes, words, environment)?)
    }

    /// How many microseconds it takes from its start to its end.
    fn time(&self) -> Result<f64, Problem> {
        let begin = Instant::now();
        let child = self.start()?;
        let end = wait::waitpid(child, None)?;
        let taken = begin.elapsed();
        match end {
            wait::WaitStatus::Exited(_, 0) => Ok(taken.as_secs_f64() * 1e6),
            other => Err(format!("{:?}: {other:?}", self.words).into()),
        }
    }
}

/// Times everybody once a round, in microseconds. Every second round goes
/// backwards, so that nobody always comes after the same one.
pub fn in_turn(all: &[Contender], work: Work, rounds: usize) -> Result<Vec<Vec<f64>>, Problem> {
    let words: Vec<_> = all.iter().map(|who| who.words(work)).collect();
    words_in_turn(&words, rounds)
}

/// The same for any commands.
pub fn words_in_turn(all: &[Vec<String>], rounds: usize) -> Result<Vec<Vec<f64>>, Problem> {
    let ready: Vec<Ready> = all.iter().map(|words| Ready::new(words)).collect::<Result<_, _>>()?;
    let mut times = vec![Vec::new(); all.len()];
    // The first ones find cold caches.
    let warming = if rounds > 1 { 3 } else { 0 };
    for round in 0..rounds + warming {
        let mut turn: Vec<usize> = (0..all.len()).collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        for who in turn {
            let taken = ready[who].time()?;
            if round >= warming {
                times[who].push(taken);
            }
        }
    }
    Ok(times)
}

/// The most memory that it or a child of it had, in KiB, the command's own included.
pub fn peak(contender: &Contender, work: Work, scene: &Scene) -> Result<u64, Problem> {
    let output = Command::new(scene.floor())
        .arg("peak")
        .args(contender.words(work))
        .env_remove(OF_CARGO)
        .stdin(Stdio::null())
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    Ok(said.lines().last().unwrap_or_default().trim().parse()?)
}

/// How many system calls it takes, its command's own included; nothing without `strace`.
pub fn calls(contender: &Contender, work: Work, scene: &Scene) -> Result<Option<u64>, Problem> {
    let Ok(strace) = which::which("strace") else { return Ok(None) };
    let list = scene.path("calls");
    let traced = Command::new(strace)
        .args(["-f", "-c", "-S", "calls", "-o"])
        .arg(&list)
        .args(contender.words(work))
        .env_remove(OF_CARGO)
        .stdin(Stdio::null())
        .output()?;
    if !traced.status.success() {
        return Ok(None);
    }
    let list = fs::read_to_string(list)?;
    let total = list.lines().last().and_then(|line| line.split_whitespace().nth(3)?.parse().ok());
    Ok(total)
}
