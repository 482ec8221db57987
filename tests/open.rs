//! What a recipe leaves open, as `isorecipe plan` tells people; that it is true is held by `tests/abuse/`.

#[path = "support/machine.rs"]
mod machine;

use std::os::unix::net::UnixListener;

use machine::{Desk, Who};

const TREE: &str = "isorecipe: 1\nlayers:\n  - user: {map: root}\n  - pid: {}\n  - mount\n  - root: {read_only: [/usr, SHOWN]}\n  - capabilities: none\n";

fn plan(desk: &Desk, layers: &str, words: &[&str]) -> (String, String) {
    let shown = desk.path("shown").display().to_string();
    desk.make_dir("shown/run");
    desk.write("r.yaml", &layers.replace("SHOWN", &shown));
    let ran = desk.run(&[words, &["r.yaml"]].concat());
    (ran.out(), ran.err())
}

#[test]
fn a_socket_of_the_host_in_a_directory_that_is_shown_is_warned_about_by_name() {
    let desk = Desk::of(Who::ordinary());
    desk.make_dir("shown/run");
    let path = desk.path("shown/run/docker.sock");
    let _listener = UnixListener::bind(&path).expect("a socket");
    let (_, said) = plan(&desk, TREE, &["--plain", "plan"]);
    assert!(said.contains("warning[sandbox::sockets]"), "{said}");
    assert!(said.contains("shown/run/docker.sock"), "{said}");
    for stopped in ["  - seccomp: strict\n", "  - mask: {at: SHOWN/run}\n  - seccomp: strict\n"] {
        let (_, said) = plan(&desk, &format!("{TREE}{stopped}"), &["--plain", "plan"]);
        assert!(!said.contains("sandbox::sockets"), "{said}");
    }
}

#[test]
fn nobody_is_warned_of_sockets_where_none_are() {
    let desk = Desk::of(Who::ordinary());
    let (_, said) = plan(&desk, &TREE.replace("/usr, ", ""), &["--plain", "plan"]);
    assert!(!said.contains("sandbox::sockets"), "{said}");
}

#[test]
fn what_is_open_is_listed_behind_the_line_that_would_close_it() {
    let desk = Desk::of(Who::ordinary());
    let (table, _) = plan(&desk, TREE, &["plan"]);
    let figure = table.lines().find(|line| line.starts_with("Left open: ")).expect("a figure");
    assert!(figure.ends_with(" of 89 things that hostile code tries"), "{figure}");
    let has = |line: &str, what: &str| {
        let of_layer = table.lines().filter(|found| found.trim_start().starts_with(line));
        of_layer.into_iter().any(|found| found.contains(what))
    };
    assert!(has("net: none", "connect to a server on the host's 127.0.0.1"), "{table}");
    assert!(has("clear_env: true", "read a variable of the caller's"), "{table}");
    assert!(!has("root: ", "open a file of the caller's"), "{table}");
    assert!(!has("capabilities: ", ""), "{table}");
    let (closed, _) = plan(&desk, &format!("{TREE}clear_env: true\n"), &["plan"]);
    assert!(!closed.contains("read a variable of the caller's"), "{closed}");
}

#[test]
fn all_that_is_open_is_listed_on_demand_with_the_names_of_the_checks() {
    let desk = Desk::of(Who::ordinary());
    let (brief, _) = plan(&desk, TREE, &["plan"]);
    assert!(brief.contains("and 1 more") && !brief.contains("abstract_sock"), "{brief}");
    let (all, _) = plan(&desk, TREE, &["plan", "--open"]);
    assert!(all.contains("abstract_sock    connect to an abstract socket of the host's"), "{all}");
    let (sentences, _) = plan(&desk, TREE, &["--plain", "plan", "--open"]);
    let sentence = "Without `net: none`, it could connect to an abstract socket of the host's.";
    assert!(sentences.lines().any(|line| line == sentence), "{sentences}");
    let (json, _) = plan(&desk, TREE, &["--json", "plan"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("a plan");
    let layers = json["open"]["layers"].as_array().expect("layers");
    let net = layers.iter().find(|layer| layer["layer"] == "net").expect("a layer");
    assert!(net["checks"]["abstract_sock"].is_string(), "{net}");
    assert_eq!(net["closed_by"], "net: none");
    assert!(json["open"]["left"].as_u64() < json["open"]["of"].as_u64());
}
