//! Keys of the session stay outside: `session-keyring(7)`.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/strike.rs"]
mod strike;

use machine::{Desk, Who};
use strike::strike;

/// Prints the number of the session keyring (`KEYCTL_GET_KEYRING_ID` of
/// `KEY_SPEC_SESSION_KEYRING`), as whoever reads its keys finds it.
const NUMBER: &str = "printf '%s\\n' \"$(perl -e 'print syscall(SYS, 0, -3, 0)')\"";

fn number(desk: &Desk, words: &[&str]) -> String {
    let script = NUMBER.replace("SYS", &libc::SYS_keyctl.to_string());
    let words = [words, &["bash", "-c", &script]].concat();
    desk.run(&words).succeeds().out().trim().to_owned()
}

#[test]
fn a_sandbox_has_a_session_keyring_of_its_own() {
    for who in Who::all() {
        let desk = Desk::of(who);
        desk.write("bare.yaml", "isorecipe: 1\nlayers: []\n");
        let apply = ["apply", "bare.yaml", "--"];
        let outside = std::process::Command::new("perl")
            .args(["-e", &format!("print syscall({}, 0, -3, 0)", libc::SYS_keyctl)])
            .output()
            .expect("perl: `sudo apt install perl-base`");
        let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
        let (one, other) = (number(&desk, &apply), number(&desk, &apply));
        assert!(one.parse::<i64>().is_ok_and(|serial| serial > 0), "{one}");
        assert_ne!(one, other);
        assert_ne!(one, outside);
    }
}

#[test]
fn nobody_starts_with_the_keys_of_the_caller() {
    let desk = Desk::of(Who::ordinary());
    desk.write("bare.yaml", "isorecipe: 1\nlayers: [user: {map: root}]\n");
    for (injection, code) in [
        ("keyctl:error=EDQUOT:when=1", "error[keys::too_many]"),
        ("keyctl:error=ENOMEM:when=1", "keyctl: ENOMEM"),
        ("keyctl:retval=0:when=1", "`keyctl` said yes"),
    ] {
        let ran = strike(&desk, &["bare.yaml"], Some(injection));
        assert_eq!(ran.code(), 125, "{injection}: {}", ran.err());
        assert!(ran.err().contains(code), "{injection}: {}", ran.err());
    }
}

#[test]
fn a_quota_of_keys_stops_nobody_whose_filter_denies_keys() {
    let desk = Desk::of(Who::ordinary());
    desk.write("filtered.yaml", "isorecipe: 1\nlayers: [user: {map: root}, seccomp: {}]\n");
    strike(&desk, &["filtered.yaml"], Some("keyctl:error=EDQUOT:when=1")).succeeds();
}
