//! `cargo bench --bench start`: how long a sandbox takes to start, against the
//! least that any program can do and against other tools.
//!
//! Everybody is given the same work, in turn, in one run, and is compared pair
//! by pair with the floor (`floor.c`). Nobody is timed before what they make
//! was looked at. Without `--bench`, as `cargo test` runs it, everything is
//! done once: whether it works, not how fast.

mod contender;
mod defaults;
mod oci;
mod options;
mod report;
mod same;
mod scene;
mod statistics;
mod stopwatch;
mod throughput;
mod work;

use std::{error::Error, fs, process::ExitCode};

use contender::Contender;
use options::Options;
use report::{Report, Row};
use scene::Scene;
use work::Work;

type Problem = Box<dyn Error>;

fn main() -> ExitCode {
    match options::read().and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("bench: {problem}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), Problem> {
    let scene = Scene::new(options)?;
    let mut report = Report::new(&scene);
    println!("{}", report.machine());
    let works = options.works();
    for work in works.iter().filter(|work| !matches!(work, Work::Mounts(_))) {
        report.rows.extend(measure(*work, &scene, options, &mut report.left_out)?);
        report.print(*work);
    }
    for work in [Work::Step3, Work::Full].into_iter().filter(|_| options.measures_throughput()) {
        let able = able(work, &scene, options, &mut Vec::new())?;
        report.throughput.extend(throughput::measure(work, &able, &scene, options)?);
        report.print_throughput(work);
    }
    if options.measures_defaults() {
        report.defaults = defaults::measure(&scene, options)?;
        report.print_defaults();
    }
    // The mounts stay with this process, so they come last.
    for work in works.iter().filter(|work| matches!(work, Work::Mounts(_))) {
        scene.mount_many(*work)?;
        report.rows.extend(measure(*work, &scene, options, &mut report.left_out)?);
        report.print(*work);
    }
    report.print_left_out();
    for file in &options.saves {
        fs::write(file, report.json()?)?;
    }
    match &options.against {
        Some(file) => report.compare(&fs::read_to_string(file)?),
        None => Ok(()),
    }
}

/// Those who do this work, and have been seen to do it.
fn able(
    work: Work,
    scene: &Scene,
    options: &Options,
    left_out: &mut Vec<String>,
) -> Result<Vec<Contender>, Problem> {
    let mut able: Vec<Contender> = Vec::new();
    let floor = same::look(&contender::floor(scene), work)?;
    for contender in contender::all(scene, options) {
        if !contender.takes(work) {
            continue;
        }
        let verdict = same::look(&contender, work)
            .and_then(|seen| seen.compare(&floor, &contender, work).map_err(Problem::from));
        match verdict {
            Ok(()) => able.push(contender),
            // What is not compared with itself is no benchmark.
            Err(problem) if contender.is_ours => {
                return Err(format!("{}, {work}: {problem}", contender.name).into());
            }
            Err(problem) => left_out.push(format!("{}, {work}: {problem}", contender.name)),
        }
    }
    Ok(able)
}

fn measure(
    work: Work,
    scene: &Scene,
    options: &Options,
    left_out: &mut Vec<String>,
) -> Result<Vec<Row>, Problem> {
    let able = able(work, scene, options, left_out)?;
    let times = stopwatch::in_turn(&able, work, options.rounds(work))?;
    let floor = times.first().cloned().unwrap_or_default();
    let mut rows = Vec::new();
    for (contender, times) in able.iter().zip(&times) {
        rows.push(Row {
            work: work.to_string(),
            name: contender.name.clone(),
            times: statistics::Spread::of(times),
            ratios: statistics::Spread::of(&statistics::pairwise(times, &floor)),
            peak: stopwatch::peak(contender, work, scene)?,
            calls: stopwatch::calls(contender, work, scene)?,
            note: contender.note(work),
        });
    }
    Ok(rows)
}
