//! What an exported script says: byte for byte for the recipes that come with
//! isorecipe, safely for hostile words, and by name what it cannot say.
//!
//! `UPDATE_GOLDEN=1 cargo test --test export_words` writes the scripts anew; read the difference before you believe it.

#[path = "support/machine.rs"]
mod machine;

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    process::Command,
};

use machine::{Desk, Ran, Who, own_uid};

/// The recipes of the hands-on, and for whom their scripts are kept.
const KEPT: [(&str, &str); 8] = [
    ("step0", "user"),
    ("step1", "user"),
    ("step1-unmapped", "user"),
    ("step2", "user"),
    ("step2-no-uts", "user"),
    ("step3", "user"),
    ("step4-rootless", "user"),
    ("step4", "sudo"),
];

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The script for a recorded machine, with the recipe's folder as `.`.
fn kept_script(recipe: &str, host: &str, options: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_isorecipe"))
        .args(["export", "--to", "sh", "--host"])
        .arg(format!("tests/hosts/{host}.json"))
        .args(options)
        .arg(format!("recipes/{recipe}.yaml"))
        .current_dir(checkout())
        .output();
    let folder = checkout().join("recipes").display().to_string();
    let script = String::from_utf8(output.expect("isorecipe").stdout).expect("a text");
    script.replace(&folder, ".")
}

#[test]
fn a_script_stays_as_it_is() {
    for (recipe, host) in KEPT {
        let script = kept_script(recipe, host, &["--comment"]);
        let file = checkout().join(format!("tests/scripts/{recipe}.sh"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&file, &script).expect("the script can be written");
        }
        let kept = fs::read_to_string(&file).unwrap_or_default();
        assert!(kept == script, "{recipe} was\n{kept}\nand is now\n{script}");
    }
}

#[test]
fn every_script_is_somebody_s() {
    let scripts = fs::read_dir(checkout().join("tests/scripts")).expect("a folder");
    let found: BTreeSet<String> =
        scripts.flatten().map(|script| script.file_name().display().to_string()).collect();
    assert_eq!(found, KEPT.map(|(recipe, _)| format!("{recipe}.sh")).into());
}

#[test]
fn comments_are_all_that_comment_adds() {
    for (recipe, host) in KEPT {
        let commented = kept_script(recipe, host, &["--comment"]);
        let is_code = |line: &&str| !line.trim_start().starts_with("# ");
        let code: Vec<&str> = commented.lines().filter(is_code).collect();
        assert_eq!(code, kept_script(recipe, host, &[]).lines().collect::<Vec<_>>(), "{recipe}");
    }
}

#[test]
fn what_fails_by_recipe_fails_by_hand() {
    let desk = Desk::of(Who::ordinary());
    let exported = desk.run(&["export", "--to", "sh", "step2-no-uts.yaml"]);
    assert_eq!(exported.code(), 1);
    assert!(exported.err().contains("error[hostname::shared]"), "{}", exported.err());
    desk.write("script.sh", &exported.out());
    let ran = Ran(desk.shell(&["script.sh"]).output().expect("sh"));
    assert_ne!(ran.code(), 0);
    // The hands-on's own words.
    assert!(ran.err().contains("you must be root to change the host name"), "{}", ran.err());
}

#[test]
fn what_isorecipe_would_never_do_is_not_exported_either() {
    let bind = "layers: [{user: {map: root}}, mount, {bind: {from: /etc, to: /mnt}}]";
    check_refused(&Desk::of(Who::ordinary()), bind, "bind::writable_outside");
    if own_uid() == 0 {
        check_refused(&Desk::of(Who::Root), "layers: [{hostname: box}]", "hostname::host");
    }
}

/// There is no script, but this reason, at a place in the file.
#[track_caller]
fn check_refused(desk: &Desk, recipe: &str, code: &str) {
    desk.write("recipe.yaml", &format!("isorecipe: 1\n{recipe}\n"));
    let ran = desk.run(&["export", "--to", "sh", "recipe.yaml", "--", "bash"]);
    assert_eq!((ran.code(), ran.out().as_str()), (1, ""), "{recipe}");
    assert!(ran.err().contains(&format!("error[{code}]")), "{recipe}: {}", ran.err());
    assert!(ran.err().contains("─[recipe.yaml:"), "{}", ran.err());
}

/// The same, though `apply` can do it.
#[track_caller]
fn check_unsayable(desk: &Desk, recipe: &str, code: &str) {
    check_refused(desk, recipe, code);
    desk.run(&["apply", "recipe.yaml", "--", "/bin/bash", "-c", ":"]).succeeds();
    desk.forget_changes();
}

#[test]
fn what_a_shell_cannot_say_has_a_name() {
    let desk = Desk::of(Who::ordinary());
    desk.make_rootfs("bare", &["bash"]);
    desk.make_rootfs("full", &["bash", "mount", "rmdir", "umount"]);
    let root_of = |lower: &str, pivot: &str| {
        format!(
            "layers: [{{user: {{map: root}}}}, {{pid: {{init: false}}}}, mount, \
             {{overlay: {{lower: {lower}, at: merged, create: true}}}}, {pivot}]"
        )
    };
    let null = "{bind: {from: /dev/null, to: /dev/null, write: true}}";
    let at_once = format!("{{proc: merged/proc}}, {{pivot_root: merged}}, {null}");
    check_unsayable(&desk, &root_of("full", &at_once), "export::held_source");
    check_unsayable(&desk, &root_of("full", "{pivot_root: merged}"), "export::no_proc");
    let with_old = "{pivot_root: {new: merged, old: .old}}, proc";
    check_unsayable(&desk, &root_of("bare", with_old), "export::no_tool");
    for (recipe, code) in [
        ("layers: [{user: {map: self}}, mount, {tmpfs: /mnt}]", "export::mount_needs_root"),
        ("layers: [{user: {map: root}}, uts, {hostname: a_b}]", "export::odd_hostname"),
        ("layers: [{landlock: {scope: [signal]}}]", "export::landlock"),
        ("layers: []\nclear_env: true\npass_env: [a.b]", "export::odd_variable"),
    ] {
        check_unsayable(&desk, recipe, code);
    }
    if own_uid() == 0 {
        let range = "{inside: 1, outside: 300000, count: 5}";
        let map = format!(
            "layers: [{{user: {{map: {{uid: [{range}], gid: [{range}]}}}}}}, uts, {{hostname: a}}]"
        );
        check_unsayable(&Desk::of(Who::Root), &map, "export::no_capabilities");
    }
}

#[test]
fn an_image_below_other_mounts_cannot_be_said() {
    let desk = Desk::of(Who::ordinary());
    desk.write(
        "recipe.yaml",
        "isorecipe: 1\nlayers: [{user: {map: root}}, mount, {tmpfs: /mnt}, {dir: /mnt/x}, \
         {overlay: {lower: {image: rootfs.dat, trusted: true}, at: /mnt/x}}]\n",
    );
    fs::write(desk.path("rootfs.dat"), [b"XFSB", &[0; 4096][..]].concat()).expect("a file");
    let command = desk.command(&["export", "--to", "sh", "recipe.yaml", "--", "true"]);
    let (mut command, code) = match own_uid() {
        0 => (desk.through_sudo(command), "export::image_below_mounts"),
        _ => (command, "image::needs_root"),
    };
    let ran = Ran(command.output().expect("isorecipe"));
    assert_eq!(ran.code(), 1);
    assert!(ran.err().contains(&format!("error[{code}]")), "{}", ran.err());
}

#[test]
fn an_image_without_root_cannot_be_said() {
    let desk = Desk::of(Who::ordinary());
    fs::write(desk.path("rootfs.squashfs"), [b"hsqs", &[0; 4096][..]].concat()).expect("a file");
    check_refused(
        &desk,
        "layers: [{user: {map: root}}, mount, \
         {overlay: {lower: {image: rootfs.squashfs, via: unpack}, at: merged, create: true}}]",
        "export::image_without_root",
    );
}

#[test]
fn a_shell_stays_as_pid_1_where_an_init_is_wanted() {
    let desk = Desk::of(Who::ordinary());
    desk.write("recipe.yaml", "isorecipe: 1\nlayers: [{user: {map: root}}, {pid: {proc: true}}]\n");
    let script = "echo $PPID; exit 7";
    let exported = desk.run(&["export", "--to", "sh", "recipe.yaml", "--", "bash", "-c", script]);
    let exported = exported.succeeds();
    assert!(exported.err().contains("warning[export::no_init]"), "{}", exported.err());
    desk.write("script.sh", &exported.out());
    let ran = Ran(desk.shell(&["script.sh"]).output().expect("sh"));
    assert_eq!((ran.out().as_str(), ran.code()), ("1\n", 7), "{}", ran.err());
}

#[test]
fn words_and_variables_arrive_as_they_are() {
    let desk = Desk::of(Who::ordinary());
    let hostile = [
        "",
        " ",
        "a b",
        "it's",
        "\"",
        "$(touch pwned)",
        "`touch pwned`",
        "$HOME",
        "\\",
        "\\n",
        "a\nb",
        "-n",
        "--",
        "#x",
        "*",
        "~",
        "a=b",
        "é",
        "!x",
        "'\\''",
        "${IFS}",
        ";touch pwned",
        "\t",
        "\u{1}x",
        "\u{1b}]0;title\u{7}\r\n\u{7f}",
        "\u{202e}\u{9b}2J$x",
        "\r",
        "(",
        "&",
        "|",
        ">x",
    ];
    // JSON is YAML.
    let quote = |text: &str| {
        let text = serde_json::to_string(text).expect("a text");
        let hidden = ["\u{7f}", "\u{9b}", "\u{202e}"];
        let escape = |c: &str| format!("\\u{:04x}", u32::from(c.chars().next().expect("one")));
        hidden.iter().fold(text, |text, c| text.replace(c, &escape(c)))
    };
    let list: Vec<String> = hostile.iter().map(|word| quote(word)).collect();
    let env: Vec<String> =
        hostile.iter().enumerate().map(|(n, word)| format!("V{n}: {}", quote(word))).collect();
    for (layers, more) in [
        ("[]", ""),
        ("[{user: {map: root}}, uts, {hostname: a}]", ""),
        ("[{user: {map: root}}, {user: {map: root}}, uts, {hostname: a-b}]", ""),
        // A script within a script within a script.
        ("[{user: {map: root}}, uts, {hostname: a}, uts, {hostname: b}]", ""),
        (
            "[{user: {map: root}}, {pid: {proc: true}}]",
            "clear_env: true\npass_env: [PATH, HOME, GONE]\n",
        ),
    ] {
        desk.write(
            "recipe.yaml",
            &format!(
                "isorecipe: 1\nabout: \"a\\n$(touch pwned)'\"\nlayers: {layers}\ncommand: [bash, -c, 'printf \"<%s>\" \"$@\"; env -0', x, {}]\nenv: {{{}, \"a.b\": c, \"-i\": d}}\n{more}",
                list.join(", "),
                env.join(", "),
            ),
        );
        let applied = desk.run(&["apply", "recipe.yaml"]).succeeds();
        let script = desk.run(&["export", "--to", "sh", "--comment", "recipe.yaml"]).out();
        check_shown(script.as_bytes());
        desk.write("script.sh", &script);
        let ran = Ran(desk.shell(&["script.sh"]).output().expect("sh")).succeeds();
        assert_eq!(variables(&ran.out()), variables(&applied.out()), "{script}");
        assert!(!desk.path("pwned").exists(), "{script}");
    }
}

#[test]
fn random_bytes_arrive_as_they_are() {
    let desk = Desk::of(Who::ordinary());
    let mut random = 1_u64;
    let mut below = |end: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) % end
    };
    // Half of them mean something to a shell; none is NUL.
    let special = b"\\\\''\"\"$$``{}()!#~*?[]&|;<>=-\n\t ";
    let mut byte = || match below(2) {
        0 => special[below(special.len() as u64) as usize],
        _ => below(255) as u8 + 1,
    };
    let words: Vec<OsString> =
        (0..200_usize).map(|n| OsString::from_vec((0..n % 23).map(|_| byte()).collect())).collect();
    for layers in ["[]", "[{user: {map: root}}, uts, {hostname: a}, uts, {hostname: b}]"] {
        desk.write("recipe.yaml", &format!("isorecipe: 1\nlayers: {layers}\n"));
        let run = |words_before: &[&str]| {
            let mut command = desk.command(words_before);
            command.args(["recipe.yaml", "--", "printf", "<%s>"]).args(&words);
            command.output().expect("isorecipe").stdout
        };
        let script = run(&["export", "--to", "sh"]);
        check_shown(&script);
        fs::write(desk.path("script.sh"), script).expect("a file");
        let ran = desk.shell(&["script.sh"]).output().expect("sh");
        assert!(ran.status.success() && ran.stdout == run(&["apply"]), "{layers}: {ran:?}");
        assert!(ran.stdout.len() > 2000, "something was printed");
    }
}

/// Nothing in the script does anything to the terminal that shows it.
#[track_caller]
fn check_shown(script: &[u8]) {
    let text = std::str::from_utf8(script).expect("a script is text");
    let acts = |c: char| c.is_control() && !matches!(c, '\n' | '\t') || c == '\u{202e}';
    assert_eq!(text.find(acts), None, "{text:?}");
}

/// The printed words, and the environment but for what every shell sets itself.
fn variables(out: &str) -> BTreeMap<&str, &str> {
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let lines = out.split('\0').map(|line| line.rsplit_once('>').map_or(line, |(_, rest)| rest));
    let words = out.rfind('>').map(|end| ("", &out[..end]));
    lines
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| !own.contains(name))
        .chain(words)
        .collect()
}

#[test]
fn paths_arrive_as_they_are() {
    let desk = Desk::of(Who::ordinary());
    // What ends a path for overlayfs, for `mount` and for the shell.
    let odd = r#"a,b:c"d\e $(f) 'g' -h"#;
    for made in ["low:er,1", "low\\2", "-"] {
        desk.make_dir(&format!("{odd}/{made}"));
    }
    desk.write(&format!("{odd}/low:er,1/one"), "1");
    desk.write(&format!("{odd}/low\\2/two"), "2");
    let path = |name: &str| serde_json::to_string(&format!("{odd}/{name}")).expect("a text");
    desk.write(
        "recipe.yaml",
        &format!(
            "isorecipe: 1\nlayers: [{{user: {{map: root}}}}, mount, {{overlay: {{lower: [{}, {}], \
             upper: {}, work: {}, at: {}, create: true}}}}, {{bind: {{from: {}, to: /mnt, read_only: true}}}}]\n\
             cwd: {}\ncommand: [bash, -c, 'cat /mnt/one /mnt/two; echo 3 >three; echo 4 >/mnt/four || pwd']\n",
            path("low:er,1"), path("low\\2"), path("-/up,per"), path("-/wo:rk"), path("at"), path("at"), path("at"),
        ),
    );
    let script = desk.run(&["export", "--to", "sh", "--comment", "recipe.yaml"]).succeeds().out();
    desk.write("script.sh", &script);
    let ran = Ran(desk.shell(&["script.sh"]).output().expect("sh")).succeeds();
    assert_eq!(ran.out(), format!("12{}/{odd}/at\n", desk.folder().display()), "{script}");
    assert_eq!(desk.read(&format!("{odd}/-/up,per/three")), "3\n", "{script}");
}

#[test]
fn a_map_of_subordinate_ids_is_written_by_the_helpers_from_outside() {
    let desk = Desk::of(Who::ordinary());
    let recipe = desk.write(
        "recipe.yaml",
        "isorecipe: 1\nlayers: [{user: {map: auto}}, uts, {hostname: a}]\ncommand: [sh]\n",
    );
    let host = checkout().join("tests/hosts/user.json");
    let words = [
        "export",
        "--to",
        "sh",
        "--host",
        &host.display().to_string(),
        &recipe.display().to_string(),
    ];
    let script = "\
#!/bin/sh
set -e
holder=$(unshare --user sh -c \"echo \\$\\$; exec sleep 60 >/dev/null\" &)
trap \"kill \\$holder\" EXIT
newuidmap \"$holder\" 0 1000 1 1 100000 65536
newgidmap \"$holder\" 0 1000 1 1 100000 65536
exec nsenter --setuid=0 --setgid=0 --user=\"/proc/$holder/ns/user\" sh -ec '
    kill \"$1\"
    exec unshare --uts sh -ec '\\''
        hostname a
        exec setpriv --no-new-privs sh
    '\\''
' sh \"$holder\"
";
    assert_eq!(desk.run(&words).succeeds().out(), script);
}

#[test]
fn odd_names_of_commands_are_no_options_and_no_variables() {
    let desk = Desk::of(Who::ordinary());
    for name in ["a=b", "-x", "env"] {
        let path = desk.write(name, "#!/bin/sh\necho \"${0##*/} $*\" \"$V\"\n");
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .expect("a mode");
    }
    let path = "PATH: \".:/usr/bin:/bin\"";
    for settings in [
        format!("env: {{V: w, {path}}}"),
        format!("env: {{V: w, {path}}}\nno_new_privs: false"),
        format!("env: {{{path}}}\nclear_env: true\npass_env: [V, HOME]"),
    ] {
        for command in ["a=b", "-x", "./a=b", "./-x"] {
            desk.write(
                "recipe.yaml",
                &format!("isorecipe: 1\nlayers: []\n{settings}\ncommand: [{command}, --, y]\n"),
            );
            let applied = desk.run(&["apply", "recipe.yaml"]).succeeds();
            let script = desk.run(&["export", "--to", "sh", "recipe.yaml"]).succeeds().out();
            desk.write("script.sh", &script);
            let ran = Ran(desk.shell(&["script.sh"]).output().expect("sh")).succeeds();
            assert_eq!(ran.out(), applied.out(), "{script}");
        }
    }
}

#[test]
fn without_a_command_it_is_the_callers_shell() {
    let desk = Desk::of(Who::ordinary());
    desk.write("recipe.yaml", "isorecipe: 1\nlayers: []\n");
    let script = desk.run(&["export", "--to", "sh", "recipe.yaml"]).succeeds().out();
    desk.write("script.sh", &script);
    for (shell, status) in [(None, 0), (Some("/bin/false"), 1)] {
        let mut ran = desk.shell(&["script.sh"]);
        ran.envs(shell.map(|shell| ("SHELL", shell)));
        assert_eq!(ran.status().expect("sh").code(), Some(status), "{script}");
    }
}
