//! Whether this process is a child that was forked after the reactor was made.
//!
//! Parent and child share the kernel's set of sources: what the child takes out of it is gone for the parent, and each event
//! comes to only one of them. So a reactor works in the process that made it and nowhere else. On Linux the kernel itself
//! tells: it hands a forked child a page of zeros in place of ours, so asking costs a load. Elsewhere the process's id is
//! compared, which is a system call.

pub(crate) use mark::Mark;

#[cfg(all(target_os = "linux", not(miri)))]
mod mark {
    use std::ptr::{self, NonNull};
    use std::sync::atomic::{AtomicU8, Ordering};

    use rustix::mm::{Advice, MapFlags, ProtFlags};

    /// At least a page, whatever the machine's page size; the kernel rounds it up.
    const LENGTH: usize = 4096;

    /// A page that is one here, and zero in children.
    pub(crate) struct Mark(NonNull<AtomicU8>);

    impl Mark {
        pub(crate) fn new() -> Mark {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: A new mapping at an address of the kernel's choice touches no other memory.
            let page = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), LENGTH, protection, MapFlags::PRIVATE) };
            let page = page.expect("there is memory for one more page");
            let mark = Mark(NonNull::new(page).expect("the kernel maps nothing at address 0").cast());
            // SAFETY: The advice is about the mapping made above, and changes nothing of it in this process. A kernel older than
            // 4.14 refuses it; then forks are not noticed, which is all that can be had there.
            let _ = unsafe { rustix::mm::madvise(page, LENGTH, Advice::LinuxWipeOnFork) };
            mark.get().store(1, Ordering::Relaxed);
            mark
        }

        fn get(&self) -> &AtomicU8 {
            // SAFETY: The pointer leads to the start of a mapping that is readable, writable, zeroed and aligned to a page, and
            // that stays until this is dropped.
            unsafe { self.0.as_ref() }
        }

        #[inline]
        pub(crate) fn is_forked(&self) -> bool {
            self.get().load(Ordering::Relaxed) == 0
        }
    }

    impl Drop for Mark {
        fn drop(&mut self) {
            // SAFETY: The mapping was made by `new` with this length, and nothing refers to it any more. A child has the same one,
            // with other contents.
            let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), LENGTH) };
        }
    }
}

#[cfg(not(all(target_os = "linux", not(miri))))]
mod mark {
    use std::process;

    /// The id of the process that made the reactor.
    pub(crate) struct Mark(u32);

    impl Mark {
        pub(crate) fn new() -> Mark {
            Mark(process::id())
        }

        pub(crate) fn is_forked(&self) -> bool {
            process::id() != self.0
        }
    }
}
