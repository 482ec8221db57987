//! What the kernel says on machines that are not at hand, explained.
//!
//! A step of a plan for a recorded host is given a fault as if its kernel had refused it. An errno has many causes:
//! where another cause gives another explanation, both stand here.

mod support;

use std::{path::Path, rc::Rc};

use isorecipe::{
    diagnostic::Diagnostic,
    host::{Host, Ids},
    ops::Evidence,
    plan::Plan,
    recipe::{Recipe, Run},
    sys::{Call, Errno, Fault},
};
use support::recorded::{FOLDER, host};

const IMAGE: &str = "[user: {map: root}, mount, \
                      overlay: {lower: {image: rootfs.dat, trusted: true}, at: a-directory}]";

#[test]
fn an_image_that_the_filesystem_does_not_accept_is_damaged() {
    let seen =
        Evidence { log: "xfs: Superblock has bad magic number".into(), ..Evidence::default() };
    let said =
        explain("sudo", IMAGE, "mount the xfs image", (Call::Fsconfig, Errno::EINVAL), &seen);
    assert_eq!(said.code(), "image::damaged");
    assert_eq!(said.why(), "the kernel says: xfs: Superblock has bad magic number");
}

#[test]
fn a_kernel_without_the_filesystem_cannot_read_the_image() {
    check(
        "sudo",
        IMAGE,
        "mount the xfs image",
        Call::Fsopen,
        Errno::ENODEV,
        "image::unknown_filesystem",
    );
    check("sudo", IMAGE, "mount the xfs image", Call::Fsopen, Errno::EMFILE, "step::refused");
}

#[test]
fn a_filesystem_that_cannot_translate_ids_is_named() {
    check(
        "sudo",
        IMAGE,
        "mount the xfs image",
        Call::MountSetattr,
        Errno::EINVAL,
        "image::no_id_map",
    );
    check("sudo", IMAGE, "mount the xfs image", Call::MountSetattr, Errno::ENOMEM, "step::refused");
}

#[test]
fn a_machine_without_loop_devices_is_told_from_one_with_none_free() {
    check("sudo", IMAGE, "mount the xfs image", Call::Loop, Errno::ENOENT, "image::no_loop");
    check("sudo", IMAGE, "mount the xfs image", Call::Loop, Errno::EBUSY, "step::refused");
}

#[test]
fn an_image_that_went_away_is_missing() {
    check("sudo", IMAGE, "mount the xfs image", Call::Open, Errno::ENOENT, "image::missing");
}

#[test]
fn a_process_too_many_is_told_from_a_lack_of_memory() {
    let layers = "[user: {map: root}, pid]";
    check("user", layers, "fork", Call::Fork, Errno::EAGAIN, "fork::too_many");
    check("user", layers, "fork", Call::Fork, Errno::ENOMEM, "step::refused");
}

#[test]
fn a_filter_that_denies_namespaces_is_told_from_a_kernel_that_does() {
    let filtered = Evidence { filtered: true, ..Evidence::default() };
    let fault = (Call::Unshare, Errno::EPERM);
    let filter = explain("user", "[user]", "make a new user", fault, &filtered);
    let kernel = explain("user", "[user]", "make a new user", fault, &Evidence::default());
    assert_eq!((filter.code(), kernel.code()), ("seccomp::denies", "user::denied"));
}

#[test]
fn apparmor_is_blamed_only_where_it_restricts_users() {
    let layers = "[user: {map: root}]";
    check("user", layers, "write uid_map", Call::WriteUidMap, Errno::EPERM, "step::refused");
    for (step, call, errno) in [
        ("write uid_map", Call::WriteUidMap, Errno::EPERM),
        ("write deny", Call::WriteSetgroups, Errno::EACCES),
    ] {
        let mut host = host("user");
        host.apparmor_restricts_userns = Some(true);
        let said = explain_on(host, layers, step, (call, errno), &Evidence::default());
        assert_eq!(said.code(), "user::restricted_by_apparmor", "{call}");
    }
}

#[test]
fn a_call_that_the_kernel_is_too_old_for_is_told_from_one_that_a_filter_denies() {
    let layers = "[user: {map: root}, mount, tmpfs: /tmp]";
    let seen = Evidence { filtered: true, ..Evidence::default() };
    let fault = (Call::Fsopen, Errno::ENOSYS);
    for (kernel, code) in [("5.1.9", "host::kernel_too_old"), ("6.12.0-amd64", "seccomp::denies")] {
        let mut host = host("user");
        host.kernel = Some(kernel.to_owned());
        let said = explain_on(host, layers, "mount tmpfs", fault, &seen);
        assert_eq!(said.code(), code, "{kernel}");
    }
}

#[test]
fn a_capability_that_is_missing_is_no_filter() {
    // Without the capability the kernel itself says EPERM to nonsense.
    let seen = Evidence { filtered: true, ..Evidence::default() };
    let fault = (Call::Fsopen, Errno::EPERM);
    let without = "[user: {map: root}, tmpfs: /tmp]";
    let said = explain_on(host("user"), without, "mount tmpfs", fault, &seen);
    assert_eq!(said.code(), "mount::shared");
    let with = "[user: {map: root}, mount, tmpfs: /tmp]";
    let said = explain_on(host("user"), with, "mount tmpfs", fault, &seen);
    assert_eq!(said.code(), "seccomp::denies");
}

#[test]
fn the_ids_of_the_namespace_around_are_the_ones_there_are() {
    let refused = |name: &str, ids: &[(u32, u32)], layers: &str| -> Vec<String> {
        let mut host = host(name);
        host.ids = Some(Ids { uid: ids.to_owned(), gid: ids.to_owned(), setgroups: true });
        plan(host, layers).refusals.iter().map(|refusal| refusal.code().to_owned()).collect()
    };
    let none: [&str; 0] = [];
    assert_eq!(refused("user", &[(1000, 1)], "[user: {map: root}]"), none);
    assert_eq!(refused("user", &[(0, 1)], "[user: {map: root}]"), ["user::unmapped"]);
    let block = "[user: {map: {uid: [{inside: 0, outside: 5, count: 9}]}}]";
    assert_eq!(refused("root", &[(0, 14)], block), none);
    assert_eq!(refused("root", &[(0, 13)], block), ["map::outside_unmapped"]);
}

#[test]
fn a_helper_that_fails_with_ids_it_may_give_has_lost_its_rights() {
    let layers = "[user: {map: auto}]";
    check("user", layers, "write uid_map with", Call::Helper, Errno::EPERM, "map::helper_refused");
    check("user", layers, "write uid_map with", Call::Helper, Errno::ENOENT, "map::helper_missing");
}

#[test]
fn a_proc_that_is_not_there_is_told_from_one_that_is_read_only() {
    let layers = "[user: {map: root}]";
    check("user", layers, "write uid_map", Call::WriteUidMap, Errno::ENOENT, "map::no_proc");
    check("user", layers, "write uid_map", Call::WriteUidMap, Errno::EROFS, "map::read_only_proc");
}

#[test]
fn a_place_for_the_old_root_that_has_something_in_it_stays() {
    let layers = "[user: {map: root}, mount, bind: {from: a-directory, to: a-directory}, \
                   pivot_root: {new: a-directory, old: inner}]";
    check("user", layers, "remove", Call::Rmdir, Errno::ENOTEMPTY, "pivot_root::old_not_empty");
    check("user", layers, "remove", Call::Rmdir, Errno::EBUSY, "step::refused");
}

#[test]
fn a_fault_that_nobody_knows_is_shown_and_no_more() {
    let said = explain(
        "user",
        "[user]",
        "set no_new_privs",
        (Call::Prctl, Errno::EIO),
        &Evidence::default(),
    );
    assert_eq!(said.message(), "the kernel refused to set no_new_privs");
    assert_eq!(said.why(), "prctl gave EIO: I/O error");
}

/// Checks the code for a fault of the first step whose name begins like this.
#[track_caller]
fn check(host: &str, layers: &str, step: &str, call: Call, errno: Errno, code: &str) {
    let said = explain(host, layers, step, (call, errno), &Evidence::default());
    assert_eq!(said.code(), code);
}

fn explain(
    host_name: &str,
    layers: &str,
    step: &str,
    fault: (Call, Errno),
    seen: &Evidence,
) -> Diagnostic {
    explain_on(host(host_name), layers, step, fault, seen)
}

fn explain_on(
    host: Host,
    layers: &str,
    step: &str,
    (call, errno): (Call, Errno),
    seen: &Evidence,
) -> Diagnostic {
    let plan = plan(host, layers);
    let index = (plan.steps.iter()).position(|planned| planned.op.to_string().starts_with(step));
    let index = index.unwrap_or_else(|| panic!("no step begins with `{step}`"));
    let fault = Fault { call, errno };
    plan.explain(index, fault, seen).expect("an explanation")
}

fn plan(host: Host, layers: &str) -> Plan {
    let text = format!("isorecipe: 1\nlayers: {layers}\n");
    let (recipe, _, mistakes) = Recipe::read(text.as_bytes(), "test", Path::new(FOLDER));
    let recipe = recipe.unwrap_or_else(|| panic!("{mistakes:?}"));
    recipe.plan(Rc::new(host), &Run::default())
}
