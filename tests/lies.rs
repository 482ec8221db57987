//! A call that says yes and does nothing: read back at once, the command never runs, and one message says which it was.
//! `strace` skips the call and answers in the kernel's place.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/strike.rs"]
mod strike;

use machine::{Desk, Who};
use strike::strike;

const BOX: &str = "\
isorecipe: 1
layers:
  - user: {map: root}
  - uts: {hostname: box, domainname: example}
  - pid
  - mount: {propagation: private}
  - tmpfs: /mnt
  - bind: {from: /usr, to: /mnt, read_only: true}
  - proc: /proc
  - capabilities: {keep: [chown], ambient: [chown]}
  - rlimits: {core: 0}
cwd: /mnt
";

/// A call that lies the first time it is made, and the step of [`BOX`] that asked for it.
const LIES: &[(&str, &str)] = &[
    ("setsid", "execute"),
    ("sethostname", "set the hostname to box"),
    ("setdomainname", "set the domain name to example"),
    ("mount_setattr", "read-only"),
    ("move_mount", "mount tmpfs on /mnt"),
    ("chdir", "enter /mnt"),
    ("capset", "drop every capability but chown"),
    ("prlimit64", "limit core to 0"),
    ("close_range", "execute"),
];

#[test]
fn a_lie_is_caught_behind_its_step() {
    let desk = Desk::of(Who::ordinary());
    desk.write("box.yaml", BOX);
    for (call, asked) in LIES {
        let ran = strike(&desk, &["box.yaml"], Some(&format!("{call}:retval=0:when=1")));
        assert_eq!((ran.code(), ran.out().as_str()), (125, ""), "{call}: {}", ran.err());
        let said = format!("error[verify::not_done]: `{call}` said yes, and it is not done");
        assert!(ran.err().contains(&said), "{call}: {}", ran.err());
        assert!(ran.err().contains(asked), "{call}: {}", ran.err());
    }
}
