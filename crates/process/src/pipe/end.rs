//! One end of a pipe: its source, its mode, and how its errors are named.

use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use picot_context::budget;
use picot_loop::LoopHandle;
use picot_net::seam::{About, SLICES, poll_nothing};
use picot_reactor::{Direction, Source};
use rustix::event::PollFlags;
use rustix::fs::{FileType, OFlags};
use rustix::io::ioctl_fionbio;

use crate::poll_now::poll_now;

/// A registered descriptor.
pub(crate) struct End {
    /// `None` once the end is closed or converted back.
    source: Option<Source<OwnedFd>>,
    before: Before,
    /// What errors call it.
    name: &'static str,
}

/// The mode of the open file description before it was registered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Before {
    NonBlocking,
    /// Blocking, and shared with other descriptors or processes for all that is known.
    Blocking,
    /// This crate made the descriptor, and it has this description alone. So its mode matters only
    /// if the descriptor lives on.
    Own,
}

impl End {
    /// Registers a descriptor that is in non-blocking mode, and that has its description alone.
    pub(crate) fn new(handle: &LoopHandle, fd: OwnedFd, name: &'static str) -> io::Result<End> {
        let source = handle.register(fd)?;
        // There may be bytes already, or room. Otherwise the first attempt finds out.
        source.assume_ready(Direction::Read);
        source.assume_ready(Direction::Write);
        Ok(End { source: Some(source), before: Before::Own, name })
    }

    /// Registers this process's end of a child's pipe. The child has the other end, so no other
    /// process shares the mode of this one.
    pub(crate) fn of_child(handle: &LoopHandle, fd: OwnedFd, name: &'static str) -> io::Result<End> {
        ioctl_fionbio(&fd, true)?;
        End::new(handle, fd, name)
    }

    /// Takes over any descriptor that works as a pipe and is open for `direction`.
    pub(crate) fn take_over(fd: OwnedFd, direction: Direction) -> io::Result<End> {
        let name = check(fd.as_fd(), direction).about(format_args!("use the descriptor as a pipe"))?;
        let take = || {
            let handle = LoopHandle::try_current()?;
            let is_blocking = !rustix::fs::fcntl_getfl(&fd)?.contains(OFlags::NONBLOCK);
            // The mode is changed last, so that it is as before if registering fails.
            let mut end = End::new(&handle, fd, name)?;
            end.before = Before::NonBlocking;
            if is_blocking {
                ioctl_fionbio(end.open().get_ref(), true)?;
                end.before = Before::Blocking;
            }
            io::Result::Ok(end)
        };
        take().about(format_args!("take over {name}"))
    }

    /// The source; an error if this end was closed.
    #[inline]
    pub(crate) fn source(&self) -> io::Result<&Source<OwnedFd>> {
        self.source.as_ref().ok_or_else(closed)
    }

    /// The source of an end that cannot be closed otherwise than by dropping it.
    pub(crate) fn open(&self) -> &Source<OwnedFd> {
        self.source.as_ref().expect("only a writer can be closed, and checks for it")
    }

    /// Closes the descriptor, after its mode is restored. A second call has no effect.
    pub(crate) fn close(&mut self) {
        drop(self.take(Before::Blocking));
    }

    /// Deregisters the descriptor and returns it in the mode that it had before; in blocking mode,
    /// which other programs expect, if this crate made it. `None` if it was closed.
    pub(crate) fn into_fd(mut self) -> Option<OwnedFd> {
        let before = if self.before == Before::Own { Before::Own } else { Before::Blocking };
        self.take(before)
    }

    /// Takes the descriptor out, and puts it into blocking mode if its mode before was `blocking`.
    fn take(&mut self, blocking: Before) -> Option<OwnedFd> {
        let source = self.source.take()?;
        // A forked child shares the description, and so the mode, with its parent, which uses the
        // pipe on.
        let restores = self.before == blocking && !source.is_forked();
        let fd = source.into_inner();
        if restores {
            // This fails on no descriptor on which the opposite has succeeded.
            let _ = ioctl_fionbio(&fd, false);
        }
        Some(fd)
    }

    // A short transfer is no proof that a pipe is drained: in packet mode, which the process at the
    // other end may set, a read ends at each packet. So no source here trusts them.
    #[inline]
    pub(crate) fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.open().poll_transfer(cx, Direction::Read, buffer.len(), |fd| {
            rustix::io::read(fd, &mut *buffer).map_err(|error| self.failed("read from", error.into()))
        })
    }

    /// Returns how many bytes at the front of `buffer` the kernel has written.
    #[inline]
    pub(crate) fn poll_read_uninit(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [MaybeUninit<u8>],
    ) -> Poll<io::Result<usize>> {
        self.open().poll_transfer(cx, Direction::Read, buffer.len(), |fd| match rustix::io::read(fd, &mut *buffer) {
            Ok((written, _)) => Ok(written.len()),
            Err(error) => Err(self.failed("read from", error.into())),
        })
    }

    pub(crate) fn poll_read_vectored(
        &self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        if buffers.iter().all(|buffer| buffer.is_empty()) {
            return poll_nothing(cx, Ok(0));
        }
        let count = buffers.len().min(SLICES);
        self.open().poll_io(cx, Direction::Read, |fd| {
            rustix::io::readv(fd, &mut buffers[..count]).map_err(|error| self.failed("read from", error.into()))
        })
    }

    #[inline]
    pub(crate) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(source) = &self.source else { return poll_nothing(cx, Err(closed())) };
        source.poll_transfer(cx, Direction::Write, bytes.len(), |fd| {
            rustix::io::write(fd, bytes).map_err(|error| self.failed("write to", error.into()))
        })
    }

    pub(crate) fn poll_write_vectored(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // Empty slices at the front are skipped: writing none but these moves 0 bytes, which looks
        // like a full pipe.
        let Some(first) = slices.iter().position(|slice| !slice.is_empty()) else {
            return poll_nothing(cx, Ok(0));
        };
        let slices = &slices[first..];
        let slices = &slices[..slices.len().min(SLICES)];
        let Some(source) = &self.source else { return poll_nothing(cx, Err(closed())) };
        source.poll_io(cx, Direction::Write, |fd| {
            rustix::io::writev(fd, slices).map_err(|error| self.failed("write to", error.into()))
        })
    }

    /// Waits until the other end has gone, for an end that is open for writing.
    pub(crate) async fn gone(&self) -> io::Result<()> {
        poll_fn(budget::poll_left).await;
        let source = self.source().inspect_err(|_| budget::spend())?;
        loop {
            // The last reader of a pipe, or the peer of a socket, has gone.
            if poll_now(source.get_ref(), PollFlags::empty())?.intersects(PollFlags::ERR | PollFlags::HUP) {
                budget::spend_call();
                return Ok(());
            }
            // An error or a hang-up comes with the readiness of every direction. Nothing else makes
            // a pipe ready in this one.
            source.ready(Direction::Priority).await?;
            let would_block = |_: &OwnedFd| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
            let _ = source.try_io(Direction::Priority, would_block);
        }
    }

    /// Names the end in an error, unless the error only says to try again.
    #[cold]
    #[inline(never)]
    fn failed(&self, operation: &str, error: io::Error) -> io::Error {
        // Callers compare these two, so they stay bare.
        if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            return error;
        }
        error.about(format_args!("{operation} {}", self.name))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("End")
            .field("name", &self.name)
            .field("fd", &self.source.as_ref().map(Source::get_ref))
            .finish_non_exhaustive()
    }
}

#[cold]
pub(super) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "this end of the pipe was closed")
}

/// Returns what errors call the descriptor; an error if it does not work as a pipe.
fn check(fd: BorrowedFd<'_>, direction: Direction) -> io::Result<&'static str> {
    let invalid = |text| Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    let name = match FileType::from_raw_mode(rustix::fs::fstat(fd)?.st_mode) {
        FileType::Fifo => "the pipe",
        FileType::CharacterDevice => "the character device",
        FileType::Socket => "the socket",
        FileType::RegularFile => {
            return invalid("it is a regular file, which is always ready; use `std::fs::File` in `spawn_blocking`");
        }
        FileType::Directory => {
            return invalid("it is a directory; list it by `std::fs::read_dir` in `spawn_blocking`");
        }
        FileType::BlockDevice => {
            return invalid("it is a block device; use `std::fs::File` in `spawn_blocking`");
        }
        _ => return invalid("it is no pipe, FIFO, character device or socket"),
    };
    let mode = rustix::fs::fcntl_getfl(fd)? & OFlags::RWMODE;
    match direction {
        Direction::Read if mode == OFlags::WRONLY => invalid("it is open for writing only; make a `PipeWriter` of it"),
        Direction::Write if mode == OFlags::RDONLY => invalid("it is open for reading only; make a `PipeReader` of it"),
        _ => Ok(name),
    }
}
