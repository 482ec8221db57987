//! One of the processes that share the work: strikes, judges, and says so on standard output.

use super::{
    calls,
    judge::{Verdict, Whole},
    machine::own_uid,
    scene::Scene,
    tracer::{Deed, Place},
};

/// How many workers there are, which of them this is, and what is to be struck.
struct Share {
    of: usize,
    own: usize,
    wish: String,
}

/// Without a wish, every so manieth case of a mode is run.
const KEPT: usize = 1;

const SIGNALS: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGTSTP];

pub fn work() {
    alone();
    let number = |at: usize| std::env::args().nth(at).and_then(|word| word.parse().ok());
    let share = Share {
        of: number(2).expect("how many workers"),
        own: number(3).expect("which worker"),
        wish: std::env::var("FAULTS").unwrap_or_default(),
    };
    for scene in Scene::all(&share.wish) {
        strike_all(&scene, &share);
    }
}

/// A namespace of mounts of one's own, so that nobody else's mounts count; and orphans are brought up here.
fn alone() {
    use nix::{mount::MsFlags, sched::CloneFlags};
    // SAFETY: the call takes numbers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) };
    // SAFETY: the handler does nothing; without SA_RESTART it ends a wait.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = wake as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
    }
    if own_uid() == 0 {
        nix::sched::unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("private");
    }
}

extern "C" fn wake(_: i32) {}

fn strike_all(scene: &Scene, share: &Share) {
    let first = scene.run(None);
    let whole = Whole::of(&first);
    let again = scene.run(None);
    let (verdict, why) = whole.judge(&again, None);
    let is_same =
        matches!((&whole.view, verdict), (Some(_), Verdict::Ran) | (None, Verdict::Refused));
    assert!(is_same, "{}: two runs without a fault differ: {why}\n{}", scene.name, first.words);
    let strikes = strikes(&first.ended.made);
    for (index, (mode, place, deed)) in strikes.into_iter().enumerate() {
        if index % share.of != share.own || (share.wish != "all" && index / share.of % KEPT != 0) {
            continue;
        }
        let (verdict, why) = whole.judge(&scene.run(Some((place, deed))), Some(deed));
        let Place { process, number, nth } = place;
        let place = format!("{} {nth} of process {process}", calls::name(number));
        println!(
            "{}\t{mode}\t{verdict:?}\t{place} {}\t{}",
            scene.name,
            shown(deed),
            why.replace(['\n', '\t'], " ")
        );
    }
}

fn shown(deed: Deed) -> String {
    match deed {
        Deed::Error(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        Deed::Lie => "lie".to_owned(),
        Deed::Signal(signal) => format!("signal {signal}"),
    }
}

/// Everything that can happen to the calls of one run.
fn strikes(made: &[Place]) -> Vec<(&'static str, Place, Deed)> {
    let mut strikes = Vec::new();
    for place in made {
        let Some(call) = calls::find(place.number) else { continue };
        strikes.extend(call.errors.iter().map(|errno| ("error", *place, Deed::Error(*errno))));
        strikes.push(("kill", *place, Deed::Signal(libc::SIGKILL)));
        strikes.extend(SIGNALS.map(|signal| ("signal", *place, Deed::Signal(signal))));
        if call.isolates {
            strikes.push(("lie", *place, Deed::Lie));
        }
    }
    strikes
}
