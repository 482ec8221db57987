//! Many commands of one recipe: each in a sandbox as much apart as `apply` makes it, and a result for each.

#[path = "support/machine.rs"]
mod machine;
#[path = "support/strike.rs"]
mod strike;

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdout, Stdio},
};

use machine::{Desk, Ran, Who, eventually, proc_file, processes_with};
use serde_json::{Value, json};

/// Every namespace there is, a root of its own in memory, and an init.
const WHOLE: &str = "\
isorecipe: 1
layers:
  - user: {map: root}
  - uts: {}
  - hostname: box
  - ipc: {}
  - net: {}
  - cgroup: {}
  - time: {}
  - pid: {proc: true}
  - mount: {}
  - tmpfs: {at: /tmp}
  - seccomp: {base: none, deny: [reboot], otherwise: allow}
";
const KINDS: [&str; 8] = ["user", "uts", "ipc", "net", "cgroup", "time", "pid", "mnt"];

fn desk(who: Who) -> Desk {
    let desk = Desk::of(who);
    desk.write("whole.yaml", WHOLE);
    desk.write("bare.yaml", "isorecipe: 1\nlayers: [user: {map: root}]\ncommand: [echo, bare]\n");
    desk
}

fn start(desk: &Desk, words: &[&str]) -> Child {
    let mut command = desk.command(&[&["--plain", "batch"], words].concat());
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    pipes.spawn().expect("the program")
}

/// A batch from its first line to its end.
fn batch(desk: &Desk, words: &[&str], lines: &[u8]) -> (Ran, Vec<Value>) {
    let mut child = start(desk, words);
    let mut input = child.stdin.take().expect("a pipe");
    let lines = lines.to_vec();
    let writer = std::thread::spawn(move || drop(input.write_all(&lines)));
    let ran = Ran(child.wait_with_output().expect("an end"));
    writer.join().expect("the lines");
    let results = ran.out().lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    (ran, results)
}

/// A line that runs this script.
fn script(script: &str) -> String {
    format!("{}\n", json!({ "args": ["bash", "-c", script] }))
}

fn texts<'v>(results: &'v [Value], key: &str) -> Vec<&'v str> {
    results.iter().map(|result| result[key].as_str().unwrap_or("none")).collect()
}

#[test]
fn each_command_finds_what_apply_makes_and_in_namespaces_of_its_own() {
    let look = format!("{}\nenv | sort; echo /proc/self/fd/*; ulimit -a; umask", strike::REPORT);
    for who in Who::all() {
        let desk = desk(who);
        let alone = desk.run(&["apply", "whole.yaml", "--", "bash", "-c", &look]).succeeds().out();
        let (ran, results) =
            batch(&desk, &["--jobs", "1", "whole.yaml"], script(&look).repeat(3).as_bytes());
        assert_eq!(ran.code(), 0, "{}", ran.err());
        assert_eq!(texts(&results, "stdout"), [&alone; 3]);
        let look = script("readlink /proc/self/ns/*; cat /proc/self/uid_map").repeat(20);
        let (_, results) = batch(&desk, &["--jobs", "3", "whole.yaml"], look.as_bytes());
        for kind in KINDS {
            let outside = machine::namespace(std::process::id() as i32, kind);
            let mut all = BTreeSet::from([outside.display().to_string()]);
            for text in texts(&results, "stdout") {
                let own = text.lines().find(|line| line.starts_with(&format!("{kind}:")));
                all.insert(own.expect(kind).to_owned());
            }
            // A number that is free again may be taken by the next, but hardly by all.
            assert!(all.len() > 2, "{kind}: {all:?}");
        }
    }
}

#[test]
fn sandboxes_at_the_same_time_share_no_namespace() {
    let desk = desk(Who::ordinary());
    let mut child = start(&desk, &["--jobs", "3", "whole.yaml"]);
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(script("exec sleep 1301").repeat(3).as_bytes()).expect("the lines");
    eventually("three run", || commands("sleep\x001301").len() == 3);
    for kind in KINDS {
        let all: BTreeSet<_> =
            commands("sleep\x001301").iter().map(|&pid| machine::namespace(pid, kind)).collect();
        assert_eq!(all.len(), 3, "{kind}");
    }
    child.kill().expect("a kill");
    child.wait().expect("an end");
    eventually("nothing is left", || processes_with("sleep\x001301").is_empty());
}

/// The commands themselves, without the words of who looks after them.
fn commands(line: &str) -> Vec<i32> {
    let all = processes_with(line).into_iter();
    all.filter(|&pid| proc_file(pid, "comm") == "sleep").collect()
}

#[test]
fn what_one_command_leaves_the_next_does_not_find() {
    let leave = "echo left > /tmp/left; hostname left; ipcmk -M 4096 > /dev/null; \
                 ip link set lo mtu 1400; mount -t tmpfs none /mnt; ulimit -n 50; \
                 (sleep 1302 > /dev/null 2>&1 &); echo $(hostname) $(ls /tmp)";
    let find = "echo $(hostname) $(ls /tmp) $(ipcs -m | grep -c 4096) $(cat /sys/class/net/lo/mtu) \
                $(ip -o link | grep -o 'mtu [0-9]*') $(pgrep sleep) $(ulimit -n)";
    for who in Who::all() {
        let desk = desk(who);
        let alone = desk.run(&["apply", "whole.yaml", "--", "bash", "-c", find]).succeeds().out();
        let lines = [script(leave), script(find)].concat().repeat(2);
        let (ran, results) = batch(&desk, &["--jobs", "1", "whole.yaml"], lines.as_bytes());
        assert_eq!(
            texts(&results, "stdout"),
            ["left left\n", &alone, "left left\n", &alone],
            "{}",
            ran.err()
        );
    }
    eventually("nothing is left", || processes_with("sleep\x001302").is_empty());
}

/// The flags of an open file are everybody's who has it.
#[test]
fn no_two_commands_have_one_standard_input() {
    let desk = desk(Who::ordinary());
    let flags =
        "python3 -c 'import fcntl; print(fcntl.fcntl(0, 3) & 0o4000); fcntl.fcntl(0, 4, 0o4000)'\n";
    let (_, results) = batch(&desk, &["--jobs", "1", "step1.yaml"], flags.repeat(2).as_bytes());
    assert_eq!(texts(&results, "stdout"), ["0\n", "0\n"]);
}

#[test]
fn what_a_command_prints_acts_on_no_terminal() {
    let desk = desk(Who::ordinary());
    let line = script("printf 'A\\302\\233B\\342\\200\\250C\\177'");
    let (ran, results) = batch(&desk, &["step1.yaml"], line.as_bytes());
    assert_eq!(texts(&results, "stdout"), ["A\u{9b}B\u{2028}C\u{7f}"]);
    assert!(ran.out().bytes().all(|byte| matches!(byte, b'\n' | b' '..=b'~')), "{}", ran.out());
}

#[test]
fn what_is_left_in_the_background_is_in_nobody_elses_result() {
    let desk = desk(Who::ordinary());
    // It prints once the next command runs, and no later.
    let leave = "(until test -e next; do sleep 0.01; done; echo late; echo late >&2; touch done) &";
    let find = "touch next; until test -e done; do sleep 0.01; done; echo mine";
    let lines = [script(leave), script(find)].concat();
    // It dies of a pipe that nobody reads, before it could say that it is done.
    let lines = lines
        .replace("touch done", "true")
        .replace("echo late;", "(trap '' PIPE; echo late; touch done);");
    let (ran, results) = batch(&desk, &["--jobs", "1", "bare.yaml"], lines.as_bytes());
    assert_eq!(texts(&results, "stdout"), ["", "mine\n"], "{}", ran.err());
    assert_eq!(texts(&results, "stderr"), ["", ""]);
}

#[test]
fn a_line_is_words_or_json_and_its_result_says_which_line_it_was() {
    for who in Who::all() {
        let desk = desk(who);
        let lines = "echo 'a b' $HOME # c\n\n# nothing\n{}\n\
                     {\"args\":[\"sh\",\"-c\",\"cat; echo $A >&2; exit 3\"],\"env\":{\"A\":\"b\"},\"stdin\":\"in\"}\n\
                     sh -c 'cat; kill -KILL $$'";
        let (ran, results) = batch(&desk, &["bare.yaml"], lines.as_bytes());
        assert_eq!(ran.code(), 0, "{}", ran.err());
        assert_eq!(texts(&results, "stdout"), ["a b $HOME\n", "bare\n", "in", ""]);
        assert_eq!(texts(&results, "stderr"), ["", "", "b\n", ""]);
        let facts = |key| results.iter().map(|result| result[key].clone()).collect::<Vec<_>>();
        assert_eq!(facts("line"), [1, 4, 5, 6]);
        assert_eq!(facts("status"), [0, 0, 3, 137]);
        assert_eq!(facts("signal"), [Value::Null, Value::Null, Value::Null, 9.into()]);
        assert!(facts("duration").iter().all(|time| time.as_f64() > Some(0.0)));
        assert!(results.iter().all(|result| result["usage"]["max_rss"].as_i64() > Some(100)));
    }
}

#[test]
fn a_line_that_cannot_run_has_a_result_at_its_place_and_the_others_run() {
    let desk = desk(Who::ordinary());
    let long = [&[b'a'; (1 << 20) + 1][..], b"\n"].concat();
    let lines = [
        b"echo 1\necho 'x\n",
        &long[..],
        b"\xff\n{\"cmd\":1}\n{\"args\":[]}\nno-such-program\n/etc/passwd\necho 2",
    ]
    .concat();
    let (ran, results) = batch(&desk, &["--jobs", "2", "bare.yaml"], &lines);
    assert_eq!((ran.code(), ran.err().as_str()), (1, ""));
    let codes: Vec<_> = results
        .iter()
        .map(|result| result["problems"][0]["code"].as_str().unwrap_or("ran"))
        .collect();
    let refused = [
        "batch::not_words",
        "batch::too_long",
        "batch::not_text",
        "batch::not_json",
        "command::empty",
    ];
    let expected =
        [&["ran"], &refused[..], &["command::not_found", "command::not_executable", "ran"]]
            .concat();
    assert_eq!(codes, expected);
    let lines: Vec<_> = results.iter().map(|result| result["line"].as_u64()).collect();
    assert_eq!(lines, (1..=9).map(Some).collect::<Vec<_>>());
    let statuses: Vec<_> =
        results.iter().map(|result| result["status"].as_u64().unwrap_or(0)).collect();
    assert_eq!(statuses, [0, 125, 125, 125, 125, 125, 127, 126, 0]);
}

#[test]
fn a_recipe_that_cannot_work_runs_nothing() {
    let desk = desk(Who::ordinary());
    desk.write("no.yaml", "isorecipe: 1\nlayers: [user: {map: root}, hostname: x]\n");
    desk.write("wrong.yaml", "isorecipe: 1\nlayers: [user: {map: rot}]\n");
    for (words, said) in [
        (&["no.yaml"][..], "error[hostname::shared]"),
        (&["wrong.yaml"], "error[map::unknown_word]"),
        (&["missing.yaml"], "error[recipe::missing]"),
        (&["-"], "has to be a file"),
        (&["--jobs", "0", "bare.yaml"], "--jobs"),
    ] {
        let (ran, results) = batch(&desk, words, b"touch ran\n");
        assert_eq!((ran.code(), results.len()), (125, 0), "{words:?}");
        assert!(ran.err().contains(said), "{}", ran.err());
    }
    assert!(!desk.path("ran").exists());
}

#[test]
fn a_recipe_whose_own_command_is_missing_runs_others() {
    let desk = desk(Who::ordinary());
    desk.write("none.yaml", "isorecipe: 1\nlayers: [user: {map: root}]\ncommand: [/none]\n");
    let (ran, results) = batch(&desk, &["none.yaml"], b"echo 1\n{}\n");
    assert_eq!((ran.code(), ran.err().as_str()), (1, ""));
    assert_eq!(texts(&results, "stdout"), ["1\n", ""]);
    assert_eq!(results[1]["problems"][0]["code"], "command::not_found");
}

#[test]
fn results_come_in_the_order_of_the_lines_or_of_the_ends() {
    for (options, order) in [(&[][..], [1, 2]), (&["--unordered"], [2, 1])] {
        let desk = desk(Who::ordinary());
        let first = script("until test -e second; do sleep 0.01; done");
        let mut child = start(&desk, &[&["--jobs", "2"], options, &["bare.yaml"]].concat());
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(format!("{first}true\n").as_bytes()).expect("the lines");
        let mut results = BufReader::new(child.stdout.take().expect("a pipe"));
        // The second has to be there before the first can end.
        let early = (order == [2, 1]).then(|| line_of(&mut results));
        desk.write("second", "");
        drop(input);
        let found: Vec<_> = early
            .into_iter()
            .chain(std::iter::repeat_with(|| line_of(&mut results)).take(2))
            .collect();
        assert_eq!(found[..2], order);
        assert!(child.wait().expect("an end").success());
    }
}

/// The number in the next result; 0 at the end.
fn line_of(results: &mut BufReader<ChildStdout>) -> u64 {
    let mut line = String::new();
    results.read_line(&mut line).expect("a line");
    serde_json::from_str::<Value>(&line).map_or(0, |result| result["line"].as_u64().unwrap_or(0))
}

#[test]
fn output_is_kept_up_to_a_size_and_bytes_that_are_no_text_as_base64() {
    let desk = desk(Who::ordinary());
    let lines =
        "bash -c 'head -c 3000000 /dev/zero | tr \"\\\\0\" é; echo end >&2'\nprintf '\\377\\n'\n";
    let (ran, results) = batch(&desk, &["--keep", "1K", "bare.yaml"], lines.as_bytes());
    assert_eq!((ran.code(), ran.err().as_str()), (0, ""));
    assert_eq!(results[0]["stdout_cut"], true);
    assert_eq!(
        (&results[0]["stderr"], &results[0]["stderr_cut"]),
        (&"end\n".into(), &false.into())
    );
    assert_eq!(
        (&results[1]["stdout_base64"], &results[1]["stdout"]),
        (&"/wo=".into(), &"\u{fffd}\n".into())
    );
}

#[test]
fn limits_are_kept_and_named_for_each_command() {
    for who in Who::all() {
        let desk = desk(who);
        desk.write(
            "least.yaml",
            "isorecipe: 1\nlayers: [user: {map: root}, pid: {proc: true}, limits: {output: 1K}]\n",
        );
        let lines = [script("exec sleep 1303"), script("exec yes"), "echo 1\n".to_owned()].concat();
        let (ran, results) = batch(&desk, &["--timeout", "1s", "least.yaml"], lines.as_bytes());
        assert_eq!(ran.code(), 0, "{}", ran.err());
        assert_eq!(texts(&results, "limit"), ["time", "output", "none"]);
        assert_eq!(results[0]["status"], 124);
        assert_eq!(results[1]["stdout"].as_str().map(str::len), Some(1024));
    }
    eventually("nothing is left", || processes_with("sleep\x001303").is_empty());
}
