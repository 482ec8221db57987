//! What a command can still ask of the kernel under a filter, asked for real; and what is said where a filter is in
//! the way.

#[path = "support/machine.rs"]
mod machine;

use std::collections::BTreeMap;

use machine::{Desk, Ran, Who, copy_program};

/// Set in the copy of this program that runs inside.
const INSIDE: &str = "ISORECIPE_TEST_ASKS";

/// A call with its arguments, made when this program runs in a sandbox.
struct Probe(&'static str, libc::c_long, [libc::c_long; 5]);

const NOWHERE: libc::c_long = 1;

fn probes() -> Vec<Probe> {
    let sti = libc::TIOCSTI as libc::c_long;
    let linux = libc::TIOCLINUX as libc::c_long;
    let user = libc::c_long::from(libc::CLONE_NEWUSER);
    let child = libc::c_long::from(libc::SIGCHLD);
    vec![
        Probe("unshare", libc::SYS_unshare, [user, 0, 0, 0, 0]),
        Probe("unshare above", libc::SYS_unshare, [user | 1 << 32, 0, 0, 0, 0]),
        Probe("clone", libc::SYS_clone, [user | child, 0, 0, 0, 0]),
        Probe("clone3", libc::SYS_clone3, [NOWHERE, 0, 0, 0, 0]),
        Probe("keyctl", libc::SYS_keyctl, [0, -3, 0, 0, 0]),
        Probe("add_key", libc::SYS_add_key, [NOWHERE, NOWHERE, 0, 0, 0]),
        Probe("mount", libc::SYS_mount, [NOWHERE, NOWHERE, NOWHERE, 0, 0]),
        Probe("open_tree", libc::SYS_open_tree, [-100, NOWHERE, 0, 0, 0]),
        Probe("move_mount", libc::SYS_move_mount, [-1, NOWHERE, -1, NOWHERE, -1]),
        Probe("ptrace", libc::SYS_ptrace, [-1, 0, 0, 0, 0]),
        Probe("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
        Probe("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, 0, 0, 0, 0]),
        Probe("bpf", libc::SYS_bpf, [-1, NOWHERE, 8, 0, 0]),
        Probe("io_uring_setup", libc::SYS_io_uring_setup, [0, NOWHERE, 0, 0, 0]),
        Probe("userfaultfd", libc::SYS_userfaultfd, [-1, 0, 0, 0, 0]),
        Probe("perf_event_open", libc::SYS_perf_event_open, [NOWHERE, 0, 0, -1, 0]),
        Probe("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, NOWHERE, 0, 0, 0]),
        Probe("vsock", libc::SYS_socket, [libc::AF_VSOCK.into(), 1, 0, 0, 0]),
        Probe("alg", libc::SYS_socket, [libc::AF_ALG.into(), 5, 0, 0, 0]),
        Probe("inet", libc::SYS_socket, [libc::AF_INET.into(), 1, 0, 0, 0]),
        Probe("unix", libc::SYS_socket, [libc::AF_UNIX.into(), 1, 0, 0, 0]),
        Probe("TIOCSTI", libc::SYS_ioctl, [-1, sti, 0, 0, 0]),
        Probe("TIOCSTI above", libc::SYS_ioctl, [-1, sti | 1 << 32, 0, 0, 0]),
        Probe("TIOCLINUX above", libc::SYS_ioctl, [-1, linux | 0x7fff << 32, 0, 0, 0]),
        Probe("TIOCGWINSZ", libc::SYS_ioctl, [-1, libc::TIOCGWINSZ as libc::c_long, 0, 0, 0]),
        Probe("personality", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0]),
        Probe("which personality", libc::SYS_personality, [0xffff_ffff, 0, 0, 0, 0]),
        Probe("x32", 0x4000_0000 | libc::SYS_getpid, [0; 5]),
        Probe("of tomorrow", 4000, [0; 5]),
    ]
}

/// Not a test but the probe: `asked` runs it inside, and reads what it prints.
#[test]
fn what_is_asked_inside() {
    if std::env::var_os(INSIDE).is_none() {
        return;
    }
    for Probe(name, number, [a, b, c, d, e]) in probes() {
        // SAFETY: nothing is at the addresses, and a child of `clone` ends at once.
        #[allow(unsafe_code)]
        let answer = unsafe { libc::syscall(number, a, b, c, d, e) };
        let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
        if name == "clone" && answer == 0 {
            std::process::exit(0);
        }
        println!("\n@{name}={}", if answer == -1 { errno } else { 0 });
    }
    println!("\n@int 0x80={}", by_the_old_gate());
}

/// The signal that ends a process which calls the kernel as 32-bit programs do; 0 if it lives.
#[cfg(target_arch = "x86_64")]
fn by_the_old_gate() -> i32 {
    use nix::sys::wait::{WaitStatus, waitpid};
    // SAFETY: this is the only thread, and the child does nothing but the call.
    #[allow(unsafe_code)]
    match unsafe { nix::unistd::fork() }.expect("a process") {
        nix::unistd::ForkResult::Child => {
            // SAFETY: `getpid`, which takes nothing.
            #[allow(unsafe_code)]
            unsafe {
                std::arch::asm!("int 0x80", inlateout("rax") 20_u64 => _);
                libc::_exit(0)
            }
        }
        nix::unistd::ForkResult::Parent { child } => match waitpid(child, None).expect("its end") {
            WaitStatus::Signaled(_, signal, _) => signal as i32,
            _ => 0,
        },
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn by_the_old_gate() -> i32 {
    libc::SIGSYS
}

/// What the kernel says to each call in a sandbox with these layers: an errno, or 0.
fn asked(who: Who, layers: &str) -> BTreeMap<String, i32> {
    let desk = Desk::of(who);
    let own = std::env::current_exe().expect("this program");
    copy_program(&own, &desk.path("probe"));
    desk.write("box.yaml", &format!("isorecipe: 1\nenv: {{{INSIDE}: 1}}\nlayers:\n{layers}"));
    let ask = ["what_is_asked_inside", "--exact", "--nocapture", "--test-threads=1"];
    let ran = desk.run(&[&["apply", "box.yaml", "--", "./probe"], &ask[..]].concat()).succeeds();
    let out = ran.out();
    let answers = out.lines().filter_map(|line| line.strip_prefix('@')?.split_once('='));
    let answers: BTreeMap<_, _> =
        answers.map(|(name, errno)| (name.to_owned(), errno.parse().expect(errno))).collect();
    assert_eq!(answers.len(), probes().len() + 1, "{out}");
    answers
}

/// Rights that a filter has to hold against: root in its own user namespace, or the host's.
fn rights(who: Who) -> &'static str {
    match who {
        Who::Root => "  - mount\n",
        Who::User(_) => "  - user: {map: root}\n",
    }
}

const DENIED: [&str; 20] = [
    "unshare",
    "unshare above",
    "clone",
    "keyctl",
    "add_key",
    "mount",
    "open_tree",
    "move_mount",
    "ptrace",
    "setns",
    "pidfd_getfd",
    "bpf",
    "io_uring_setup",
    "userfaultfd",
    "perf_event_open",
    "open_by_handle_at",
    "TIOCSTI",
    "TIOCSTI above",
    "TIOCLINUX above",
    "personality",
];

#[test]
fn what_the_default_filter_denies_is_denied_to_root_as_well() {
    for who in Who::all() {
        let answers = asked(who, &format!("{}  - seccomp\n", rights(who)));
        for name in DENIED {
            assert_eq!(answers[name], libc::EPERM, "{who:?}: {name}");
        }
        for name in ["clone3", "x32", "of tomorrow"] {
            assert_eq!(answers[name], libc::ENOSYS, "{who:?}: {name}");
        }
        for name in ["vsock", "alg"] {
            assert_eq!(answers[name], libc::EAFNOSUPPORT, "{who:?}: {name}");
        }
        for name in ["inet", "unix", "which personality"] {
            assert_eq!(answers[name], 0, "{who:?}: {name}");
        }
        // Nothing is behind that descriptor, says the kernel: the filter let it ask.
        assert_eq!(answers["TIOCGWINSZ"], libc::EBADF, "{who:?}");
        assert!([libc::SIGSYS, libc::SIGSEGV].contains(&answers["int 0x80"]), "{answers:?}");
    }
}

#[test]
fn the_strict_filter_leaves_no_network() {
    for who in Who::all() {
        let answers = asked(who, &format!("{}  - seccomp: strict\n", rights(who)));
        for name in DENIED.into_iter().chain(["vsock", "alg", "inet", "unix"]) {
            assert_eq!(answers[name], libc::EPERM, "{who:?}: {name}");
        }
        assert_eq!(answers["clone3"], libc::ENOSYS, "{who:?}");
    }
}

/// The same questions to the kernel alone: so a filter that is not there would show.
#[test]
fn without_a_filter_the_kernel_answers() {
    for who in Who::all() {
        let answers = asked(who, rights(who));
        for (name, errno) in [
            ("clone", 0),
            ("clone3", libc::EINVAL),
            ("add_key", libc::EFAULT),
            ("mount", libc::EFAULT),
            ("open_tree", libc::EFAULT),
            ("ptrace", libc::ESRCH),
            ("setns", libc::EBADF),
            ("pidfd_getfd", libc::EBADF),
            ("TIOCSTI", libc::EBADF),
            ("TIOCSTI above", libc::EBADF),
            ("TIOCLINUX above", libc::EBADF),
            ("personality", 0),
        ] {
            assert_eq!(answers[name], errno, "{who:?}: {name}");
        }
        // With a second thread, which the harness may have, the kernel gives EINVAL.
        assert_ne!(answers["unshare"], libc::EPERM, "{who:?}");
    }
}

fn apply(who: Who, recipe: &str) -> Ran {
    let desk = Desk::of(who);
    desk.write("box.yaml", &format!("isorecipe: 1\n{recipe}"));
    desk.run(&["apply", "box.yaml"])
}

#[test]
fn the_filter_is_over_the_command_and_not_over_init() {
    for who in Who::all() {
        let layers = "  - user: {map: auto}\n  - pid: {proc: true}\n  - seccomp: strict\n";
        let layers = if who == Who::Root {
            layers.replace("user: {map: auto}", "uts")
        } else {
            layers.replace("auto", "root")
        };
        let script = "grep Seccomp: /proc/1/status /proc/self/status; exit 7";
        let ran = apply(who, &format!("layers:\n{layers}command: [sh, -c, '{script}']\n"));
        assert_eq!((ran.code(), ran.err().as_str()), (7, ""), "{who:?}");
        let expected = "/proc/1/status:Seccomp:\t0\n/proc/self/status:Seccomp:\t2\n";
        assert_eq!(ran.out(), expected, "{who:?}");
    }
}

#[test]
fn several_filters_are_all_in_force() {
    for who in Who::all() {
        let layers = "  - seccomp: {deny: [mkdir, mkdirat]}\n  - seccomp: {base: none, deny: [rmdir, unlinkat], otherwise: allow}\n";
        let script = "mkdir a; rmdir b; grep Seccomp_filters: /proc/self/status";
        let ran = apply(who, &format!("layers:\n{layers}command: [sh, -c, '{script}']\n"));
        assert!(ran.out().contains("Seccomp_filters:\t2"), "{}", ran.out());
        assert_eq!(ran.err().matches("Operation not permitted").count(), 2, "{}", ran.err());
    }
}

#[test]
fn who_is_killed_by_a_filter_is_told_where_to_look() {
    for who in Who::all() {
        let ran = apply(
            who,
            "layers:\n  - seccomp: {rules: [{call: [mkdir, mkdirat], then: kill}]}\ncommand: [mkdir, never]\n",
        );
        assert_eq!(ran.code(), 128 + libc::SIGSYS, "{}", ran.err());
        // Who may read the kernel's log is told which call it was.
        let line = match std::fs::File::open("/dev/kmsg").is_ok() && who == Who::Root {
            true => "killed the command: the filter of line 3 ends a process for `mkdir",
            false => "killed the command: a call that the filter of line 3 ends a process for; its",
        };
        assert!(ran.err().contains(line), "{}", ran.err());
    }
}

#[test]
fn the_narrowest_filter_lets_a_fault_be_told() {
    for who in Who::all() {
        let narrow =
            "  - seccomp: {base: none, allow: [execve, write, exit_group], otherwise: kill}\n";
        for layers in [narrow.to_owned(), format!("{}  - pid\n{narrow}", rights(who))] {
            let ran = apply(who, &format!("layers:\n{layers}command: [/nothing/here]\n"));
            assert_eq!(ran.code(), 127, "{}", ran.err());
            assert!(ran.err().contains("error[command::not_found]"), "{}", ran.err());
        }
    }
}

#[test]
fn a_wrong_order_is_put_right() {
    let desk = Desk::of(Who::ordinary());
    desk.write("box.yaml", "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - seccomp\n  - uts\n");
    assert!(desk.run(&["apply", "box.yaml"]).err().contains("error[seccomp::not_last]"));
    let mended = desk.run(&["plan", "--fix", "box.yaml"]);
    let order = mended.out();
    let at = |layer| order.find(layer).unwrap_or_else(|| panic!("{layer}: {order}"));
    assert!(at("- uts") < at("- seccomp"), "{order}");
}

#[test]
fn a_script_cannot_filter_and_says_so() {
    let desk = Desk::of(Who::ordinary());
    desk.write("box.yaml", "isorecipe: 1\nlayers:\n  - seccomp\n");
    let ran = desk.run(&["export", "--to", "sh", "box.yaml"]);
    assert_eq!(ran.code(), 1, "{}", ran.err());
    assert!(ran.err().contains("error[export::no_filter]"), "{}", ran.err());
}

#[test]
fn a_filter_that_nobody_could_begin_under_is_refused() {
    let many: String = (0..2000)
        .map(|n| format!("        - {{call: read, when: arg0 == {n}, then: EIO}}\n"))
        .collect();
    let conditions: Vec<String> = (0..33).map(|n| format!("arg0 != {n}")).collect();
    let conditions = conditions.join(", ");
    for (layer, code) in [
        ("seccomp: {deny: [execve]}".to_owned(), "seccomp::too_strict"),
        (format!("seccomp:\n      rules:\n{many}"), "seccomp::too_long"),
        (
            format!("seccomp: {{rules: [{{call: read, when: [{conditions}], then: EIO}}]}}"),
            "seccomp::too_many_conditions",
        ),
    ] {
        let ran = apply(Who::ordinary(), &format!("layers:\n  - {layer}\ncommand: ['true']\n"));
        assert_eq!(ran.code(), 125, "{}", ran.err());
        assert!(ran.err().contains(&format!("error[{code}]")), "{}", ran.err());
    }
}

/// The kernel takes 32768 instructions in all.
#[test]
fn there_is_no_room_for_any_number_of_filters() {
    let rules: String = (0..700)
        .map(|n| format!("        - {{call: read, when: arg3 == {n}, then: EIO}}\n"))
        .collect();
    let layer =
        format!("  - seccomp:\n      base: none\n      otherwise: allow\n      rules:\n{rules}");
    let ran = apply(Who::ordinary(), &format!("layers:\n{}command: ['true']\n", layer.repeat(16)));
    assert_eq!(ran.code(), 125, "{}", ran.err());
    assert!(ran.err().contains("error[seccomp::too_many]"), "{}", ran.err());
}
