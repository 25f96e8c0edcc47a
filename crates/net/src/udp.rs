//! Datagrams over UDP.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::net::{self, Ipv4Addr, Ipv6Addr, SocketAddr};

use picot_loop::LoopHandle;
use picot_reactor::{Direction, Source};
use socket2::SockRef;

use crate::address::Address;
use crate::descriptor::descriptor;
use crate::operation::{call, operate};
use crate::operation_error::About;
use crate::options::UdpOptions;
use crate::race::first_success;
use crate::resolve::lookup;

/// A UDP socket, on this thread's loop.
///
/// Any number of tasks may send and receive; each datagram goes to one of them. An error that the network sends back, such
/// as that nobody listens at a peer, is given to one operation that follows; the socket works on.
///
/// ```
/// use picot_net::UdpSocket;
///
/// picot_loop::run(async {
///     let (one, two) = (UdpSocket::bind("127.0.0.1:0").await?, UdpSocket::bind("127.0.0.1:0").await?);
///     one.send_to(b"hello", two.local_addr()?).await?;
///     let mut buffer = [0; 1500];
///     let (length, from) = two.recv_from(&mut buffer).await?;
///     assert_eq!((&buffer[..length], from), (&b"hello"[..], one.local_addr()?));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[doc(alias = "create_datagram_endpoint")]
pub struct UdpSocket {
    source: Source<net::UdpSocket>,
    /// The address that it is connected to.
    peer: Cell<Option<SocketAddr>>,
}

impl UdpSocket {
    /// A socket at `address`; of several, at the first that can be had. Port 0 picks a free one. [`UdpOptions`] has more.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    ///
    /// # If dropped
    /// There is no socket.
    pub async fn bind(address: impl Into<Address>) -> io::Result<UdpSocket> {
        UdpOptions::new().bind(address).await
    }

    /// Takes over a socket of std. It is put into non-blocking mode.
    ///
    /// # Errors
    /// What the operating system says; and if this thread has no loop.
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        let named = socket.local_addr();
        let taken = UdpSocket::take_over(socket);
        match named {
            Ok(local) => taken.about(format_args!("take over the datagram socket at {local}")),
            Err(_) => taken.about(format_args!("take over a datagram socket")),
        }
    }

    /// [`from_std`](UdpSocket::from_std) with the bare error.
    pub(crate) fn take_over(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        let peer = Cell::new(socket.peer_addr().ok());
        let source = LoopHandle::try_current()?.register(socket)?;
        source.assume_ready(Direction::Write);
        Ok(UdpSocket { source, peer })
    }

    /// Gives the socket to std. It is still in non-blocking mode.
    pub fn into_std(self) -> net::UdpSocket {
        self.source.into_inner()
    }

    /// Sets the peer: from now on only its datagrams are received, and [`send`](UdpSocket::send) sends to it. Of several
    /// addresses, the first that can be had is taken.
    ///
    /// # Errors
    /// What the operating system says.
    ///
    /// # If dropped
    /// The peer is as before.
    pub async fn connect(&self, address: impl Into<Address>) -> io::Result<()> {
        let target = address.into();
        let addresses = lookup(target.clone()).await?;
        let connected = call(|| {
            first_success(&target, addresses, |address| {
                self.source.get_ref().connect(address)?;
                self.peer.set(Some(address));
                Ok(())
            })
        });
        connected.await.about(format_args!("connect a datagram socket to {target}"))
    }

    /// Sends a datagram, which may be empty, to the peer.
    ///
    /// # Errors
    /// What the operating system says: that there is no peer, that the datagram is too long, or that an earlier one could
    /// not be delivered.
    ///
    /// # If dropped
    /// The datagram is not sent.
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let sent = operate(&self.source, Direction::Write, |socket| socket.send(datagram)).await;
        sent.map_err(|error| match self.peer.get() {
            Some(peer) => error.about(format_args!("send a datagram to {peer}")),
            None => error.about(format_args!("send a datagram without a peer")),
        })
    }

    /// Sends a datagram, which may be empty, to `address`.
    ///
    /// # Errors
    /// As for [`send`](UdpSocket::send); and if the socket is connected to another address.
    ///
    /// # If dropped
    /// The datagram is not sent.
    #[doc(alias = "sendto")]
    pub async fn send_to(&self, datagram: &[u8], address: SocketAddr) -> io::Result<usize> {
        match self.peer.get() {
            None => {
                let sent = operate(&self.source, Direction::Write, |socket| socket.send_to(datagram, address)).await;
                sent.about(format_args!("send a datagram to {address}"))
            }
            Some(peer) if peer == address => self.send(datagram).await,
            Some(peer) => {
                let text = format!(
                    "the socket is connected to {peer} and cannot send to {address}; use one that is not connected"
                );
                call(|| Err(io::Error::new(io::ErrorKind::InvalidInput, text))).await
            }
        }
    }

    /// Receives a datagram. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// What the operating system says, for example that an earlier datagram could not be delivered.
    ///
    /// # If dropped
    /// No datagram is lost.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = operate(&self.source, Direction::Read, |socket| socket.recv(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// Receives a datagram, with the address of its sender. What does not fit into `buffer` is lost.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # If dropped
    /// No datagram is lost.
    #[doc(alias = "recvfrom")]
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = operate(&self.source, Direction::Read, |socket| socket.recv_from(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// Receives a datagram, with the address of its sender, and leaves it to be received again.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # If dropped
    /// Nothing happens.
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = operate(&self.source, Direction::Read, |socket| socket.peek_from(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// Names both ends: the error may be one that the network has sent back.
    #[cold]
    fn not_received(&self, error: io::Error) -> io::Error {
        match (self.local_addr(), self.peer.get()) {
            (Ok(local), Some(peer)) => error.about(format_args!("receive a datagram at {local} from {peer}")),
            (Ok(local), None) => error.about(format_args!("receive a datagram at {local}")),
            (Err(_), _) => error.about(format_args!("receive a datagram")),
        }
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr().about(format_args!("ask for the address of a datagram socket"))
    }

    /// The address of the peer, if it is connected.
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.get()
    }

    /// Whether datagrams may be sent to broadcast addresses.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn set_broadcast(&self, allowed: bool) -> io::Result<()> {
        let allow = if allowed { "allow" } else { "forbid" };
        self.source.get_ref().set_broadcast(allowed).about(format_args!("{allow} datagrams to broadcast addresses"))
    }

    /// Joins a multicast group on the interface of this address; an unspecified one lets the system choose.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        let joined = self.source.get_ref().join_multicast_v4(&group, &interface);
        joined.about(format_args!("join the multicast group {group} on the interface of {interface}"))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        let left = self.source.get_ref().leave_multicast_v4(&group, &interface);
        left.about(format_args!("leave the multicast group {group} on the interface of {interface}"))
    }

    /// Joins a multicast group on the interface of this number; 0 lets the system choose.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        let joined = self.source.get_ref().join_multicast_v6(&group, interface);
        joined.about(format_args!("join the multicast group {group} on interface {interface}"))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        let left = self.source.get_ref().leave_multicast_v6(&group, interface);
        left.about(format_args!("leave the multicast group {group} on interface {interface}"))
    }

    /// The socket, for its other options: time to live, the loop of multicasts, buffer sizes and whatever else `socket2`
    /// knows. Sending and receiving by it goes past what the loop knows of the socket.
    #[doc(alias = "setsockopt")]
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.source.get_ref())
    }
}

descriptor!(UdpSocket, net::UdpSocket);

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UdpSocket").field(self.source.get_ref()).finish()
    }
}
