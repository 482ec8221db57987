//! What a machine has to lead a network namespace out with.

use std::{fs::File, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Host;

/// The programs for networks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NetworkTools {
    /// Where `pasta` is
    pub pasta: Option<PathBuf>,
    /// Whether the caller may open the device that it makes an interface with
    #[serde(default)]
    pub tun: Option<bool>,
}

/// `Documentation/networking/tuntap.rst`
const TUN: &str = "/dev/net/tun";

impl Host {
    /// What a network can be led out with, asking the machine if it is not known.
    pub fn network_tools(&self) -> NetworkTools {
        self.network.clone().unwrap_or_else(probe)
    }
}

/// Looks for them. None is run: anybody may have put it there, and root may be who asks.
pub(super) fn probe() -> NetworkTools {
    let found = which::which_all("pasta").ok();
    let tun = File::options().read(true).write(true).open(TUN);
    NetworkTools {
        pasta: found.and_then(|mut found| found.find(|path| path.is_absolute())),
        tun: Some(tun.is_ok()),
    }
}
