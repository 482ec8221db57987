//! `symlink`: a symbolic link (`symlink(2)`, `symlink(7)`).

use std::{ffi::CString, os::unix::ffi::OsStrExt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ops::MakeLink, plan::Planner};

use super::{Place, Plan};

/// A symbolic link, where nothing is. It is made in a `tmpfs` or an `overlay`,
/// never on the host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// Where; the directory is there already.
    pub at: Place,
    /// Where it leads, as it is written: a relative one starts beside the link.
    pub to: Place,
}

impl Plan for Symlink {
    fn plan(&self, to: &mut Planner) {
        let path = to.path(self.at.as_path());
        // Whether it would be made on the host has to be known beforehand.
        to.learn(&path);
        let at = to.new_name(&path);
        let leads = CString::new(self.to.as_path().as_os_str().as_bytes()).unwrap_or_default();
        to.step(MakeLink { at, to: leads });
    }
}
