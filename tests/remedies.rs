//! What is said between backticks can be copied into a shell, whatever the names in it.

#[path = "support/machine.rs"]
mod machine;

use machine::{Desk, Ran, Who};

/// A name that would make a file, were it to be read as words of a shell.
const HOSTILE: &str = "a b; touch PWNED; $(touch PWNED) 'x & touch PWNED";

/// The remedy of this code, in which the name stands, types nothing but what it says.
#[track_caller]
fn is_safe(desk: &Desk, words: &[&str], code: &str) {
    let mut command = desk.command(&[&["--plain"], words].concat());
    let ran = Ran(command.env("COLUMNS", "1000").output().expect("the program"));
    assert!(ran.err().contains(&format!("[{code}]")), "{}", ran.err());
    let help = ran.err();
    let help: Vec<&str> = help.lines().filter(|line| line.contains("help: ")).collect();
    let typed: Vec<&str> =
        help.iter().flat_map(|line| line.split('`').skip(1).step_by(2)).collect();
    let typed: Vec<&str> = typed.into_iter().filter(|typed| typed.contains("PWNED")).collect();
    assert!(!typed.is_empty(), "{code}: {}", ran.err());
    for typed in typed {
        let shell = Ran(desk.shell(&["-c", typed]).output().expect("sh"));
        assert!(!desk.path("PWNED").exists(), "{code}: {typed}");
        assert!(!shell.err().contains("yntax error"), "{code}: {typed}: {}", shell.err());
    }
}

fn desk() -> Desk {
    Desk::of(Who::ordinary())
}

/// A name as a text of YAML.
fn text(name: &str) -> String {
    format!("\"{name}\"")
}

#[test]
fn names_in_a_recipe_are_words_of_a_remedy() {
    let desk = desk();
    desk.make_dir("tree");
    desk.make_dir("stuff");
    let name = text(HOSTILE);
    let user = "user: {map: root}";
    let overlay =
        format!("{user}}}, mount, {{overlay: {{lower: tree, upper: {name}, work: w, at: m}}");
    desk.write("overlay.yaml", &format!("isorecipe: 1\nlayers: [{{{overlay}}}]\n"));
    is_safe(&desk, &["plan", "overlay.yaml"], "overlay::no_layer");
    desk.write("file", "");
    let target = text(&format!("{HOSTILE} 2"));
    let bind = format!("{user}}}, mount, {{bind: {{from: file, to: {target}}}");
    desk.write("bind.yaml", &format!("isorecipe: 1\nlayers: [{{{bind}}}]\n"));
    is_safe(&desk, &["plan", "bind.yaml"], "mount::no_target");
    let (name, path) = (text(&format!("no {HOSTILE}")), text(&format!("./no {HOSTILE}")));
    for (content, code) in [
        (format!("copy: [{{from: {name}, to: /}}]"), "build::no_source"),
        (format!("programs: [{path}]"), "build::no_program"),
        (format!("programs: [{name}]"), "build::no_program"),
    ] {
        let image =
            format!("isorecipe: 1\nimage:\n  file: root\n  filesystem: directory\n  {content}\n");
        desk.write("image.yaml", &image);
        is_safe(&desk, &["build", "image.yaml"], code);
    }
    desk.make_dir(HOSTILE);
    let command = format!("command: [{}]", text(&format!("./{HOSTILE}")));
    desk.write("command.yaml", &format!("isorecipe: 1\n{command}\n"));
    is_safe(&desk, &["plan", "command.yaml"], "command::is_directory");
}

#[test]
fn the_name_of_a_recipe_is_a_word_of_a_remedy() {
    let desk = desk();
    desk.make_dir(HOSTILE);
    is_safe(&desk, &["validate", HOSTILE], "recipe::is_directory");
    let recipe = format!("{HOSTILE}.yaml");
    let layers = "layers: [{user: {map: root}}, mount, {overlay: {lower: made, upper: u, work: w, at: m, create: true}}]\n";
    let image = "image: {file: made, filesystem: directory, programs: [ls]}\n";
    desk.write(&recipe, &format!("isorecipe: 1\n{image}{layers}"));
    is_safe(&desk, &["plan", &recipe], "overlay::no_layer");
    is_safe(&desk, &["diff", &recipe], "diff::no_upper");
}
