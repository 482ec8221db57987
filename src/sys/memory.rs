//! The allocator of the program: the system's, with the last words of a process
//! that gets no memory (`malloc(3)`).

use std::alloc::{GlobalAlloc, Layout, System};

use super::last_words::{self, End};

/// The system's allocator.
pub struct Memory;

/// Says the last words, where there are any.
fn given(block: *mut u8) -> *mut u8 {
    if block.is_null() && last_words::are_prepared() {
        last_words::say(End::NoMemory);
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
