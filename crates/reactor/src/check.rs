//! Asks the operating system whether a source is ready now.
//!
//! Operations do not need this: they try, and "would block" is the answer. It is for
//! level-triggered callbacks, which may also use the object directly, without its source.

use std::io;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::pollable::Pollable;
use crate::ready::Direction;
use crate::source::Source;

impl<T: Pollable> Source<T> {
    /// Asks the operating system whether a direction is still ready, and updates the readiness.
    ///
    /// It costs a system call, or none if the direction is known not to be ready.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock) if it is not ready, or an error of the operating
    /// system.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::{ErrorKind, Read, Write};
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, mut peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// peer.write_all(b"hello")?;
    /// while source.check(Direction::Read).is_err() {
    ///     reactor.wait(None)?;
    /// }
    /// source.get_ref().read_exact(&mut [0; 5])?;
    /// assert_eq!(source.check(Direction::Read).unwrap_err().kind(), ErrorKind::WouldBlock);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn check(&self, direction: Direction) -> io::Result<()> {
        self.try_io(direction, |io| {
            let flags = match direction {
                Direction::Read => PollFlags::IN,
                Direction::Write => PollFlags::OUT,
                Direction::Priority => PollFlags::PRI,
            };
            let mut fds = [PollFd::new(io, flags)];
            // A timeout of zero: this must not block.
            match poll(&mut fds, Some(&Timespec::default()))? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        })
    }
}
