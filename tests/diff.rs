//! What `isorecipe diff` says of each kind of change to a file, made in a real
//! overlay: as root, whose marks are `trusted.overlay.*`, and as a user.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/scene.rs"]
mod scene;

use scene::{Scene, check, check_as_root, set_xattr};

#[test]
fn nothing_is_said_of_a_run_that_changed_nothing() {
    check("echo hi > f", "cat f > /dev/null", &[]);
}

#[test]
fn a_new_file_is_added() {
    check("", "echo hi > f", &["A  f  (file, 3 B, 0644)"]);
}

#[test]
fn a_new_empty_file_is_added() {
    check("", "touch f", &["A  f  (file, 0 B, 0644)"]);
}

#[test]
fn a_deleted_file_is_deleted() {
    check("echo hi > f", "rm f", &["D  f  (file, 3 B, 0644)"]);
}

#[test]
fn a_file_that_came_and_went_is_no_change() {
    check("", "touch f; rm f", &[]);
}

#[test]
fn a_file_made_anew_with_other_content_is_modified() {
    check("echo hi > f", "rm f; echo hello > f", &["M  f  (content, 3 B → 6 B)"]);
}

#[test]
fn a_longer_file_is_modified() {
    check("echo hi > f", "echo more >> f", &["M  f  (content, 3 B → 8 B)"]);
}

#[test]
fn a_cut_file_is_modified() {
    check("echo hi > f", ": > f", &["M  f  (content, 3 B → 0 B)"]);
}

#[test]
fn other_bytes_of_the_same_number_and_time_are_noticed() {
    check(
        "echo one > f",
        "cp -p f old; echo two > f; touch -r old f; rm old",
        &["M  f  (content)"],
    );
}

#[test]
fn a_file_with_another_time_only_is_said_to_have_that() {
    check("echo hi > f", "touch -d 2001-01-01 f", &["M  f  (mtime)"]);
}

#[test]
fn a_file_that_was_copied_up_and_is_the_same_is_no_change() {
    check("echo hi > f", "chmod 600 f; chmod 644 f", &[]);
}

#[test]
fn other_permission_bits_are_noticed() {
    check("touch f", "chmod 751 f", &["M  f  (mode 0644 → 0751)"]);
}

#[test]
fn a_set_user_id_bit_is_noticed() {
    check("touch f; chmod 755 f", "chmod u+s f", &["M  f  (mode 0755 → 4755)"]);
}

#[test]
fn another_owner_is_noticed() {
    check_as_root("touch f", "chown 12:34 f", &["M  f  (uid 0 → 12, gid 0 → 34)"]);
}

#[test]
fn a_new_file_of_somebody_else_says_whose() {
    check_as_root("", "touch f; chown 12:34 f", &["A  f  (file, 0 B, 0644, owner 12:34)"]);
}

#[test]
fn the_owner_that_a_file_has_anyway_is_no_change() {
    check("touch f", "chown 0:0 f", &[]);
}

#[test]
fn a_file_that_became_a_directory_is_modified() {
    check(
        "echo hi > f",
        "rm f; mkdir f; touch f/new",
        &["M  f/  (file → directory)", "A  f/new  (file, 0 B, 0644)"],
    );
}

#[test]
fn a_directory_that_became_a_file_is_modified() {
    check("mkdir d; touch d/in", "rm -r d; touch d", &["M  d  (directory → file)"]);
}

#[test]
fn a_file_that_became_a_symlink_is_modified() {
    check("echo hi > f", "ln -sf g f", &["M  f  (file → symlink)"]);
}

#[test]
fn a_symlink_that_leads_elsewhere_is_modified() {
    check("ln -s a l", "ln -sfn b l", &["M  l  (target a → b)"]);
}

#[test]
fn a_new_symlink_is_added_and_not_followed() {
    check("", "ln -s /etc l", &["A  l  (symlink to /etc)"]);
}

#[test]
fn a_hard_link_to_an_old_file_is_called_one() {
    check("echo hi > f", "ln f g", &["A  g  (hard link to f)"]);
}

#[test]
fn a_new_file_with_two_names_is_added_once() {
    check("", "echo hi > f; ln f g", &["A  f  (file, 3 B, 0644)", "A  g  (hard link to f)"]);
}

#[test]
fn a_file_with_two_names_below_is_modified_under_one() {
    check("echo hi > f; ln f g", "echo more >> f", &["M  f  (content, 3 B → 8 B)"]);
}

#[test]
fn a_sparse_file_says_what_it_takes() {
    check(
        "",
        "truncate -s 100M f; printf x | dd of=f bs=1 seek=50M conv=notrunc status=none",
        &["A  f  (file, 100 MiB, 4 KiB on disk, 0644)"],
    );
}

#[test]
fn a_byte_in_a_sparse_file_is_noticed() {
    check(
        "truncate -s 100M f; truncate -s 100M g",
        "printf x | dd of=f bs=1 seek=50M conv=notrunc status=none; chmod 600 g",
        &["M  f  (content)", "M  g  (mode 0644 → 0600)"],
    );
}

#[test]
fn zeros_that_are_written_out_are_the_same_as_a_hole() {
    check(
        "truncate -s 1M f",
        "dd if=/dev/zero of=f bs=1M count=1 conv=notrunc status=none; touch -r /proc/self/exe f",
        &["M  f  (mtime)"],
    );
}

#[test]
fn a_fifo_is_added_and_not_waited_for() {
    check("", "mkfifo p", &["A  p  (fifo, 0644)"]);
}

#[test]
fn a_socket_is_added() {
    let bind = "perl -MSocket -e 'socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un(\"s\"))'";
    check("", bind, &["A  s  (socket, 0755)"]);
}

#[test]
fn a_device_is_added_with_its_numbers() {
    check_as_root("", "mknod n c 1 3", &["A  n  (character device 1:3, 0644)"]);
    check_as_root("", "mknod n b 7 9", &["A  n  (block device 7:9, 0644)"]);
}

#[test]
fn a_device_with_other_numbers_is_modified() {
    check_as_root(
        "mknod n c 1 3",
        "rm n; mknod n c 1 5",
        &["M  n  (character device 1:3 → character device 1:5)"],
    );
}

#[test]
fn an_extended_attribute_is_noticed() {
    check("touch f", &set_xattr("f", "user.color", "red"), &["M  f  (xattr user.color)"]);
}

#[test]
fn another_value_of_an_extended_attribute_is_noticed() {
    check(
        &format!("touch f g; {}", set_xattr("f", "user.color", "red")),
        &format!("{}; chmod 600 g", set_xattr("f", "user.color", "blue")),
        &["M  f  (xattr user.color)", "M  g  (mode 0644 → 0600)"],
    );
}

#[test]
fn names_that_act_on_a_terminal_are_spelled_out() {
    check(
        "",
        r#"touch $'new\nline' $'\e[31mred' $'caf\xe9' 'two  spaces' 'say "hi"' plain"#,
        &[
            r#"A  "\u{1b}[31mred"  (file, 0 B, 0644)"#,
            r#"A  "caf\xe9"  (file, 0 B, 0644)"#,
            r#"A  "new\nline"  (file, 0 B, 0644)"#,
            r"A  plain  (file, 0 B, 0644)",
            r#"A  "say \"hi\""  (file, 0 B, 0644)"#,
            r#"A  "two  spaces"  (file, 0 B, 0644)"#,
        ],
    );
}

#[test]
fn programs_get_names_as_they_are() {
    let scene = Scene::new(
        machine::Who::ordinary(),
        "echo hi > f",
        r"touch $'caf\xe9' $'new\nline'; echo more >> f",
    );
    let ran = scene.diff(&["--json", "box.yaml"]);
    let lines: Vec<serde_json::Value> =
        ran.out().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let paths: Vec<_> = lines.iter().map(|line| &line["path"]).collect();
    assert_eq!(*paths[0], serde_json::json!({"bytes": [99, 97, 102, 0xe9]}));
    assert_eq!((paths[1], paths[2]), (&"f".into(), &"new\nline".into()));
    let change = &lines[1];
    assert_eq!(change["change"], "modified");
    assert_eq!(change["differs"], serde_json::json!(["content", "size", "mtime"]));
    assert_eq!((&change["before"]["size"], &change["after"]["size"]), (&3.into(), &8.into()));
    assert_eq!(change["after"]["mode"], "0644");
    assert_eq!(change["after"]["type"], "file");
}

#[test]
fn the_lines_of_a_text_that_changed_are_shown() {
    let scene = Scene::new(
        machine::Who::ordinary(),
        "seq 3 > f; head -c 9 /dev/zero > zeros; echo gone > g",
        r"printf '1\nzwei\e[2J\n3\n' > f; echo x >> zeros; rm g; head -c 2M /dev/zero > big",
    );
    assert_eq!(
        scene.diff(&["--text", "box.yaml"]).out(),
        "A  big  (file, 2 MiB, 0644)\n(larger than 1 MiB)\n\
         M  f  (content, 6 B → 13 B)\n--- a/f\n+++ b/f\n@@ -1,3 +1,3 @@\n 1\n-2\n+zwei\\u{1b}[2J\n 3\n\
         D  g  (file, 5 B, 0644)\n--- a/g\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone\n\
         M  zeros  (content, 9 B → 11 B)\n(no text)\n"
    );
}

#[test]
fn without_unicode_an_arrow_is_drawn_with_letters() {
    let scene = Scene::new(machine::Who::ordinary(), "touch f", "chmod 600 f");
    let ran = scene.desk.command(&["diff", "box.yaml"]).env("LANG", "C").output().expect("a run");
    assert_eq!(ran.stdout, b"M  f  (mode 0644 -> 0600)\n");
}

#[test]
fn a_letter_has_a_colour_where_colours_are_wanted() {
    let scene = Scene::new(machine::Who::ordinary(), "", "touch f");
    let ran = scene.diff(&["--color", "always", "box.yaml"]);
    assert_eq!(ran.out(), "\u{1b}[32mA\u{1b}[0m  f  (file, 0 B, 0644)\n");
}
