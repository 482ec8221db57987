//! The allocator of the program: the system's, with the last words of a process
//! that gets no memory (`malloc(3)`).
//!
//! musl's own asks the kernel for a page for almost every size that is new to
//! it, which is most of the time that a start takes; with musl it is `dlmalloc`.
//!
//! **Invariant:** what is kept aside is never touched before it is needed, so it
//! costs no memory; and the last words are found in nothing else.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

#[cfg(not(target_env = "musl"))]
use std::alloc::System;

#[cfg(target_env = "musl")]
use super::pool::POOL as System;

use super::last_words::{self, End};

/// The system's allocator.
pub struct Memory;

/// As much as it takes to draw a diagnostic, many times over.
const KEPT_ASIDE: usize = 512 * 1024;

/// Memory that is given out once, from its beginning to its end.
#[repr(align(4096))]
struct Aside(UnsafeCell<[u8; KEPT_ASIDE]>);

// SAFETY: each part is given out once, and by one thread: the counter below says which.
unsafe impl Sync for Aside {}

static ASIDE: Aside = Aside(UnsafeCell::new([0; KEPT_ASIDE]));
static GIVEN: AtomicUsize = AtomicUsize::new(0);
static IS_LAST: AtomicBool = AtomicBool::new(false);

/// From now on, everything comes from what is kept aside; `false`: it did already.
pub(super) fn use_what_is_kept_aside() -> bool {
    !IS_LAST.swap(true, Ordering::Relaxed)
}

/// The next part of what is kept aside; null, if there is not enough.
fn aside(layout: Layout) -> *mut u8 {
    let start = GIVEN.load(Ordering::Relaxed).next_multiple_of(layout.align().min(4096));
    let end = start.saturating_add(layout.size());
    if end > KEPT_ASIDE || layout.align() > 4096 {
        return ptr::null_mut();
    }
    GIVEN.store(end, Ordering::Relaxed);
    // SAFETY: the part lies within, as was just looked.
    unsafe { ASIDE.0.get().cast::<u8>().add(start) }
}

fn is_aside(block: *mut u8) -> bool {
    let start = ASIDE.0.get() as usize;
    (start..start + KEPT_ASIDE).contains(&(block as usize))
}

/// Says the last words, where there are any.
fn given(block: *mut u8) -> *mut u8 {
    if block.is_null() && last_words::are_prepared() {
        last_words::say(End::NoMemory);
    }
    block
}

// SAFETY: every call goes to the system's allocator as it came, and its answer comes back; or,
// at the end of the process, a part is given out that nobody else has.
unsafe impl GlobalAlloc for Memory {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if IS_LAST.load(Ordering::Relaxed) {
            return given(aside(layout));
        }
        // SAFETY: the caller keeps what it promised to `alloc`.
        given(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // What is kept aside is zeros, and given out once.
        if IS_LAST.load(Ordering::Relaxed) {
            return given(aside(layout));
        }
        // SAFETY: the caller keeps what it promised to `alloc_zeroed`.
        given(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !IS_LAST.load(Ordering::Relaxed) {
            // SAFETY: the caller keeps what it promised to `realloc`.
            return given(unsafe { System.realloc(block, layout, size) });
        }
        // SAFETY: the caller promises that size and alignment make a layout.
        let new = given(aside(unsafe { Layout::from_size_align_unchecked(size, layout.align()) }));
        if !new.is_null() {
            // SAFETY: both have room for the smaller of the two, and are not the same.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size().min(size)) };
        }
        new
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // At the end of the process, nothing is worth giving back.
        if !is_aside(block) && !IS_LAST.load(Ordering::Relaxed) {
            // SAFETY: the caller keeps what it promised to `dealloc`.
            unsafe { System.dealloc(block, layout) }
        }
    }
}
