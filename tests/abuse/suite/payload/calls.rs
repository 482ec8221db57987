//! System calls: the rights that remain, the ways around a filter, and the
//! calls that lead deep into the kernel.
//!
//! Each is made with arguments that can do nothing. The answers that a kernel
//! gives before it looks at them (EPERM, ENOSYS, EACCES) count as held.

use super::{
    super::check::{Cannot, Check, Facts, Held, How, Verdict},
    all, c, call, named, status,
};

pub const CHECKS: &[Check] = &[
    Check { name: "caps_zero", how: How::Inside(caps_zero) },
    Check { name: "no_new_privs", how: How::Inside(no_new_privs) },
    Check { name: "seccomp", how: How::Inside(seccomp) },
    Check { name: "compat", how: How::Inside(compat) },
    Check { name: "x32", how: How::Inside(x32) },
    Check { name: "io_uring", how: How::Inside(io_uring) },
    Check { name: "bpf", how: How::Inside(bpf) },
    Check { name: "perf", how: How::Inside(perf) },
    Check { name: "userfaultfd", how: How::Inside(userfaultfd) },
    Check { name: "key_calls", how: How::Inside(key_calls) },
    Check { name: "modules", how: How::Inside(modules) },
    Check { name: "clock", how: How::Inside(clock) },
    Check { name: "kernel_log", how: How::Inside(kernel_log) },
    Check { name: "personality", how: How::Inside(personality) },
    Check { name: "hostname", how: How::Inside(hostname) },
    Check { name: "nice", how: How::Inside(nice) },
];

fn caps_zero(_: &Facts) -> Verdict {
    let sets = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"];
    let mut left = Vec::new();
    for set in sets {
        match status("self", set) {
            Ok(hex) if hex.bytes().all(|byte| byte == b'0') => {}
            Ok(hex) => left.push(format!("{set} {hex}")),
            Err(_) => return Cannot("no /proc".to_owned()),
        }
    }
    Verdict::broke_if(!left.is_empty(), left.join(" "))
}

fn no_new_privs(_: &Facts) -> Verdict {
    let found = call(libc::SYS_prctl, &[libc::PR_GET_NO_NEW_PRIVS as usize]);
    Verdict::broke_if(found != Ok(1), format!("{:?}", found.map_err(named)))
}

fn seccomp(_: &Facts) -> Verdict {
    match status("self", "Seccomp") {
        Ok(mode) => Verdict::broke_if(mode != "2", format!("mode {mode}")),
        Err(_) => Cannot("no /proc".to_owned()),
    }
}

#[cfg(target_arch = "x86_64")]
fn compat(_: &Facts) -> Verdict {
    let answer: i64;
    // SAFETY: getpid, by its number of 32 bits; the kernel changes no memory.
    unsafe {
        std::arch::asm!("push rbx", "mov rbx, 0", "int 0x80", "pop rbx", inlateout("rax") 20_i64 => answer,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    Verdict::broke_if(answer > 0, format!("getpid gave {answer}"))
}

#[cfg(not(target_arch = "x86_64"))]
fn compat(_: &Facts) -> Verdict {
    Held("this machine has no such gate".to_owned())
}

fn x32(_: &Facts) -> Verdict {
    #[cfg(target_arch = "x86_64")]
    return refused_number(0x4000_0000 | libc::SYS_getpid);
    #[cfg(not(target_arch = "x86_64"))]
    Held("this machine has no x32".to_owned())
}

#[cfg(target_arch = "x86_64")]
fn refused_number(number: i64) -> Verdict {
    super::refused(call(number, &[]), "getpid")
}

/// Whether the kernel looked at the arguments.
fn reached(found: Result<i64, i32>, what: &str) -> Verdict {
    let stopped = matches!(found, Err(libc::EPERM | libc::ENOSYS | libc::EACCES));
    Verdict::broke_if(!stopped, format!("{what}: {:?}", found.map_err(named)))
}

fn io_uring(_: &Facts) -> Verdict {
    reached(call(425, &[1, 0]), "io_uring_setup")
}

fn bpf(_: &Facts) -> Verdict {
    // A map of nothing, and a program of none: the size is too small for either.
    all([0, 5].map(|command| reached(call(libc::SYS_bpf, &[command, 0, 0]), "bpf")))
}

fn perf(_: &Facts) -> Verdict {
    let mut attributes = [0_u32; 32];
    attributes[0] = 1;
    attributes[1] = 128;
    // Of this process, in user mode only: what is left to everybody.
    attributes[10] = 0b1100001;
    let own = attributes.as_ptr() as usize;
    reached(
        call(libc::SYS_perf_event_open, &[own, 0, usize::MAX, usize::MAX, 0]),
        "perf_event_open",
    )
}

fn userfaultfd(_: &Facts) -> Verdict {
    all([0, 1].map(|flags| reached(call(libc::SYS_userfaultfd, &[flags]), "userfaultfd")))
}

fn key_calls(_: &Facts) -> Verdict {
    let (kind, name) = (c("keyring"), c("abuse-own"));
    let made = call(
        libc::SYS_add_key,
        &[kind.as_ptr() as usize, name.as_ptr() as usize, 0, 0, -2_i32 as usize],
    );
    let asked = call(libc::SYS_keyctl, &[0, -2_i32 as usize, 1]);
    all([reached(made, "add_key"), reached(asked, "keyctl")])
}

fn modules(_: &Facts) -> Verdict {
    let none = usize::MAX;
    all([
        reached(call(libc::SYS_init_module, &[0, 0, 0]), "init_module"),
        reached(call(libc::SYS_finit_module, &[none, 0, 0]), "finit_module"),
        reached(call(libc::SYS_kexec_load, &[0, 0, 0, none]), "kexec_load"),
        reached(call(libc::SYS_swapon, &[0, 0]), "swapon"),
        reached(call(libc::SYS_acct, &[1]), "acct"),
    ])
}

fn clock(_: &Facts) -> Verdict {
    // A time that no clock has: nothing is set even by who may.
    let never = libc::timespec { tv_sec: -1, tv_nsec: 2_000_000_000 };
    let arguments = [libc::CLOCK_REALTIME as usize, &raw const never as usize];
    let mut query: libc::timex =
        // SAFETY: zeros are a structure that sets nothing.
        unsafe { std::mem::zeroed() };
    query.modes = libc::ADJ_TICK;
    query.tick = 1;
    all([
        reached(call(libc::SYS_adjtimex, &[&raw mut query as usize]), "adjtimex"),
        match call(libc::SYS_clock_settime, &arguments) {
            // The time is looked at first.
            Err(libc::EINVAL) => Held("clock_settime looked at the time only".to_owned()),
            found => reached(found, "clock_settime"),
        },
    ])
}

fn kernel_log(_: &Facts) -> Verdict {
    const READ_ALL: usize = 3;
    let mut text = [0_u8; 64];
    let found = call(libc::SYS_syslog, &[READ_ALL, text.as_mut_ptr() as usize, text.len()]);
    reached(found, "syslog")
}

fn personality(_: &Facts) -> Verdict {
    const ADDR_NO_RANDOMIZE: usize = 0x004_0000;
    reached(call(libc::SYS_personality, &[ADDR_NO_RANDOMIZE]), "personality")
}

/// The same name again: nobody notices, and the answer is the same.
fn hostname(facts: &Facts) -> Verdict {
    let own = std::fs::read_link("/proc/self/ns/uts").unwrap_or_default();
    if own.to_string_lossy() != facts.get("uts") {
        return Held("the name is its own".to_owned());
    }
    let name = facts.get("hostname");
    let found = call(libc::SYS_sethostname, &[name.as_ptr() as usize, name.len()]);
    Verdict::broke_if(found.is_ok(), format!("sethostname: {:?}", found.map_err(named)))
}

fn nice(_: &Facts) -> Verdict {
    // The call counts down from 20 (`getpriority(2)`, "C library/kernel differences").
    let own = call(libc::SYS_getpriority, &[0, 0]).map_or(0, |counted| 20 - counted as i32);
    super::refused(call(libc::SYS_setpriority, &[0, 0, (own - 1) as usize]), "setpriority")
}
