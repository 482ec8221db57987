//! What `isorecipe diff` says of directories, renames and several layers,
//! made in real overlays, and of marks that other tools leave.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/scene.rs"]
mod scene;

use machine::Who;
use scene::{Scene, check, set_xattr};

#[test]
fn a_new_directory_is_added_with_all_that_is_in_it() {
    check(
        "",
        "mkdir -p d/e; touch d/e/f",
        &["A  d/  (directory, 0755)", "A  d/e/  (directory, 0755)", "A  d/e/f  (file, 0 B, 0644)"],
    );
}

#[test]
fn a_deleted_directory_is_one_line() {
    check("mkdir -p d/e; touch d/e/f", "rm -r d", &["D  d/  (directory, 0755)"]);
}

#[test]
fn a_directory_that_was_only_copied_up_is_no_change() {
    check("mkdir -p d/e; touch d/e/f", "touch d/e/g", &["A  d/e/g  (file, 0 B, 0644)"]);
}

#[test]
fn other_permission_bits_of_a_directory_are_noticed() {
    check("mkdir d; touch d/f", "chmod 700 d", &["M  d/  (mode 0755 → 0700)"]);
}

#[test]
fn a_directory_made_anew_has_lost_what_was_in_it() {
    check(
        "mkdir d; touch d/old; echo hi > d/kept",
        "rm -r d; mkdir d; echo hi > d/kept; touch -d @0 d/kept; touch d/new",
        &["M  d/kept  (mtime)", "A  d/new  (file, 0 B, 0644)", "D  d/old  (file, 0 B, 0644)"],
    );
}

#[test]
fn an_extended_attribute_of_a_directory_is_noticed() {
    check("mkdir d", &set_xattr("d", "user.color", "red"), &["M  d/  (xattr user.color)"]);
}

#[test]
fn a_renamed_file_is_renamed() {
    check("echo hi > a", "mv a b", &["R  b  (from a)"]);
}

#[test]
fn a_file_that_was_copied_away_is_renamed() {
    check(
        "echo hi > a",
        "cat a > b; touch -r a b; chmod 600 b; rm a",
        &["R  b  (from a, mode 0644 → 0600)"],
    );
}

#[test]
fn a_sparse_file_is_the_same_when_its_holes_were_written_out() {
    check(
        "truncate -s 1M a; printf x | dd of=a bs=1 seek=500000 conv=notrunc status=none",
        "cp -p --sparse=never a b; rm a",
        &["R  b  (from a)"],
    );
}

#[test]
fn empty_files_are_never_taken_for_each_other() {
    check("touch a", "cat a > b; rm a", &["D  a  (file, 0 B, 0644)", "A  b  (file, 0 B, 0644)"]);
}

#[test]
fn a_file_that_was_moved_out_of_a_deleted_directory_is_found() {
    check(
        "mkdir -p d/e; echo hi > d/e/f; echo ho > d/g",
        "mv d/e/f f; rm -r d",
        &["D  d/  (directory, 0755)", "R  f  (from d/e/f)"],
    );
}

#[test]
fn of_files_with_the_same_content_the_one_that_kept_its_name_is_meant() {
    check(
        "mkdir d; echo hi > d/a; echo hi > d/b",
        "mkdir e; cp -p d/a d/b e; rm d/a d/b",
        &["A  e/  (directory, 0755)", "R  e/a  (from d/a)", "R  e/b  (from d/b)"],
    );
}

#[test]
fn a_file_that_was_renamed_and_modified_is_known_by_its_origin() {
    let change = "mv a b; echo more >> b";
    for who in Who::all() {
        let lines = Scene::new(who, "echo hi > a", change).lines();
        match who {
            Who::Root => assert_eq!(lines, ["R  b  (from a, content, 3 B → 8 B)"]),
            // In a user namespace overlayfs writes down that it copied, and not what.
            Who::User(_) => {
                assert_eq!(lines, ["D  a  (file, 3 B, 0644)", "A  b  (file, 8 B, 0644)"]);
            }
        }
    }
}

#[test]
fn a_renamed_symlink_is_renamed() {
    check("ln -s somewhere a", "mv a b", &["R  b  (from a)"]);
}

#[test]
fn a_renamed_directory_is_one_line() {
    check(
        "mkdir -p d/e; echo hi > d/e/f; ln -s f d/e/l; touch d/empty",
        "mv d g",
        &["R  g/  (from d)"],
    );
}

#[test]
fn what_else_differs_in_a_renamed_directory_is_said_of_each() {
    check(
        "mkdir -p d/e; echo hi > d/e/f; echo ho > d/g",
        "mv d n; chmod 600 n/e/f; chmod 700 n",
        &["R  n/  (from d, mode 0755 → 0700)", "M  n/e/f  (mode 0644 → 0600)"],
    );
}

#[test]
fn a_directory_with_other_bytes_in_it_is_not_the_same() {
    check(
        "mkdir d; echo one > d/f; echo keep > d/g",
        "mv d n; echo two > n/f",
        &[
            "D  d/  (directory, 0755)",
            "A  n/  (directory, 0755)",
            "A  n/f  (file, 4 B, 0644)",
            "R  n/g  (from d/g)",
        ],
    );
}

#[test]
fn a_rename_that_overlayfs_recorded_is_one_line_and_what_differs() {
    let before = "mkdir -p d/e; echo hi > d/e/f; echo ho > d/g; touch d/h";
    let run = "mv d n; echo more >> n/e/f; rm n/g; mkdir o; mv n/e o/e2";
    for who in Who::all() {
        if who != Who::Root {
            drop(Scene::new(who, "", &refused("redirect_dir=on")));
            continue;
        }
        assert_eq!(
            Scene::mounted(who, "redirect_dir=on", before, run).lines(),
            [
                "R  n/  (from d)",
                "D  n/g  (file, 3 B, 0644)",
                "A  o/  (directory, 0755)",
                "R  o/e2/  (from d/e)",
                "M  o/e2/f  (content, 3 B → 8 B)",
            ]
        );
    }
}

#[test]
fn what_went_along_with_a_recorded_rename_is_not_deleted() {
    for who in Who::all() {
        if who != Who::Root {
            drop(Scene::new(who, "", &refused("redirect_dir=on")));
            continue;
        }
        let run = "mv d n; mkdir d; touch d/new";
        let scene = Scene::mounted(who, "redirect_dir=on", "mkdir -p d/e; echo hi > d/f", run);
        assert_eq!(scene.lines(), ["A  d/new  (file, 0 B, 0644)", "R  n/  (from d)"]);
    }
}

/// The kernel has no such options for an ordinary user's overlay.
fn refused(option: &str) -> String {
    let flags = "lowerdir=lower,upperdir=upper,workdir=work,userxattr";
    format!("cd ..; ! mount -t overlay overlay -o {flags},{option} m 2> /dev/null")
}

#[test]
fn a_copy_without_bytes_has_those_of_the_lower() {
    for who in Who::all() {
        if who != Who::Root {
            drop(Scene::new(who, "", &refused("metacopy=on")));
            continue;
        }
        let before = "echo hi > f; echo ho > g";
        let run = "chmod 600 f; mv g h; chmod 600 h";
        let scene = Scene::mounted(who, "metacopy=on,redirect_dir=on", before, run);
        assert_eq!(scene.lines(), ["M  f  (mode 0644 → 0600)", "R  h  (from g, mode 0644 → 0600)"]);
        assert_eq!(std::fs::metadata(scene.desk.path("upper/f")).expect("f").len(), 3);
    }
}

#[test]
fn marks_of_an_overlay_inside_are_attributes_like_others() {
    check(
        "touch f",
        &set_xattr("f", "user.overlay.opaque", "y"),
        &["M  f  (xattr user.overlay.opaque)"],
    );
}

/// A recipe over two lowers, which a script fills.
fn two_lowers(who: Who, before: &str, run: &str) -> Scene {
    let scene = Scene::new(who, before, "");
    let recipe = scene
        .desk
        .read("box.yaml")
        .replace("lower: lower, upper: upper", "lower: [lower/top, lower/bottom], upper: up");
    scene.desk.write("box.yaml", &recipe);
    scene.script("box.yaml", "m", run);
    scene
}

#[test]
fn several_lowers_are_seen_as_one() {
    for who in Who::all() {
        let before = "mkdir -p top/d bottom/d; echo top > top/d/a; echo bottom > bottom/d/a; \
                      echo b > bottom/d/b; echo c > top/c; echo d > bottom/d/d";
        let scene = two_lowers(who, before, "echo bottom > d/a; echo x >> d/b; rm c d/d");
        assert_eq!(
            scene.lines(),
            [
                "D  c  (file, 2 B, 0644)",
                "M  d/a  (content, 4 B → 7 B)",
                "M  d/b  (content, 2 B → 4 B)",
                "D  d/d  (file, 2 B, 0644)",
            ]
        );
    }
}

#[test]
fn what_an_upper_lower_hides_was_not_there() {
    for who in Who::all() {
        let before = format!(
            "mkdir -p top/opaque top/whiteouts bottom/opaque bottom/whiteouts\n\
             touch top/whiteouts/f bottom/opaque/f bottom/whiteouts/f\n{}\n{}\n{}\n{}",
            set_mark(who, "top", "opaque", "x"),
            set_mark(who, "top/opaque", "opaque", "y"),
            set_mark(who, "top/whiteouts", "opaque", "x"),
            set_mark(who, "top/whiteouts/f", "whiteout", "y"),
        );
        // The kernel agrees that they are not there.
        let run = "test ! -e opaque/f -a ! -e whiteouts/f; touch opaque/f whiteouts/f";
        assert_eq!(
            two_lowers(who, &before, run).lines(),
            ["A  opaque/f  (file, 0 B, 0644)", "A  whiteouts/f  (file, 0 B, 0644)"],
            "{who:?}"
        );
    }
}

fn set_mark(who: Who, file: &str, mark: &str, value: &str) -> String {
    let prefix = if who == Who::Root { "trusted" } else { "user" };
    set_xattr(file, &format!("{prefix}.overlay.{mark}"), value)
}

#[test]
fn without_a_lower_the_marks_tell() {
    let before = "mkdir -p d/e; echo hi > f; echo ho > d/g; echo hu > d/h; ln -s a l";
    let run = "echo more >> f; rm d/g; touch d/n; mkdir x; touch x/y; rm -r d/e; mkdir d/e; chown -h 0:0 l";
    for who in Who::all() {
        let scene = Scene::new(who, before, run);
        let ran = scene.diff(&["upper"]);
        // `user.*` cannot stand on a symbolic link, so that nobody knows.
        let link = if who == Who::Root { 'M' } else { '?' };
        let expected = format!(
            "A  d/e/  (directory, 0755)\nD  d/g\nA  d/n  (file, 0 B, 0644)\n\
             M  f  (file, 8 B, 0644)\n{link}  l  (symlink to a)\n\
             A  x/  (directory, 0755)\nA  x/y  (file, 0 B, 0644)\n"
        );
        assert_eq!(ran.out(), expected, "{who:?}");
        assert!(ran.err().contains("warning[diff::no_lower_at_hand]"), "{}", ran.err());
        assert_eq!(ran.code(), 1);
    }
}

#[test]
fn a_lower_can_be_named() {
    for who in Who::all() {
        let scene =
            Scene::new(who, "echo hi > f; touch g", "echo more >> f; chmod 600 g; chmod 644 g");
        let ran = scene.diff(&["upper", "--lower", "lower"]);
        assert_eq!(ran.out(), "M  f  (content, 3 B → 8 B)\n");
        assert_eq!((ran.err().as_str(), ran.code()), ("", 1));
    }
}

#[test]
fn each_overlay_of_a_recipe_has_its_heading() {
    let scene = Scene::new(Who::ordinary(), "mkdir a b", "");
    scene.desk.write(
        "two.yaml",
        "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - mount: {}\n\
         \x20 - overlay: {lower: lower/a, upper: up1, work: work1, at: m1, create: true}\n\
         \x20 - overlay: {lower: lower/b, upper: up2, work: work2, at: m2, create: true}\n",
    );
    scene.script("two.yaml", ".", "touch m1/one m2/two");
    let folder = scene.desk.folder().display().to_string();
    let out = scene.diff(&["two.yaml"]).out().replace(&folder, "FOLDER");
    assert_eq!(
        out,
        "FOLDER/up1:\nA  one  (file, 0 B, 0644)\nFOLDER/up2:\nA  two  (file, 0 B, 0644)\n"
    );
}

#[test]
fn a_path_longer_than_the_kernel_takes_is_still_told() {
    let scene = Scene::new(
        Who::ordinary(),
        "",
        "name=$(printf '%0200d' 0); for i in $(seq 25); do mkdir $name; cd $name; done; touch f",
    );
    let lines = scene.lines();
    assert_eq!(lines.len(), 26);
    assert!(lines[25].ends_with("/f  (file, 0 B, 0644)") && lines[25].len() > 5000);
}
