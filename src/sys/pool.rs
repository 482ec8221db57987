//! `dlmalloc` for the whole program, where the C library's `malloc` is slow.
//!
//! Not by the crate's own global: that takes a lock of the C library's for
//! every block, and this program has one thread.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    hint,
    sync::atomic::{AtomicBool, Ordering},
};

use dlmalloc::Dlmalloc;

/// The allocator, and whether somebody is in it.
pub(super) struct Pool {
    is_taken: AtomicBool,
    pool: UnsafeCell<Dlmalloc>,
}

/// The only one.
pub(super) static POOL: Pool =
    Pool { is_taken: AtomicBool::new(false), pool: UnsafeCell::new(Dlmalloc::new()) };

// SAFETY: `with` lets in one thread at a time.
unsafe impl Sync for Pool {}

impl Pool {
    /// Should there be a second thread, it waits; there are too few blocks to wait for long.
    fn with<T>(&self, act: impl FnOnce(&mut Dlmalloc) -> T) -> T {
        while self.is_taken.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: nobody else is here until the mark is taken away.
        let done = act(unsafe { &mut *self.pool.get() });
        self.is_taken.store(false, Ordering::Release);
        done
    }
}

// SAFETY: blocks come from one pool and go back to it, with the size and the alignment they have.
unsafe impl GlobalAlloc for Pool {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and alignment will do.
        self.with(|pool| unsafe { pool.malloc(layout.size(), layout.align()) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        self.with(|pool| unsafe { pool.calloc(layout.size(), layout.align()) })
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the block is ours and has this layout.
        self.with(|pool| unsafe { pool.realloc(block, layout.size(), layout.align(), size) })
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        self.with(|pool| unsafe { pool.free(block, layout.size(), layout.align()) });
    }
}
