//! Finds what was deleted in one place and added in another with the same content.

use super::{layers::Layers, walk::Findings};

/// Pairs what is gone with what is new.
pub fn pair(_layers: &Layers, _findings: &mut Findings) {}
