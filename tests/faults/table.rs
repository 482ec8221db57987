//! Starts the workers, and counts what they found.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Instant,
};

/// What every mode has to show.
#[derive(Default)]
struct Row {
    cases: usize,
    verdicts: BTreeMap<String, usize>,
}

const COLUMNS: [&str; 9] =
    ["Ran", "Refused", "Killed", "Missed", "Weaker", "Believed", "Mute", "Leak", "Hang"];

/// What breaks a promise.
const FAULTS: [&str; 4] = ["Weaker", "Mute", "Leak", "Hang"];

/// What was mute once.
fn mended() -> &'static [&'static str] {
    match super::machine::own_uid() {
        0 => &["sandbox::end_unknown", "host::out_of_memory", "host::ids_refused", "sandbox::bug"],
        _ => &["sandbox::end_unknown", "host::out_of_memory"],
    }
}

/// What is worth a line of its own, as soon as it is known.
fn show(line: &str) {
    let cells: Vec<&str> = line.split('\t').collect();
    if let [scene, _, verdict, place, why] = cells[..]
        && (FAULTS.contains(&verdict) || verdict == "Believed")
    {
        println!("{verdict}: {scene}: {place}: {why}");
    }
}

pub fn report() {
    let begin = Instant::now();
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(8);
    let mut children: Vec<_> = (0..workers)
        .map(|own| {
            let mut worker = Command::new(std::env::current_exe().expect("this program"));
            worker.arg("--worker").arg(workers.to_string()).arg(own.to_string());
            worker.stdout(Stdio::piped()).spawn().expect("a worker")
        })
        .collect();
    let readers: Vec<_> = children
        .iter_mut()
        .map(|child| {
            let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
            std::thread::spawn(move || {
                lines.map_while(Result::ok).inspect(|line| show(line)).collect()
            })
        })
        .collect();
    let lines: Vec<String> = readers
        .into_iter()
        .flat_map(|reader: std::thread::JoinHandle<Vec<String>>| reader.join().expect("lines"))
        .collect();
    for mut child in children {
        assert!(child.wait().expect("an end").success(), "a worker gave up");
    }
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let mut faults = 0;
    for line in &lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let [_, mode, verdict, _, _] = cells[..] else { panic!("{line}") };
        let row = rows.entry(mode).or_default();
        row.cases += 1;
        *row.verdicts.entry(verdict.to_owned()).or_default() += 1;
        faults += usize::from(FAULTS.contains(&verdict));
    }
    println!("{:13} {:>7} {}", "mode", "cases", COLUMNS.map(|name| format!("{name:>9}")).join(""));
    for (mode, row) in &rows {
        let count = |name: &str| row.verdicts.get(name).copied().unwrap_or(0);
        let counts = COLUMNS.map(|name| format!("{:>9}", count(name))).join("");
        println!("{mode:13} {:>7} {counts}", row.cases);
    }
    println!("{} cases in {:.1} s", lines.len(), begin.elapsed().as_secs_f64());
    if matches!(std::env::var("FAULTS").as_deref(), Err(_) | Ok("all")) {
        assert!(lines.len() >= 5000, "only {} cases", lines.len());
        let said = |code: &&&str| lines.iter().any(|line| line.ends_with(**code));
        let unsaid: Vec<_> = mended().iter().filter(|code| !said(code)).collect();
        assert!(unsaid.is_empty(), "nobody said {unsaid:?}");
    }
    assert_eq!(faults, 0, "promises that were not kept");
}
