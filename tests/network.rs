//! `net: pasta`: a client of the host reaches a server inside, the sandbox reaches nothing of the host's 127.0.0.1, and
//! the program that passes packets on ends with the sandbox. And `recipes/service.yaml`, as a stranger uses it.

#[path = "support/machine.rs"]
mod machine;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
};

use machine::{Desk, Ran, Running, Who, eventually, own_uid, processes_with};

/// Answers whoever connects, until its input has a line.
const SERVER: &str = "import socket, sys, threading\n\
    def serve(server):\n    while True:\n        client, _ = server.accept()\n        client.sendall(b'from inside'); client.close()\n\
    for port in sys.argv[1:]:\n    server = socket.create_server(('0.0.0.0', int(port)))\n    \
    threading.Thread(target=serve, args=(server,), daemon=True).start()\n\
    print('ready', flush=True); sys.stdin.readline(); sys.exit(7)\n";

/// Root gives its own mounts a device that everybody may open, as most machines have it.
const WITH_TUN: &str =
    "mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200 && exec \"$@\"";

fn recipe(desk: &Desk, forwards: &[(u16, u16)]) {
    let lead = |(outside, inside)| format!("{{outside: {outside}, inside: {inside}}}");
    let leads: Vec<_> = forwards.iter().copied().map(lead).collect();
    let net = format!("net: {{mode: pasta, forward: [{}]}}", leads.join(", "));
    let layers = format!("[user: {{map: root}}, pid: {{proc: true}}, {net}]");
    desk.write("box.yaml", &format!("isorecipe: 1\nlayers: {layers}\n"));
}

/// The program as the desk's owner, in mounts in which root has done something before.
fn after(desk: &Desk, done: &str, words: &[&str]) -> Command {
    let plain = desk.command(words);
    if own_uid() != 0 {
        return plain;
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-ec", done, "sh"]);
    if desk.who != Who::Root {
        let (uid, gid) = (desk.who.uid(), desk.who.gid());
        command.args(["setpriv", &format!("--reuid={uid}"), &format!("--regid={gid}")]);
        command.arg("--clear-groups");
    }
    command.arg(plain.get_program()).args(words).current_dir(desk.folder()).env_clear();
    command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command.stdin(Stdio::null());
    command
}

/// Desks whose owners may open the device; for others, what they are told is asserted.
fn desks() -> Vec<Desk> {
    let desks = Who::all().into_iter().map(Desk::of);
    let is_open = |desk: &Desk| {
        let device = std::fs::File::options().read(true).write(true).open("/dev/net/tun");
        if own_uid() != 0 && device.is_err() {
            recipe(desk, &[]);
            let ran = desk.run(&["apply", "box.yaml", "--", "true"]);
            assert!(ran.err().contains("error[net::no_tun]"), "{}", ran.err());
            return false;
        }
        true
    };
    desks.filter(is_open).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port").port()
}

fn answer(port: u16) -> String {
    let mut answer = String::new();
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

/// A sandbox whose servers listen, with the ports of the host that lead to them.
fn serve(desk: &Desk) -> (Running, [u16; 2]) {
    let ports = [free_port(), free_port()];
    recipe(desk, &[(ports[0], 80), (ports[1], 8081)]);
    let words = ["apply", "box.yaml", "--", "python3", "-c", SERVER, "80", "8081"];
    (Running::of(after(desk, WITH_TUN, &words)), ports)
}

/// Whether somebody still passes packets on for this port.
fn is_led(port: u16) -> bool {
    !processes_with(&format!("127.0.0.1/{port}:")).is_empty()
}

#[test]
fn a_client_of_the_host_reaches_servers_inside_as_long_as_they_run() {
    for desk in desks() {
        let (running, ports) = serve(&desk);
        assert_eq!(ports.map(answer), ["from inside"; 2]);
        assert!(is_led(ports[0]));
        assert_eq!(running.finish(), 7);
        eventually("nothing leads there", || !is_led(ports[0]));
        assert!(TcpStream::connect(("127.0.0.1", ports[0])).is_err());
    }
}

#[test]
fn nothing_leads_inside_when_isorecipe_was_killed() {
    for desk in desks() {
        let (running, ports) = serve(&desk);
        assert_eq!(answer(ports[0]), "from inside");
        running.kill();
        eventually("nothing leads there", || !is_led(ports[0]));
        eventually("nothing listens", || TcpStream::connect(("127.0.0.1", ports[0])).is_err());
    }
}

#[test]
fn what_listens_on_the_hosts_127_0_0_1_is_out_of_reach() {
    let script = "import socket, subprocess, sys\n\
        routes = subprocess.run(['ip', 'route'], capture_output=True, text=True).stdout.split()\n\
        gateway, own = routes[routes.index('via') + 1], routes[routes.index('src') + 1]\n\
        for at in ['127.0.0.1', gateway, own]:\n    try: socket.create_connection((at, int(sys.argv[1])), 1).close(); print(at)\n    \
        except OSError: pass\nprint('done')\n";
    let host = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = host.local_addr().expect("an address").port().to_string();
    for desk in desks() {
        recipe(&desk, &[]);
        let words = ["apply", "box.yaml", "--", "python3", "-c", script, &port];
        let ran = Ran(after(&desk, WITH_TUN, &words).output().expect("the program")).succeeds();
        assert_eq!(ran.out(), "done\n", "{}", ran.err());
    }
}

#[test]
fn a_port_that_is_not_free_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    for desk in desks() {
        for (port, help) in [(port, "`ss -ltn"), (81, "from 1024 on")] {
            recipe(&desk, &[(port, 80)]);
            let words = ["apply", "box.yaml", "--", "echo", "ran"];
            let ran = Ran(after(&desk, WITH_TUN, &words).output().expect("the program"));
            assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{}", ran.err());
            assert!(ran.err().contains("error[net::port_not_free]"), "{}", ran.err());
            assert!(ran.err().contains(help), "{}", ran.err());
        }
    }
}

#[test]
fn a_machine_without_the_program_says_so_before_it_begins() {
    for who in Who::all() {
        let desk = Desk::of(who);
        recipe(&desk, &[]);
        for command in ["plan", "apply"] {
            let ran = Ran(desk
                .command(&[command, "box.yaml"])
                .env("PATH", "/nowhere")
                .output()
                .expect("a run"));
            assert!(ran.err().contains("error[net::no_program]"), "{}", ran.err());
            assert!(ran.err().contains("apt-get install passt"), "{}", ran.err());
        }
    }
}

#[test]
fn a_device_that_makes_no_interface_is_named() {
    let desk = Desk::of(Who::ordinary());
    recipe(&desk, &[]);
    let words = ["apply", "box.yaml", "--", "echo", "ran"];
    let closed = "mount -t tmpfs none /dev/net; mknod -m 600 /dev/net/tun c 10 200; exec \"$@\"";
    let ran = Ran(after(&desk, closed, &words).output().expect("the program"));
    // Only root can close it; whoever finds it closed is told the same.
    if own_uid() == 0 || ran.code() != 0 {
        assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{}", ran.err());
        assert!(ran.err().contains("error[net::no_tun]"), "{}", ran.err());
    }
}

#[test]
fn a_host_without_a_way_out_has_none_to_share() {
    // Root that has become a user makes no user namespace with a device of the host's root.
    for desk in desks().into_iter().filter(|desk| own_uid() != 0 || desk.who == Who::Root) {
        recipe(&desk, &[]);
        let alone = "exec unshare --user --map-root-user --net \"$@\"";
        let words = ["apply", "box.yaml", "--", "echo", "ran"];
        let mut command = match own_uid() {
            0 => after(&desk, &WITH_TUN.replace("exec \"$@\"", alone), &words),
            _ => desk.shell(&["-c", alone, "sh", "./isorecipe"]),
        };
        if own_uid() != 0 {
            command.args(words);
        }
        let ran = Ran(command.output().expect("unshare"));
        assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{}", ran.err());
        assert!(ran.err().contains("error[net::not_joined]"), "{}", ran.err());
    }
}

#[test]
fn somebody_who_wants_it_to_stop_waits_for_no_program() {
    for desk in desks() {
        waits_for_no_program(&desk);
    }
}

fn waits_for_no_program(desk: &Desk) {
    recipe(desk, &[]);
    desk.make_dir("bin");
    let slow = desk.write("bin/pasta", "#!/bin/sh\nexec sleep 1007\n");
    std::fs::set_permissions(&slow, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("a mode");
    let path = format!("{}:/usr/bin:/bin", desk.path("bin").display());
    let mut command = after(desk, WITH_TUN, &["apply", "box.yaml", "--", "true"]);
    let waits = command.env("PATH", path).stderr(Stdio::piped()).spawn().expect("the program");
    eventually("it waits", || !processes_with("sleep\x001007").is_empty());
    let pid = nix::unistd::Pid::from_raw(waits.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
    let ran = Ran(waits.wait_with_output().expect("an end"));
    assert!(ran.err().contains("error[net::interrupted]"), "{}", ran.err());
    eventually("nothing is left", || processes_with("sleep\x001007").is_empty());
}

/// What a client gets for a request, once somebody listens.
fn get(port: u16, path: &str) -> String {
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    write!(client, "GET {path} HTTP/1.0\r\n\r\n").expect("a request");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn the_service_recipe_serves_one_folder_on_one_port() {
    for desk in desks() {
        // The port of the recipe may be somebody's here.
        let port = free_port();
        let recipe =
            desk.read("service.yaml").replace("outside: 8080", &format!("outside: {port}"));
        desk.write("service.yaml", &recipe);
        desk.make_dir("site");
        desk.write("site/index.html", "hello");
        let mut command = after(&desk, WITH_TUN, &["apply", "service.yaml"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut service = command.spawn().expect("the program");
        let said = BufReader::new(service.stdout.take().expect("a pipe")).lines().next();
        let said = said.and_then(Result::ok).unwrap_or_else(|| {
            let mut err = String::new();
            let _ = service.stderr.take().map(|mut all| all.read_to_string(&mut err));
            panic!("no server: {err}")
        });
        assert!(said.contains("port 8000"), "{said}");
        assert!(get(port, "/").ends_with("hello"));
        assert!(get(port, "/../etc/passwd").contains("404"));
        let pid = nix::unistd::Pid::from_raw(service.id() as i32);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a signal");
        service.wait().expect("an end");
        eventually("nothing leads there", || !is_led(port));
    }
}

#[test]
fn a_script_cannot_lead_the_network_out() {
    for desk in desks() {
        recipe(&desk, &[]);
        let mut export = after(&desk, WITH_TUN, &["export", "--to", "sh", "box.yaml"]);
        let ran = Ran(export.output().expect("the program"));
        assert!(ran.err().contains("error[export::network]"), "{}", ran.err());
    }
}
