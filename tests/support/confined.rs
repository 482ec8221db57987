//! Surroundings that the kernel gives for real: a seccomp filter, a Landlock domain, mounts of a test's own.
#![allow(dead_code, missing_docs, unsafe_code)]

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::machine::{self, Desk};

/// A call that a filter answers in the kernel's place.
#[derive(Clone, Copy)]
pub struct Denied {
    pub call: libc::c_long,
    /// Only with these bits in its first argument
    pub bits: Option<u32>,
    pub errno: i32,
}

/// Starts the command under a filter that answers these calls with these errnos.
pub fn under_filter<'a>(
    command: &'a mut Command,
    rules: &[(libc::c_long, i32)],
) -> &'a mut Command {
    let denied = |&(call, errno): &(libc::c_long, i32)| Denied { call, bits: None, errno };
    under_filter_of(command, &rules.iter().map(denied).collect::<Vec<_>>())
}

/// The same for calls with certain arguments.
pub fn under_filter_of<'a>(command: &'a mut Command, rules: &[Denied]) -> &'a mut Command {
    let statement =
        |code: u32, value: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k: value };
    // `struct seccomp_data`: the number of the call, and the low half of its first argument.
    let load = |at: u32| statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at);
    let mut program = Vec::new();
    for rule in rules {
        let mut is_call = statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, rule.call as u32);
        is_call.jf = if rule.bits.is_some() { 3 } else { 1 };
        program.extend([load(0), is_call]);
        if let Some(bits) = rule.bits {
            let mut has_bits = statement(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits);
            has_bits.jf = 1;
            program.extend([load(16), has_bits]);
        }
        let answer = libc::SECCOMP_RET_ERRNO | rule.errno as u32;
        program.push(statement(libc::BPF_RET | libc::BPF_K, answer));
    }
    program.push(statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW));
    let install = move || {
        let filter =
            libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
        // SAFETY: the filter outlives the call, and both take nothing else but numbers.
        let status = unsafe {
            // Root needs no such promise, and keeps what it means to set-user-ID programs.
            if libc::geteuid() != 0 {
                libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            }
            libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter)
        };
        done(status.into())
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(install) }
}

/// Starts the command in a Landlock domain that forbids to make sockets in the tree, and with it every mount.
pub fn in_landlock_domain(command: &mut Command) -> &mut Command {
    const MAKE_SOCK: u64 = 1 << 9;
    let install = || {
        let attributes = MAKE_SOCK;
        // SAFETY: the attributes outlive the call; the others take numbers.
        unsafe {
            let ruleset = libc::syscall(
                libc::SYS_landlock_create_ruleset,
                &raw const attributes,
                size_of::<u64>(),
                0,
            );
            done(ruleset)?;
            libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
            done(libc::syscall(libc::SYS_landlock_restrict_self, ruleset, 0))
        }
    };
    // SAFETY: between fork and exec only system calls are made.
    unsafe { command.pre_exec(install) }
}

fn done(status: libc::c_long) -> io::Result<()> {
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// What `isorecipe doctor` says, read from its JSON.
pub struct Report {
    pub json: Value,
    pub code: i32,
}

impl Report {
    pub fn of(command: &mut Command) -> Report {
        let ended = command.stdout(Stdio::piped()).stderr(Stdio::piped()).output().expect("doctor");
        let out = String::from_utf8_lossy(&ended.stdout);
        let json = serde_json::from_str(&out)
            .unwrap_or_else(|_| panic!("no JSON: {out}{}", String::from_utf8_lossy(&ended.stderr)));
        Report { json, code: ended.status.code().unwrap_or(-1) }
    }

    fn thing(&self, name: &str) -> &Value {
        let things = self.json["things"].as_array().expect("things");
        let found = things.iter().find(|thing| thing["thing"] == name);
        found.unwrap_or_else(|| panic!("no `{name}` in {things:?}"))
    }

    /// `yes`, `untried`, or the code of the diagnostic.
    pub fn says(&self, thing: &str) -> &str {
        let thing = self.thing(thing);
        match thing["works"].as_bool() {
            Some(true) => "yes",
            Some(false) => thing["problem"]["code"].as_str().expect("a code"),
            None => "untried",
        }
    }

    pub fn problem(&self, thing: &str) -> &Value {
        &self.thing(thing)["problem"]
    }

    /// Checks each of these, and shows all there is to one that is otherwise.
    #[track_caller]
    pub fn check(&self, expected: &[(&str, &str)]) {
        for (thing, said) in expected {
            assert_eq!(self.says(thing), *said, "{thing}: {:#}", self.thing(thing));
        }
    }
}

/// `isorecipe --json doctor`, as it is.
pub fn doctor(desk: &Desk) -> Command {
    desk.command(&["--json", "doctor"])
}

/// Who runs isorecipe behind a script.
#[derive(Clone, Copy, PartialEq)]
pub enum As {
    /// Who made the surroundings: root, of the machine or of a user namespace
    Root,
    /// The owner of the desk
    Owner,
}

/// `isorecipe --json doctor` behind a script in a mount namespace of its own. The script has the desk as its
/// directory, and `$prefix`, what to put before a command.
pub fn doctor_after(desk: &Desk, who: As, script: &str) -> Report {
    let mut command = Command::new("unshare");
    let (uid, gid) = (desk.who.uid(), desk.who.gid());
    let is_root = machine::own_uid() == 0;
    if !is_root {
        command.args(["--user", "--map-root-user"]);
    }
    let prefix = match (who, is_root) {
        (As::Root, _) => String::new(),
        // The capabilities that setpriv keeps are gone after one more program.
        (As::Owner, true) => format!("setpriv --reuid {uid} --regid {gid} --clear-groups env"),
        (As::Owner, false) => format!("unshare --user --map-user={uid} --map-group={gid}"),
    };
    let script =
        format!("set -e\nprogram='./isorecipe --json doctor'\n{script}\nexec $prefix $program");
    command.args(["--mount", "--propagation", "private", "bash", "-c", &script]);
    command.env_clear().env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    command.env("prefix", prefix).env("uid", uid.to_string());
    Report::of(command.env("HOME", "/").current_dir(desk.folder()))
}
