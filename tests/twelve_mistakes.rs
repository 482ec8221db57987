//! Twelve mistakes that newcomers make, given to four tools: what each prints, side by side.
//!
//! All are run for real, by an ordinary user. `UPDATE_GOLDEN=1 cargo test --test twelve_mistakes`, as root, writes
//! `tests/pages/twelve-mistakes.md`. What another version of another tool prints is not compared.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/mistakes.rs"]
mod mistakes;

use std::{fmt::Write, fs, os::unix::process::CommandExt, path::Path, process::Command};

use machine::{Desk, Ran, Who, own_uid};
use mistakes::{Ask, MISTAKES, Mistake, container};
use regex::Regex;

const TOOLS: [&str; 3] = ["bwrap", "unshare", "runc"];

#[test]
fn the_page_has_what_the_four_tools_print() {
    let desk = Desk::of(Who::ordinary());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/twelve-mistakes.md");
    let printed = page(&desk);
    if std::env::var_os("UPDATE_GOLDEN").is_some() && own_uid() == 0 {
        fs::write(&file, &printed).expect("the page can be written");
    }
    let kept = fs::read_to_string(&file).expect("tests/pages/twelve-mistakes.md");
    let is_same_machine = kept.lines().any(|line| line == versions());
    match own_uid() == 0 && is_same_machine {
        // Who of two programs speaks first is nobody's promise.
        true => assert!(sorted(&kept) == sorted(&printed), "it is now:\n{printed}"),
        // What isorecipe prints depends on nobody else; only its help may, on who asks.
        false => assert_eq!(own_words(&kept), own_words(&printed)),
    }
}

fn sorted(page: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = page.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn isorecipe_names_a_cause_and_a_remedy_for_every_one() {
    let desk = Desk::of(Who::ordinary());
    for (index, mistake) in MISTAKES.iter().enumerate() {
        let (_, said) = isorecipe(&desk, index, mistake);
        assert!(said.contains("error["), "{}: {said}", mistake.title);
        assert!(said.contains("help: "), "{}: {said}", mistake.title);
        assert!(!said.contains("step::refused"), "{}: {said}", mistake.title);
    }
}

const IDS: [&str; 2] = ["error[map::no_subordinate_ids]", "error[map::outside_your_ids]"];

/// The codes, in the order of the mistakes; of ids that are not the caller's, whoever
/// has subordinate ids hears something else.
fn own_words(page: &str) -> Vec<&str> {
    let errors = page.lines().filter(|line| line.starts_with("error["));
    errors.map(alike).collect()
}

fn alike(line: &str) -> &str {
    if IDS.iter().any(|ids| line.starts_with(ids)) { IDS[0] } else { line }
}

fn versions() -> String {
    let all = TOOLS.map(|tool| {
        let path = which::which(tool).unwrap_or_else(|_| panic!("{tool} is not installed"));
        let said = Ran(Command::new(path).arg("--version").output().expect("a version")).out();
        said.lines().next().unwrap_or_default().to_owned()
    });
    format!("With {}.", all.join(", "))
}

fn page(desk: &Desk) -> String {
    let mut page = format!(
        "# Twelve mistakes, four tools\n\n\
         Written by `tests/twelve_mistakes.rs`, which makes each mistake with each tool, as an ordinary user without \
         subordinate ids.\n{}\n",
        versions()
    );
    for (index, mistake) in MISTAKES.iter().enumerate() {
        let _ = write!(page, "\n## {}. {}\n", index + 1, mistake.title);
        for (tool, ask) in [("bwrap", mistake.bwrap), ("unshare", mistake.unshare)] {
            section(&mut page, tool, &peer(desk, index, mistake, ask));
        }
        section(&mut page, "runc", &runc(desk, index, mistake));
        let (command, said) = isorecipe(desk, index, mistake);
        section(&mut page, "isorecipe", &format!("$ {command}\n{said}"));
    }
    page
}

fn section(page: &mut String, tool: &str, said: &str) {
    let _ = match said.strip_prefix("- ") {
        Some(why) => write!(page, "\n**{tool}**: {why}\n"),
        None => write!(page, "\n**{tool}**\n\n```text\n{}\n```\n", said.trim_end()),
    };
}

/// A folder of its own for each try of each tool, set up.
fn folder(desk: &Desk, index: usize, tool: &str, mistake: &Mistake) -> String {
    let name = format!("{tool}{index}");
    desk.make_dir(&name);
    let mut shell = desk.shell(&["-ec", mistake.setup]);
    let ended = shell.current_dir(desk.path(&name)).output().expect("sh");
    assert!(
        ended.status.success(),
        "{}: {}",
        mistake.title,
        String::from_utf8_lossy(&ended.stderr)
    );
    name
}

fn run(desk: &Desk, name: &str, mistake: &Mistake, script: &str) -> String {
    // Where user namespaces are forbidden, they are so around everything.
    let around = match mistake.around {
        "" => script.to_owned(),
        around => format!("{around} '{script}'"),
    };
    let mut command = Command::new("sh");
    command.args(["-c", &around]).current_dir(desk.path(name)).env_clear().envs([
        ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        ("LANG", "C.UTF-8"),
        ("COLUMNS", "200"),
        ("HOME", "/"),
    ]);
    if own_uid() == 0 {
        command.uid(desk.who.uid()).gid(desk.who.gid());
    }
    let ran = Ran(command.output().expect("sh"));
    let text = format!("{}{}[exit {}]", ran.out(), ran.err(), ran.code());
    normal(desk, name, &text)
}

fn peer(desk: &Desk, index: usize, mistake: &Mistake, ask: Ask) -> String {
    match ask {
        Ask::No(why) => format!("- {why}"),
        Ask::Type(script) => {
            let tool = script.split(' ').next().unwrap_or_default();
            let name = folder(desk, index, tool, mistake);
            format!("$ {script}\n{}", run(desk, &name, mistake, script))
        }
    }
}

fn runc(desk: &Desk, index: usize, mistake: &Mistake) -> String {
    let change = match mistake.runc {
        Ok((_, change)) => change,
        Err(why) => return format!("- {why}"),
    };
    let name = folder(desk, index, "runc", mistake);
    let mut config = container(&desk.path(&name), (desk.who.uid(), desk.who.gid()));
    change(&mut config);
    desk.make_dir(&format!("{name}/rootfs"));
    desk.write(&format!("{name}/config.json"), &config.to_string());
    let box_name = format!("isorecipe-{}-{index}", std::process::id());
    let script = format!("runc --root state run {box_name}");
    let said = run(desk, &name, mistake, &script);
    let what = mistake.runc.map_or("", |(what, _)| what);
    format!("$ runc run box    # config.json: {what}\n{said}").replace(&box_name, "box")
}

fn isorecipe(desk: &Desk, index: usize, mistake: &Mistake) -> (String, String) {
    let name = folder(desk, index, "isorecipe", mistake);
    desk.write(&format!("{name}/box.yaml"), &format!("isorecipe: 1\n{}", mistake.recipe));
    let said = run(desk, &name, mistake, "../isorecipe apply box.yaml");
    ("isorecipe apply box.yaml".to_owned(), said)
}

/// Without what is different each time.
fn normal(desk: &Desk, name: &str, text: &str) -> String {
    let folder = desk.path(name).display().to_string();
    let text = text.replace(&folder, ".").replace(&desk.folder().display().to_string(), "..");
    let rules = [
        (r#"time="[^"]*" "#, ""),
        // What of the machine's control groups they miss.
        (r"level=warning [^\n]*\n", ""),
        (r"nsexec-(\d)\[\d+\]", "nsexec-$1[PID]"),
        (r"map on \d+", "map on PID"),
        // Which mount the folder is on.
        (r"mount at /[a-z]*,", "mount at /,"),
        (r"/proc/(thread-)?self/fd/\d+", "/proc/self/fd/N"),
        (r"/proc/\d+", "/proc/PID"),
        (r"(ERRO|WARN)\[\d+\]", "$1"),
    ];
    let uid = desk.who.uid().to_string();
    let text = text.replace(&uid, "1000");
    rules.iter().fold(text, |text, (what, with)| {
        Regex::new(what).expect("a rule").replace_all(&text, *with).into_owned()
    })
}
