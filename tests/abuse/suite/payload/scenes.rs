//! What the payload does where a run is about one thing.

use std::time::{Duration, Instant};

use super::{
    super::check::{Broke, Facts, Held},
    c, call, named, say,
};

/// Plays a part, and gives the status to end with.
pub fn play(part: &str, facts: &Facts) -> i32 {
    match part {
        "terminal" => terminal(),
        "group" => group(),
        "streams" => streams(),
        "exit" => facts.number("status") as i32,
        "signal" => signal(facts.number("status") as i32),
        "background" => background(),
        "stay" => stay(),
        "zombies" => zombies(),
        "whoami" => whoami(),
        "wait" => wait(),
        _ => 120,
    }
}

fn terminal() -> i32 {
    const TIOCSTI: usize = 0x5412;
    let (tty, letter) = (c("/dev/tty"), b'Z');
    let flags = libc::O_RDWR as usize;
    let own = call(libc::SYS_openat, &[libc::AT_FDCWD as usize, tty.as_ptr() as usize, flags]);
    let mut said = Vec::new();
    for fd in [0, 1, 2].into_iter().chain(own.ok()) {
        // A filter that compares 64 bits is led past by the upper half (CVE-2019-10063).
        for command in [TIOCSTI, 1 << 32 | TIOCSTI] {
            let found = call(libc::SYS_ioctl, &[fd as usize, command, &raw const letter as usize]);
            said.push(format!("{:?}", found.map_err(named)));
        }
    }
    said.dedup();
    say(&Held(said.join(" ")).line("terminal"));
    0
}

fn group() -> i32 {
    // SAFETY: a signal that this process ignores, to its group.
    let found = unsafe {
        libc::signal(libc::SIGUSR1, libc::SIG_IGN);
        libc::kill(0, libc::SIGUSR1)
    };
    if found == 0 { 5 } else { 6 }
}

/// 8: no file behind the streams that were closed, but for devices and pipes.
fn streams() -> i32 {
    for fd in 0..3 {
        // SAFETY: the structure outlives the call, and is zeros otherwise.
        let kind = unsafe {
            let mut stat: libc::stat = std::mem::zeroed();
            libc::fstat(fd, &raw mut stat);
            stat.st_mode & libc::S_IFMT
        };
        if matches!(kind, libc::S_IFREG | libc::S_IFDIR | libc::S_IFBLK | libc::S_IFSOCK) {
            return 9;
        }
    }
    8
}

fn signal(number: i32) -> i32 {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure outlives the call; the signal is to this process.
    unsafe {
        libc::setrlimit(libc::RLIMIT_CORE, &raw const none);
        libc::signal(number, libc::SIG_DFL);
        libc::kill(libc::getpid(), number);
    }
    // Who is PID 1 comes here.
    99
}

/// A process that heeds no gentle signal and has left its session.
fn daemon() {
    // SAFETY: this process has one thread.
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            for number in [libc::SIGHUP, libc::SIGINT, libc::SIGTERM, libc::SIGPIPE] {
                libc::signal(number, libc::SIG_IGN);
            }
            for fd in 0..64 {
                libc::close(fd);
            }
            libc::alarm(120);
            loop {
                libc::pause();
            }
        }
    }
}

fn background() -> i32 {
    daemon();
    0
}

fn stay() -> i32 {
    daemon();
    say("\n@ready\n");
    wait()
}

fn wait() -> i32 {
    // SAFETY: ends this process at last, whatever becomes of the suite.
    unsafe {
        libc::alarm(120);
        loop {
            libc::pause();
        }
    }
}

/// Orphans of init's: 200 that have ended.
fn zombies() -> i32 {
    for _ in 0..200 {
        // SAFETY: this process has one thread; the middle one ends at once.
        unsafe {
            let middle = libc::fork();
            if middle == 0 {
                if libc::fork() == 0 {
                    libc::usleep(20_000);
                }
                libc::_exit(0);
            }
            libc::waitpid(middle, std::ptr::null_mut(), 0);
        }
    }
    let begun = Instant::now();
    let mut left = dead();
    while left > 0 && begun.elapsed() < Duration::from_secs(4) {
        std::thread::sleep(Duration::from_millis(20));
        left = dead();
    }
    let verdict =
        if left > 0 { Broke(format!("{left} are left")) } else { Held("all reaped".to_owned()) };
    say(&verdict.line("zombies"));
    0
}

fn dead() -> usize {
    let dead = |pid: &String| super::status(pid, "State").is_ok_and(|state| state.starts_with('Z'));
    let named = |pid: &String| super::status(pid, "Name").is_ok_and(|name| name == "abuse-payload");
    super::pids().iter().filter(|pid| named(pid) && dead(pid)).count()
}

fn whoami() -> i32 {
    // SAFETY: asks about this process.
    let (real, effective) = unsafe { (libc::getuid(), libc::geteuid()) };
    say(&format!("{real} {effective}\n"));
    0
}
