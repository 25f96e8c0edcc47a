//! Pipes: one direction of a stream each, over a descriptor that the caller owns.
//!
//! A pipe is what its kernel calls one, and everything else with the same behaviour: FIFOs,
//! character devices and sockets. It shares the code of `picot-net`'s streams: an end of a pipe
//! only says how it moves bytes.
//!
//! Non-blocking mode belongs to the open file description, which other descriptors and other
//! processes may share. So the mode that was there is restored when the end is dropped or converted
//! back.

#[cfg(unix)]
mod end;
mod reader;
mod writer;

use std::io;
#[cfg(unix)]
use std::os::fd::OwnedFd;

#[cfg(unix)]
use picot_loop::LoopHandle;
use picot_net::seam::About;

#[cfg(not(unix))]
pub(crate) use crate::absent::End;
#[cfg(unix)]
pub(crate) use end::End;
pub use reader::PipeReader;
pub use writer::PipeWriter;

/// Makes a pipe: what is written to the writer is read from the reader.
///
/// Both ends are in non-blocking mode, and a child process does not inherit them.
///
/// ```
/// use picot_process::pipe;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let (reader, writer) = pipe()?;
///     writer.write_all(b"through a pipe").await?;
///     drop(writer);
///     let mut text = [0; 32];
///     assert_eq!(reader.read(&mut text).await?, 14);
///     assert_eq!(reader.read(&mut text).await?, 0, "the end: the last writer has gone");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
///
/// # Errors
/// If the process has no descriptor left, if this thread has no loop, or if it is closed.
/// [`Unsupported`](io::ErrorKind::Unsupported) on Windows.
pub fn pipe() -> io::Result<(PipeReader, PipeWriter)> {
    #[cfg(not(unix))]
    let make = crate::absent::unsupported::<(PipeReader, PipeWriter)>;
    #[cfg(unix)]
    let make = || {
        let handle = LoopHandle::try_current()?;
        let (reader, writer) = new_pipe()?;
        let reader = PipeReader::new(End::new(&handle, reader, "the pipe")?);
        io::Result::Ok((reader, PipeWriter::new(End::new(&handle, writer, "the pipe")?)))
    };
    make().about(format_args!("make a pipe"))
}

/// A pipe whose ends are non-blocking and closed on exec.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    use rustix::pipe::{PipeFlags, pipe_with};
    Ok(pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?)
}

/// As above. Apple's systems have no `pipe2`, so a child that another thread starts in between
/// inherits the ends.
#[cfg(target_vendor = "apple")]
fn new_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = rustix::pipe::pipe()?;
    for end in [&reader, &writer] {
        rustix::io::fcntl_setfd(end, rustix::io::FdFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok((reader, writer))
}
