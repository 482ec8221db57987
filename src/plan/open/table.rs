//! What hostile code tries, and which layer's business it is to stop it.

use super::end::End;

/// Something that hostile code tries.
#[derive(Debug)]
pub struct Check {
    /// Its name in the abuse suite
    pub name: &'static str,
    /// What it is, in words
    pub tries: &'static str,
    /// Whether it is stopped for sure, by what the plan comes to
    pub(super) is_stopped: fn(&End) -> bool,
}

/// What no layer is needed for.
pub const ALWAYS: &str = "always";

/// Every check, with the layer that is to stop it.
pub fn checks() -> impl Iterator<Item = (&'static str, &'static Check)> {
    TABLE.iter().flat_map(|(layer, checks)| checks.iter().map(move |check| (*layer, check)))
}

/// What to write into a recipe, so that a layer's checks are stopped.
pub(super) fn closed_by(layer: &str) -> &'static str {
    match layer {
        "root" => "root: {read_only: [/usr]}",
        "user" | "ids" => "user: {map: auto}",
        "groups" => "user: {map: auto}, with a line for you in /etc/subgid",
        "nested" => "user: {nested: false}",
        "pid" => "pid: {}",
        "init" => "pid: {init: true}",
        "mount" => "mount: {}",
        "uts" => "uts: {}",
        "ipc" => "ipc: {}",
        "net" => "net: none",
        "cgroup" => "cgroup: {}",
        "capabilities" => "capabilities: none",
        "no_new_privs" => "no_new_privs: true",
        "seccomp" => "seccomp: default",
        "strict" => "seccomp: strict",
        "rlimits" => "rlimits: {core: 0}",
        "limits" => "limits: {memory: 512M, pids: 128}, in a control group",
        "clear_env" => "clear_env: true",
        _ => "",
    }
}

const fn check(name: &'static str, tries: &'static str, is_stopped: fn(&End) -> bool) -> Check {
    Check { name, tries, is_stopped }
}

/// Sorted by layer, and the layers as most recipes have them.
const TABLE: &[(&str, &[Check])] = &[
    (
        ALWAYS,
        &[
            check("fd_leak", "use a descriptor that the caller left open", End::always),
            check("fd_escape", "walk from a directory that the caller left open", End::always),
            check("keyring", "read a key in the caller's session keyring", End::always),
            check("sigstate", "start with signals ignored or blocked", End::always),
            check("kill_pgrp", "signal the caller's process group", End::always),
            check(
                "sigchld_ignored",
                "have its exit status lost by a caller who ignores SIGCHLD",
                End::always,
            ),
            check(
                "closed_stdio",
                "find a file of the runner's behind closed standard streams",
                End::always,
            ),
            check("session", "stay in the caller's process group", End::always),
        ],
    ),
    (
        "user",
        &[
            check(
                "user_keyring",
                "read a key in the caller's user keyring",
                End::hides_user_keyring,
            ),
            check("setns", "join a namespace of the host", End::keeps_out_of_namespaces),
            check("namespaces", "share a namespace with the host", End::has_every_namespace),
        ],
    ),
    (
        "ids",
        &[
            check("idmap", "be root of the host", End::is_not_host_root),
            check("shadow", "read the passwords of the machine", End::hides_passwords),
            check("proc_write", "open a knob of the host in /proc for writing", End::guards_knobs),
            check("proc_secrets", "read what /proc keeps for root", End::guards_secrets),
        ],
    ),
    (
        "groups",
        &[
            check("groups", "keep the caller's groups", End::has_no_groups),
            check("setgroups", "drop a group that it is denied files by", End::keeps_groups),
        ],
    ),
    (
        "nested",
        &[
            check(
                "nested_userns",
                "get every capability in a user namespace of its own",
                End::forbids_nested,
            ),
            check(
                "cgroup_mount",
                "mount cgroup v1 and reach release_agent (CVE-2022-0492)",
                End::forbids_mounts_everywhere,
            ),
        ],
    ),
    (
        "pid",
        &[
            check(
                "exe_overwrite",
                "reopen the runner's program for writing (CVE-2019-5736)",
                End::hides_processes,
            ),
            check("helper_ptrace", "trace the runner's process inside", End::has_own_processes),
            check(
                "helper_mem",
                "open the memory of the runner's process inside",
                End::has_own_processes,
            ),
            check(
                "helper_fds",
                "take a descriptor from the runner's process inside",
                End::has_own_processes,
            ),
            check("ptrace_victim", "trace a process of the caller's", End::has_own_processes),
            check("signal_victim", "signal a process of the caller's", End::has_own_processes),
            check("host_processes", "see the caller's processes", End::hides_processes),
            check("background_left", "leave a process behind", End::has_own_processes),
            check("orphan_kill9", "outlive a runner that gets SIGKILL", End::has_own_processes),
        ],
    ),
    (
        "init",
        &[
            check("pid1", "be PID 1, deaf to signals", End::is_not_first),
            check("exit_status", "have its exit status or signal told wrong", End::is_not_first),
            check("zombies", "leave 200 orphans that nobody reaps", End::has_init),
            check("orphan_term", "outlive a runner that gets SIGTERM", End::has_init),
            check("orphan_int", "outlive a runner that gets SIGINT", End::has_init),
            check("orphan_hup", "outlive a runner that gets SIGHUP", End::has_init),
        ],
    ),
    ("uts", &[check("hostname", "rename the host", End::keeps_hostname)]),
    (
        "ipc",
        &[
            check("sysv_shm", "attach System V memory of the host's", End::has_own_ipc),
            check("posix_mq", "open a message queue of the host's", End::has_own_ipc),
        ],
    ),
    (
        "net",
        &[
            check("loopback", "connect to a server on the host's 127.0.0.1", End::has_own_network),
            check("interfaces", "have an interface that leads out", End::has_no_way_out),
            check(
                "abstract_sock",
                "connect to an abstract socket of the host's",
                End::has_own_network,
            ),
        ],
    ),
    ("cgroup", &[check("cgroup_view", "learn where the host keeps it", End::has_own_groups)]),
    (
        "mount",
        &[check("propagation", "have its mounts appear on the host", End::keeps_mounts_inside)],
    ),
    (
        "root",
        &[
            check("host_file", "open a file of the caller's", End::hides_host),
            check("host_home", "list the caller's home", End::hides_home),
            check("host_shm", "open shared memory of the caller's in /dev/shm", End::hides_shm),
            check("cwd_escape", "climb out of the working directory", End::hides_host),
            check("chroot_escape", "leave by chroot and a directory kept open", End::hides_host),
            check(
                "proc_root",
                "reach files through /proc/PID/root and cwd",
                End::hides_other_roots,
            ),
            check(
                "ro_write",
                "write where it is read-only, mounts below included",
                End::keeps_system,
            ),
            check("dev_nodes", "open hardware in /dev", End::hides_hardware),
            check(
                "bound_dev",
                "open a device node in a directory that is shown",
                End::shows_no_nodes,
            ),
            check("sys_write", "open a file in /sys for writing", End::guards_sysfs),
            check("cgroup_write", "change its own control group", End::guards_control_groups),
        ],
    ),
    (
        "rlimits",
        &[check("core_dump", "have the host's core_pattern program started", End::dumps_no_core)],
    ),
    (
        "capabilities",
        &[
            check(
                "caps_zero",
                "have capabilities, in any of the five sets",
                End::has_no_capability,
            ),
            check(
                "host_caps",
                "have capabilities, as the host counts them",
                End::has_no_capability,
            ),
            check("open_by_handle", "open files by handle (shocker)", End::opens_no_handle),
            check("mknod", "make a device node and open it", End::makes_no_node),
            check("ro_remount", "make a read-only mount writable again", End::keeps_read_only),
            check("umount_reveal", "unmount what covers something", End::may_not_mount),
            check("fresh_proc", "mount a /proc without masks", End::may_not_mount),
            check("mount_new", "mount anything, by the old calls or the new", End::may_not_mount),
            check("new_namespaces", "make namespaces of other kinds", End::may_not_mount),
            check("pivot", "pivot_root", End::may_not_mount),
            check("clock", "set the machine's clock", End::sets_no_clock),
            check("nice", "take a priority above the caller's", End::stays_nice),
            check("rawsock", "send packets of its own make", End::sends_no_raw_packet),
        ],
    ),
    (
        "no_new_privs",
        &[
            check("suid", "become somebody by a set-user-ID program", End::has_no_new_privs),
            check("no_new_privs", "gain rights by execve", End::has_no_new_privs),
        ],
    ),
    (
        "seccomp",
        &[
            check("tiocsti", "type into the caller's terminal", End::does_not_type),
            check("tioclinux", "paste on the console", End::does_not_paste),
            check("seccomp", "call without a filter", End::is_filtered),
            check("compat", "call by int 0x80, with other numbers", End::is_filtered),
            check("x32", "call by x32, with other numbers", End::is_filtered),
            check("io_uring", "make a ring whose operations no filter sees", End::has_no_ring),
            check("bpf", "load programs into the kernel", End::has_no_bpf),
            check("perf", "open performance events", End::has_no_perf),
            check("userfaultfd", "stop the kernel in the middle of a copy", End::stops_no_copy),
            check("key_calls", "make keys", End::makes_no_key),
            check("modules", "load a module or another kernel", End::loads_no_module),
            check("kernel_log", "read the kernel's log", End::reads_no_log),
            check("personality", "switch address randomisation off", End::keeps_addresses),
            check(
                "vsock",
                "talk to the hypervisor, whom no namespace hides",
                End::has_no_hypervisor,
            ),
            check("af_alg", "reach the kernel's ciphers", End::has_no_ciphers),
        ],
    ),
    (
        "strict",
        &[
            check(
                "path_sock",
                "connect to a socket in a directory that is shown",
                End::connects_nowhere,
            ),
            check("netlink", "talk to the kernel's network configuration", End::has_no_netlink),
        ],
    ),
    (
        "limits",
        &[
            check("pids_limit", "make processes without end", End::limits_processes),
            check("memory_limit", "use memory without end", End::limits_memory),
        ],
    ),
    ("clear_env", &[check("env_leak", "read a variable of the caller's", End::clears_environment)]),
];
