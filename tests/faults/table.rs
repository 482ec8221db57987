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
            std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<String>>())
        })
        .collect();
    let lines: Vec<String> =
        readers.into_iter().flat_map(|reader| reader.join().expect("lines")).collect();
    for mut child in children {
        assert!(child.wait().expect("an end").success(), "a worker gave up");
    }
    let mut rows: BTreeMap<&str, Row> = BTreeMap::new();
    let mut faults = 0;
    for line in &lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let [scene, mode, verdict, place, why] = cells[..] else { panic!("{line}") };
        let row = rows.entry(mode).or_default();
        row.cases += 1;
        *row.verdicts.entry(verdict.to_owned()).or_default() += 1;
        if matches!(verdict, "Weaker" | "Mute" | "Leak" | "Hang") {
            faults += 1;
            println!("{verdict}: {scene}: {place}: {why}");
        }
        if verdict == "Believed" {
            println!("believed: {scene}: {place}: {why}");
        }
    }
    println!("{:10} {:>7} {}", "mode", "cases", COLUMNS.map(|name| format!("{name:>9}")).join(""));
    for (mode, row) in &rows {
        let count = |name: &str| row.verdicts.get(name).copied().unwrap_or(0);
        let counts = COLUMNS.map(|name| format!("{:>9}", count(name))).join("");
        println!("{mode:10} {:>7} {counts}", row.cases);
    }
    println!("{} cases in {:.1} s", lines.len(), begin.elapsed().as_secs_f64());
    assert_eq!(faults, 0, "promises that were not kept");
}
