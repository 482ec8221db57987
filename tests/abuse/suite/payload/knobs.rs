//! What the kernel lets root turn, in `/proc` and `/sys`.

use super::{
    super::check::{Broke, Cannot, Check, Facts, Held, How, Verdict},
    all, named, open, read, refused,
};

pub const CHECKS: &[Check] = &[
    Check { name: "proc_write", how: How::Inside(proc_write) },
    Check { name: "sys_write", how: How::Inside(sys_write) },
    Check { name: "proc_secrets", how: How::Inside(proc_secrets) },
    Check { name: "cgroup_view", how: How::Inside(cgroup_view) },
    Check { name: "cgroup_write", how: How::Inside(cgroup_write) },
];

/// Opened and never written. What a namespace of its own has instead is not here.
const KNOBS: [&str; 25] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/core_uses_pid",
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/poweroff_cmd",
    "/proc/sys/kernel/panic",
    "/proc/sys/kernel/panic_on_oops",
    "/proc/sys/kernel/sysrq",
    "/proc/sys/kernel/printk",
    "/proc/sys/kernel/randomize_va_space",
    "/proc/sys/kernel/threads-max",
    "/proc/sys/kernel/softlockup_panic",
    "/proc/sys/kernel/kptr_restrict",
    "/proc/sys/kernel/dmesg_restrict",
    "/proc/sys/kernel/perf_event_paranoid",
    "/proc/sys/kernel/unprivileged_bpf_disabled",
    "/proc/sys/fs/file-max",
    "/proc/sys/fs/protected_symlinks",
    "/proc/sys/fs/protected_hardlinks",
    "/proc/sys/fs/suid_dumpable",
    "/proc/sys/fs/binfmt_misc/register",
    "/proc/sys/vm/overcommit_memory",
    "/proc/sys/vm/drop_caches",
    "/proc/sys/vm/panic_on_oom",
    "/proc/sysrq-trigger",
    "/proc/irq/default_smp_affinity",
];

fn proc_write(_: &Facts) -> Verdict {
    if open("/proc/self/status", libc::O_RDONLY).is_err() {
        return Cannot("no /proc".to_owned());
    }
    opened_for_writing(&KNOBS)
}

fn opened_for_writing(paths: &[&str]) -> Verdict {
    let opened: Vec<&str> =
        paths.iter().copied().filter(|path| open(path, libc::O_WRONLY).is_ok()).collect();
    match opened.first() {
        Some(first) => Broke(format!("{} of {}, {first} the first", opened.len(), paths.len())),
        None => Held(format!("none of {}", paths.len())),
    }
}

fn sys_write(_: &Facts) -> Verdict {
    opened_for_writing(&[
        "/sys/kernel/uevent_helper",
        "/sys/kernel/profiling",
        "/sys/kernel/rcu_expedited",
        "/sys/kernel/mm/ksm/run",
        "/sys/kernel/mm/transparent_hugepage/enabled",
        "/sys/kernel/mm/transparent_hugepage/defrag",
        "/sys/kernel/mm/lru_gen/enabled",
        "/sys/kernel/debug/sched/features",
        "/sys/power/state",
        "/sys/power/disk",
        "/sys/power/pm_async",
        "/sys/module/printk/parameters/time",
        "/sys/block/vda/queue/read_ahead_kb",
        "/sys/block/sda/queue/read_ahead_kb",
        "/sys/devices/system/cpu/cpu1/online",
        "/sys/fs/cgroup/cgroup.procs",
    ])
}

fn proc_secrets(_: &Facts) -> Verdict {
    let reads = [
        "/proc/kcore",
        "/proc/kpageflags",
        "/proc/slabinfo",
        "/proc/vmallocinfo",
        "/proc/timer_list",
    ];
    all(reads.map(|path| match open(path, libc::O_RDONLY) {
        // Who asks is looked at when it is read.
        Ok(()) => refused(one_byte(path), path),
        Err(errno) => Held(format!("{path}: {}", named(errno))),
    }))
}

fn one_byte(path: &str) -> Result<u8, i32> {
    use std::io::Read;
    let mut byte = [0];
    let file = std::fs::File::open(path);
    match file.and_then(|mut file| file.read(&mut byte)) {
        Ok(1) => Ok(byte[0]),
        Ok(_) => Err(libc::ENODATA),
        Err(error) => Err(error.raw_os_error().unwrap_or(0)),
    }
}

fn cgroup_view(_: &Facts) -> Verdict {
    match read("/proc/self/cgroup") {
        Ok(text) => {
            let other = text.lines().find(|line| !line.ends_with(":/"));
            Verdict::broke_if(other.is_some(), other.unwrap_or("only its own root"))
        }
        Err(errno) => Held(format!("/proc/self/cgroup: {}", named(errno))),
    }
}

fn cgroup_write(_: &Facts) -> Verdict {
    let mut directories = vec!["/sys/fs/cgroup".to_owned()];
    for entry in std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten() {
        directories.push(entry.path().display().to_string());
    }
    all(directories
        .iter()
        .map(|at| refused(open(&format!("{at}/cgroup.procs"), libc::O_WRONLY), at)))
}
