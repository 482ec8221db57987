//! What the program says when it can only end: no lock is taken to say it, and
//! no memory of the system's, which may have none left.

use std::sync::OnceLock;

use super::memory;

/// Why there is no way on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The kernel gives no memory
    NoMemory,
    /// The process cannot be again who it was before it acted for a user
    NotOneself,
}

/// The words, and the status that the process ends with.
pub struct LastWords {
    /// Finds them; what it takes for that is kept aside. They are hardly ever
    /// needed, and every start would pay for them.
    pub words: fn(End) -> String,
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
    // What is kept aside is not enough for them, and they are missing while they are made.
    if !memory::use_what_is_kept_aside() {
        super::process::exit(last.status);
    }
    let words = (last.words)(end);
    // SAFETY: the words outlive the call, and their length is told.
    unsafe { libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len()) };
    super::process::exit(last.status)
}
