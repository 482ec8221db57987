//! Why a trial failed: who said no, the kernel, a filter or a security module.

use crate::{
    diagnostic::{Diagnostic, Observed, Refusal},
    host::{Device, Host},
    model::Answer,
    ops,
    plan::Plan,
    sys::{Call, Errno, Fault},
    yaml,
};

use super::{Thing, trial::Failure};

/// The failure in the words of `apply`, or in better ones where a trial knows more.
pub(super) fn of(thing: Thing, plan: &Plan, failure: &Failure) -> Diagnostic {
    let Failure { fault, seen, .. } = failure;
    let (fault, host) = (*fault, &*plan.start.host);
    let Some(step) = failure.step else {
        return bare(thing, host, fault, seen.filtered).at(yaml::Path::root());
    };
    let explained = plan.explain(step, fault, seen);
    let unexplained = || unknown(thing, fault).at(yaml::Path::root());
    match explained {
        Some(explained) if explained.code() != "step::refused" => explained,
        Some(explained) => match module_denies(plan, step, failure, host) {
            Some(refusal) => refusal.at(explained.path().clone()),
            None => explained,
        },
        None => unexplained(),
    }
}

/// By elimination: the process has the right, no filter answers, and the
/// kernel's own rules are known to allow it.
fn module_denies(plan: &Plan, step: usize, failure: &Failure, host: &Host) -> Option<Refusal> {
    let operation = plan.steps.get(step)?.op.operation();
    let fault = failure.fault;
    let is_permission = matches!(fault.errno, Errno::EPERM | Errno::EACCES);
    let has_right = failure.is_admin || fault.call == Call::Unshare;
    let is_allowed = !matches!(operation.answer(&plan.before(step)), Answer::No(_));
    (is_permission && has_right && is_allowed).then(|| {
        let observed = Observed::new(1, fault.call.name(), fault.errno as i32);
        ops::module_denies(fault, host).observed(observed)
    })
}

/// What a call has said that no step of a plan makes.
fn bare(thing: Thing, host: &Host, fault: Fault, is_filtered: bool) -> Refusal {
    let refusal = match (fault.call, fault.errno) {
        _ if is_filtered => ops::answered_by_filter(fault, host),
        (Call::Unshare | Call::Clone, Errno::ENOSPC) => limit(thing),
        (Call::Unshare, Errno::EINVAL) => {
            Refusal::new("host::not_built_in", format!("this kernel makes no {}", thing.name()))
                .why("it was built without that kind")
                .help("no layer needs it yet")
        }
        (Call::Loop, Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => no_loop(host, fault.errno),
        (Call::Loop, Errno::EPERM | Errno::EACCES) => {
            Refusal::new("image::loop_denied", "loop devices may not be used here")
                .why("/dev/loop-control cannot be opened, though you are root")
                .help("start the outer container with `--device /dev/loop-control` and privileges")
        }
        (Call::Fsopen, Errno::ENODEV) => {
            Refusal::new("image::unknown_filesystem", "this kernel reads no image")
                .why("it has none of xfs, ext4, squashfs and erofs")
                .help("`sudo modprobe squashfs`")
        }
        (Call::Fsopen, Errno::EPERM) => {
            Refusal::new("image::needs_root", "only root of the machine can mount an image")
                .why("this root has no CAP_SYS_ADMIN")
                .help("give the outer container that capability, or take a directory as `lower`")
        }
        _ => unknown(thing, fault),
    };
    refusal.observed(Observed::new(1, fault.call.name(), fault.errno as i32))
}

/// The device that hands out the others may be there, and what it names not.
fn no_loop(host: &Host, errno: Errno) -> Refusal {
    let control = host.kernel_settings.as_ref().and_then(|known| known.loop_control);
    let (why, help) = match (errno, control) {
        (Errno::ENOENT, Some(Device::Usable)) => (
            "/dev/loop-control is there, and the device that it gives is not in /dev",
            "start the outer container with the machine's own /dev",
        ),
        (Errno::ENOENT, _) => ("/dev/loop-control is not there", "`sudo modprobe loop`"),
        _ => ("the file of the device is there, and no driver answers", "`sudo modprobe loop`"),
    };
    Refusal::new("image::no_loop", "this machine has no loop devices").why(why).help(help)
}

fn limit(thing: Thing) -> Refusal {
    let kind = match thing {
        Thing::TimeNamespace => "time",
        _ => "user",
    };
    let knob = format!("user.max_{kind}_namespaces");
    Refusal::new("namespace::limit", format!("there can be no more {}s", thing.name()))
        .why(format!("{knob} is reached, here or in a namespace around"))
        .help(format!("`sudo sysctl {knob}=15000` on the machine itself"))
}

fn unknown(thing: Thing, fault: Fault) -> Refusal {
    Refusal::new("step::refused", format!("the kernel refused this: {}", thing.name()))
        .why(fault.in_words())
        .help("`sudo dmesg | tail` may show why")
}
