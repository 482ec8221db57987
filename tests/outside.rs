//! Console 2: what the host sees of a sandbox, and what is left of it.

#[path = "support/machine.rs"]
mod machine;

use std::{fs, time::Duration};

use machine::{Desk, Who, eventually, namespace, proc_file, processes_with};
use nix::sys::signal::Signal;

fn own_pid() -> i32 {
    std::process::id() as i32
}

#[test]
fn step_1_is_root_inside_and_nobody_special_outside() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step1.yaml", "id -u");
    assert_eq!(sandbox.said, "0\n");
    let (pid, uid) = (sandbox.command(), desk.who.uid());
    assert_eq!(proc_file(pid, "uid_map"), format!("0 {uid} 1"));
    assert_eq!(proc_file(pid, "gid_map"), format!("0 {} 1", desk.who.gid()));
    assert_eq!(proc_file(pid, "setgroups"), "deny");
    let status = proc_file(pid, "status");
    assert!(status.contains(&format!("Uid: {uid} {uid} {uid} {uid}")), "{status}");
    assert!(status.contains("NoNewPrivs: 1"), "{status}");
    assert_ne!(namespace(pid, "user"), namespace(own_pid(), "user"));
    for kind in ["uts", "pid", "mnt", "net", "ipc", "cgroup"] {
        assert_eq!(namespace(pid, kind), namespace(own_pid(), kind), "{kind}");
    }
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn step_1_unmapped_waits_for_somebody_outside_to_write_the_maps() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step1-unmapped.yaml", "id -u");
    assert_eq!(sandbox.said, "65534\n");
    let pid = sandbox.command();
    assert_eq!(proc_file(pid, "uid_map"), "");
    // The hands-on's own commands, typed by the same user on Console 2.
    let uid = desk.who.uid();
    let (gid, script) = (
        desk.who.gid(),
        "echo deny > /proc/$0/setgroups && echo \"0 $1 1\" > /proc/$0/uid_map && echo \"0 $2 1\" > /proc/$0/gid_map",
    );
    let mut shell = std::process::Command::new("bash");
    shell.args(["-c", script, &pid.to_string(), &uid.to_string(), &gid.to_string()]);
    if machine::own_uid() == 0 {
        use std::os::unix::process::CommandExt;
        shell.uid(uid).gid(gid);
    }
    assert!(shell.status().expect("bash").success());
    assert_eq!(proc_file(pid, "uid_map"), format!("0 {uid} 1"));
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn step_2_has_a_name_of_its_own_and_the_host_keeps_its() {
    for who in Who::all() {
        let before = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        let desk = Desk::of(who);
        let sandbox = desk.start("step2.yaml", "hostname");
        assert_eq!(sandbox.said, "HOGE\n");
        let after = fs::read_to_string("/proc/sys/kernel/hostname").expect("a name");
        assert_eq!(after, before);
        assert_ne!(namespace(sandbox.command(), "uts"), namespace(own_pid(), "uts"));
        assert_eq!(sandbox.finish(), 7);
    }
}

#[test]
fn step_3_counts_its_own_processes_and_the_host_counts_them_too() {
    let desk = Desk::of(Who::ordinary());
    let sandbox = desk.start("step3.yaml", "echo $$; ps -e -o pid= | wc -l");
    // bash, ps and wc.
    assert_eq!(sandbox.said, "1\n3\n");
    let pid = sandbox.command();
    assert!(pid > 1, "an ordinary PID outside");
    assert!(proc_file(pid, "status").contains(&format!("NSpid: {pid} 1")));
    assert_eq!(machine::children(sandbox.supervisor()), [pid], "isorecipe is its parent");
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn step_4_writes_to_upper_and_never_to_lower() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("rootfs", &["bash", "ls", "ps", "mount", "touch", "cat"]);
    let mounts = proc_file(own_pid(), "mountinfo");
    let script = "echo hogehage > /hoge; echo x > /dev/null; ls -a /; ps -e -o pid=; mount";
    let sandbox = desk.start("step4-rootless.yaml", script);
    assert!(!sandbox.said.contains(".old"), "the old root is gone: {}", sandbox.said);
    assert!(sandbox.said.contains("overlay on / type overlay"), "{}", sandbox.said);
    assert!(sandbox.said.contains("proc on /proc type proc"), "{}", sandbox.said);
    assert_eq!(proc_file(own_pid(), "mountinfo"), mounts, "the host's mounts");
    assert_eq!(desk.read("upper/hoge"), "hogehage\n");
    assert!(!desk.path("rootfs/hoge").exists());
    assert!(!desk.path("rootfs/.old").exists() && !desk.path("upper/.old").exists());
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn init_reaps_orphans_and_the_command_is_its_child() {
    let desk = Desk::of(Who::ordinary());
    let recipe = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n";
    desk.write("init.yaml", recipe);
    let script =
        "echo $$; for i in 1 2 3; do (true &); done; while ps -e -o stat= | grep -q Z; do :; done";
    let sandbox = desk.start("init.yaml", script);
    assert_eq!(sandbox.said, "2\n");
    let init = machine::children(sandbox.supervisor());
    assert!(proc_file(init[0], "status").contains(" 1\n"), "PID 1 is isorecipe's");
    assert_eq!(sandbox.finish(), 7);
}

#[test]
fn the_exit_status_is_the_commands_own() {
    for recipe in ["step1.yaml", "step3.yaml", "init.yaml"] {
        let desk = Desk::of(Who::ordinary());
        desk.write(
            "init.yaml",
            "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
        );
        let status = |script: &str| desk.run(&["apply", recipe, "--", "bash", "-c", script]).code();
        assert_eq!(status("exit 0"), 0, "{recipe}");
        assert_eq!(status("exit 42"), 42, "{recipe}");
        assert_eq!(status("exit 255"), 255, "{recipe}");
        if recipe != "step3.yaml" {
            assert_eq!(status("kill -KILL $$"), 128 + 9, "{recipe}");
        }
        assert_eq!(desk.run(&["apply", recipe, "--", "no-such-command"]).code(), 127, "{recipe}");
        assert_eq!(desk.run(&["apply", recipe, "--", "/etc/passwd"]).code(), 126, "{recipe}");
    }
}

#[test]
fn a_signal_to_isorecipe_reaches_the_command() {
    for recipe in ["step1.yaml", "step3.yaml", "init.yaml"] {
        let desk = Desk::of(Who::ordinary());
        desk.write(
            "init.yaml",
            "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
        );
        // Not in `read`: bash may not notice a signal that comes just before it waits there.
        let script = "trap 'exit 33' TERM; echo ready; while :; do sleep 0.05; done";
        let sandbox = desk.start(recipe, script);
        sandbox.signal(Signal::SIGTERM);
        assert_eq!(sandbox.wait(), 33, "{recipe}");
    }
}

#[test]
fn descriptors_of_the_caller_do_not_reach_the_command() {
    let desk = Desk::of(Who::ordinary());
    for recipe in ["step1.yaml", "step3.yaml"] {
        let script = format!(
            "exec 7</etc/passwd 60</ ; exec ./isorecipe apply {recipe} -- ls /proc/self/fd"
        );
        let mut shell = desk.command(&[]);
        let mut command = std::process::Command::new("bash");
        command.args(["-c", &script]).current_dir(desk.folder());
        command.env_clear().envs(shell.get_envs().filter_map(|(name, value)| Some((name, value?))));
        if machine::own_uid() == 0 {
            use std::os::unix::process::CommandExt;
            command.uid(desk.who.uid()).gid(desk.who.gid());
        }
        let output = command.output().expect("bash");
        let listed = String::from_utf8_lossy(&output.stdout).into_owned();
        // 3 is the directory that ls itself reads.
        assert_eq!(listed.split_whitespace().collect::<Vec<_>>(), ["0", "1", "2", "3"], "{recipe}");
        shell.stdin(std::process::Stdio::null());
    }
}

#[test]
fn nothing_outlives_a_supervisor_that_is_killed() {
    for who in Who::all() {
        for recipe in ["step3.yaml", "init.yaml"] {
            let desk = Desk::of(who);
            desk.write(
                "init.yaml",
                "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
            );
            let marker = desk.folder().display().to_string();
            let sandbox = desk.start(recipe, &format!("bash -c 'sleep 1000; : {marker}' &"));
            eventually("the background process is there", || processes_with(&marker).len() >= 3);
            sandbox.kill();
            eventually("nothing is left", || processes_with(&marker).is_empty());
        }
    }
}

#[test]
fn without_a_pid_namespace_the_command_itself_ends_with_its_supervisor() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let sandbox = desk.start("step1.yaml", "");
        let command = sandbox.command();
        assert_ne!(command, sandbox.supervisor());
        sandbox.kill();
        eventually("the command is gone", || !is_running(command));
    }
}

fn is_running(pid: i32) -> bool {
    let state = proc_file(pid, "stat");
    !state.is_empty() && !state.contains(") Z ")
}

#[test]
fn nothing_outlives_a_supervisor_that_is_killed_while_it_starts() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.make_rootfs("rootfs", &["bash", "sleep"]);
        let recipe = desk.path("step4-rootless.yaml").display().to_string();
        let marker = desk.folder().display().to_string();
        let before = proc_file(own_pid(), "mountinfo");
        for delay in 0..120 {
            // The marker is an argument that `sleep` never sees, so that it stays in sight.
            let words = ["apply", &recipe, "--", "bash", "-c", "sleep 1000; :", &marker];
            let mut child = desk.command(&words).spawn().expect("the program");
            std::thread::sleep(Duration::from_micros(delay * 60));
            child.kill().expect("a kill");
            child.wait().expect("an end");
        }
        eventually("nothing is left", || processes_with(&marker).is_empty());
        assert_eq!(proc_file(own_pid(), "mountinfo"), before, "the host's mounts");
    }
}

#[test]
fn step_4_takes_an_image_from_root_and_leaves_nothing_on_the_host() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("tree", &["bash", "ls", "ps", "mount", "touch", "cat"]);
    if machine::own_uid() != 0 {
        // An ordinary user is told so, and told what to do.
        fs::write(desk.path("rootfs.dat"), [b"XFSB", &[0; 4096][..]].concat()).expect("a file");
        let ran = desk.run(&["apply", "step4.yaml"]);
        assert_eq!(ran.code(), 125);
        assert!(ran.err().contains("error[image::needs_root]"), "{}", ran.err());
        return;
    }
    desk.make_image("tree", "rootfs.dat");
    let (mounts, loops) = (proc_file(own_pid(), "mountinfo"), loop_devices());
    let uid = desk.who.uid().to_string();
    let command = desk.command(&[
        "apply",
        "step4.yaml",
        "--",
        "bash",
        "-c",
        "echo hogehage > /hoge; echo x > /dev/null && ls -a / && cat /proc/self/uid_map && mount",
    ]);
    let ran = machine::Ran(desk.through_sudo(command).output().expect("the program")).succeeds();
    assert!(ran.out().contains("overlay on / type overlay"), "{}", ran.out());
    assert!(ran.out().contains(&format!(" {uid} ")), "the invoking user's sandbox: {}", ran.out());
    assert!(!ran.out().contains(".old"), "the old root is gone: {}", ran.out());
    assert_eq!(desk.read("upper/hoge"), "hogehage\n");
    assert_eq!(
        fs::metadata(desk.path("upper/hoge"))
            .map(|found| std::os::unix::fs::MetadataExt::uid(&found))
            .expect("a file"),
        desk.who.uid()
    );
    assert_eq!(proc_file(own_pid(), "mountinfo"), mounts, "the host's mounts");
    eventually("the loop device is free again", || loop_devices() == loops);
    assert!(processes_with(&desk.folder().display().to_string()).is_empty());
}

fn loop_devices() -> String {
    let output = std::process::Command::new("losetup").arg("-a").output().expect("losetup");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_command_that_a_real_time_signal_ends_is_seen_to_end() {
    let desk = Desk::of(Who::ordinary());
    desk.write(
        "init.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {proc: true}\n",
    );
    for recipe in ["init.yaml", "step1.yaml"] {
        let ran = desk.run(&["apply", recipe, "--", "bash", "-c", "kill -34 $$"]);
        assert_eq!(ran.code(), 128 + 34, "{recipe}: {}", ran.err());
    }
}

#[test]
fn a_directory_is_not_made_on_the_host() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("root");
    std::os::unix::fs::symlink(desk.folder(), desk.path("root/way-out")).expect("a link");
    for (before, path) in [
        ("", "made"),
        ("", "root/../made"),
        ("  - bind: {from: root, to: /mnt}\n", "/mnt/made"),
        ("  - bind: {from: root, to: /mnt}\n", "/mnt/way-out/made"),
    ] {
        desk.write(
            "dir.yaml",
            &format!("isorecipe: 1\nlayers:\n  - user: {{map: root}}\n  - mount\n{before}  - dir: {path}\n"),
        );
        let ran = desk.run(&["apply", "dir.yaml", "--", "true"]);
        assert_eq!(ran.code(), 125, "{path}");
        assert!(ran.err().contains("error[dir::host]"), "{path}: {}", ran.err());
        assert!(!desk.path("made").exists() && !desk.path("root/made").exists(), "{path}");
    }
}

#[test]
fn a_recipe_does_not_write_outside_its_folder_unasked() {
    let desk = Desk::of(Who::ordinary());
    for (layers, code) in [
        ("  - bind: {from: /etc, to: /mnt}\n", "bind::writable_outside"),
        ("  - bind: {from: x/../../../../etc, to: /mnt}\n", "bind::writable_outside"),
        (
            "  - overlay: {lower: /usr/bin, upper: ../up, work: ../wk, at: at, create: true}\n",
            "overlay::writes_outside",
        ),
    ] {
        desk.write(
            "out.yaml",
            &format!("isorecipe: 1\nlayers:\n  - user: {{map: root}}\n  - mount\n{layers}"),
        );
        // `--unchecked` lets the kernel speak; it allows nothing.
        for words in [
            &["apply", "out.yaml", "--", "true"][..],
            &["apply", "--unchecked", "out.yaml", "--", "true"],
        ] {
            let ran = desk.run(words);
            assert_eq!(ran.code(), 125, "{layers}");
            assert!(ran.err().contains(&format!("error[{code}]")), "{layers}: {}", ran.err());
        }
    }
}

#[test]
fn groups_can_be_denied_whatever_the_map() {
    let desk = Desk::of(Who::ordinary());
    desk.write("deny.yaml", "isorecipe: 1\nlayers:\n  - user: {map: none, setgroups: deny}\n");
    let ran = desk.run(&["apply", "deny.yaml", "--", "cat", "/proc/self/setgroups"]).succeeds();
    assert_eq!(ran.out(), "deny\n");
}

#[test]
fn wrong_usage_of_apply_does_not_look_like_the_commands_own_status() {
    let desk = Desk::of(Who::ordinary());
    assert_eq!(desk.run(&["apply", "--bogus", "step1.yaml"]).code(), 125);
    assert_eq!(desk.run(&["--plain", "apply", "--bogus", "step1.yaml"]).code(), 125);
    assert_eq!(desk.run(&["plan", "--bogus", "step1.yaml"]).code(), 2);
}

#[test]
fn what_a_missing_image_would_have_had_in_it_is_no_second_mistake() {
    let desk = Desk::of(Who::ordinary());
    let ran = desk.run(&["--plain", "plan", "step4.yaml"]);
    let errors: Vec<String> =
        ran.err().lines().filter(|line| line.starts_with("error")).map(str::to_owned).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("error[image::missing]"), "{errors:?}");
}
