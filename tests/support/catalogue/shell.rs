//! The script of one try, in the surroundings that the situation wants.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use super::row::{Around, Person, Row};
use crate::machine::{Desk, own_uid};

/// A shell that sets up, tries twice, waits, and tries again after the remedy.
pub fn of(row: &Row, person: Person, desk: &Desk, folder: &str) -> Command {
    let who = desk.who;
    let is_root = own_uid() == 0;
    let drop_rights = match (row.around, person, is_root) {
        (Around::Mounts, Person::User, true) => {
            let (uid, gid) = (who.uid(), who.gid());
            format!("setpriv --reuid {uid} --regid {gid} --clear-groups env")
        }
        (Around::Mounts, Person::User, false) => {
            format!("unshare --user --map-user={} --map-group={}", who.uid(), who.gid())
        }
        _ => String::new(),
    };
    let script = format!(
        "set -e\n\
             sudo() {{ \"$@\"; }}\n\
             program=../isorecipe; drop='{drop_rights}'; prefix=\"$drop {prefix}\"\n\
             mine() {{ mkdir -p \"$@\"; chown -R $uid:$gid \"$@\" 2> /dev/null || true; }}\n\
             run() {{ $prefix $program --json \"$@\" < /dev/null; }}\n\
             {setup}\n\
             set +e\n\
             run plan r.yaml > plan.out 2> plan.err; echo $? > plan.status\n\
             run apply --unchecked r.yaml > apply.out 2> apply.err; echo $? > apply.status\n\
             echo tried; read -r go || exit 0\n\
             . ./remedy\n\
             run apply r.yaml > after.out 2> after.err; echo $? > after.status\n",
        prefix = row.prefix,
        setup = row.setup,
    );
    let shell = ["bash", "-c", &script];
    let mut command = match row.around {
        Around::Mounts if is_root => {
            words("unshare", &["--mount", "--propagation", "private"], &shell)
        }
        Around::Mounts | Around::Box => words(
            "unshare",
            &["--user", "--map-root-user", "--mount", "--propagation", "private"],
            &shell,
        ),
        Around::Nothing => words("bash", &[], &shell[1..]),
    };
    let is_own = row.around != Around::Mounts;
    if is_root && is_own && person == Person::User {
        command.uid(who.uid()).gid(who.gid());
    }
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    command.current_dir(desk.path(folder)).env_clear();
    command.envs([("PATH", path), ("HOME", "/"), ("LANG", "C.UTF-8"), ("SHELL", "/bin/sh")]);
    command.envs([("uid", who.uid().to_string()), ("gid", who.gid().to_string())]);
    for (name, number) in NUMBERS {
        command.env(format!("SYS_{name}"), number.to_string());
    }
    command.env("person", format!("{:?}", person).to_lowercase());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Calls that a script names by number.
const NUMBERS: [(&str, libc::c_long); 17] = [
    ("clone3", libc::SYS_clone3),
    ("execve", libc::SYS_execve),
    ("fsconfig", libc::SYS_fsconfig),
    ("fsmount", libc::SYS_fsmount),
    ("fsopen", libc::SYS_fsopen),
    ("landlock_create_ruleset", libc::SYS_landlock_create_ruleset),
    ("landlock_restrict_self", libc::SYS_landlock_restrict_self),
    ("mkdirat", libc::SYS_mkdirat),
    ("mount", libc::SYS_mount),
    ("mount_setattr", libc::SYS_mount_setattr),
    ("move_mount", libc::SYS_move_mount),
    ("open_tree", libc::SYS_open_tree),
    ("pivot_root", libc::SYS_pivot_root),
    ("prctl", libc::SYS_prctl),
    ("sethostname", libc::SYS_sethostname),
    ("umount2", libc::SYS_umount2),
    ("unshare", libc::SYS_unshare),
];

fn words(program: &str, options: &[&str], rest: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(options).args(rest);
    command
}
