//! What can be registered: I/O objects that keep their descriptor for as long as they live.

#[cfg(unix)]
use std::os::fd::{AsFd as AsIo, AsRawFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket as AsIo, BorrowedSocket};

/// A borrowed descriptor (on Windows: socket).
#[cfg(unix)]
pub type BorrowedIo<'a> = BorrowedFd<'a>;
/// A borrowed descriptor (on Windows: socket).
#[cfg(windows)]
pub type BorrowedIo<'a> = BorrowedSocket<'a>;

#[cfg(unix)]
pub(crate) type RawIo = std::os::fd::RawFd;
#[cfg(windows)]
pub(crate) type RawIo = std::os::windows::io::RawSocket;

/// An I/O object that can be registered.
///
/// # Safety
/// For as long as the object lives and is only reached by shared references, it must keep its descriptor (or socket)
/// open, and must always name the same one. This is what lets a [`Source`](crate::Source) deregister what it has
/// registered; portable backends keep the bare number in between. The types of std all do so.
///
/// ```
/// # #[cfg(unix)] mod example {
/// use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
///
/// struct Device(OwnedFd);
///
/// impl AsFd for Device {
///     fn as_fd(&self) -> BorrowedFd<'_> {
///         self.0.as_fd()
///     }
/// }
///
/// // SAFETY: The descriptor is owned, and there is no way to replace it.
/// unsafe impl picot_reactor::Pollable for Device {}
/// # }
/// ```
///
/// What has no descriptor cannot be registered:
///
/// ```compile_fail,E0277
/// let reactor = picot_reactor::Reactor::new().unwrap();
/// let source = reactor.register(String::new());
/// ```
#[cfg_attr(
    not(docsrs),
    diagnostic::on_unimplemented(
        message = "`{Self}` cannot be registered with the reactor",
        note = "implement `Pollable` for it if it keeps its descriptor open for as long as it lives"
    )
)]
pub unsafe trait Pollable: AsIo {}

pub(crate) fn borrow<T: Pollable>(io: &T) -> BorrowedIo<'_> {
    #[cfg(unix)]
    return io.as_fd();
    #[cfg(windows)]
    return io.as_socket();
}

pub(crate) fn raw(io: BorrowedIo<'_>) -> RawIo {
    #[cfg(unix)]
    return io.as_raw_fd();
    #[cfg(windows)]
    return io.as_raw_socket();
}

macro_rules! pollable {
    ($($type:ty),+ $(,)?) => {
        $(
            // SAFETY: A type of std that owns its descriptor and offers no way to replace it behind a shared reference.
            unsafe impl Pollable for $type {}
        )+
    };
}

pollable!(std::net::TcpListener, std::net::TcpStream, std::net::UdpSocket);

#[cfg(unix)]
pollable!(
    std::fs::File,
    std::io::Stderr,
    std::io::Stdin,
    std::io::Stdout,
    std::os::fd::OwnedFd,
    std::os::unix::net::UnixDatagram,
    std::os::unix::net::UnixListener,
    std::os::unix::net::UnixStream,
    std::process::ChildStderr,
    std::process::ChildStdin,
    std::process::ChildStdout,
);

#[cfg(windows)]
pollable!(std::os::windows::io::OwnedSocket);

// SAFETY: The object behind the reference upholds it. Only a reference that lives for ever can be
// registered: of a shorter one the object may be closed while a source still has its number.
unsafe impl<T: Pollable> Pollable for &T {}
// SAFETY: As above.
unsafe impl<T: Pollable> Pollable for Box<T> {}
// SAFETY: As above.
unsafe impl<T: Pollable> Pollable for std::rc::Rc<T> {}
// SAFETY: As above.
unsafe impl<T: Pollable> Pollable for std::sync::Arc<T> {}
