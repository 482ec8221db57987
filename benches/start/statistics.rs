//! Medians, and how far apart the rest is.

use serde::{Deserialize, Serialize};

/// What many measurements come to.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Spread {
    pub median: f64,
    /// A tenth is below
    pub low: f64,
    /// A tenth is above
    pub high: f64,
}

impl Spread {
    pub fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = (sorted.len().saturating_sub(1) as f64 * share).round() as usize;
            sorted.get(place).copied().unwrap_or_default()
        };
        Self { median: at(0.5), low: at(0.1), high: at(0.9) }
    }
}

/// How much more each measurement is than the one taken in the same turn.
pub fn differences(values: &[f64], of: &[f64]) -> Vec<f64> {
    values.iter().zip(of).map(|(value, of)| value - of).collect()
}

/// Each measurement as a multiple of the one taken in the same turn.
pub fn pairwise(values: &[f64], of: &[f64]) -> Vec<f64> {
    values.iter().zip(of).map(|(value, of)| value / of).collect()
}
