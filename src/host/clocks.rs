//! The clocks that a time namespace sets: `time_namespaces(7)`.

use std::{fs, io};

use nix::time::{ClockId, clock_gettime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Clocks as the kernel itself has them, whatever namespace asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC`, in seconds
    pub monotonic: i64,
    /// `CLOCK_BOOTTIME`, in seconds
    pub boottime: i64,
}

/// Asks the kernel, and takes off what the caller's own time namespace adds.
pub(super) fn probe() -> Option<Clocks> {
    let now = |clock| Some(clock_gettime(clock).ok()?.tv_sec());
    let (monotonic, boottime) = (now(ClockId::CLOCK_MONOTONIC)?, now(ClockId::CLOCK_BOOTTIME)?);
    let offsets = match fs::read_to_string("/proc/self/timens_offsets") {
        Ok(text) => text,
        // A kernel without time namespaces adds nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(_) => return None,
    };
    let link = |name| fs::read_link(format!("/proc/self/ns/{name}")).ok();
    // Offsets are shown of the namespace that the next child goes into.
    if link("time") != link("time_for_children") {
        return None;
    }
    let added = |clock: &str| -> Option<i64> {
        let line = offsets.lines().find(|line| line.split_whitespace().next() == Some(clock));
        line.map_or(Some(0), |line| line.split_whitespace().nth(1)?.parse().ok())
    };
    Some(Clocks {
        monotonic: monotonic.checked_sub(added("monotonic")?)?,
        boottime: boottime.checked_sub(added("boottime")?)?,
    })
}
