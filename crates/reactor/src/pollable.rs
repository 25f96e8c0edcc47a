//! `Pollable`: I/O objects that keep their descriptor while they live, and so can be registered.

#[cfg(unix)]
use std::os::fd::{AsFd as AsIo, AsRawFd, BorrowedFd};
#[cfg(windows)]
use std::os::windows::io::{AsRawSocket, AsSocket as AsIo, BorrowedSocket};

/// A borrowed descriptor (on Windows: socket), as a [`Driver`](crate::driver::Driver) gets it.
///
/// ```
/// # #[cfg(unix)] {
/// use std::os::fd::AsFd;
/// use picot_reactor::driver::BorrowedIo;
///
/// let stdin = std::io::stdin();
/// let io: BorrowedIo<'_> = stdin.as_fd();
/// # }
/// ```
#[cfg(unix)]
pub type BorrowedIo<'a> = BorrowedFd<'a>;
/// A borrowed descriptor (on Windows: socket), as a [`Driver`](crate::driver::Driver) gets it.
///
/// ```
/// # #[cfg(unix)] {
/// use std::os::fd::AsFd;
/// use picot_reactor::driver::BorrowedIo;
///
/// let stdin = std::io::stdin();
/// let io: BorrowedIo<'_> = stdin.as_fd();
/// # }
/// ```
#[cfg(windows)]
pub type BorrowedIo<'a> = BorrowedSocket<'a>;

#[cfg(unix)]
pub(crate) type RawIo = std::os::fd::RawFd;
#[cfg(windows)]
pub(crate) type RawIo = std::os::windows::io::RawSocket;

/// An I/O object that can be registered.
///
/// # Safety
/// While the object lives and is used only through shared references, it must keep its descriptor
/// (or socket) open, and must always return the same one. A [`Source`](crate::Source) relies on
/// this to deregister the descriptor, and portable backends store its number. All types of std that
/// own a descriptor do so.
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
/// // SAFETY: The type owns the descriptor, and offers no way to replace it.
/// unsafe impl picot_reactor::Pollable for Device {}
/// # }
/// ```
///
/// A type without a descriptor cannot be registered:
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
            // SAFETY: A type of std that owns its descriptor and offers no way to replace it
            // through a shared reference.
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

// SAFETY: The object behind the reference upholds the contract. `register` requires `'static`, so
// the object cannot be closed while a source still has its number.
unsafe impl<T: Pollable> Pollable for &T {}
// SAFETY: As above.
unsafe impl<T: Pollable> Pollable for Box<T> {}
// SAFETY: As above.
unsafe impl<T: Pollable> Pollable for std::rc::Rc<T> {}
// SAFETY: As above.
unsafe impl<T: Pollable> Pollable for std::sync::Arc<T> {}
