//! Surroundings in which little is left: of descriptors, of memory, of processes, of namespaces, and of ears.

use std::{
    fs::{self, File},
    os::fd::{AsRawFd, OwnedFd},
};

use super::{
    judge::{Verdict, Whole},
    scene::{Scene, Trace},
};

/// Surroundings, and what the command sees of them itself.
struct Strait {
    name: String,
    narrow: Box<dyn Fn()>,
    shows_in: &'static [&'static str],
    /// Whether nobody hears what is said
    is_deaf: bool,
}

/// The smallest page there is (`getpagesize(2)`).
const PAGE: u64 = 4096;

const KNOBS: [&str; 8] = ["user", "mnt", "uts", "pid", "ipc", "net", "cgroup", "time"];

/// Runs a scene in every strait; gives what came of each.
pub fn all(scene: &Scene, whole: &Whole, mut tell: impl FnMut(&str, Verdict, String)) {
    for strait in straits() {
        let trace = scene.run_prepared(None, Some(&*strait.narrow), None);
        let (verdict, why) = verdict(whole, trace, strait.shows_in, strait.is_deaf);
        tell(&strait.name, verdict, why);
    }
    little_memory(scene, whole, &mut tell);
    let (reader, full) = full_pipe();
    let trace = scene.run_prepared(None, None, Some(full.as_raw_fd()));
    let (found, why) = verdict(whole, trace, &["descriptors"], true);
    tell("standard error is a full pipe", found, why);
    drop(reader);
    nested(scene, tell);
}

/// Room for addresses: what the program needs to be loaded at all, and little more.
fn little_memory(scene: &Scene, whole: &Whole, tell: &mut impl FnMut(&str, Verdict, String)) {
    let run = |pages: u64| {
        let narrow = move || limit(libc::RLIMIT_AS, pages * PAGE);
        scene.run_prepared(None, Some(&narrow), None)
    };
    let (mut too_few, mut enough) = (0, (1 << 30) / PAGE);
    while enough - too_few > 1 {
        let pages = too_few.midpoint(enough);
        match run(pages).ended.has_begun {
            true => enough = pages,
            false => too_few = pages,
        }
    }
    let near = (0..16).map(|more| enough + more * 4);
    for pages in near.chain([enough * 5 / 4, enough * 2]) {
        let (found, why) = verdict(whole, run(pages), &["limits"], false);
        tell(&format!("{} KiB of addresses", (pages * PAGE) >> 10), found, why);
    }
}

fn verdict(whole: &Whole, mut trace: Trace, shows_in: &[&str], is_deaf: bool) -> (Verdict, String) {
    trace.ended.is_about_words |= is_deaf;
    whole.judge_but_for(&trace, None, shows_in)
}

fn straits() -> Vec<Strait> {
    let mut straits = Vec::new();
    let mut add = |name: String, shows_in, narrow: Box<dyn Fn()>| {
        let is_deaf = name.contains("error is closed");
        straits.push(Strait { name, narrow, shows_in, is_deaf });
    };
    for count in 0..=24 {
        let name = format!("{count} descriptors");
        add(name, &["limits"], Box::new(move || limit(libc::RLIMIT_NOFILE, count)));
    }
    for count in 0..3 {
        let name = format!("{count} processes");
        add(name, &["limits"], Box::new(move || limit(libc::RLIMIT_NPROC, count)));
    }
    for closed in [&[0][..], &[1], &[2], &[0, 1], &[0, 1, 2]] {
        let is_error = closed.contains(&2);
        let name = match is_error {
            true => format!("error is closed, of {closed:?}"),
            false => format!("closed: {closed:?}"),
        };
        let close = move || {
            for stream in closed {
                // SAFETY: `close` takes a number, and nobody uses the stream before it is another program's.
                unsafe { libc::close(*stream) };
            }
        };
        add(name, &["descriptors"], Box::new(close));
    }
    add("4000 descriptors are inherited".to_owned(), &["limits"], Box::new(inherit));
    straits
}

fn limit(resource: libc::__rlimit_resource_t, to: u64) {
    let limit = libc::rlimit { rlim_cur: to, rlim_max: to };
    // SAFETY: the limit outlives the call.
    unsafe { libc::setrlimit(resource, &raw const limit) };
}

fn inherit() {
    // SAFETY: the structure outlives both calls; `dup` takes a number.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        for _ in 0..4000 {
            libc::dup(0);
        }
    }
}

fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (reader, writer) = nix::unistd::pipe().expect("a pipe");
    let file = File::from(writer);
    // SAFETY: `fcntl` takes numbers.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    while std::io::Write::write(&mut &file, &[b'x'; 4096]).is_ok() {}
    // SAFETY: as above.
    unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, 0) };
    (reader, file.into())
}

/// In a user namespace that may have no more of one kind.
fn nested(scene: &Scene, mut tell: impl FnMut(&str, Verdict, String)) {
    let free = || inside(None);
    let whole = Whole::of(&scene.run_prepared(None, Some(&free), None));
    for knob in KNOBS {
        let narrow = || inside(Some(knob));
        let (verdict, why) = whole.judge(&scene.run_prepared(None, Some(&narrow), None), None);
        tell(&format!("user.max_{knob}_namespaces is 0"), verdict, why);
    }
}

fn inside(knob: Option<&str>) {
    let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
    // SAFETY: the call takes numbers; without it the maps would be root's to write.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) };
    let entered = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWUSER).is_ok()
        && fs::write("/proc/self/setgroups", "deny").is_ok()
        && fs::write("/proc/self/uid_map", format!("0 {uid} 1")).is_ok()
        && fs::write("/proc/self/gid_map", format!("0 {gid} 1")).is_ok();
    let narrowed = knob
        .is_none_or(|knob| fs::write(format!("/proc/sys/user/max_{knob}_namespaces"), "0").is_ok());
    if !entered || !narrowed {
        // SAFETY: it ends the fork at once; the status is nobody else's.
        unsafe { libc::_exit(96) };
    }
}
