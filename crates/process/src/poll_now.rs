//! The readiness of a descriptor right now.

use std::io;
use std::os::fd::AsFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Asks the kernel which of `flags` hold for `fd`, without waiting. An error and a hang-up of the
/// other end are returned, too.
pub(crate) fn poll_now(fd: &impl AsFd, flags: PollFlags) -> io::Result<PollFlags> {
    let mut asked = [PollFd::new(fd, flags)];
    rustix::io::retry_on_intr(|| poll(&mut asked, Some(&Timespec::default())))?;
    Ok(asked[0].revents())
}
