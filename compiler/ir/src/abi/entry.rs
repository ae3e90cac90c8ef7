//! Calling host code: an entry point with its scratch memory, whoever brought the code into the process (LLVM's JIT, or the program's linker).

use std::cell::RefCell;

use super::HostContext;

/// The entry point of a host kernel: arguments, context, the first program and the one behind the last, scratch memory.
pub type EntryPoint = unsafe extern "C" fn(*const u64, *const HostContext, i64, i64, *mut u8);

/// An entry point and the scratch memory that its calls need.
#[derive(Clone, Copy, Debug)]
pub struct HostEntry {
    entry: EntryPoint,
    scratch_bytes: usize,
}

/// A 64-byte aligned piece of memory that grows.
struct Arena {
    memory: *mut u8,
    layout: std::alloc::Layout,
}

impl Arena {
    const EMPTY: Arena = Arena { memory: std::ptr::null_mut(), layout: std::alloc::Layout::new::<()>() };

    fn get(&mut self, bytes: usize) -> *mut u8 {
        if bytes > self.layout.size() || self.memory.is_null() {
            self.free();
            let Ok(layout) = std::alloc::Layout::from_size_align(bytes.next_multiple_of(4096).max(64), 64) else {
                std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>());
            };
            // SAFETY: the layout has a size. Zeroed: full-width loads may look at bytes no kernel wrote.
            let memory = unsafe { std::alloc::alloc_zeroed(layout) };
            if memory.is_null() {
                std::alloc::handle_alloc_error(layout);
            }
            (self.memory, self.layout) = (memory, layout);
        }
        self.memory
    }

    fn free(&mut self) {
        if !self.memory.is_null() {
            // SAFETY: allocated in `get` with this layout.
            unsafe { std::alloc::dealloc(self.memory, self.layout) };
            // Field by field: assigning a whole `Arena` would drop, and free, the old one again.
            (self.memory, self.layout) = (std::ptr::null_mut(), std::alloc::Layout::new::<()>());
        }
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        self.free();
    }
}

thread_local! {
    static ARENA: RefCell<Arena> = const { RefCell::new(Arena::EMPTY) };
}

impl HostEntry {
    /// An entry point whose calls need so many bytes of scratch memory.
    pub const fn new(entry: EntryPoint, scratch_bytes: usize) -> HostEntry {
        HostEntry { entry, scratch_bytes }
    }

    /// Runs the programs with linear ids `begin..end` (axis 0 fastest) on this thread. Scratch memory belongs to the thread and is reused.
    ///
    /// # Safety
    /// The code is still loaded. `args` holds the slots that [`crate::abi`] describes for the kernel's function, with pointers to live memory of the extents,
    /// strides and element types they say, writable where the kernel writes, and nobody else writes what the kernel reads meanwhile (other than atomically).
    /// `ctx` points to a context whose callbacks accept its `user` pointer.
    pub unsafe fn call(&self, args: *const u64, ctx: *const HostContext, begin: i64, end: i64) {
        ARENA.with(|arena| match arena.try_borrow_mut() {
            // SAFETY: the caller's promise; scratch is as large and aligned as the kernel was compiled for.
            Ok(mut arena) => unsafe { (self.entry)(args, ctx, begin, end, arena.get(self.scratch_bytes)) },
            // A callback launched another kernel on this thread: it gets memory of its own.
            Err(_) => {
                let mut own = Arena::EMPTY;
                // SAFETY: as above.
                unsafe { (self.entry)(args, ctx, begin, end, own.get(self.scratch_bytes)) }
            }
        });
    }
}
