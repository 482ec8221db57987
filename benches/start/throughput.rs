//! How many sandboxes a second there are, so many at a time.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::sys::wait::{WaitStatus, wait};
use serde::{Deserialize, Serialize};

use crate::{
    Problem, contender::Contender, options::Options, scene::Scene, stopwatch::Ready, work::Work,
};

/// How many of one tool end in a second.
#[derive(Serialize, Deserialize)]
pub struct Throughput {
    pub work: String,
    pub name: String,
    pub at_a_time: usize,
    pub a_second: f64,
}

/// In turn, in short shares, so that what else the machine does hits everybody.
pub fn measure(
    work: Work,
    all: &[Contender],
    scene: &Scene,
    options: &Options,
) -> Result<Vec<Throughput>, Problem> {
    let counts: &[usize] = if options.short { &[2] } else { &[1, 2, 8, 64] };
    let (shares, length) = match options.short {
        true => (1, Duration::from_millis(50)),
        false => (4, Duration::from_millis(500)),
    };
    let mut found = Vec::new();
    for &at_a_time in counts {
        let mut totals = vec![(0, Duration::ZERO); all.len()];
        for _ in 0..shares {
            for (who, total) in all.iter().zip(&mut totals) {
                let begin = Instant::now();
                total.0 += share(who, work, at_a_time, length)?;
                total.1 += begin.elapsed();
            }
        }
        for (who, (ended, time)) in all.iter().zip(totals) {
            let (work, name) = (work.to_string(), who.name.clone());
            let a_second = f64::from(ended) / time.as_secs_f64();
            found.push(Throughput { work, name, at_a_time, a_second });
        }
        for who in all {
            let Some(words) = who.batch(work, at_a_time) else { continue };
            let rate =
                found.iter().rfind(|one| one.name == who.name).map_or(0.0, |one| one.a_second);
            let length = length * shares;
            let a_second = batch(&words, (rate * length.as_secs_f64()) as usize + 10, scene)?;
            let name = format!("{}, batch", who.name);
            found.push(Throughput { work: work.to_string(), name, at_a_time, a_second });
        }
    }
    Ok(found)
}

/// How many of so many commands of one batch end in a second, its own start and end included.
fn batch(words: &[String], count: usize, scene: &Scene) -> Result<f64, Problem> {
    let [lines, results] = ["lines", "results"].map(|name| scene.path(name));
    fs::write(&lines, "/bin/true\n".repeat(count))?;
    let (program, arguments) = words.split_first().ok_or("no command")?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(File::open(&lines)?).stdout(File::create(&results)?);
    let begin = Instant::now();
    let status = command.stderr(Stdio::inherit()).status()?;
    let taken = begin.elapsed();
    let ended = fs::read_to_string(&results)?.matches("\"exit\":0").count();
    match status.success() && ended == count {
        true => Ok(count as f64 / taken.as_secs_f64()),
        false => Err(format!("{words:?}: {status}, {ended} of {count}").into()),
    }
}

fn share(who: &Contender, work: Work, at_a_time: usize, length: Duration) -> Result<u32, Problem> {
    let begin = Instant::now();
    let (mut running, mut ended) = (0, 0);
    loop {
        while running < at_a_time && begin.elapsed() < length {
            // Some tools want a name for each.
            Ready::new(&who.words(work))?.start()?;
            running += 1;
        }
        if running == 0 {
            return Ok(ended);
        }
        match wait()? {
            WaitStatus::Exited(_, 0) => ended += 1,
            other => return Err(format!("{}, {work}: {other:?}", who.name).into()),
        }
        running -= 1;
    }
}
