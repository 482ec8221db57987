//! What was measured, as a table and as JSON.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::{
    Problem, defaults::Cost, scene::Scene, statistics::Spread, throughput::Throughput, work::Work,
};

/// One contender's figures for one work.
#[derive(Serialize, Deserialize)]
pub struct Row {
    pub work: String,
    pub name: String,
    /// Microseconds
    pub times: Spread,
    /// To the floor in the same turn
    pub ratios: Spread,
    /// KiB
    pub peak: u64,
    pub calls: Option<u64>,
    pub note: String,
}

/// Everything of one run.
#[derive(Serialize, Deserialize)]
pub struct Report {
    machine: String,
    pub rows: Vec<Row>,
    pub throughput: Vec<Throughput>,
    #[serde(default)]
    pub defaults: Vec<Cost>,
    pub left_out: Vec<String>,
}

impl Report {
    pub fn new(scene: &Scene) -> Self {
        let (rows, throughput, defaults, left_out) = Default::default();
        Self { machine: machine(scene), rows, throughput, defaults, left_out }
    }

    pub fn machine(&self) -> &str {
        &self.machine
    }

    pub fn json(&self) -> Result<String, Problem> {
        Ok(serde_json::to_string_pretty(self)?)
    }

    pub fn print(&self, work: Work) {
        let work = work.to_string();
        println!(
            "\n{work:<24} {:>9} {:>9} {:>9} {:>7} {:>13} {:>6} {:>6}",
            "µs", "10 %", "90 %", "ratio", "10 %, 90 %", "KiB", "calls"
        );
        for row in self.rows.iter().filter(|row| row.work == work) {
            let Row { name, times, ratios, peak, note, .. } = row;
            let calls = row.calls.map_or_else(String::new, |calls| calls.to_string());
            let line = format!(
                "{name:<24} {:>9.0} {:>9.0} {:>9.0} {:>7.2} {:>6.2} {:>6.2} {peak:>6} {calls:>6}  {note}",
                times.median, times.low, times.high, ratios.median, ratios.low, ratios.high,
            );
            println!("{}", line.trim_end());
        }
    }

    pub fn print_throughput(&self, work: Work) {
        let work = work.to_string();
        println!("\n{:<24} {:>9} {:>9}", format!("{work}, throughput"), "at once", "a second");
        for row in self.throughput.iter().filter(|row| row.work == work) {
            println!("{:<24} {:>9} {:>9.0}", row.name, row.at_a_time, row.a_second);
        }
    }

    pub fn print_defaults(&self) {
        let without = self.defaults.first().map_or(0.0, |cost| cost.without);
        let head = format!("step3 takes {without:.0} µs; more with");
        println!("\n{head:<32} {:>7} {:>7} {:>7}", "µs", "10 %", "90 %");
        for Cost { name, more, .. } in &self.defaults {
            println!("{name:<32} {:>7.0} {:>7.0} {:>7.0}", more.median, more.low, more.high);
        }
    }

    pub fn print_left_out(&self) {
        for reason in &self.left_out {
            println!("\nnot compared: {reason}");
        }
    }

    /// Shows what has changed since another run, by the ratios to the floor.
    pub fn compare(&self, before: &str) -> Result<(), Problem> {
        let before: Self = serde_json::from_str(before)?;
        println!("\nbefore: {}", before.machine);
        for row in &self.rows {
            let same = |other: &&Row| other.work == row.work && other.name == row.name;
            let Some(other) = before.rows.iter().find(same) else { continue };
            let (was, is) = (other.ratios.median, row.ratios.median);
            let change = (is / was - 1.0) * 100.0;
            println!("{:<24} {:<24} {was:>6.2} {is:>6.2} {change:>+6.1} %", row.work, row.name);
        }
        Ok(())
    }
}

fn machine(scene: &Scene) -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cpu = cpu.map_or("a processor", |(_, name)| name);
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let load: Vec<&str> = load.split(' ').take(3).collect();
    let guest = if read("/proc/cpuinfo").contains(" hypervisor ") { ", virtual" } else { "" };
    format!(
        "Linux {}, {cpu}, {count} processors{guest}, load {}, uid {}",
        kernel.trim(),
        load.join(" "),
        scene.uid
    )
}
