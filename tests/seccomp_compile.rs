//! A filter says what its policy says: the instructions are run here as the
//! kernel runs them, and asked beside the policy and beside another compiler.

use std::collections::BTreeMap;

use isorecipe::{
    seccomp::{
        Action, Case, Comparison, Condition, LONGEST, MOST_CONDITIONS, Policy, Profile, TooLong,
        Verdict, Width, compile, find, known,
    },
    sys::Errno,
};
use libc::sock_filter;
use proptest::prelude::*;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// `struct seccomp_data`
#[derive(Clone, Debug)]
struct Asked {
    number: u32,
    architecture: u32,
    arguments: [u64; 6],
}

#[cfg(target_arch = "x86_64")]
const NATIVE: (u32, TargetArch) = (0xC000_003E, TargetArch::x86_64);
#[cfg(target_arch = "aarch64")]
const NATIVE: (u32, TargetArch) = (0xC000_00B7, TargetArch::aarch64);

impl Asked {
    fn native(number: u32, arguments: [u64; 6]) -> Self {
        Self { number, architecture: NATIVE.0, arguments }
    }

    /// The word at an offset, as `seccomp_check_filter()` lets it be read.
    fn word(&self, offset: u32) -> u32 {
        assert_eq!(offset % 4, 0, "an aligned word");
        match offset {
            0 => self.number,
            4 => self.architecture,
            8 | 12 => 0,
            16..64 => {
                let argument = self.arguments[(offset as usize - 16) / 8];
                (argument >> if offset.is_multiple_of(8) { 0 } else { 32 }) as u32
            }
            _ => panic!("outside: {offset}"),
        }
    }
}

/// Runs a filter as the kernel would, and refuses what the kernel would refuse.
fn run(program: &[sock_filter], asked: &Asked) -> u32 {
    let (mut accumulator, mut at) = (0_u32, 0_usize);
    for _ in 0..=program.len() {
        let sock_filter { code, jt, jf, k } = program[at];
        let branch = |holds: bool| usize::from(if holds { jt } else { jf });
        at += 1;
        match u32::from(code) {
            0x20 => accumulator = asked.word(k),
            0x54 => accumulator &= k,
            0x05 => at += k as usize,
            0x15 => at += branch(accumulator == k),
            0x25 => at += branch(accumulator > k),
            0x35 => at += branch(accumulator >= k),
            0x45 => at += branch(accumulator & k != 0),
            0x06 => return k,
            other => panic!("no such instruction: {other:#x}"),
        }
    }
    panic!("it does not end")
}

/// `SECCOMP_RET_…`
fn answer(action: Action) -> u32 {
    match action {
        Action::Allow => 0x7fff_0000,
        Action::Log => 0x7ffc_0000,
        Action::Errno(errno) => 0x0005_0000 | errno as u32,
        Action::Kill => 0x8000_0000,
    }
}

fn compiled(policy: &Policy) -> Vec<sock_filter> {
    compile(policy).expect("short enough")
}

/// A policy as it is thrown: calls in any order, each with its cases.
type Thrown = Vec<(u32, Vec<Condition>, Action)>;

fn policy(thrown: &Thrown, otherwise: Action, unknown: Action) -> Policy {
    let mut policy = Policy::of(otherwise).unknown(unknown);
    for (number, when, then) in thrown {
        policy.add(*number, Case { when: when.clone(), then: *then });
    }
    policy
}

/// What is meant, said as plainly as can be.
fn meant(thrown: &Thrown, otherwise: Action, unknown: Action, asked: &Asked) -> Action {
    let is_known = known().any(|(_, number)| number == asked.number);
    let own = thrown.iter().filter(|(number, ..)| *number == asked.number);
    let all = |when: &[Condition]| {
        when.iter().all(|one| one.holds(asked.arguments[usize::from(one.argument)]))
    };
    let found = own.map(|(_, when, then)| (all(when), *then)).find(|(holds, _)| *holds);
    match found {
        Some((_, then)) => then,
        None if is_known => otherwise,
        None => unknown,
    }
}

fn numbers() -> impl Strategy<Value = u32> {
    let all: Vec<u32> = known().map(|(_, number)| number).collect();
    proptest::sample::select(all)
}

fn values() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..4_u64,
        2 => (0..4_u64).prop_map(|low| low | 1 << 32),
        1 => Just(u64::from(u32::MAX)),
        1 => Just(u64::MAX),
        1 => (0..4_u64).prop_map(|high| high << 32),
        1 => any::<u64>(),
    ]
}

fn conditions() -> impl Strategy<Value = Condition> {
    let is = proptest::sample::select(vec![
        Comparison::Equal,
        Comparison::Other,
        Comparison::Below,
        Comparison::AtMost,
        Comparison::Above,
        Comparison::AtLeast,
    ]);
    let width = proptest::sample::select(vec![Width::Half, Width::Whole]);
    let masks = prop_oneof![2 => Just(u64::MAX), 1 => values()];
    (0..6_u8, width, masks, is, values()).prop_map(|(argument, width, mask, is, value)| Condition {
        argument,
        width,
        mask,
        is,
        value,
    })
}

fn actions() -> impl Strategy<Value = Action> {
    proptest::sample::select(vec![
        Action::Allow,
        Action::Log,
        Action::Errno(Errno::EPERM),
        Action::Errno(Errno::ENOSYS),
        Action::Kill,
    ])
}

fn thrown() -> impl Strategy<Value = Thrown> {
    let case = (numbers(), proptest::collection::vec(conditions(), 0..4), actions());
    proptest::collection::vec(case, 0..60)
}

fn asked() -> impl Strategy<Value = (u32, [u64; 6])> {
    let numbers = prop_oneof![8 => numbers(), 1 => 0..600_u32, 1 => any::<u32>()];
    (numbers, proptest::array::uniform6(values()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_filter_says_what_its_policy_means(
        thrown in thrown(), otherwise in actions(), unknown in actions(),
        asked in proptest::collection::vec(asked(), 40),
    ) {
        let policy = policy(&thrown, otherwise, unknown);
        let program = compiled(&policy);
        // Half of the questions are about calls that it has cases for.
        let own = thrown.iter().zip(&asked).map(|((number, ..), (_, arguments))| (*number, *arguments));
        for (number, arguments) in asked.iter().copied().chain(own) {
            let asked = Asked::native(number, arguments);
            let said = run(&program, &asked);
            let meant = match number {
                0x4000_0000.. => Action::Errno(Errno::ENOSYS),
                _ => meant(&thrown, otherwise, unknown, &asked),
            };
            prop_assert_eq!(said, answer(meant), "{:?}", asked);
            if number < 0x4000_0000 {
                let verdict = policy.verdict(number, &arguments.map(Some));
                prop_assert_eq!(verdict, Verdict::Sure(meant));
            }
        }
    }

    #[test]
    fn what_is_said_without_the_arguments_holds_with_them(
        thrown in thrown(), otherwise in actions(), asked in asked(),
        is_known in proptest::array::uniform6(any::<bool>()), own in any::<prop::sample::Index>(),
    ) {
        let policy = policy(&thrown, otherwise, otherwise);
        let (number, arguments) = asked;
        let number = if thrown.is_empty() { number } else { own.get(&thrown).0 };
        let mut partly = arguments.map(Some);
        for (argument, is_known) in partly.iter_mut().zip(is_known) {
            *argument = argument.filter(|_| is_known);
        }
        if let Verdict::Sure(action) = policy.verdict(number, &partly) {
            prop_assert_eq!(policy.verdict(number, &arguments.map(Some)), Verdict::Sure(action));
        }
    }

    #[test]
    fn another_compiler_says_the_same(
        thrown in proptest::collection::vec(
            (numbers(), proptest::collection::vec(conditions(), 1..4)), 0..40,
        ),
        is_allowed in any::<bool>(),
        asked in proptest::collection::vec(asked(), 40),
    ) {
        let (then, otherwise) = match is_allowed {
            true => (Action::Allow, Action::Errno(Errno::EPERM)),
            false => (Action::Kill, Action::Allow),
        };
        // It masks to compare for equality only, and whole values with a whole mask.
        let thrown: Thrown = thrown.into_iter().map(|(number, when)| {
            let simple = when.into_iter().map(|one| match one.is {
                Comparison::Equal => Condition { value: one.value & one.mask, ..one },
                _ => Condition { mask: u64::MAX, ..one },
            });
            (number, simple.collect(), then)
        }).collect();
        let own = compiled(&policy(&thrown, otherwise, otherwise));
        let theirs = by_the_other(&thrown, then, otherwise);
        let about = thrown.iter().zip(&asked).map(|((number, ..), (_, arguments))| (*number, *arguments));
        for (number, arguments) in asked.iter().copied().chain(about) {
            // What the other compiler knows nothing of.
            if number >= 0x4000_0000 {
                continue;
            }
            let asked = Asked::native(number, arguments);
            prop_assert_eq!(run(&own, &asked), run(&theirs, &asked), "{:?}", asked);
        }
    }

    #[test]
    fn another_architecture_is_no_way_around(
        thrown in thrown(), otherwise in actions(), asked in asked(), architecture in any::<u32>(),
    ) {
        prop_assume!(architecture != NATIVE.0);
        let (number, arguments) = asked;
        let asked = Asked { number, architecture, arguments };
        let program = compiled(&policy(&thrown, otherwise, otherwise));
        prop_assert_eq!(run(&program, &asked), answer(Action::Kill));
    }
}

/// The same policy as `seccompiler` compiles it: a call's cases are one or the other.
fn by_the_other(thrown: &Thrown, then: Action, otherwise: Action) -> Vec<sock_filter> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (number, when, _) in thrown {
        let conditions: Vec<SeccompCondition> = when.iter().map(in_other_words).collect();
        let rule = SeccompRule::new(conditions).expect("a rule");
        rules.entry(i64::from(*number)).or_default().push(rule);
    }
    let action = |action| match action {
        Action::Allow => SeccompAction::Allow,
        Action::Log => SeccompAction::Log,
        Action::Kill => SeccompAction::KillProcess,
        Action::Errno(errno) => SeccompAction::Errno(errno as u32),
    };
    let filter = SeccompFilter::new(rules, action(otherwise), action(then), NATIVE.1);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    let instruction = |it: &seccompiler::sock_filter| sock_filter {
        code: it.code,
        jt: it.jt,
        jf: it.jf,
        k: it.k,
    };
    program.iter().map(instruction).collect()
}

fn in_other_words(condition: &Condition) -> SeccompCondition {
    let half = |it: u64| it & u64::from(u32::MAX);
    let (length, value, mask) = match condition.width {
        Width::Half => (SeccompCmpArgLen::Dword, half(condition.value), half(condition.mask)),
        Width::Whole => (SeccompCmpArgLen::Qword, condition.value, condition.mask),
    };
    let is = match condition.is {
        Comparison::Equal => SeccompCmpOp::MaskedEq(mask),
        Comparison::Other => SeccompCmpOp::Ne,
        Comparison::Below => SeccompCmpOp::Lt,
        Comparison::AtMost => SeccompCmpOp::Le,
        Comparison::Above => SeccompCmpOp::Gt,
        Comparison::AtLeast => SeccompCmpOp::Ge,
    };
    SeccompCondition::new(condition.argument, length, is, value).expect("a condition")
}

#[test]
fn every_call_of_a_profile_is_answered_as_it_says() {
    for profile in [Profile::Default, Profile::Strict] {
        let policy = profile.policy();
        let program = compiled(&policy);
        for number in 0..600 {
            for first in [0, 1, 0x1000_0000, 40, 1 << 32 | 1] {
                for second in [0, libc::TIOCSTI, 1 << 32 | libc::TIOCSTI] {
                    let arguments = [first, second, 0, 0, 0, 0];
                    let said = run(&program, &Asked::native(number, arguments));
                    let verdict = policy.verdict(number, &arguments.map(Some));
                    assert!(matches!(verdict, Verdict::Sure(action) if answer(action) == said));
                }
            }
        }
    }
}

#[test]
fn a_profile_denies_what_reaches_for_the_host() {
    let said = |profile: Profile, call: &str, arguments: [u64; 6]| {
        let isorecipe::seccomp::Found::Here(number) = find(call) else { panic!("{call}") };
        run(&compiled(&profile.policy()), &Asked::native(number, arguments))
    };
    let (allow, eperm) = (answer(Action::Allow), answer(Action::Errno(Errno::EPERM)));
    let enosys = answer(Action::Errno(Errno::ENOSYS));
    for profile in [Profile::Default, Profile::Strict] {
        for call in [
            "acct",
            "add_key",
            "bpf",
            "delete_module",
            "finit_module",
            "fsconfig",
            "fsmount",
            "fsopen",
            "init_module",
            "io_uring_enter",
            "io_uring_register",
            "io_uring_setup",
            "kcmp",
            "kexec_file_load",
            "kexec_load",
            "keyctl",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_by_handle_at",
            "open_tree",
            "open_tree_attr",
            "perf_event_open",
            "pidfd_getfd",
            "pivot_root",
            "process_vm_readv",
            "process_vm_writev",
            "ptrace",
            "reboot",
            "request_key",
            "setns",
            "swapon",
            "syslog",
            "umount2",
            "userfaultfd",
        ] {
            assert_eq!(said(profile, call, [0; 6]), eperm, "{call}");
        }
        let of = |first: u64, second: u64| [first, second, 0, 0, 0, 0];
        let namespace = libc::CLONE_NEWUSER as u64;
        assert_eq!(said(profile, "clone3", [0; 6]), enosys);
        assert_eq!(said(profile, "clone", of(libc::SIGCHLD as u64, 0)), allow);
        assert_eq!(said(profile, "clone", of(namespace | 17, 0)), eperm);
        assert_eq!(said(profile, "unshare", of(namespace, 0)), eperm);
        for sti in [libc::TIOCSTI, libc::TIOCSTI | 1 << 32, libc::TIOCLINUX | 0xffff << 40] {
            assert_eq!(said(profile, "ioctl", of(0, sti)), eperm);
        }
        assert_eq!(said(profile, "ioctl", of(0, libc::TIOCGWINSZ)), allow);
        assert_eq!(said(profile, "execve", [0; 6]), allow);
    }
    let unsupported = answer(Action::Errno(Errno::EAFNOSUPPORT));
    for (family, expected) in [
        (1, allow),
        (2, allow),
        (10, allow),
        (16, allow),
        (17, unsupported),
        (38, unsupported),
        (40, unsupported),
    ] {
        let arguments = [family | 1 << 32, 1, 0, 0, 0, 0];
        assert_eq!(said(Profile::Default, "socket", arguments), expected, "{family}");
        assert_eq!(said(Profile::Strict, "socket", arguments), eperm, "{family}");
    }
}

#[test]
fn a_jump_that_is_too_far_for_one_instruction_is_taken() {
    let condition = |argument, value| Condition {
        argument,
        width: Width::Whole,
        mask: u64::MAX,
        is: Comparison::AtMost,
        value,
    };
    let all: Vec<u32> = known().map(|(_, number)| number).take(40).collect();
    let mut policy = Policy::of(Action::Kill);
    for &number in &all {
        let when = (0..6).map(|argument| condition(argument, 7)).collect();
        policy.add(number, Case { when, then: Action::Allow });
    }
    let program = compiled(&policy);
    assert!(program.len() > 900, "{}", program.len());
    for &number in &all {
        assert_eq!(run(&program, &Asked::native(number, [7; 6])), answer(Action::Allow));
        let asked = Asked::native(number, [7, 7, 7, 7, 7, 8]);
        assert_eq!(run(&program, &asked), answer(Action::Kill));
    }
}

#[test]
fn the_longest_case_still_jumps_to_its_end() {
    let masked = Condition {
        argument: 0,
        width: Width::Whole,
        mask: u64::MAX - 1,
        is: Comparison::Above,
        value: 1 << 40,
    };
    let mut policy = Policy::of(Action::Kill);
    policy.add(0, Case { when: vec![masked; MOST_CONDITIONS], then: Action::Allow });
    let program = compiled(&policy);
    let said = |argument| run(&program, &Asked::native(0, [argument, 0, 0, 0, 0, 0]));
    assert_eq!(said(1 << 41), answer(Action::Allow));
    assert_eq!(said(1 << 39), answer(Action::Kill));
    policy.add(0, Case { when: vec![masked; MOST_CONDITIONS + 1], then: Action::Allow });
    assert!(matches!(compile(&policy), Err(TooLong::Case(33))));
}

#[test]
fn a_filter_that_the_kernel_would_not_take_is_not_made() {
    let mut policy = Policy::of(Action::Kill);
    for value in 0..2000 {
        let only = Condition {
            argument: 0,
            width: Width::Half,
            mask: u64::MAX,
            is: Comparison::Equal,
            value,
        };
        policy.add(0, Case { when: vec![only], then: Action::Allow });
    }
    let Err(TooLong::Filter(length)) = compile(&policy) else { panic!("it is too long") };
    assert!(length > LONGEST);
}
