//! Processes that take cases: a worker is cut off from the machine, and a case
//! has a process of its own that ends in time.

use std::{
    fs::File,
    io::{self, Read, Write},
    os::fd::AsFd,
    process::exit,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::{WaitStatus, waitpid},
    },
    unistd::{ForkResult, Pid, dup2_stderr, dup2_stdin, dup2_stdout, fork, pipe},
};

use super::{
    Who,
    case::Case,
    ground,
    scratch::Scratch,
    shrink,
    tally::{Disagreement, Tally},
    trial::{self, Verdict},
};

/// How long one case may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Disagreements that are worth the time to make them small.
const MOST_SHRUNK: usize = 12;
/// A long run says so often how far it is.
const EVERY: usize = 10_000;

/// Runs every case as somebody. A case spends most of its time waiting for the
/// kernel to let go of mounts: so several processes work at once.
pub fn run(cases: &[Case], who: Who, workers: usize) -> Tally {
    let mut all = Vec::new();
    for worker in 0..workers {
        let own: Vec<&Case> = cases.iter().skip(worker).step_by(workers).collect();
        all.push(spawn(|| match who.has_ground() {
            true => cut_off(|| serve(&own, who)),
            false => serve(&own, who),
        }));
    }
    let mut tally = Tally::default();
    for (child, mut from) in all {
        let mut text = Vec::new();
        from.read_to_end(&mut text).expect("what a worker found");
        let found = serde_json::from_slice(&text);
        tally.add(found.unwrap_or_else(|error| Tally::broken(format!("a worker: {error}"))));
        assert_eq!(waitpid(child, None), Ok(WaitStatus::Exited(child, 0)), "a worker's end");
    }
    tally
}

/// A process that does this, and gives what it comes to through a pipe.
fn spawn<T: serde::Serialize>(task: impl FnOnce() -> T) -> (Pid, File) {
    let (read, write) = pipe().expect("a pipe");
    let _ = io::stdout().flush();
    // SAFETY: this program has one thread.
    #[allow(unsafe_code)]
    match unsafe { fork() }.expect("a process") {
        ForkResult::Child => {
            drop(read);
            let _ = prctl::set_pdeathsig(Signal::SIGKILL);
            let said = serde_json::to_vec(&task()).expect("words");
            let sent = File::from(write).write_all(&said);
            exit(i32::from(sent.is_err()));
        }
        ForkResult::Parent { child } => (child, File::from(read)),
    }
}

/// Does this as the first process of a PID namespace, with mounts, names and a
/// network of its own: when it ends, so does all that it has started.
fn cut_off(task: impl FnOnce() -> Tally) -> Tally {
    if let Err(error) = ground::leave_the_machine() {
        return Tally::broken(format!("the machine cannot be left: {error}"));
    }
    let (child, mut from) = spawn(|| match ground::settle() {
        Ok(()) => task(),
        Err(error) => Tally::broken(format!("no ground to stand on: {error}")),
    });
    let mut text = Vec::new();
    from.read_to_end(&mut text).expect("what it found");
    let _ = waitpid(child, None);
    serde_json::from_slice(&text).unwrap_or_else(|error| Tally::broken(format!("init: {error}")))
}

fn serve(cases: &[&Case], who: Who) -> Tally {
    let mut scratch = Scratch::new(who);
    let mut tally = Tally::default();
    for (index, case) in cases.iter().enumerate() {
        match check(case, who, &mut scratch) {
            Verdict::Agree(seen) => tally.agree(seen),
            Verdict::Unfit(why) => tally.unfit(why),
            Verdict::Disagree { how, code } => {
                let smallest = match tally.disagreements.len() < MOST_SHRUNK {
                    true => shrink::smallest(case, |case| still(case, who, &mut scratch)),
                    false => (*case).clone(),
                };
                let found = Disagreement { case: smallest.to_string(), how, code };
                eprintln!("as {who}: {found}");
                tally.disagree(found);
            }
        }
        if (index + 1) % EVERY == 0 {
            let done = index + 1;
            eprintln!("as {who}: {done} cases, {} disagreements", tally.disagreements.len());
        }
    }
    tally
}

fn still(case: &Case, who: Who, scratch: &mut Scratch) -> bool {
    matches!(check(case, who, scratch), Verdict::Disagree { .. })
}

/// Plans and runs one case in a process of its own.
fn check(case: &Case, who: Who, scratch: &mut Scratch) -> Verdict {
    scratch.reset();
    let folder = scratch.folder.clone();
    let (child, from) = spawn(|| {
        silence();
        trial::compare(case, who, &folder)
    });
    let said = listen(from);
    if said.is_none() {
        let _ = kill(child, Signal::SIGKILL);
    }
    let status = waitpid(child, None);
    // What it has started may outlive it; a worker of root's is PID 1.
    if who.has_ground() {
        let _ = kill(Pid::from_raw(-1), Signal::SIGKILL);
        while waitpid(None::<Pid>, None) != Err(Errno::ECHILD) {}
    }
    let odd = |how: String| Verdict::Disagree { how, code: None };
    match said {
        None => odd("the run did not end".to_owned()),
        Some(said) => serde_json::from_slice(&said)
            .unwrap_or_else(|_| odd(format!("it ended with {status:?}"))),
    }
}

/// All that is said before the patience ends.
fn listen(mut from: File) -> Option<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = end.checked_duration_since(Instant::now())?;
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(from.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(_) => continue,
        }
        match from.read(&mut buffer) {
            Ok(0) => return Some(said),
            Ok(length) => said.extend(&buffer[..length]),
            Err(_) => return None,
        }
    }
}

/// What a command says is nobody's business.
fn silence() {
    let nowhere = File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
    let _ = dup2_stdin(&nowhere);
    let _ = dup2_stdout(&nowhere);
    if std::env::var_os("CONFORM_LOUD").is_none() {
        let _ = dup2_stderr(&nowhere);
    }
}
