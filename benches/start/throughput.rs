//! How many sandboxes a second there are, so many at a time.

use std::time::{Duration, Instant};

use nix::sys::wait::{WaitStatus, wait};
use serde::{Deserialize, Serialize};

use crate::{Problem, contender::Contender, options::Options, stopwatch::Ready, work::Work};

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
    }
    Ok(found)
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
