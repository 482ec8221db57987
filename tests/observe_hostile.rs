//! What `isorecipe observe` meets in processes that set traps for whoever looks.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/observing.rs"]
mod observing;

use std::{fs, os::unix::process::CommandExt, process::Command};

use machine::{Desk, Who, own_uid};
use observing::{ByHand, observe, view};

/// The system calls of one look, process by process.
fn traced(desk: &Desk, calls: &str, pid: i32) -> String {
    let log = desk.path("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o"]).arg(&log).args(["-e", calls]);
    let plain = desk.command(&["observe", &pid.to_string()]);
    command.arg(plain.get_program()).args(plain.get_args());
    if own_uid() == 0 {
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    let ran = command.output().expect("strace");
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    fs::read_to_string(log).expect("a trace")
}

#[test]
fn whoever_goes_inside_for_the_hostname_cannot_be_traced_there() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let sandbox = desk.start("step2.yaml", "");
        let trace = traced(&desk, "trace=prctl,close_range,setns", sandbox.command());
        let visitor = trace.lines().find(|line| line.contains("setns(")).expect("a visit");
        let visitor = visitor.split(' ').next().expect("a PID");
        let calls = trace.lines().filter(|line| line.starts_with(visitor));
        let before: Vec<&str> = calls.take_while(|line| !line.contains("setns(")).collect();
        let first = before.first().expect("calls before it enters");
        assert!(first.contains("PR_SET_DUMPABLE, SUID_DUMP_DISABLE) = 0"), "{trace}");
        assert!(before.iter().any(|line| line.contains("close_range(")), "{trace}");
        assert_eq!(view(&desk, &sandbox.command().to_string())["hostname"]["sandbox"], "HOGE");
        sandbox.finish();
    }
}

#[test]
fn a_device_in_the_place_of_the_names_is_not_opened() {
    let desk = Desk::of(Who::ordinary());
    let script = "mount --bind /dev/zero /etc/passwd; exec sleep 1000";
    let hostile = ByHand::start(desk.who, &["unshare", "-Urm", "sh", "-ec", script]);
    let pid = hostile.is_now("sleep");
    let trace = traced(&desk, "trace=openat,openat2", pid);
    let looked: Vec<&str> = trace.lines().filter(|line| line.contains("\"etc/passwd\"")).collect();
    assert!(!looked.is_empty(), "{trace}");
    for line in looked {
        assert!(line.contains("O_PATH"), "{line}");
    }
    observe(&desk, &[&pid.to_string()]).succeeds();
}

#[test]
fn whoever_serves_its_etc_and_never_answers_keeps_nobody_waiting() {
    // Who may open /dev/fuse differs between machines, but for root.
    let who = if own_uid() == 0 { Who::Root } else { Who::ordinary() };
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    if let Err(error) = device {
        assert_ne!(who, Who::Root, "{error}");
        assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        return;
    }
    let desk = Desk::of(who);
    let options = "fd=3,rootmode=40000,user_id=0,group_id=0";
    let script =
        format!("exec 3<>/dev/fuse; mount -i -t fuse -o {options} silent /etc; exec sleep 1000");
    let hostile = ByHand::start(desk.who, &["unshare", "-Urm", "sh", "-ec", &script]);
    let pid = hostile.is_now("sleep");
    let seen = view(&desk, &pid.to_string());
    assert_eq!(seen["mounts"]["added"][0]["filesystem"], "fuse");
    assert_eq!(seen["ids"]["uid"][0]["inside_name"], "root");
}

#[test]
fn a_relative_upper_is_not_looked_for_where_the_observer_stands() {
    let desk = Desk::of(Who::ordinary());
    ["lower", "upper", "work", "at"].iter().for_each(|name| desk.make_dir(name));
    desk.write("upper/observers", "");
    let script = "mount -t tmpfs t /mnt; cd /mnt; mkdir lower upper work at; \
                  mount -t overlay o -o lowerdir=lower,upperdir=upper,workdir=work at; \
                  exec sleep 1000";
    let by_hand = ByHand::start(desk.who, &["unshare", "-Urm", "sh", "-ec", script]);
    let pid = by_hand.is_now("sleep").to_string();
    let seen = view(&desk, &pid);
    assert_eq!(seen["overlays"][0]["upper"], "upper");
    assert_eq!(seen["overlays"][0]["changes"], serde_json::json!([]));
    let said = observe(&desk, &["--plain", &pid]).succeeds().out();
    assert!(said.contains("cannot be read: the mount names `upper` by a relative path"), "{said}");
}
