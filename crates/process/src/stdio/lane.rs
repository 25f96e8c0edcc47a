//! Reading and writing on the blocking lane: for files, which are always ready for the kernel, and
//! for what cannot be opened anew.
//!
//! Where the object can be polled, a job starts only once it is ready. So a thread that waits for
//! input is rare: only where another process has taken the input first.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use picot_context::budget;
use picot_loop::{Direction, Join, LoopHandle, Source};
use rustix::event::{PollFd, PollFlags, poll};

use crate::poll_now::poll_now;

/// The most bytes that a job reads or writes.
const CHUNK_MAX: usize = 64 * 1024;

pub(super) struct LaneIo {
    handle: LoopHandle,
    fd: Arc<OwnedFd>,
    /// Tells when the object is ready, without a read or write.
    readiness: Option<Source<OwnedFd>>,
    /// The job that reads or writes. A dropped read leaves it here, so that nothing is lost.
    job: Option<Join<io::Result<Vec<u8>>>>,
    /// What a job has read; the part before `start` was returned.
    bytes: Vec<u8>,
    start: usize,
}

impl LaneIo {
    pub(super) fn new(handle: LoopHandle, fd: OwnedFd, readiness: Option<Source<OwnedFd>>) -> LaneIo {
        LaneIo { handle, fd: Arc::new(fd), readiness, job: None, bytes: Vec::new(), start: 0 }
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        ready!(budget::poll_left(cx));
        if self.start == self.bytes.len() {
            if self.job.is_none() {
                ready!(self.poll_ready(cx, Direction::Read))?;
                let (fd, length) = (self.fd.clone(), buffer.len().min(CHUNK_MAX));
                self.submit(move || read(&fd, length))?;
            }
            self.bytes = ready!(self.poll_job(cx))?;
            self.start = 0;
        }
        let left = &self.bytes[self.start..];
        let length = left.len().min(buffer.len());
        buffer[..length].copy_from_slice(&left[..length]);
        self.start += length;
        budget::spend();
        Poll::Ready(Ok(length))
    }

    /// Has a job write a copy of `bytes`. Its error is returned by the next write or flush.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_flush(cx))?;
        ready!(self.poll_ready(cx, Direction::Write))?;
        let (fd, bytes) = (self.fd.clone(), bytes[..bytes.len().min(CHUNK_MAX)].to_vec());
        let length = bytes.len();
        self.submit(move || write(&fd, &bytes))?;
        Poll::Ready(Ok(length))
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(budget::poll_left(cx));
        if self.job.is_some() {
            ready!(self.poll_job(cx))?;
        }
        budget::spend();
        Poll::Ready(Ok(()))
    }

    fn poll_ready(&self, cx: &mut Context<'_>, direction: Direction) -> Poll<io::Result<()>> {
        match &self.readiness {
            // The kernel is asked each time: no read shows that the readiness is over.
            Some(source) => source.poll_io(cx, direction, |fd| check(fd, direction)),
            None => Poll::Ready(Ok(())),
        }
    }

    fn submit(&mut self, job: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> io::Result<()> {
        self.job = Some(self.handle.try_spawn_blocking(job).map_err(io::Error::other)?.into_future());
        Ok(())
    }

    fn poll_job(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Vec<u8>>> {
        let job = self.job.as_mut().expect("the callers have a job");
        let outcome = ready!(Pin::new(job).poll(cx));
        self.job = None;
        Poll::Ready(outcome.map_err(io::Error::other).and_then(|result| result))
    }
}

/// Asks the kernel whether it is ready, without waiting.
fn check(fd: &OwnedFd, direction: Direction) -> io::Result<()> {
    let flags = if direction == Direction::Read { PollFlags::IN } else { PollFlags::OUT };
    if poll_now(fd, flags)?.is_empty() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
}

/// Runs a call until it neither was interrupted nor would block. The mode of the description may be
/// the non-blocking one, by another process.
fn complete(
    fd: &impl AsFd,
    flags: PollFlags,
    mut call: impl FnMut() -> rustix::io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match call() {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::AGAIN) => {
                rustix::io::retry_on_intr(|| poll(&mut [PollFd::new(fd, flags)], None))?;
            }
            result => return Ok(result?),
        }
    }
}

fn read(fd: &impl AsFd, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    let read = complete(fd, PollFlags::IN, || rustix::io::read(fd, &mut *bytes))?;
    bytes.truncate(read);
    Ok(bytes)
}

fn write(fd: &impl AsFd, mut bytes: &[u8]) -> io::Result<Vec<u8>> {
    while !bytes.is_empty() {
        let written = complete(fd, PollFlags::OUT, || rustix::io::write(fd, bytes))?;
        bytes = &bytes[written..];
    }
    Ok(Vec::new())
}
