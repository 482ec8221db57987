//! What `isorecipe plan` prints for the recipes that come with it, byte for byte, on recorded machines.
//!
//! `UPDATE_GOLDEN=1 cargo test --test golden` writes what is printed now; read the difference before you believe it.

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use support::program::{folder_of_tests, isorecipe};

const HOSTS: [&str; 3] = ["user", "root", "sudo"];
/// Machines written from what is documented of them, each with what is particular about it.
const MACHINES: [&str; 7] = [
    // An ordinary user under `kernel.apparmor_restrict_unprivileged_userns=1`, which Ubuntu switches on since 23.10.
    "ubuntu-24.04",
    // `newuidmap` has a file capability and no set-user-ID bit, as the package shadow-utils ships it; SELinux.
    "rhel-9",
    // `/etc/subuid` has a line for the user, and the package uidmap is not installed.
    "debian-12",
    // Root under moby's default seccomp profile, with its 14 capabilities and its masked and read-only paths of /proc.
    "docker",
    // The kernel that Microsoft ships; nothing is shared, and security modules are not known.
    "wsl2",
    // Where isorecipe grew up: a small virtual machine with both versions of cgroups, and a root without
    // CAP_SYS_RESOURCE.
    "vm-root",
    "vm-user",
];
/// Recipes whose plan is also kept as people see it.
const FOR_PEOPLE: [&str; 2] = ["step2-no-uts", "step4-rootless"];

#[test]
fn a_plan_for_programs_stays_as_it_is() {
    for recipe in recipes() {
        for host in HOSTS {
            let json = plan(&recipe, host, &["--json"]).0;
            check(&format!("{recipe}.{host}.json"), &indented(&json));
        }
    }
}

#[test]
fn a_plan_for_people_stays_as_it_is() {
    for recipe in FOR_PEOPLE {
        let (plan, problems) = plan(recipe, "user", &[]);
        check(&format!("{recipe}.user.txt"), &format!("{plan}{problems}"));
    }
}

#[test]
fn a_recorded_machine_runs_what_it_can_and_says_what_it_cannot() {
    let mut table = String::new();
    for machine in MACHINES {
        for recipe in recipes() {
            let json = plan(&recipe, machine, &["--json"]).0;
            let plan: serde_json::Value = serde_json::from_str(&json).expect("a plan");
            let problems = plan["problems"].as_array().expect("problems");
            let errors = problems.iter().filter(|problem| problem["severity"] == "error");
            let codes: Vec<_> = errors.filter_map(|problem| problem["code"].as_str()).collect();
            let what = if codes.is_empty() { "works".to_owned() } else { codes.join(" ") };
            table += &format!("{machine:<12}  {recipe:<14}  {what}\n");
        }
        table.push('\n');
    }
    check("machines.txt", &table);
}

#[test]
fn every_golden_file_is_somebody_s() {
    let programs =
        recipes().into_iter().flat_map(|recipe| HOSTS.map(|host| format!("{recipe}.{host}.json")));
    let people = FOR_PEOPLE.map(|recipe| format!("{recipe}.user.txt"));
    let expected: BTreeSet<String> = programs
        .chain(people)
        .chain(["attestation.txt", "machines.txt"].map(str::to_owned))
        .collect();
    assert_eq!(names_in(&folder_of_tests().join("golden")), expected);
}

#[test]
fn a_plan_is_the_same_whoever_asks() {
    let elsewhere = isorecipe(["plan", "--json", "--host", "tests/hosts/user.json"])
        .arg("recipes/step4-rootless.yaml")
        .current_dir(&checkout())
        .env([("HOME", "/nowhere"), ("SHELL", "/bin/false"), ("COLUMNS", "20"), ("LANG", "C")])
        .run(b"");
    let here = plan("step4-rootless", "user", &["--json"]).0;
    assert_eq!(elsewhere.stdout, here);
}

#[test]
fn indenting_changes_nothing_but_blanks() {
    let json = r#"{"a":[1,{"b":"{\"[,:"}],"c":{},"d":[]}"#;
    let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"{\\\"[,:\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}";
    assert_eq!(indented(json), expected);
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The names of `recipes/*.yaml`, without the ending.
fn recipes() -> BTreeSet<String> {
    let names = names_in(&checkout().join("recipes"));
    let name = |file: &String| file.strip_suffix(".yaml").map(str::to_owned);
    names.iter().filter_map(name).collect()
}

fn names_in(folder: &Path) -> BTreeSet<String> {
    fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .map(|name| name.into_string().expect("a name"))
        .collect()
}

/// Standard output and standard error of `isorecipe plan`.
fn plan(recipe: &str, host: &str, options: &[&str]) -> (String, String) {
    let mut program = isorecipe(["plan", "--host"]).arg(format!("tests/hosts/{host}.json"));
    for option in options {
        program = program.arg(option);
    }
    let run = program.arg(format!("recipes/{recipe}.yaml")).current_dir(&checkout()).run(b"");
    (run.stdout, run.stderr)
}

#[track_caller]
fn check(name: &str, printed: &str) {
    let file = folder_of_tests().join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, printed).expect("a golden file can be written");
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == printed, "{name} was\n{kept}\nand is now\n{printed}");
}

/// JSON with a line for each value, in the order it came in: a difference is then easy to read.
fn indented(json: &str) -> String {
    let (mut indented, mut depth) = (String::new(), 0);
    let (mut is_text, mut is_escaped) = (false, false);
    let mut rest = json.chars().peekable();
    while let Some(c) = rest.next() {
        if is_text {
            indented.push(c);
            is_text = c != '"' || is_escaped;
            is_escaped = c == '\\' && !is_escaped;
            continue;
        }
        match c {
            '{' | '[' if rest.peek().is_some_and(|next| matches!(next, '}' | ']')) => {
                indented.push(c);
                indented.extend(rest.next());
            }
            '{' | '[' => {
                depth += 1;
                indented.push(c);
                new_line(&mut indented, depth);
            }
            '}' | ']' => {
                depth -= 1;
                new_line(&mut indented, depth);
                indented.push(c);
            }
            ',' => {
                indented.push(c);
                new_line(&mut indented, depth);
            }
            ':' => indented.push_str(": "),
            _ => {
                is_text = c == '"';
                indented.push(c);
            }
        }
    }
    indented
}

fn new_line(text: &mut String, depth: usize) {
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
}
