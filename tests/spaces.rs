//! Namespaces of IPC, network, control groups and clocks: what the host sees of each, and what is left of it.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/strike.rs"]
mod strike;

use std::rc::Rc;

use isorecipe::{
    host::Host,
    model::{Model, Owned, UserId, capability::Capabilities},
    ops::{BringLoopbackUp, Evidence, MountNew, Operation},
    sys::{Call, Errno},
};
use machine::{Desk, Who, namespace, proc_file};

fn own_pid() -> i32 {
    std::process::id() as i32
}

/// A desk with a recipe of a user namespace and these layers.
fn desk_with(who: Who, layers: &str) -> Desk {
    let desk = Desk::of(who);
    desk.write("box.yaml", &format!("isorecipe: 1\nlayers: [user: {{map: root}}, {layers}]\n"));
    desk
}

#[test]
fn each_layer_makes_one_namespace_and_no_other() {
    for who in Who::all() {
        for (layer, kind) in
            [("ipc", "ipc"), ("net", "net"), ("cgroup", "cgroup"), ("time", "time")]
        {
            let desk = desk_with(who, layer);
            let sandbox = desk.start("box.yaml", "");
            for other in ["uts", "pid", "mnt", "net", "ipc", "cgroup", "time"] {
                let is_own = namespace(sandbox.command(), other) != namespace(own_pid(), other);
                assert_eq!(is_own, other == kind, "{layer}: {other}");
            }
            assert_eq!(sandbox.finish(), 7);
        }
    }
}

#[test]
fn a_network_of_its_own_has_a_loopback_that_answers_and_nothing_else() {
    for who in Who::all() {
        let desk = desk_with(who, "net: none");
        // A server on 127.0.0.1, and a client that is told so.
        let script = "perl -MIO::Socket::INET -e '
            my $server = IO::Socket::INET->new(Listen => 1, LocalAddr => \"127.0.0.1\") or die $@;
            if (!fork) { print {$server->accept} \"hello\\n\"; exit }
            my $port = $server->sockport;
            print readline IO::Socket::INET->new(PeerAddr => \"127.0.0.1\", PeerPort => $port) // die $@;
            wait'";
        let sandbox = desk.start("box.yaml", script);
        assert_eq!(sandbox.said, "hello\n");
        let interfaces = proc_file(sandbox.command(), "net/dev");
        let names: Vec<&str> =
            interfaces.split_whitespace().filter(|word| word.ends_with(':')).collect();
        assert_eq!(names, ["lo:"], "{interfaces}");
        // Nothing of the host's can be reached: there is no way to any address but its own.
        assert!(!proc_file(sandbox.command(), "net/route").contains("00000000"));
        assert_eq!(sandbox.finish(), 7);
    }
}

#[test]
fn a_server_of_the_host_is_out_of_reach_unless_the_network_is_the_hosts() {
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("an address").port();
    let connect = format!("(: >/dev/tcp/127.0.0.1/{port}) 2>&1 && echo reached || echo refused");
    for (mode, answer) in [("none", "refused\n"), ("host", "reached\n")] {
        let desk = desk_with(Who::ordinary(), &format!("net: {mode}"));
        let ran = desk.run(&["apply", "box.yaml", "--", "bash", "-c", &connect]);
        assert!(ran.out().ends_with(answer), "{mode}: {}{}", ran.out(), ran.err());
    }
}

#[test]
fn a_loopback_that_did_not_come_up_is_noticed() {
    let desk = desk_with(Who::ordinary(), "net");
    // The first of them asks for the flags that the second sets.
    let ran = strike::strike(&desk, &["box.yaml"], Some("ioctl:retval=0:when=2"));
    assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{}", ran.err());
    assert!(ran.err().contains("`SIOCSIFFLAGS` said yes, and it is not done"), "{}", ran.err());
}

#[test]
fn what_is_made_in_an_ipc_namespace_is_not_seen_outside() {
    let desk = desk_with(Who::ordinary(), "ipc");
    let before = proc_file(own_pid(), "../sysvipc/shm");
    assert!(before.contains("shmid"), "the host's own list: {before}");
    let sandbox =
        desk.start("box.yaml", "ipcmk --shmem 4096 >/dev/null; ipcs --shmems | grep -c 0x");
    assert_eq!(sandbox.said, "1\n");
    assert_eq!(proc_file(own_pid(), "../sysvipc/shm"), before);
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn a_cgroup_namespace_hides_what_is_above_and_moves_nobody() {
    let desk = desk_with(Who::ordinary(), "cgroup");
    let sandbox = desk.start("box.yaml", "cut -d: -f3 /proc/self/cgroup | sort -u");
    assert_eq!(sandbox.said, "/\n");
    assert_eq!(proc_file(sandbox.command(), "cgroup"), proc_file(own_pid(), "cgroup"));
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn a_plan_says_what_can_be_reached() {
    for (layer, line) in [
        ("net", "Network: its own: 127.0.0.1, and no other machine"),
        ("net: host", "Network: the host's: whatever it reaches, and its services on 127.0.0.1"),
        ("ipc", "Network: the host's"),
    ] {
        let desk = desk_with(Who::ordinary(), layer);
        let plan = desk.run(&["plan", "--plain", "box.yaml"]).out();
        assert!(plan.to_lowercase().contains(&line.to_lowercase()), "{layer}: {plan}");
    }
}

#[test]
fn an_interface_of_the_host_is_left_alone() {
    // No layer asks for that; a plan made in Rust code could.
    let mut host = Host::default();
    host.caller.capabilities = u64::MAX;
    let leak = BringLoopbackUp.leak(&Model::of(Rc::new(host)));
    assert_eq!(leak.expect("a leak").code(), "net::host");
}

#[test]
fn a_fresh_sys_shows_the_sandboxs_own_network_and_cannot_be_written() {
    for who in Who::all() {
        let desk = desk_with(who, "net, mount, sysfs");
        let sandbox = desk.start("box.yaml", "echo $(ls /sys/class/net)");
        assert_eq!(sandbox.said, "lo\n");
        let mounts = proc_file(sandbox.command(), "mountinfo");
        assert!(mounts.contains("/sys ro,nosuid,nodev,noexec"), "{mounts}");
        assert!(!proc_file(own_pid(), "mountinfo").contains("/sys ro,nosuid,nodev,noexec"));
        assert_eq!(sandbox.finish(), 7);
    }
}

#[test]
fn message_queues_are_files_of_their_namespace() {
    for who in Who::all() {
        let desk = desk_with(who, "ipc, mount, mqueue: /mnt");
        let sandbox = desk.start("box.yaml", "echo > /mnt/hogehage; ls /mnt");
        assert_eq!(sandbox.said, "hogehage\n");
        assert!(proc_file(sandbox.command(), "mountinfo").contains(" - mqueue mqueue "));
        assert_eq!(sandbox.finish(), 7);
    }
}

#[test]
fn a_kernel_without_a_filesystem_is_told_from_a_missing_right() {
    let host = Rc::new(Host::default());
    let fault = |errno| Call::Fsopen.gave(errno);
    let mut model = Model::of(host);
    model.process.capabilities = Capabilities::FULL;
    let say = |errno, model: &Model| {
        let refusal =
            MountNew::sysfs("/sys", true).explain(fault(errno), model, &Evidence::default());
        refusal.code().to_owned()
    };
    assert_eq!(say(Errno::ENODEV, &model), "host::not_built_in");
    model.network = Owned { owner: UserId::OUTER, own: false };
    assert_eq!(say(Errno::EPERM, &model), "sysfs::needs_net");
    model.network.own = true;
    assert_eq!(say(Errno::EPERM, &model), "sysfs::foreign_net");
}

/// The uptime inside, in seconds, and who the command is.
const UPTIME: &str = "cut -d. -f1 /proc/uptime; echo $$";

fn uptime() -> i64 {
    let text = std::fs::read_to_string("/proc/uptime").expect("an uptime");
    text.split('.').next().and_then(|seconds| seconds.parse().ok()).expect("seconds")
}

#[test]
fn the_command_is_in_the_time_namespace_wherever_the_layer_stands() {
    // Whether the command is PID 1, another one inside, or has the host's number.
    for (layers, pid) in [
        ("time: {boottime: 100days}", None),
        ("time: {boottime: 100days}, pid: {init: false, proc: true}", Some("1")),
        ("time: {boottime: 100days}, pid: {proc: true}", Some("2")),
        ("pid: {proc: true}, time: {boottime: 100days}", Some("2")),
        ("time: {boottime: 7days}, time: {boottime: 100days}", None),
        ("time: {boottime: 100days}, time", None),
        ("time: {boottime: 100days}, capabilities: none", None),
    ] {
        for who in Who::all() {
            let desk = desk_with(who, layers);
            let before = uptime();
            let sandbox = desk.start("box.yaml", UPTIME);
            let mut lines = sandbox.said.lines();
            let inside: i64 = lines.next().and_then(|line| line.parse().ok()).expect("an uptime");
            let added = 100 * 24 * 3600;
            assert!((before + added..=uptime() + added).contains(&inside), "{layers}: {inside}");
            if let Some(pid) = pid {
                assert_eq!(lines.next(), Some(pid), "{layers}");
            }
            assert_ne!(namespace(sandbox.command(), "time"), namespace(own_pid(), "time"));
            assert_eq!(sandbox.finish(), 7, "{layers}");
        }
    }
}

#[test]
fn without_offsets_the_clocks_are_the_hosts_and_the_namespace_is_not() {
    let desk = desk_with(Who::ordinary(), "time");
    let before = uptime();
    let sandbox = desk.start("box.yaml", "cut -d. -f1 /proc/uptime");
    let inside: i64 = sandbox.said.trim().parse().expect("an uptime");
    assert!((before..=uptime()).contains(&inside), "{inside}");
    assert_ne!(namespace(sandbox.command(), "time"), namespace(own_pid(), "time"));
    // Made in one call: nobody had to be put in between.
    assert_eq!(machine::children(sandbox.supervisor()), [sandbox.command()]);
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn a_clock_may_go_back_to_the_nanosecond() {
    let desk = desk_with(Who::ordinary(), "time: {monotonic: -1500ms, boottime: 1ns}");
    let sandbox = desk.start("box.yaml", "");
    assert_eq!(
        proc_file(sandbox.command(), "timens_offsets"),
        "monotonic -2 500000000\nboottime 0 1"
    );
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn the_kernel_says_the_same_of_a_clock_below_0_as_the_plan_does() {
    let desk = desk_with(Who::ordinary(), "time: {boottime: -1000days}");
    for words in [&["plan", "box.yaml"] as &[&str], &["apply", "--unchecked", "box.yaml"]] {
        let ran = desk.run(words);
        assert!(ran.err().contains("error[time::out_of_range]"), "{words:?}: {}", ran.err());
        assert!(ran.err().contains("cannot be set -2years"), "{words:?}: {}", ran.err());
    }
}

#[test]
fn clocks_that_were_not_set_are_noticed() {
    let desk = desk_with(Who::ordinary(), "time: {boottime: 3days}");
    let ran = desk.run(&["apply", "--inject", "6:lie", "box.yaml", "--", "true"]);
    assert_eq!(ran.code(), 125, "{}", ran.err());
    assert!(ran.err().contains("`write timens_offsets` said yes"), "{}", ran.err());
}

#[test]
fn a_sandbox_behind_a_time_namespace_ends_with_its_supervisor() {
    let desk = desk_with(Who::ordinary(), "time: {boottime: 1h}");
    let sandbox = desk.start("box.yaml", "");
    let command = sandbox.command();
    sandbox.kill();
    machine::eventually("the command is gone", || {
        let state = proc_file(command, "stat");
        state.is_empty() || state.contains(") Z ")
    });
}

#[test]
fn a_script_by_hand_comes_to_the_same() {
    let layers = "ipc, net, cgroup, time: {boottime: 100days}, pid: {proc: true, init: false}";
    let desk = desk_with(Who::ordinary(), layers);
    let script = desk.run(&[
        "export",
        "--to",
        "sh",
        "box.yaml",
        "--",
        "bash",
        "-c",
        "cut -d. -f1 /proc/uptime; ip link show lo | grep -o LOOPBACK,UP",
    ]);
    assert_eq!(script.code(), 0, "{}", script.err());
    let file = desk.write("box.sh", &script.out());
    let ran = desk.shell(&[&file.display().to_string()]).output().expect("a shell");
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    let (up, lo) = said.split_once('\n').expect("two lines");
    assert!(up.parse::<i64>().is_ok_and(|up| up > 8_640_000), "{said}");
    assert_eq!(lo, "LOOPBACK,UP\n");
    desk.write("fine.yaml", "isorecipe: 1\nlayers: [user: {map: root}, time: {boottime: 250ms}]\n");
    let fine = desk.run(&["export", "--to", "sh", "fine.yaml"]);
    assert!(fine.err().contains("export::fine_clock"), "{}", fine.err());
}
