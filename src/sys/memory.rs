//! The allocator of the program: the system's, with the last words of a process
//! that gets no memory (`malloc(3)`).

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::OnceLock,
};

/// What is said then, and what the process ends with.
static LAST_WORDS: OnceLock<(Vec<u8>, i32)> = OnceLock::new();

/// Says these words and ends with this status when there is no memory left.
/// The first wish counts.
pub fn when_exhausted(words: Vec<u8>, status: i32) {
    let _ = LAST_WORDS.set((words, status));
}

/// The system's allocator.
pub struct Memory;

/// Says the last words, where there are any.
fn given(block: *mut u8) -> *mut u8 {
    if block.is_null()
        && let Some((words, status)) = LAST_WORDS.get()
    {
        // SAFETY: the words live as long as the process, and their length is told.
        unsafe { libc::write(libc::STDERR_FILENO, words.as_ptr().cast(), words.len()) };
        super::process::exit(*status);
    }
    block
}

// SAFETY: every call goes to the system's allocator as it came, and its answer comes back.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps what it promised to `alloc`.
        given(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps what it promised to `alloc_zeroed`.
        given(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps what it promised to `realloc`.
        given(unsafe { System.realloc(block, layout, size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps what it promised to `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
