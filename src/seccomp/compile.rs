//! A policy as instructions: the architecture first, then a balanced tree over
//! the numbers, with neighbours that get one answer as one leaf.
//!
//! A list would be walked by the kernel for each number when it is loaded; a
//! tree of the same calls is loaded in a twelfth of the time.

use libc::sock_filter;

use super::{
    calls,
    condition::{Comparison, Condition, Width},
    policy::{Action, Case, Policy},
};

/// The most instructions that the kernel takes in one filter (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;

/// The most conditions in one case: a jump over more would be too far.
pub const MOST_CONDITIONS: usize = 32;

/// Why there are no instructions for a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooLong {
    /// So many instructions, more than [`LONGEST`]
    Filter(usize),
    /// A case with so many conditions, more than [`MOST_CONDITIONS`]
    Case(usize),
}

/// `struct seccomp_data`: where the kernel shows what.
mod shown {
    pub const NUMBER: u32 = 0;
    pub const ARCHITECTURE: u32 = 4;
    /// The lower half of an argument; the upper one is behind it.
    pub const fn lower(argument: u8) -> u32 {
        16 + 8 * argument as u32
    }
    pub const fn upper(argument: u8) -> u32 {
        lower(argument) + 4
    }
}

#[cfg(target_arch = "x86_64")]
const NATIVE: u32 = audit::X86_64;
#[cfg(target_arch = "aarch64")]
const NATIVE: u32 = audit::AARCH64;

/// `linux/audit.h`
#[allow(dead_code)]
mod audit {
    pub const X86_64: u32 = 0xC000_003E;
    pub const AARCH64: u32 = 0xC000_00B7;
}

/// The bit that marks the numbers of x32 (`__X32_SYSCALL_BIT`). No other
/// architecture has calls there.
const X32: u32 = 0x4000_0000;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const ALWAYS: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const ABOVE: u16 = (libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K) as u16;
const AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;

/// The farthest that a conditional jump goes.
const FARTHEST: usize = u8::MAX as usize;

/// The instructions that say what the policy says.
///
/// # Errors
/// There would be too many.
pub fn compile(policy: &Policy) -> Result<Vec<sock_filter>, TooLong> {
    let conditions = policy.most_conditions();
    if conditions > MOST_CONDITIONS {
        return Err(TooLong::Case(conditions));
    }
    let mut program = vec![
        plain(LOAD, shown::ARCHITECTURE),
        jump(EQUAL, NATIVE, 1, 0),
        give(Action::Kill),
        plain(LOAD, shown::NUMBER),
        jump(AT_LEAST, X32, 0, 1),
        give(Action::Errno(crate::sys::Errno::ENOSYS)),
    ];
    program.extend(tree(&leaves(policy)));
    match program.len() {
        0..=LONGEST => Ok(program),
        length => Err(TooLong::Filter(length)),
    }
}

/// What all numbers from here to the next leaf get.
struct Leaf {
    from: u32,
    code: Vec<sock_filter>,
}

/// One leaf for as many neighbours as get one answer, from number 0 on.
fn leaves(policy: &Policy) -> Vec<Leaf> {
    let mut known: Vec<u32> = calls::known().map(|(_, number)| number).collect();
    known.sort_unstable();
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut add = |from: u32, code: Vec<sock_filter>| {
        if leaves.last().is_none_or(|last| !same(&last.code, &code)) {
            leaves.push(Leaf { from, code });
        }
    };
    let mut next = 0;
    for number in known {
        if number > next {
            add(next, vec![give(policy.to_unknown())]);
        }
        let (cases, otherwise) = policy.on(number);
        add(number, chain(cases, otherwise));
        next = number + 1;
    }
    add(next, vec![give(policy.to_unknown())]);
    leaves
}

fn same(one: &[sock_filter], other: &[sock_filter]) -> bool {
    let parts = |it: &sock_filter| (it.code, it.jt, it.jf, it.k);
    one.iter().map(parts).eq(other.iter().map(parts))
}

/// Halves the leaves until one is left; the number is in the accumulator.
fn tree(leaves: &[Leaf]) -> Vec<sock_filter> {
    let (below, from) = leaves.split_at(leaves.len() / 2);
    let Some(first) = from.first() else { return vec![] };
    if below.is_empty() {
        return first.code.clone();
    }
    let (below, from) = (tree(below), tree(from));
    let mut code = match below.len() {
        near @ 0..=FARTHEST => vec![jump(AT_LEAST, first.from, near as u8, 0)],
        far => vec![jump(AT_LEAST, first.from, 0, 1), plain(ALWAYS, far as u32)],
    };
    code.extend(below);
    code.extend(from);
    code
}

/// The cases of one call, one after the other.
fn chain(cases: &[Case], otherwise: Action) -> Vec<sock_filter> {
    let mut code = Vec::new();
    for case in cases {
        code.extend(one(case));
        if case.when.is_empty() {
            // Nothing comes to what is behind it.
            return code;
        }
    }
    code.push(give(otherwise));
    code
}

/// Where a jump leads within a case.
#[derive(Clone, Copy)]
enum To {
    /// To the next instruction
    Next,
    /// Behind this condition: it holds
    Holds,
    /// Behind the case: it does not
    Fails,
}

enum Draft {
    Plain(sock_filter),
    Jump(u16, u32, To, To),
}

/// The conditions of a case, and what it gives where all hold.
fn one(case: &Case) -> Vec<sock_filter> {
    let mut drafts: Vec<(Draft, usize)> = Vec::new();
    for condition in &case.when {
        let asked = ask(condition);
        let end = drafts.len() + asked.len();
        drafts.extend(asked.into_iter().map(|draft| (draft, end)));
    }
    let end = drafts.len() + 1;
    // With `MOST_CONDITIONS` of at most seven instructions, nothing is too far.
    let distance = |from: usize, to: usize| u8::try_from(to - from - 1).unwrap_or(u8::MAX);
    let mut code: Vec<sock_filter> = Vec::with_capacity(end);
    for (at, (draft, holds)) in drafts.iter().enumerate() {
        let to = |place: To| match place {
            To::Next => 0,
            To::Holds => distance(at, *holds),
            To::Fails => distance(at, end),
        };
        code.push(match draft {
            Draft::Plain(instruction) => *instruction,
            Draft::Jump(how, value, yes, no) => jump(*how, *value, to(*yes), to(*no)),
        });
    }
    code.push(give(case.then));
    code
}

/// The upper half, where it counts, and then the lower.
fn ask(condition: &Condition) -> Vec<Draft> {
    use To::{Fails, Holds, Next};
    let Condition { argument, mask, value, .. } = *condition;
    let halves = |of: u64| ((of >> 32) as u32, of as u32);
    let ((mask_above, mask), (value_above, value)) = (halves(mask), halves(value));
    let mut code = Vec::new();
    if condition.width == Width::Whole {
        load(&mut code, shown::upper(argument), mask_above);
        let (above, other) = match condition.is {
            Comparison::Equal => (Fails, Fails),
            Comparison::Other => (Holds, Holds),
            Comparison::Above | Comparison::AtLeast => (Holds, Fails),
            Comparison::Below | Comparison::AtMost => (Fails, Holds),
        };
        // Both lead to one place where it does not matter which is greater.
        if matches!(condition.is, Comparison::Equal | Comparison::Other) {
            code.push(Draft::Jump(EQUAL, value_above, Next, other));
        } else {
            code.push(Draft::Jump(ABOVE, value_above, above, Next));
            code.push(Draft::Jump(EQUAL, value_above, Next, other));
        }
    }
    load(&mut code, shown::lower(argument), mask);
    code.push(match condition.is {
        Comparison::Equal => Draft::Jump(EQUAL, value, Next, Fails),
        Comparison::Other => Draft::Jump(EQUAL, value, Fails, Next),
        Comparison::Above => Draft::Jump(ABOVE, value, Next, Fails),
        Comparison::AtLeast => Draft::Jump(AT_LEAST, value, Next, Fails),
        Comparison::Below => Draft::Jump(AT_LEAST, value, Fails, Next),
        Comparison::AtMost => Draft::Jump(ABOVE, value, Fails, Next),
    });
    code
}

fn load(code: &mut Vec<Draft>, at: u32, mask: u32) {
    code.push(Draft::Plain(plain(LOAD, at)));
    if mask != u32::MAX {
        code.push(Draft::Plain(plain(AND, mask)));
    }
}

/// What ends the filter (`SECCOMP_RET_…`).
fn give(action: Action) -> sock_filter {
    let answer = match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Log => libc::SECCOMP_RET_LOG,
        Action::Kill => libc::SECCOMP_RET_KILL_PROCESS,
        Action::Errno(errno) => libc::SECCOMP_RET_ERRNO | (errno as u32 & libc::SECCOMP_RET_DATA),
    };
    plain(RETURN, answer)
}

fn plain(code: u16, k: u32) -> sock_filter {
    sock_filter { code, jt: 0, jf: 0, k }
}

fn jump(code: u16, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code, jt, jf, k }
}
