//! What a mount does not let through: `mount_setattr(2)`, `mount(8)`.

/// Attributes of a mount (`mount_setattr(2)`), joined with `|`.
pub mod attribute {
    /// Read-only
    pub const READ_ONLY: u64 = 0x01;
    /// Set-user-ID bits do nothing
    pub const NO_SUID: u64 = 0x02;
    /// Device nodes cannot be opened
    pub const NO_DEV: u64 = 0x04;
    /// Programs cannot be executed
    pub const NO_EXEC: u64 = 0x08;
    /// Ids are translated through a user namespace
    pub(crate) const IDMAP: u64 = 0x0010_0000;
}

/// What a mount does not let through, as `mount(8)` names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags {
    /// Nothing can be written (`ro`)
    pub read_only: bool,
    /// Set-user-ID bits do nothing (`nosuid`)
    pub no_suid: bool,
    /// Device nodes cannot be opened (`nodev`)
    pub no_dev: bool,
    /// Programs cannot be executed (`noexec`)
    pub no_exec: bool,
}

impl Flags {
    /// Nothing can be written, and that is all.
    pub const READ_ONLY: Self =
        Self { read_only: true, no_suid: false, no_dev: false, no_exec: false };

    /// As `mount_setattr(2)` and `fsmount(2)` take them.
    pub fn attributes(self) -> u64 {
        let all = [
            (self.read_only, attribute::READ_ONLY),
            (self.no_suid, attribute::NO_SUID),
            (self.no_dev, attribute::NO_DEV),
            (self.no_exec, attribute::NO_EXEC),
        ];
        all.into_iter().filter(|(is_set, _)| *is_set).fold(0, |bits, (_, bit)| bits | bit)
    }

    /// Whether everything passes.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The options of `mount(8)`.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let all = [
            (self.read_only, "ro"),
            (self.no_suid, "nosuid"),
            (self.no_dev, "nodev"),
            (self.no_exec, "noexec"),
        ];
        all.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name)
    }
}
