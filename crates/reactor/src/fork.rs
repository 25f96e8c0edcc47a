//! Detects whether this process was forked after the reactor was made.
//!
//! Parent and child share the kernel's set of sources. If the child removes one, it is gone for the
//! parent, too, and each event goes to only one of them. So a reactor works only in the process
//! that made it. On Linux the kernel gives a forked child a zeroed copy of a certain page, so the
//! check is a load. Elsewhere, and if there is no such page, the check compares process ids, which
//! is a system call.

use std::io;
use std::process;

/// Distinguishes the process that made it from its forked children.
pub(crate) struct ForkDetector {
    #[cfg(all(target_os = "linux", not(miri)))]
    page: Option<page::Page>,
    /// The id of the process that made the reactor. Read only without a page.
    id: u32,
}

impl ForkDetector {
    pub(crate) fn new() -> ForkDetector {
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Some(page) = page::Page::new() {
            return ForkDetector { page: Some(page), id: 0 };
        }
        ForkDetector {
            #[cfg(all(target_os = "linux", not(miri)))]
            page: None,
            id: process::id(),
        }
    }

    #[inline]
    pub(crate) fn is_forked(&self) -> bool {
        #[cfg(all(target_os = "linux", not(miri)))]
        if let Some(page) = &self.page {
            return page.is_wiped();
        }
        process::id() != self.id
    }

    /// Returns an error in a forked child.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_forked() { Err(refusal()) } else { Ok(()) }
    }
}

#[cold]
fn refusal() -> io::Error {
    io::Error::other("this reactor belongs to the parent of this forked process; make another one")
}

#[cfg(all(target_os = "linux", not(miri)))]
mod page {
    use std::ptr::{self, NonNull};
    use std::sync::atomic::{AtomicU8, Ordering};

    use rustix::mm::{Advice, MapFlags, ProtFlags};

    /// The kernel rounds this up to the machine's page size.
    const LENGTH: usize = 4096;

    /// A page that holds 1 in this process, and 0 in its forked children.
    pub(super) struct Page(NonNull<AtomicU8>);

    impl Page {
        /// `None` without memory for it, or on kernels before 4.14, which cannot wipe pages at a
        /// fork.
        pub(super) fn new() -> Option<Page> {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: A new mapping at an address that the kernel chooses affects no other memory.
            let page = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), LENGTH, protection, MapFlags::PRIVATE) };
            // Owned from here on, so an early return unmaps it.
            let page = Page(NonNull::new(page.ok()?)?.cast());
            // SAFETY: The advice is for the mapping made above, and changes nothing in this
            // process.
            unsafe { rustix::mm::madvise(page.0.as_ptr().cast(), LENGTH, Advice::LinuxWipeOnFork) }.ok()?;
            // Relaxed, as the loads: a fork copies memory, so no ordering is needed.
            page.get().store(1, Ordering::Relaxed);
            Some(page)
        }

        fn get(&self) -> &AtomicU8 {
            // SAFETY: The pointer is the start of a mapping that is readable, writable, zeroed and
            // page-aligned, and that lives until this is dropped.
            unsafe { self.0.as_ref() }
        }

        #[inline]
        pub(super) fn is_wiped(&self) -> bool {
            self.get().load(Ordering::Relaxed) == 0
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            // SAFETY: `new` made the mapping with this length, and no reference to it is left. A
            // forked child has its own mapping at this address.
            let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), LENGTH) };
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::{self, Command};

    use super::ForkDetector;

    /// The case of a kernel that cannot wipe pages. `tests/it/fork.rs` covers the page.
    #[test]
    fn without_a_page_a_child_is_detected_by_its_id() {
        assert!(ForkDetector::new().page.is_some(), "this kernel has such pages");
        let id = process::id();
        let is_forked = move || ForkDetector { page: None, id }.is_forked();
        assert!(!is_forked());
        let mut command = Command::new("true");
        // SAFETY: The closure makes a system call and nothing else.
        unsafe { command.pre_exec(move || if is_forked() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }) };
        assert!(command.status().unwrap().success());
    }
}
