//! `isorecipe doctor` inside other sandboxes, and for recipes.

#[path = "support/confined.rs"]
mod confined;
#[path = "support/machine.rs"]
mod machine;

use std::{fs, os::unix::process::CommandExt, path::Path, process::Command};

use confined::{Report, doctor, under_filter};
use machine::{Desk, Who, own_uid};
use serde_json::{Value, json};

#[test]
fn inside_bubblewrap_set_user_id_programs_have_lost_their_rights() {
    let desk = Desk::of(Who::ordinary());
    let report = inside(&desk, "bwrap", &["--dev-bind", "/", "/"]);
    assert_eq!(report.code, 0, "{:#}", report.json);
    report.check(&[("user namespace", "yes"), ("pivot_root", "yes")]);
    assert!(report.json["facts"]["no_new_privs"].to_string().contains("on"));
}

#[test]
fn inside_bubblewrap_without_user_namespaces_the_limit_is_named() {
    let desk = Desk::of(Who::ordinary());
    let words = ["--dev-bind", "/", "/", "--unshare-user", "--disable-userns"];
    let report = inside(&desk, "bwrap", &words);
    assert_eq!(report.code, 1);
    report.check(&[("user namespace", "namespace::limit")]);
}

#[test]
fn inside_runc_the_masked_proc_is_named() {
    let desk = Desk::of(Who::ordinary());
    let report = inside_runc(&desk, &json!(null));
    assert_eq!(report.code, 1);
    // A root without CAP_SETFCAP may not even map itself.
    report.check(&[("user namespace", "yes"), ("your own id in it", "map::host_root")]);
    if own_uid() == 0 {
        report.check(&[("mount namespace", "yes"), ("fresh /proc", "proc::masked")]);
    }
}

#[test]
fn inside_runc_with_a_profile_like_dockers_the_filter_is_named() {
    let desk = Desk::of(Who::ordinary());
    let denied = ["unshare", "mount", "umount2", "fsopen", "setns"];
    let report = inside_runc(
        &desk,
        &json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [
                {"names": denied, "action": "SCMP_ACT_ERRNO", "errnoRet": libc::EPERM},
                {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": libc::ENOSYS},
            ],
        }),
    );
    report.check(&[
        ("user namespace", "seccomp::denies"),
        ("clone3", "seccomp::denies"),
        ("openat2", "yes"),
    ]);
    let seccomp = report.json["facts"]["seccomp"].to_string();
    assert!(seccomp.contains("clone3, mount, unshare"), "{seccomp}");
}

#[test]
fn a_recipe_is_checked_for_what_it_needs_and_for_nothing_else() {
    let desk = Desk::of(Who::ordinary());
    let mut command = desk.command(&["--json", "doctor", "step0.yaml", "step2.yaml", "step3.yaml"]);
    let report = Report::of(under_filter(&mut command, &[(libc::SYS_fsmount, libc::EPERM)]));
    assert_eq!(report.code, 1);
    let works = |index: usize| report.json["recipes"][index]["works"].as_bool();
    assert_eq!([works(0), works(1), works(2)], [Some(true), Some(true), Some(false)]);
    let problem = &report.json["recipes"][2]["problems"][0];
    assert_eq!(
        (&problem["code"], &problem["call"]),
        (&json!("seccomp::denies"), &json!("fsmount"))
    );
    let line = fs::read_to_string(desk.path("step3.yaml")).expect("a recipe");
    let line = line.lines().position(|line| line.contains("proc: true")).expect("a line") + 1;
    assert_eq!(problem["line"], line);
    // What apply meets is called the same.
    let mut command = desk.command(&["apply", "--json", "step3.yaml", "--", "true"]);
    let ended = under_filter(&mut command, &[(libc::SYS_fsmount, libc::EPERM)]).output();
    let said = String::from_utf8(ended.expect("apply").stderr).expect("text");
    assert!(said.contains("\"seccomp::denies\""), "{said}");
}

#[test]
fn the_exit_status_is_that_of_the_recipes() {
    let desk = Desk::of(Who::ordinary());
    let status = |words: &[&str]| desk.run(words).code();
    assert_eq!(status(&["doctor", "step2.yaml", "step3.yaml"]), 0);
    assert_eq!(status(&["doctor", "step2.yaml", "step2-no-uts.yaml"]), 1);
    assert_eq!(status(&["doctor", "nothing.yaml"]), 1);
    assert_eq!(status(&["doctor", "--bogus"]), 2);
    // What a recipe does not need does not count.
    let mut command = desk.command(&["doctor", "step1.yaml"]);
    let ended = under_filter(&mut command, &[(libc::SYS_fsmount, libc::EPERM)]).output();
    assert_eq!(ended.expect("doctor").status.code(), Some(0));
}

#[test]
fn people_are_told_why_and_what_to_type() {
    let desk = Desk::of(Who::ordinary());
    for words in [&["doctor"][..], &["--plain", "doctor"]] {
        let mut command = desk.command(words);
        let ended = under_filter(&mut command, &[(libc::SYS_unshare, libc::EPERM)]).output();
        let ended = ended.expect("doctor");
        let said = String::from_utf8(ended.stdout).expect("text");
        for part in ["[seccomp::denies]", "(unshare: EPERM)", "help: start the outer container"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let is_table = words.len() == 1;
        assert!(!is_table || said.lines().all(|line| line.chars().count() <= 100), "{said}");
        assert!(ended.stderr.is_empty());
    }
}

#[test]
fn nothing_is_left_of_a_trial() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let mounts = || fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        let before = (mounts(), machine::children(std::process::id() as i32).len());
        assert!(Report::of(&mut doctor(&desk)).json["works"].as_bool().expect("an answer"));
        assert_eq!(mounts(), before.0);
        assert!(machine::processes_with(&desk.folder().display().to_string()).is_empty());
    }
}

fn inside(desk: &Desk, program: &str, words: &[&str]) -> Report {
    let program = which::which(program).unwrap_or_else(|_| panic!("{program} is not installed"));
    let mut command = Command::new(program);
    command.args(words).arg(desk.path("isorecipe")).args(["--json", "doctor"]);
    if own_uid() == 0 {
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    Report::of(command.current_dir(desk.folder()))
}

/// A container as `runc spec` describes one, with the program in it: of root, or else of the user.
fn inside_runc(desk: &Desk, seccomp: &Value) -> Report {
    desk.make_dir("rootfs");
    desk.write("config.json", &container(desk, seccomp).to_string());
    let runc = which::which("runc").expect("runc is not installed");
    let state = desk.path("runc");
    let mut command = match own_uid() {
        0 => Command::new("unshare"),
        _ => Command::new(&runc),
    };
    if own_uid() == 0 {
        command.args(["--mount", "--propagation", "private"]).arg(&runc);
    }
    let name = desk.folder().file_name().expect("a name");
    command.arg("--root").arg(state).arg("run").arg(name);
    Report::of(command.current_dir(desk.folder()))
}

fn container(desk: &Desk, seccomp: &Value) -> Value {
    let mut mounts = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]}),
        json!({"destination": "/tmp", "type": "tmpfs", "source": "tmpfs"}),
    ];
    let bind = |from: &Path, to: &str| json!({"destination": to, "type": "bind", "source": from, "options": ["rbind", "ro"]});
    for folder in ["/usr", "/bin", "/lib", "/lib64", "/etc"] {
        if let Ok(real) = Path::new(folder).canonicalize() {
            mounts.push(bind(&real, folder));
        }
    }
    mounts.push(bind(&desk.path("isorecipe"), "/isorecipe"));
    let mut kinds = vec!["pid", "ipc", "uts", "mount"];
    let mut linux = json!({
        "maskedPaths": ["/proc/keys", "/proc/timer_list", "/proc/acpi", "/proc/scsi"],
        "readonlyPaths": ["/proc/sys"],
        "seccomp": seccomp,
    });
    if own_uid() != 0 {
        kinds.push("user");
        let own = |id: u32| json!([{"containerID": 0, "hostID": id, "size": 1}]);
        linux["uidMappings"] = own(desk.who.uid());
        linux["gidMappings"] = own(desk.who.gid());
    }
    linux["namespaces"] = kinds.iter().map(|kind| json!({"type": kind})).collect();
    let capabilities = ["CAP_CHOWN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL"];
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": {"uid": 0, "gid": 0},
            "args": ["/isorecipe", "--json", "doctor"],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities,
            },
            "noNewPrivileges": true,
        },
        "root": {"path": "rootfs"},
        "hostname": "box",
        "mounts": mounts,
        "linux": linux,
    })
}
