//! One of the processes that share the work: strikes, judges, and says so on standard output.

use super::{
    calls,
    judge::{Verdict, Whole},
    machine::own_uid,
    scene::Scene,
    straits,
    tracer::{Deed, Place},
};

/// How many workers there are, which of them this is, and what is to be struck.
struct Share {
    of: usize,
    own: usize,
    wish: String,
}

/// Without a wish, every so manieth case is run: root has more recipes than others.
fn kept() -> usize {
    if own_uid() == 0 { 8 } else { 4 }
}

const SIGNALS: [i32; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGTSTP];

pub fn work() {
    alone();
    let number = |at: usize| std::env::args().nth(at).and_then(|word| word.parse().ok());
    let share = Share {
        of: number(2).expect("how many workers"),
        own: number(3).expect("which worker"),
        wish: std::env::var("FAULTS").unwrap_or_default(),
    };
    for mut scene in Scene::all(&share.wish) {
        strike_all(&mut scene, &share);
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

fn strike_all(scene: &mut Scene, share: &Share) {
    let first = scene.run(None);
    let whole = Whole::of(&first);
    let again = scene.run(None);
    let (verdict, why) = whole.judge(&again, None);
    let is_same =
        matches!((&whole.view, verdict), (Some(_), Verdict::Ran) | (None, Verdict::Refused));
    assert!(is_same, "{}: two runs without a fault differ: {why}\n{}", scene.name, first.words);
    let strikes = strikes(&first.ended.made);
    for (index, (mode, place, deed)) in strikes.into_iter().enumerate() {
        // Every recipe has another share struck of what all have in common.
        let is_kept =
            (index / share.of + scene.number).is_multiple_of(kept()) || share.wish == "all";
        if index % share.of != share.own || !is_kept {
            continue;
        }
        let (verdict, why) = whole.judge(&scene.run(Some((place, deed))), Some(deed));
        tell(scene, mode, verdict, &shown(place, deed), &why);
    }
    strike_verified(scene, share);
    if share.own == 0 {
        straits::all(scene, &whole, |strait, verdict, why| {
            tell(scene, "strait", verdict, strait, &why);
        });
    }
}

/// The lies once more, where everything is read back: then none may be believed.
fn strike_verified(scene: &mut Scene, share: &Share) {
    if !scene.knows("--verify") {
        return;
    }
    scene.options.push("--verify".to_owned());
    let first = scene.run(None);
    let whole = Whole::of(&first);
    let lies = strikes(&first.ended.made).into_iter().filter(|(mode, ..)| *mode == "lie");
    for (index, (_, place, deed)) in lies.enumerate() {
        let is_kept = (index / share.of + scene.number).is_multiple_of(2) || share.wish == "all";
        if index % share.of != share.own || !is_kept {
            continue;
        }
        let (verdict, why) = match whole.judge(&scene.run(Some((place, deed))), Some(deed)) {
            (Verdict::Believed, why) => (Verdict::Weaker, why),
            other => other,
        };
        tell(scene, "lie, verified", verdict, &shown(place, deed), &why);
    }
    scene.options.pop();
}

/// A line for who counts.
fn tell(scene: &Scene, mode: &str, verdict: Verdict, place: &str, why: &str) {
    let why = why.replace(['\n', '\t'], " ");
    println!("{}\t{mode}\t{verdict:?}\t{place}\t{why}", scene.name);
}

fn shown(place: Place, deed: Deed) -> String {
    let Place { process, number, nth } = place;
    let deed = match deed {
        Deed::Error(errno) => format!("{:?}", nix::errno::Errno::from_raw(errno)),
        Deed::Lie => "lie".to_owned(),
        Deed::Signal(signal) => format!("signal {signal}"),
    };
    format!("{} {nth} of process {process}: {deed}", calls::name(number))
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
