//! Code that nobody trusts, in `recipes/agent.yaml`: what it takes too much of ends it, by name, what is not its own it does
//! not get, and nothing of it is left.

#[path = "support/machine.rs"]
mod machine;

use std::{fs, time::Duration};

use machine::{Desk, Ran, Who, eventually, processes_with};
use serde_json::Value;

/// A folder to work in beside the recipe, and somebody's secret.
fn desk(who: Who) -> Desk {
    let desk = Desk::of(who);
    desk.make_dir("work");
    desk.write("work/mine", "mine");
    desk.write("secret", "secret");
    desk
}

fn agent(desk: &Desk, options: &[&str], command: &[&str]) -> Ran {
    let words = [&["apply", "--report", "report.json"], options, &["agent.yaml", "--"], command];
    desk.run(&words.concat())
}

/// The limit that the report names.
fn limit(desk: &Desk) -> String {
    let report: Value = serde_json::from_str(&desk.read("report.json")).expect("a report");
    report["limit"].as_str().unwrap_or_default().to_owned()
}

/// Whether somebody here may make control groups: otherwise each process has a limit of its own.
fn has_groups(desk: &Desk) -> bool {
    desk.run(&["plan", "agent.yaml"]).out().contains("by a control group")
}

#[test]
fn a_memory_hog_is_ended() {
    for who in Who::all() {
        let desk = desk(who);
        let hog = "x = []\nwhile True: x.append(bytearray(10**7))";
        let ran = agent(&desk, &["--timeout", "60s"], &["python3", "-c", hog]);
        assert_ne!(ran.code(), 0, "{}", ran.err());
        match has_groups(&desk) {
            true => assert_eq!(limit(&desk), "memory", "{}", ran.err()),
            false => assert!(ran.err().contains("MemoryError"), "{}", ran.err()),
        }
    }
}

#[test]
fn a_fork_bomb_finds_no_more_processes() {
    for who in Who::all() {
        let desk = desk(who);
        let bomb = "b() { b isorecipe-bomb | b isorecipe-bomb & }; b isorecipe-bomb; sleep 1";
        let ran = agent(&desk, &["--timeout", "20s"], &["bash", "-c", bomb]);
        match has_groups(&desk) {
            true => {
                assert!(ran.err().contains("pids 128 (no more could be made)"), "{}", ran.err())
            }
            false => assert!(ran.err().contains("temporarily unavailable"), "{}", ran.err()),
        }
        eventually("no process of the bomb is left", || {
            processes_with("isorecipe-bomb").is_empty()
        });
    }
}

#[test]
fn an_endless_printer_is_ended() {
    for who in Who::all() {
        let desk = desk(who);
        let ran = agent(&desk, &[], &["yes"]);
        assert_eq!(ran.code(), 137, "{}", ran.err());
        assert_eq!(limit(&desk), "output");
        assert!(ran.err().contains("ended at its limit: output 16M"), "{}", ran.err());
    }
}

#[test]
fn a_sleeper_is_ended() {
    for who in Who::all() {
        let desk = desk(who);
        let ran = agent(&desk, &["--timeout", "300ms"], &["sleep", "1000000007"]);
        assert_eq!(ran.code(), 124, "{}", ran.err());
        assert_eq!(limit(&desk), "time");
        assert!(processes_with("1000000007").is_empty());
    }
}

#[test]
fn who_removes_everything_removes_its_own() {
    for who in Who::all() {
        let desk = desk(who);
        agent(&desk, &[], &["rm", "-rf", "--no-preserve-root", "/"]);
        assert_eq!(desk.read("secret"), "secret");
        assert!(fs::exists("/usr/bin/true").expect("a file system"));
    }
}

#[test]
fn nobody_is_reached_and_no_secret_is_read() {
    for who in Who::all() {
        let desk = desk(who);
        let server = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        server.set_nonblocking(true).expect("a socket");
        let port = server.local_addr().expect("an address").port();
        let connect = format!("import socket; socket.create_connection(('127.0.0.1', {port}))");
        let ran = agent(&desk, &[], &["python3", "-c", &connect]);
        assert!(ran.err().contains("PermissionError"), "{}", ran.err());
        std::thread::sleep(Duration::from_millis(1));
        assert!(server.accept().is_err(), "it got through");
        let secret = desk.path("secret").display().to_string();
        let script =
            format!("cat {secret}; cat ~/.ssh/* /root/.ssh/* /home/*/.ssh/*; env; ls /work");
        let ran = agent(&desk, &[], &["bash", "-c", &script]);
        assert!(!ran.out().contains("secret"), "{}", ran.out());
        assert!(!ran.out().contains("TMPDIR"), "{}", ran.out());
    }
}

/// Under limits of memory the plan leaves it to the kernel, and the cause is found all the same.
#[test]
fn a_script_that_may_not_be_executed_is_called_that() {
    for who in Who::all() {
        let desk = desk(who);
        desk.write("work/script", "#!/bin/sh\n");
        let ran = agent(&desk, &[], &["./script"]);
        assert_eq!(ran.code(), 126);
        assert!(ran.err().contains("error[command::not_executable]"), "{}", ran.err());
    }
}
