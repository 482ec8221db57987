//! `isorecipe doctor` on machines that lack something: it names what is lacking, and another cause of the same errno
//! gets another name.

#[path = "support/confined.rs"]
mod confined;
#[path = "support/machine.rs"]
mod machine;

use std::process::Command;

use confined::{
    As, Denied, Report, doctor, doctor_after, in_landlock_domain, under_filter, under_filter_of,
};
use machine::{Desk, Ran, Who, own_uid};

const EPERM: i32 = libc::EPERM;
const ENOSYS: i32 = libc::ENOSYS;

#[test]
fn a_machine_that_can_do_everything_says_so() {
    for who in Who::all() {
        let report = Report::of(&mut doctor(&Desk::of(who)));
        assert_eq!(report.code, 0, "{:#}", report.json);
        for thing in report.json["things"].as_array().expect("things") {
            assert!(thing["works"] != false || thing["basic"] == false, "{thing:#}");
        }
    }
}

#[test]
fn a_filter_that_denies_new_namespaces_is_named() {
    for who in Who::all() {
        let desk = Desk::of(who);
        for errno in [EPERM, ENOSYS] {
            let mut command = doctor(&desk);
            let report = Report::of(under_filter(&mut command, &[(libc::SYS_unshare, errno)]));
            assert_eq!(report.code, 1);
            report
                .check(&[("user namespace", "seccomp::denies"), ("your own id in it", "untried")]);
            assert_eq!(report.problem("user namespace")["errno"], errno);
        }
    }
}

#[test]
fn a_limit_of_namespaces_is_told_from_a_filter() {
    let desk = Desk::of(Who::ordinary());
    let limit = "echo 0 > /proc/sys/user/max_user_namespaces";
    // A namespace of its own, whose limit it is.
    let script =
        format!("exec unshare --user --map-root-user bash -c '{limit}; exec '\"$program\"");
    let report = doctor_after(&desk, As::Root, &script);
    assert_eq!(report.code, 1);
    report.check(&[("user namespace", "namespace::limit"), ("hostname", "untried")]);
    assert!(
        report.problem("user namespace")["help"].to_string().contains("user.max_user_namespaces")
    );
    let mut command = doctor(&desk);
    let report = Report::of(under_filter(&mut command, &[(libc::SYS_unshare, libc::ENOSPC)]));
    report.check(&[("user namespace", "seccomp::denies")]);
}

#[test]
fn a_limit_of_another_kind_leaves_the_rest_working() {
    let script = "exec unshare --user --map-root-user bash -c 'echo 0 > /proc/sys/user/max_uts_namespaces; exec '\"$program\"";
    let report = doctor_after(&Desk::of(Who::ordinary()), As::Root, script);
    report.check(&[
        ("user namespace", "yes"),
        ("UTS namespace", "namespace::limit"),
        ("hostname", "untried"),
        ("mount namespace", "yes"),
    ]);
}

#[test]
fn a_chroot_is_told_from_a_filter() {
    let desk = Desk::of(Who::ordinary());
    let script = "mkdir root; for d in usr etc dev proc tmp $(cd /; ls -d bin lib lib64 sbin); do
            if [ -L /$d ]; then cp -P /$d root; else mkdir root/$d; mount --rbind /$d root/$d; fi
        done
        cp isorecipe root
        program='chroot root /isorecipe --json doctor'";
    let report = doctor_after(&desk, As::Root, script);
    report.check(&[("user namespace", "user::chrooted")]);
    assert_eq!(report.problem("user namespace")["errno"], EPERM);
}

#[test]
fn a_chroot_on_a_mount_is_not_called_something_else() {
    let desk = Desk::of(Who::ordinary());
    let script =
        "mkdir root; mount --rbind / root; program='chroot root '$PWD'/isorecipe --json doctor'";
    let report = doctor_after(&desk, As::Root, script);
    report.check(&[("user namespace", "user::denied")]);
    assert!(report.problem("user namespace")["why"].to_string().contains("chroot"));
}

#[test]
fn a_filter_that_denies_mounts_is_told_from_landlock() {
    for who in Who::all() {
        let desk = Desk::of(who);
        let mut command = doctor(&desk);
        let report = Report::of(under_filter(&mut command, &[(libc::SYS_mount, EPERM)]));
        report.check(&[
            ("mount namespace", "yes"),
            ("private mounts", "seccomp::denies"),
            ("tmpfs", "untried"),
        ]);
        let mut command = doctor(&desk);
        let report = Report::of(in_landlock_domain(&mut command));
        report.check(&[("mount namespace", "yes"), ("private mounts", "lsm::denies")]);
        assert!(report.problem("private mounts")["help"].to_string().contains("Landlock"));
    }
}

#[test]
fn a_filter_that_denies_the_calls_for_mounts_is_named_by_each() {
    let desk = Desk::of(Who::ordinary());
    for errno in [EPERM, ENOSYS] {
        for (call, thing) in [
            (libc::SYS_fsopen, "tmpfs"),
            (libc::SYS_fsmount, "tmpfs"),
            (libc::SYS_open_tree, "bind"),
            (libc::SYS_move_mount, "bind"),
            (libc::SYS_pivot_root, "pivot_root"),
            (libc::SYS_sethostname, "hostname"),
            (libc::SYS_openat2, "openat2"),
        ] {
            let mut command = doctor(&desk);
            let report = Report::of(under_filter(&mut command, &[(call, errno)]));
            report.check(&[("user namespace", "yes"), (thing, "seccomp::denies")]);
            assert_eq!(report.problem(thing)["errno"], errno, "{thing}");
        }
    }
}

#[test]
fn a_filter_that_denies_clone3_is_no_reason_to_give_up() {
    let desk = Desk::of(Who::ordinary());
    for errno in [EPERM, ENOSYS] {
        let mut command = doctor(&desk);
        let report = Report::of(under_filter(&mut command, &[(libc::SYS_clone3, errno)]));
        assert_eq!(report.code, 0, "isorecipe makes namespaces one by one");
        report.check(&[("clone3", "seccomp::denies"), ("fresh /proc", "yes")]);
    }
}

#[test]
fn a_kind_of_namespace_that_the_kernel_lacks_is_told_from_one_that_is_denied() {
    let desk = Desk::of(Who::ordinary());
    for (errno, code) in [(libc::EINVAL, "host::not_built_in"), (EPERM, "seccomp::denies")] {
        // As a kernel without them answers, and as systemd's RestrictNamespaces= does.
        for (bits, thing) in
            [(libc::CLONE_NEWIPC, "IPC namespace"), (libc::CLONE_NEWUSER, "user namespace")]
        {
            let mut command = doctor(&desk);
            let denied = Denied { call: libc::SYS_unshare, bits: Some(bits as u32), errno };
            let report = Report::of(under_filter_of(&mut command, &[denied]));
            report.check(&[(thing, code), ("no_new_privs", "yes")]);
        }
    }
}

#[test]
fn loop_devices_that_may_not_be_opened_are_told_from_none() {
    let desk = Desk::of(Who::all()[0]);
    let image =
        |script: &str| doctor_after(&desk, As::Root, script).says("image, as root").to_owned();
    let none = image("mount -t tmpfs none /dev");
    let denied = image("mount --rbind /dev /dev; mount -o remount,bind,nodev /dev");
    match machine::own_uid() {
        0 => assert_eq!([none, denied], ["image::no_loop", "image::loop_denied"]),
        _ => assert_eq!([none, denied], ["untried", "untried"]),
    }
}

#[test]
fn a_loop_device_that_is_not_there_is_told_from_one_that_nothing_answers_and_from_no_control() {
    let desk = Desk::of(Who::all()[0]);
    let why = |script: &str| {
        let script = format!("mount -t tmpfs none /dev; {script}");
        match machine::own_uid() {
            0 => {
                doctor_after(&desk, As::Root, &script).problem("image, as root")["why"].to_string()
            }
            // Only root may mount images: nothing is tried, and no cause is told.
            _ => {
                let report = doctor_after(&desk, As::Root, "true");
                report.check(&[("image, as root", "untried")]);
                report.problem("image, as root").to_string()
            }
        }
    };
    let node = |minor: u32| format!("mknod /dev/loop-control c 10 {minor}");
    let whys = [why("true"), why(&node(237)), why(&node(254))];
    let words = match machine::own_uid() {
        0 => ["is not there", "is not in /dev", "no driver answers"],
        _ => ["null"; 3],
    };
    for (why, words) in whys.iter().zip(words) {
        assert!(why.contains(words), "{words}: {whys:?}");
    }
}

#[test]
fn a_fact_has_no_cause_that_was_not_found_out() {
    let desk = Desk::of(Who::ordinary());
    let says = |report: &Report, fact: &str| report.json["facts"][fact].to_string();
    let landlock = |errno: i32| {
        let mut command = doctor(&desk);
        let rules = [(libc::SYS_landlock_create_ruleset, errno)];
        says(&Report::of(under_filter(&mut command, &rules)), "Landlock")
    };
    assert!(landlock(ENOSYS).contains("no such call"), "{}", landlock(ENOSYS));
    assert!(landlock(libc::EOPNOTSUPP).contains("`lsm=`"), "{}", landlock(libc::EOPNOTSUPP));
    assert_eq!(landlock(EPERM), "\"unknown\"");

    let empty = doctor_after(&desk, As::Root, "mount -t tmpfs none /sys/kernel");
    assert!(says(&empty, "security modules").contains("cannot be read"), "{}", empty.json);
    let inside = doctor_after(&desk, As::Root, "program=\"unshare -Ur $program\"");
    let own = "in a user namespace other than the machine's own";
    assert!(says(&inside, "you").contains(own), "{}", inside.json);

    let fuse = |mode: &str| {
        let script = format!("touch fuse; chmod {mode} fuse; mount --bind fuse /dev/fuse");
        let owners = doctor_after(&desk, As::Owner, &script);
        says(&owners, "FUSE")
    };
    assert!(fuse("0000").contains("mode 0000: `sudo chmod 666 /dev/fuse`"), "{}", fuse("0000"));
    let nodev = "mount -t tmpfs none /mnt; mknod /mnt/fuse c 10 229; chmod 666 /mnt/fuse
        mount -o remount,nodev /mnt; mount --bind /mnt/fuse /dev/fuse";
    if machine::own_uid() == 0 {
        let closed = says(&doctor_after(&desk, As::Owner, nodev), "FUSE");
        assert!(closed.contains("whatever its mode") && !closed.contains("chmod"), "{closed}");
    }
}

#[test]
fn a_masked_proc_is_told_from_a_filter() {
    let desk = Desk::of(Who::ordinary());
    let script = "mount --bind /dev/null /proc/cpuinfo; mount --rbind /proc/sys /proc/sys";
    for who in [As::Root, As::Owner] {
        let report = doctor_after(&desk, who, script);
        assert_eq!(report.code, 1);
        report.check(&[
            ("private mounts", "yes"),
            ("fresh /proc", "proc::masked"),
            ("tmpfs", "yes"),
        ]);
        assert!(report.problem("fresh /proc")["why"].to_string().contains("/proc/cpuinfo"));
        assert_eq!(report.problem("fresh /proc")["call"], "fsmount");
    }
    let mut command = doctor(&desk);
    let report = Report::of(under_filter(&mut command, &[(libc::SYS_fsmount, EPERM)]));
    report.check(&[("fresh /proc", "seccomp::denies")]);
}

#[test]
fn no_proc_is_told_from_a_read_only_one() {
    let desk = Desk::of(Who::ordinary());
    let none = doctor_after(&desk, As::Root, "mount -t tmpfs none /proc");
    none.check(&[("user namespace", "yes"), ("your own id in it", "map::no_proc")]);
    let script = "mount --rbind /proc /proc; mount -o remount,ro,bind /proc";
    let read_only = doctor_after(&desk, As::Root, script);
    read_only.check(&[("user namespace", "yes"), ("your own id in it", "map::read_only_proc")]);
    assert_eq!((none.code, read_only.code), (1, 1));
}

#[test]
fn a_program_that_its_user_cannot_read_is_told_from_apparmor() {
    let Who::User(uid) = Who::ordinary() else { panic!("an ordinary user is root") };
    if machine::own_uid() != 0 {
        // Who owns a program can read it again; only root can keep it from others.
        return Report::of(&mut doctor(&Desk::of(Who::User(uid))))
            .check(&[("your own id in it", "yes")]);
    }
    let desk = Desk::of(Who::User(uid));
    let report = doctor_after(&desk, As::Owner, "chown 0:0 isorecipe; chmod 711 isorecipe");
    report.check(&[("user namespace", "yes"), ("your own id in it", "map::not_dumpable")]);
    assert_eq!(report.problem("your own id in it")["errno"], libc::EACCES);
}

/// Subordinate ids for the owner of the desk, whoever that is: files over those of the machine.
const IDS: &str = "
    id=$uid
    cp /etc/passwd passwd; grep -q \"^[^:]*:[^:]*:$id:\" passwd || echo \"owner:x:$id:$id::/:/bin/sh\" >> passwd
    name=$(awk -F: -v id=$id '$3 == id { print $1; exit }' passwd)
    echo $name:200000:65536 > ids
    mount --bind passwd /etc/passwd; mount --bind ids /etc/subuid; mount --bind ids /etc/subgid
    mkdir bin; cp $(command -v newuidmap) $(command -v newgidmap) bin; PATH=$PWD/bin:$PATH
";

#[test]
fn a_helper_without_rights_is_told_from_one_that_may_not_use_them() {
    let desk = || Desk::of(Who::ordinary());
    let check = |what: &str, expected: &str| {
        let report = doctor_after(&desk(), As::Owner, &format!("{IDS}{what}"));
        report.check(&[("your own id in it", "yes"), ("subordinate ids in it", expected)]);
        assert_eq!(report.code, 0, "nothing basic is missing");
        report.problem("subordinate ids in it")["why"].to_string()
    };
    if machine::own_uid() == 0 {
        check("chmod u+s bin/*", "yes");
        let nosuid = "chmod u+s bin/*; mount --bind bin bin; mount -o remount,bind,nosuid bin";
        check(nosuid, "map::helper_on_nosuid");
    }
    assert!(check("", "map::helper_not_setuid").contains("0755"));
    let no_new_privs = "chmod u+s bin/*; prefix=\"$prefix setpriv --no-new-privs\"";
    check(no_new_privs, "map::helper_no_new_privs");
    check("> ids", "map::no_subordinate_ids");
    check("prefix=\"$prefix /usr/bin/env PATH=/nowhere\"", "map::helper_missing");
}

/// Behind `sudo` in a container that took `CAP_SETGID` away.
#[test]
fn who_may_not_act_for_the_user_says_what_there_is_to_say() {
    let desk = Desk::of(Who::ordinary());
    for words in [&["plan", "step3.yaml"][..], &["doctor"], &["host"]] {
        let mut command = Command::new("setpriv");
        if own_uid() != 0 {
            command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "setpriv"]);
        }
        command.args(["--bounding-set", "-setgid", "--inh-caps", "-setgid", "./isorecipe"]);
        command.args(words).current_dir(desk.folder());
        command.env("SUDO_UID", "54321").env("SUDO_GID", "54321");
        let ran = Ran(command.output().expect("setpriv"));
        assert!(matches!(ran.code(), 0 | 1), "{words:?}: {}{}", ran.code(), ran.err());
        assert!(ran.out().lines().count() > 3, "{words:?}: {}", ran.err());
    }
}
