//! Who may do what with a file: `inode_permission()` of `fs/namei.c`.

use crate::host::Owner;

use super::{Model, Process, capability};

/// To look into a file or directory
const READ: u32 = 4;
/// To make and remove names in a directory
pub(super) const WRITE: u32 = 2;
/// To go through a directory
pub(super) const SEARCH: u32 = 1;

impl Model {
    /// Discretionary access, and the capabilities that pass it by
    /// (`generic_permission()`).
    pub fn permits(&self, owner: Owner, want: u32) -> bool {
        self.permits_to(&self.process, owner, want)
    }

    pub(super) fn permits_to(&self, process: &Process, owner: Owner, want: u32) -> bool {
        let reads_only = want & WRITE == 0;
        permits_by_mode(process, owner, want)
            || self.reaches(process, owner)
                && (process.has(capability::DAC_OVERRIDE)
                    || reads_only && process.has(capability::DAC_READ_SEARCH))
    }

    /// Capabilities over a user namespace reach only files of its ids
    /// (`privileged_wrt_inode_uidgid()`).
    pub(super) fn reaches(&self, process: &Process, owner: Owner) -> bool {
        let own = self.user(process.user);
        own.uids.from_host(owner.uid).is_some() && own.gids.from_host(owner.gid).is_some()
    }

    /// Whether the process may enter a directory of this owner.
    pub fn may_search(&self, owner: Owner) -> bool {
        self.permits(owner, SEARCH)
    }

    /// Whether the process may read a file of this owner.
    pub fn may_read(&self, owner: Owner) -> bool {
        self.permits(owner, READ)
    }

    /// Whether the process may write in a directory of this owner.
    pub fn may_write(&self, owner: Owner) -> bool {
        self.permits(owner, WRITE | SEARCH)
    }
}

/// Discretionary access alone (`acl_permission_check()`).
pub(super) fn permits_by_mode(process: &Process, owner: Owner, want: u32) -> bool {
    let in_group = process.gid == owner.gid
        || process.groups.as_ref().is_some_and(|groups| groups.contains(&owner.gid));
    let bits = if process.uid == owner.uid {
        owner.mode >> 6
    } else if in_group {
        owner.mode >> 3
    } else {
        owner.mode
    };
    bits & want == want
}
