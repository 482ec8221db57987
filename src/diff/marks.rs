//! What overlayfs writes beside a file (`overlayfs.rst`): in `trusted.overlay.*`
//! where the host's root has mounted it, in `user.overlay.*` where a user
//! namespace has (`userxattr`).

use std::{collections::BTreeMap, io};

use super::entry::Entry;

const TRUSTED: &[u8] = b"trusted.overlay.";
const USER: &[u8] = b"user.overlay.";
/// An overlay inside this one escapes its marks so.
const ESCAPE: &[u8] = b"overlay.";
/// Labels that the host's security modules give as they see fit.
const HOSTS_LABELS: [&[u8]; 2] = [b"security.selinux", b"security.evm"];

/// Where an overlay keeps its marks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// `trusted.overlay.*`: only root can read them
    Trusted,
    /// `user.overlay.*`
    User,
    /// Nobody knows; either is taken for a mark
    Either,
    /// Nobody knows, and `trusted.overlay.*` could be there without our seeing it
    Hidden,
}

/// The marks on one file, and its other attributes.
#[derive(Default)]
pub struct Marks {
    /// A directory that hides what is below it
    pub is_opaque: bool,
    /// A directory in which whiteouts may be files
    pub has_file_whiteouts: bool,
    /// A file that stands for a deletion, where its directory allows that
    pub is_file_whiteout: bool,
    /// Where below to go on, if not under the same name
    pub redirect: Option<Vec<u8>>,
    /// Only the properties were copied up, the bytes are below
    pub is_metacopy: bool,
    /// It was copied up: of which file, as overlayfs writes it (`struct ovl_fb`), or empty
    pub origin: Option<Vec<u8>>,
    /// There is any mark at all
    pub is_marked: bool,
    /// Extended attributes as the overlay shows them, and as they are stored
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Flavour {
    /// Finds out by the marks on the root of an upper.
    pub fn of(upper: &Entry, can_read_trusted: bool) -> io::Result<Flavour> {
        let names = upper.xattr_names()?;
        let has = |prefix: &[u8]| names.iter().any(|name| name.starts_with(prefix));
        Ok(match (has(TRUSTED), has(USER)) {
            // An overlay's own marks are on its upper, those of one inside it are escaped or elsewhere.
            (true, _) => Flavour::Trusted,
            (false, true) => Flavour::User,
            (false, false) if can_read_trusted => Flavour::Either,
            (false, false) => Flavour::Hidden,
        })
    }

    /// The part of an attribute's name that is overlayfs's own.
    fn strip(self, name: &[u8]) -> Option<(&'static [u8], &[u8])> {
        let prefixes: &[&[u8]] = match self {
            Flavour::Trusted => &[TRUSTED],
            Flavour::User => &[USER],
            Flavour::Either | Flavour::Hidden => &[TRUSTED, USER],
        };
        prefixes.iter().find_map(|prefix| Some((*prefix, name.strip_prefix(*prefix)?)))
    }
}

impl Marks {
    /// Reads the marks of a file.
    pub fn of(entry: &Entry, flavour: Flavour) -> io::Result<Marks> {
        let mut marks = Marks::default();
        for name in entry.xattr_names()? {
            marks.take(entry, flavour, name)?;
        }
        Ok(marks)
    }

    fn take(&mut self, entry: &Entry, flavour: Flavour, name: Vec<u8>) -> io::Result<()> {
        let Some((prefix, mark)) = flavour.strip(&name) else {
            if !HOSTS_LABELS.contains(&name.as_slice()) {
                self.xattrs.insert(name.clone(), name);
            }
            return Ok(());
        };
        if let Some(escaped) = mark.strip_prefix(ESCAPE) {
            let shown = [prefix, escaped].concat();
            self.xattrs.insert(shown, name);
            return Ok(());
        }
        self.is_marked = true;
        match mark {
            b"opaque" => match entry.xattr(&name)?.as_deref() {
                Some(b"y") => self.is_opaque = true,
                Some(b"x") => self.has_file_whiteouts = true,
                _ => {}
            },
            b"redirect" => self.redirect = entry.xattr(&name)?.filter(|to| !to.is_empty()),
            b"whiteout" => self.is_file_whiteout = true,
            b"metacopy" => self.is_metacopy = true,
            // That it is there tells enough; which file it names, only a rename asks.
            b"origin" => {
                self.origin = Some(entry.xattr(&name).unwrap_or_default().unwrap_or_default())
            }
            // `impure`, `nlink`, `upper`, `uuid`, `protattr`: for overlayfs itself
            _ => {}
        }
        Ok(())
    }
}

/// The part of an origin that names a file, as [`Entry::handle`] does.
pub fn handle_in(origin: &[u8]) -> Option<Vec<u8>> {
    // version, magic, length, flags, type, the filesystem's id, and the handle
    let (head, handle) = origin.split_at_checked(21)?;
    match head {
        [0, 0xfb, length, _, kind, ..] if usize::from(*length) == origin.len() => {
            Some([&[*kind], handle].concat())
        }
        _ => None,
    }
}
