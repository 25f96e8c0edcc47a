//! Whether this process is a child that was forked after the reactor was made.
//!
//! Parent and child share the kernel's set of sources: what the child takes out of it is gone for the parent, and each event
//! comes to only one of them. So a reactor works in the process that made it and nowhere else. On Linux the kernel itself
//! tells: it hands a forked child a page of zeros in place of ours, so asking costs a load. Elsewhere, and where there is no such
//! page, the process's id is compared, which is a system call.

use std::io;
use std::process;

/// What tells parent and child apart.
pub(crate) struct Mark {
    #[cfg(all(target_os = "linux", not(miri)))]
    page: Option<page::Page>,
    /// The id of the process that made the reactor.
    id: u32,
}

impl Mark {
    pub(crate) fn new() -> Mark {
        Mark {
            #[cfg(all(target_os = "linux", not(miri)))]
            page: page::Page::new(),
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

    /// What is refused in a child.
    #[inline]
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_forked() { Err(refusal()) } else { Ok(()) }
    }
}

#[cold]
fn refusal() -> io::Error {
    io::Error::other("this reactor belongs to the process that this one was forked from; make another")
}

#[cfg(all(target_os = "linux", not(miri)))]
mod page {
    use std::ptr::{self, NonNull};
    use std::sync::atomic::{AtomicU8, Ordering};

    use rustix::mm::{Advice, MapFlags, ProtFlags};

    /// At least a page, whatever the machine's page size; the kernel rounds it up.
    const LENGTH: usize = 4096;

    /// A page that is one here, and zero in children.
    pub(super) struct Page(NonNull<AtomicU8>);

    impl Page {
        /// None where there is no memory for it, or where the kernel is older than 4.14 and wipes no pages.
        pub(super) fn new() -> Option<Page> {
            let protection = ProtFlags::READ | ProtFlags::WRITE;
            // SAFETY: A new mapping at an address of the kernel's choice touches no other memory.
            let page = unsafe { rustix::mm::mmap_anonymous(ptr::null_mut(), LENGTH, protection, MapFlags::PRIVATE) };
            // From here on it is unmapped if it is of no use.
            let page = Page(NonNull::new(page.ok()?)?.cast());
            // SAFETY: The advice is about the mapping made above, and changes nothing of it in this process.
            unsafe { rustix::mm::madvise(page.0.as_ptr().cast(), LENGTH, Advice::LinuxWipeOnFork) }.ok()?;
            page.get().store(1, Ordering::Relaxed);
            Some(page)
        }

        fn get(&self) -> &AtomicU8 {
            // SAFETY: The pointer leads to the start of a mapping that is readable, writable, zeroed and aligned to a page, and
            // that stays until this is dropped.
            unsafe { self.0.as_ref() }
        }

        #[inline]
        pub(super) fn is_wiped(&self) -> bool {
            self.get().load(Ordering::Relaxed) == 0
        }
    }

    impl Drop for Page {
        fn drop(&mut self) {
            // SAFETY: The mapping was made by `new` with this length, and nothing refers to it any more. A child has the same one,
            // with other contents.
            let _ = unsafe { rustix::mm::munmap(self.0.as_ptr().cast(), LENGTH) };
        }
    }
}

#[cfg(all(test, target_os = "linux", not(miri)))]
mod tests {
    use std::io;
    use std::os::unix::process::CommandExt;
    use std::process::{self, Command};

    use super::Mark;

    /// What a kernel that wipes no pages gets. Of the page, and of what a child must not do, the other tests speak.
    #[test]
    fn without_a_page_a_child_is_told_by_its_id() {
        assert!(Mark::new().page.is_some(), "this kernel does");
        let id = process::id();
        let is_forked = move || Mark { page: None, id }.is_forked();
        assert!(!is_forked());
        let mut command = Command::new("true");
        // SAFETY: The closure makes a system call and nothing else.
        unsafe { command.pre_exec(move || if is_forked() { Ok(()) } else { Err(io::ErrorKind::Other.into()) }) };
        assert!(command.status().unwrap().success());
    }
}
