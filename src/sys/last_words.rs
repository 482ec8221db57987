//! What the program says when it can only end: the words are laid out while
//! there is still memory for them, and no lock is taken to say them.

use std::sync::OnceLock;

/// Why there is no way on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The kernel gives no memory
    NoMemory,
    /// The process cannot be again who it was before it acted for a user
    NotOneself,
}

/// The words for each, and the status that the process ends with.
pub struct LastWords {
    /// For [`End::NoMemory`]
    pub no_memory: String,
    /// For [`End::NotOneself`]
    pub not_oneself: String,
    /// The exit status
    pub status: i32,
}

static LAST_WORDS: OnceLock<LastWords> = OnceLock::new();

/// The status of who has prepared none, and acted for somebody else.
const UNPREPARED: i32 = 125;

/// Keeps the words; the first that come count.
pub fn prepare(words: LastWords) {
    let _ = LAST_WORDS.set(words);
}

/// Whether there are words.
pub fn are_prepared() -> bool {
    LAST_WORDS.get().is_some()
}

/// Says them, and ends the process.
pub fn say(end: End) -> ! {
    let Some(last) = LAST_WORDS.get() else { super::process::exit(UNPREPARED) };
    let words = match end {
        End::NoMemory => last.no_memory.as_bytes(),
        End::NotOneself => last.not_oneself.as_bytes(),
    };
    // SAFETY: the words live as long as the process, and their length is told.
    unsafe { libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len()) };
    super::process::exit(last.status)
}
