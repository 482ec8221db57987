//! What `isorecipe observe` says, as a test asks for it.
#![allow(dead_code, missing_docs)]

use std::{cell::Cell, os::unix::process::CommandExt, process::Command};

use serde_json::Value;

use super::machine::{self, Desk, Ran, Running, Who, eventually, proc_file};

/// The program at a desk, run by somebody who may be another than its owner.
pub fn observe_as(who: Who, desk: &Desk, words: &[&str]) -> Ran {
    let mut command = desk.command(&[&["observe"], words].concat());
    if machine::own_uid() == 0 {
        command.uid(who.uid()).gid(who.gid());
    }
    Ran(command.output().expect("the program"))
}

pub fn observe(desk: &Desk, words: &[&str]) -> Ran {
    observe_as(desk.who, desk, words)
}

#[track_caller]
pub fn json(ran: Ran) -> Value {
    let ran = ran.succeeds();
    serde_json::from_str(&ran.out()).unwrap_or_else(|error| panic!("{error}: {}", ran.out()))
}

/// One sandbox, or process, as its user sees it.
#[track_caller]
pub fn view(desk: &Desk, who: &str) -> Value {
    json(observe(desk, &["--json", who]))
}

/// What is listed of the sandbox with this supervisor.
#[track_caller]
pub fn listed(by: Who, desk: &Desk, supervisor: i32) -> Option<Value> {
    let all = json(observe_as(by, desk, &["--json"]));
    let all = all["sandboxes"].as_array().expect("a list").clone();
    all.into_iter().find(|sandbox| sandbox["supervisor"] == supervisor)
}

/// Waits until a sandbox is registered, and gives its name.
#[track_caller]
pub fn name_of(desk: &Desk, sandbox: &Running) -> String {
    let supervisor = sandbox.supervisor();
    eventually("the sandbox is registered", || listed(desk.who, desk, supervisor).is_some());
    let listed = listed(desk.who, desk, supervisor).expect("the sandbox");
    listed["name"].as_str().expect("a name").to_owned()
}

/// The kinds of namespace that are not the host's.
pub fn own(view: &Value) -> Vec<&str> {
    let all = view["namespaces"].as_array().expect("namespaces").iter();
    all.filter(|found| found["own"] == true).filter_map(|found| found["kind"].as_str()).collect()
}

/// Which paths were changed, and how.
pub fn changes(view: &Value) -> Vec<(String, String)> {
    let overlays = view["overlays"].as_array().expect("overlays").iter();
    let changes = overlays.flat_map(|overlay| overlay["changes"].as_array().expect("changes"));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    changes.map(|change| (text(&change["path"]), text(&change["change"]))).collect()
}

/// A process made by hand, as this user, that ends with the test.
pub struct ByHand(std::process::Child);

impl ByHand {
    pub fn start(who: Who, words: &[&str]) -> Self {
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(std::process::Stdio::piped()).current_dir("/");
        if machine::own_uid() == 0 {
            command.uid(who.uid()).gid(who.gid());
        }
        Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", words[0])))
    }

    pub fn pid(&self) -> i32 {
        self.0.id() as i32
    }

    /// Itself, or its child, once one of them is this program.
    pub fn is_now(&self, program: &str) -> i32 {
        let found = Cell::new(0);
        eventually(program, || {
            let all = [&[self.pid()][..], &machine::children(self.pid())].concat();
            let named = all.into_iter().find(|&pid| proc_file(pid, "comm") == program);
            found.set(named.unwrap_or_default());
            found.get() != 0
        });
        found.get()
    }
}

impl Drop for ByHand {
    fn drop(&mut self) {
        // Whoever reads from it ends by itself.
        drop(self.0.stdin.take());
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
