//! How a standard stream is read or written without a flag on its description.
//!
//! The non-blocking mode is a flag of the open file description, which other processes share. So:
//!
//! | it is | here |
//! |---|---|
//! | a terminal, a pipe or a FIFO | opened anew, which makes a description of this process's own |
//! | a socket | read and written by calls that do not wait, whatever the mode |
//! | anything else, or not to be opened anew | read and written by the blocking lane, once ready |

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::task::{Context, Poll};

use picot_loop::{Direction, LoopHandle, Source};
use picot_net::seam::poll_nothing;
use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::net::{RecvFlags, SendFlags};

use super::Standard;
use super::lane::LaneIo;

pub(super) enum Descriptor {
    /// A description of this process's own, in non-blocking mode.
    Own(Source<OwnedFd>),
    Socket(Source<OwnedFd>),
    Lane(LaneIo),
}

impl Descriptor {
    pub(super) fn open(standard: Standard) -> io::Result<Descriptor> {
        let handle = LoopHandle::try_current()?;
        // A duplicate has the same description, and lives as long as the source needs it.
        let fd = match standard {
            Standard::Input => rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3),
            Standard::Output => rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3),
            Standard::Error => rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3),
        }?;
        let stat = rustix::fs::fstat(&fd)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Socket {
            return Ok(Descriptor::Socket(handle.register(fd)?));
        }
        let is_terminal = kind == FileType::CharacterDevice && rustix::termios::isatty(&fd);
        if is_terminal || kind == FileType::Fifo {
            if let Some(own) = open_anew(&fd, &stat, standard) {
                return Ok(Descriptor::Own(handle.register(own)?));
            }
        }
        // Files are always ready, and what else the kernel does not poll counts as ready.
        let is_ready = matches!(kind, FileType::RegularFile | FileType::Directory | FileType::BlockDevice);
        let readiness = if is_ready { None } else { Some(handle.register(fd.try_clone()?)?) };
        Ok(Descriptor::Lane(LaneIo::new(handle, fd, readiness)))
    }

    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if buffer.is_empty() {
            return poll_nothing(cx, Ok(0));
        }
        match self {
            // Not `poll_transfer`: a terminal returns one line at a time, so a short read does not
            // mean that there is no more.
            Descriptor::Own(source) => {
                source.poll_io(cx, Direction::Read, |fd| Ok(rustix::io::read(fd, &mut *buffer)?))
            }
            Descriptor::Socket(source) => source
                .poll_io(cx, Direction::Read, |fd| Ok(rustix::net::recv(fd, &mut *buffer, RecvFlags::DONTWAIT)?.0)),
            Descriptor::Lane(lane) => lane.poll_read(cx, buffer),
        }
    }

    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return poll_nothing(cx, Ok(0));
        }
        match self {
            Descriptor::Own(source) => source.poll_io(cx, Direction::Write, |fd| Ok(rustix::io::write(fd, bytes)?)),
            Descriptor::Socket(source) => source.poll_io(cx, Direction::Write, |fd| {
                Ok(rustix::net::send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL)?)
            }),
            Descriptor::Lane(lane) => lane.poll_write(cx, bytes),
        }
    }

    pub(super) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Descriptor::Own(_) | Descriptor::Socket(_) => poll_nothing(cx, Ok(())),
            Descriptor::Lane(lane) => lane.poll_flush(cx),
        }
    }
}

/// Opens the same terminal or pipe once more. `None` where that is not possible: without `/proc`,
/// for lack of permission, or where a pipe has no other end any more.
fn open_anew(fd: &OwnedFd, stat: &Stat, standard: Standard) -> Option<OwnedFd> {
    // A process in the background may open its terminal, but must not make it its controlling one.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let flags = flags | if matches!(standard, Standard::Input) { OFlags::RDONLY } else { OFlags::WRONLY };
    let own = if cfg!(target_os = "linux") {
        use std::os::fd::AsRawFd;
        // Leads to the object itself, whatever its name is now.
        rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), flags, Mode::empty()).ok()?
    } else {
        // Elsewhere such a path only duplicates the descriptor; terminals have a name.
        rustix::fs::open(rustix::termios::ttyname(fd, Vec::new()).ok()?, flags, Mode::empty()).ok()?
    };
    // The master of a pseudo-terminal is cloned when it is opened, and a name may lead elsewhere.
    let found = rustix::fs::fstat(own.as_fd()).ok()?;
    let is_same = (found.st_dev, found.st_ino, found.st_rdev) == (stat.st_dev, stat.st_ino, stat.st_rdev);
    (is_same && !is_master(stat)).then_some(own)
}

/// Whether it is the master of a pseudo-terminal: the device `/dev/ptmx`.
#[cfg(target_os = "linux")]
fn is_master(stat: &Stat) -> bool {
    (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)) == (5, 2)
}

/// Elsewhere a master has no name that leads to it, so it was not opened.
#[cfg(not(target_os = "linux"))]
fn is_master(_: &Stat) -> bool {
    false
}
