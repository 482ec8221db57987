//! `recipes/judge.yaml` as a stranger uses it: programs that are right, wrong, slow, hungry and talkative, and the verdict
//! in the report.

#[path = "support/machine.rs"]
mod machine;

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use machine::{Desk, Ran, Who, eventually, processes_with};
use serde_json::Value;

/// A program, judged.
struct Verdict {
    ran: Ran,
    report: Value,
}

impl Verdict {
    fn limit(&self) -> &str {
        self.report["limit"].as_str().unwrap_or("none")
    }

    /// Whether the sandbox has no control group, and so the memory for each process.
    fn is_each_for_itself(&self) -> bool {
        self.ran.err().contains("warning[limits::no_group]")
    }
}

fn judge(desk: &Desk, options: &[&str], program: &str, input: &str) -> Verdict {
    desk.make_dir("program");
    desk.write("program/main.c", program);
    // What was left there says nothing.
    let _ = fs::remove_file(desk.path("verdict.json"));
    let words = [&["apply", "--report", "verdict.json"], options, &["judge.yaml"]].concat();
    let mut command = desk.command(&words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut judge = command.spawn().expect("the program");
    judge.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("the input");
    let supervisor = judge.id();
    let ran = Ran(judge.wait_with_output().expect("an end"));
    eventually("no group is left", || groups_of(supervisor).is_empty());
    let report = serde_json::from_str(&desk.read("verdict.json"));
    let report = report.unwrap_or_else(|_| panic!("no verdict: {}", ran.err()));
    Verdict { ran, report }
}

fn groups_of(supervisor: u32) -> String {
    let name = format!("isorecipe-{supervisor}.*");
    let words = ["/sys/fs/cgroup", "-type", "d", "-name", &name];
    let found = Command::new("find").args(words).output().expect("find");
    String::from_utf8_lossy(&found.stdout).into_owned()
}

#[test]
fn a_program_that_is_right_prints_its_answer() {
    let adds = "#include <stdio.h>\nint main() { int a, b; scanf(\"%d %d\", &a, &b); printf(\"%d\\n\", a + b); }\n";
    for who in Who::all() {
        let verdict = judge(&Desk::of(who), &[], adds, "30 12\n");
        let ran = verdict.ran.succeeds();
        assert_eq!(ran.out(), "42\n", "{}", ran.err());
        assert_eq!(verdict.report["limit"], Value::Null);
        assert_eq!((&verdict.report["exit"], &verdict.report["signal"]), (&0.into(), &Value::Null));
    }
}

#[test]
fn a_program_that_crashes_or_does_not_compile_is_told_from_one_that_ends() {
    let desk = Desk::of(Who::ordinary());
    let crashes = judge(&desk, &[], "int main() { __builtin_trap(); }\n", "");
    assert_eq!(crashes.report["limit"], Value::Null, "{}", crashes.report);
    assert!(crashes.report["signal"].is_i64(), "{}", crashes.report);
    let fails = judge(&desk, &[], "int main() { return 3; }\n", "");
    assert_eq!(fails.report["exit"], 3);
    let is_none = judge(&desk, &[], "int main( {\n", "");
    assert_eq!(is_none.report["exit"], 120, "{}", is_none.ran.err());
    assert!(is_none.ran.err().contains("/program/main.c"), "{}", is_none.ran.err());
}

#[test]
fn a_program_that_loops_is_ended_by_its_time() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let loops = "int main(int c, char **v) { for (volatile int n = 0;; n++); }\n";
        let verdict = judge(&desk, &["--timeout", "2s"], loops, "");
        assert_eq!((verdict.ran.code(), verdict.limit()), (124, "time"), "{}", verdict.ran.err());
    }
    eventually("nothing is left", || processes_with("./main\0").is_empty());
}

#[test]
fn a_program_that_takes_all_memory_is_ended_by_it() {
    let hog = "#include <stdlib.h>\n#include <string.h>\nint main() {\n\
               for (;;) { char *p = malloc(1 << 20); if (!p) return 9; memset(p, 1, 1 << 20); }\n}\n";
    for who in Who::all() {
        let verdict = judge(&Desk::of(who), &[], hog, "");
        match verdict.is_each_for_itself() {
            true => assert_eq!(verdict.report["exit"], 9, "{}", verdict.report),
            false => {
                assert_eq!((verdict.ran.code(), verdict.limit()), (137, "memory"));
                assert!(verdict.ran.err().ends_with("at its limit: memory 256M\n"));
            }
        }
    }
    eventually("nothing is left", || processes_with("./main\0").is_empty());
}

#[test]
fn a_program_that_prints_endlessly_is_ended_by_its_output() {
    let prints = "#include <stdio.h>\nint main() { for (;;) puts(\"more\"); }\n";
    for who in Who::all() {
        let verdict = judge(&Desk::of(who), &[], prints, "");
        assert_eq!((verdict.ran.code(), verdict.limit()), (137, "output"), "{}", verdict.ran.err());
        assert!(verdict.ran.0.stdout.len() <= 1 << 20);
    }
    eventually("nothing is left", || processes_with("./main\0").is_empty());
}

#[test]
fn a_program_sees_no_other_file_no_network_and_cannot_change_its_own() {
    let looks = "#include <fcntl.h>\n#include <stdio.h>\n#include <sys/socket.h>\nint main() {\n\
                 printf(\"%d %d %d %d\\n\", open(\"/etc/passwd\", O_RDONLY), open(\"/program/main.c\", O_RDWR),\n\
                 open(\"/root\", O_RDONLY), socket(AF_PACKET, SOCK_RAW, 0));\n}\n";
    for who in Who::all() {
        let ran = judge(&Desk::of(who), &[], looks, "").ran.succeeds();
        assert_eq!(ran.out(), "-1 -1 -1 -1\n");
    }
}
