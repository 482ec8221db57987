//! Namespaces of IPC, network, control groups and clocks: what the host sees of each, and what is left of it.

#[path = "support/machine.rs"]
mod machine;

use std::rc::Rc;

use isorecipe::{
    host::Host,
    model::Model,
    ops::{BringLoopbackUp, Operation},
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
        for (layer, kind) in [("ipc", "ipc"), ("net", "net"), ("cgroup", "cgroup")] {
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
