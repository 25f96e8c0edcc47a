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
use crate::freed::CountWhenClosed;
use crate::operation::{call, operate};
use crate::operation_error::About;
use crate::options::udp::UdpOptions;
use crate::race::first_success;
use crate::resolve::lookup;

/// A UDP socket, on this thread's loop.
///
/// Any number of tasks may send and receive; each datagram goes to one of them. An error that the
/// network sends back, for example that no socket is at the peer's address, is returned by one
/// later operation. The socket stays usable.
///
/// ```
/// use picot_net::UdpSocket;
///
/// picot_loop::run(async {
///     let one = UdpSocket::bind("127.0.0.1:0").await?;
///     let two = UdpSocket::bind("127.0.0.1:0").await?;
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
    // Dropped after the source, so that the descriptor is closed by the time it is counted as free.
    _count: CountWhenClosed,
    /// The connected peer. Kept here, because asking the kernel costs a system call for each
    /// datagram.
    peer: Cell<Option<SocketAddr>>,
}

impl UdpSocket {
    /// Binds a socket to `address`; of several addresses, to the first that is free. Port 0 picks a
    /// free port. [`UdpOptions`] has more options.
    ///
    /// # Errors
    /// The operating system's error, with the address; and if this thread has no loop.
    ///
    /// # If dropped
    /// There is no socket.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_ne!(socket.local_addr()?.port(), 0, "the system picked a port");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn bind(address: impl Into<Address>) -> io::Result<UdpSocket> {
        UdpOptions::new().bind(address).await
    }

    /// Sends a datagram, which may be empty, to `address`. Of several addresses, or those of a
    /// name, it uses the first one of the socket's family, IPv4 or IPv6.
    ///
    /// A name is looked up at each call. For many datagrams, look it up once by
    /// [`lookup`], or [`connect`](UdpSocket::connect) the socket.
    ///
    /// # Errors
    /// As for [`send`](UdpSocket::send); if the socket is connected to another address; and the
    /// resolver's error, if a name is looked up.
    ///
    /// # If dropped
    /// The datagram is not sent.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let receiver = UdpSocket::bind("127.0.0.1:0").await?;
    /// let sender = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(sender.send_to(b"hello", receiver.local_addr()?).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "sendto")]
    pub async fn send_to(&self, datagram: &[u8], address: impl Into<Address>) -> io::Result<usize> {
        let target = address.into();
        let address = match target.number() {
            Some(address) => address,
            // Boxed, because few sends choose, and that would enlarge the future of each.
            None => Box::pin(self.choose(target)).await?,
        };
        self.send_to_number(datagram, address).await
    }

    /// Chooses the address of `target` to send to.
    async fn choose(&self, target: Address) -> io::Result<SocketAddr> {
        let addresses = lookup(target).await?;
        let is_ipv4 = self.local_addr()?.is_ipv4();
        let suits = addresses.iter().find(|address| address.is_ipv4() == is_ipv4);
        // If none suits, the system's error for the first one says so.
        Ok(*suits.or(addresses.first()).expect("a lookup without addresses is an error"))
    }

    async fn send_to_number(&self, datagram: &[u8], address: SocketAddr) -> io::Result<usize> {
        match self.peer.get() {
            None => {
                let sent = operate(&self.source, Direction::Write, |socket| socket.send_to(datagram, address)).await;
                sent.about(format_args!("send a datagram to {address}"))
            }
            // Some systems refuse an address on a connected socket, even that of its peer.
            Some(peer) if peer == address => self.send(datagram).await,
            Some(peer) => {
                let text = format!(
                    "the socket is connected to {peer} and cannot send to {address}; use one that is not connected"
                );
                call(|| Err(io::Error::new(io::ErrorKind::InvalidInput, text))).await
            }
        }
    }

    /// Receives a datagram, with the address of its sender. Bytes that do not fit into `buffer` are
    /// lost.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # If dropped
    /// No datagram is lost.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let server = UdpSocket::bind("127.0.0.1:0").await?;
    /// let client = UdpSocket::bind("127.0.0.1:0").await?;
    /// client.send_to(b"ping", server.local_addr()?).await?;
    /// let (_length, sender) = server.recv_from(&mut [0; 1500]).await?;
    /// server.send_to(b"pong", sender).await?;
    /// assert_eq!(client.recv(&mut [0; 1500]).await?, 4);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "recvfrom")]
    pub async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = operate(&self.source, Direction::Read, |socket| socket.recv_from(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// Sets the peer. From now on only its datagrams are received, and [`send`](UdpSocket::send)
    /// sends to it. Of several addresses, the first that the system accepts is used.
    ///
    /// # Errors
    /// The operating system's error, with the address.
    ///
    /// # If dropped
    /// The peer stays as before.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// picot_loop::run(async {
    ///     let one = UdpSocket::bind("127.0.0.1:0").await?;
    ///     let two = UdpSocket::bind("127.0.0.1:0").await?;
    ///     one.connect(two.local_addr()?).await?;
    ///     assert_eq!(one.peer_addr(), Some(two.local_addr()?));
    ///     one.send(b"hello").await?;
    ///     let mut buffer = [0; 1500];
    ///     assert_eq!(two.recv(&mut buffer).await?, 5);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub async fn connect(&self, address: impl Into<Address>) -> io::Result<()> {
        let target = address.into();
        let addresses = lookup(target.clone()).await?;
        // Sends nothing: the kernel only records the peer, so this does not block.
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
    /// The operating system's error, with the peer's address: there is no peer, the datagram is too
    /// long, or an earlier one could not be delivered.
    ///
    /// # If dropped
    /// The datagram is not sent.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let receiver = UdpSocket::bind("127.0.0.1:0").await?;
    /// let sender = UdpSocket::bind("127.0.0.1:0").await?;
    /// sender.connect(receiver.local_addr()?).await?;
    /// sender.send(b"hello").await?;
    /// assert_eq!(receiver.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        let sent = operate(&self.source, Direction::Write, |socket| socket.send(datagram)).await;
        sent.map_err(|error| match self.peer.get() {
            Some(peer) => error.about(format_args!("send a datagram to {peer}")),
            None => error.about(format_args!("send a datagram without a peer")),
        })
    }

    /// Receives a datagram. Bytes that do not fit into `buffer` are lost.
    ///
    /// # Errors
    /// The operating system's error, with the addresses; for example that an earlier datagram could
    /// not be delivered.
    ///
    /// # If dropped
    /// No datagram is lost.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let receiver = UdpSocket::bind("127.0.0.1:0").await?;
    /// let sender = UdpSocket::bind("127.0.0.1:0").await?;
    /// sender.send_to(b"hello", receiver.local_addr()?).await?;
    /// let mut buffer = [0; 1500];
    /// let length = receiver.recv(&mut buffer).await?;
    /// assert_eq!(&buffer[..length], b"hello");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = operate(&self.source, Direction::Read, |socket| socket.recv(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// Receives a datagram, and leaves it to be received again.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let receiver = UdpSocket::bind("127.0.0.1:0").await?;
    /// let sender = UdpSocket::bind("127.0.0.1:0").await?;
    /// sender.connect(receiver.local_addr()?).await?;
    /// receiver.connect(sender.local_addr()?).await?;
    /// sender.send(b"hello").await?;
    /// assert_eq!(receiver.peek(&mut [0; 16]).await?, 5);
    /// assert_eq!(receiver.recv(&mut [0; 16]).await?, 5, "the same datagram");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let received = operate(&self.source, Direction::Read, |socket| socket.peek(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// Receives a datagram, with the address of its sender, and leaves it to be received again.
    ///
    /// # Errors
    /// As for [`recv`](UdpSocket::recv).
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let receiver = UdpSocket::bind("127.0.0.1:0").await?;
    /// let sender = UdpSocket::bind("127.0.0.1:0").await?;
    /// sender.send_to(b"hello", receiver.local_addr()?).await?;
    /// assert_eq!(receiver.peek_from(&mut [0; 16]).await?, (5, sender.local_addr()?));
    /// assert_eq!(receiver.recv(&mut [0; 16]).await?, 5, "the same datagram");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let received = operate(&self.source, Direction::Read, |socket| socket.peek_from(buffer)).await;
        received.map_err(|error| self.not_received(error))
    }

    /// The address of this end.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert!(socket.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.source.get_ref().local_addr().about(format_args!("ask for the address of a datagram socket"))
    }

    /// The address of the peer, if the socket is connected.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// assert_eq!(socket.peer_addr(), None);
    /// socket.connect("127.0.0.1:9").await?;
    /// assert_eq!(socket.peer_addr(), Some(([127, 0, 0, 1], 9).into()));
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer.get()
    }

    /// Sets whether datagrams may be sent to broadcast addresses.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.set_broadcast(true)?;
    /// assert!(socket.socket().broadcast()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn set_broadcast(&self, allowed: bool) -> io::Result<()> {
        let allow = if allowed { "allow" } else { "forbid" };
        self.source.get_ref().set_broadcast(allowed).about(format_args!("{allow} datagrams to broadcast addresses"))
    }

    /// Joins a multicast group on the interface that has this address. With an unspecified address,
    /// the system chooses.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let member = UdpSocket::bind("0.0.0.0:0").await?;
    /// member.join_multicast_v4(Ipv4Addr::new(239, 255, 4, 2), Ipv4Addr::LOCALHOST)?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn join_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        let joined = self.source.get_ref().join_multicast_v4(&group, &interface);
        joined.about(format_args!("join the multicast group {group} on the interface of {interface}"))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ```
    /// use std::net::Ipv4Addr;
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let (member, group) = (UdpSocket::bind("0.0.0.0:0").await?, Ipv4Addr::new(239, 255, 4, 2));
    /// member.join_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    /// member.leave_multicast_v4(group, Ipv4Addr::LOCALHOST)?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn leave_multicast_v4(&self, group: Ipv4Addr, interface: Ipv4Addr) -> io::Result<()> {
        let left = self.source.get_ref().leave_multicast_v4(&group, &interface);
        left.about(format_args!("leave the multicast group {group} on the interface of {interface}"))
    }

    /// Joins a multicast group on the interface of this index. With 0, the system chooses.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ``` no_run
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let member = UdpSocket::bind("[::]:0").await?;
    /// member.join_multicast_v6("ff02::1234".parse().unwrap(), 0)?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn join_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        let joined = self.source.get_ref().join_multicast_v6(&group, interface);
        joined.about(format_args!("join the multicast group {group} on interface {interface}"))
    }

    /// Leaves a multicast group.
    ///
    /// # Errors
    /// The operating system's error.
    ///
    /// ``` no_run
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let (member, group) = (UdpSocket::bind("[::]:0").await?, "ff02::1234".parse().unwrap());
    /// member.join_multicast_v6(group, 0)?;
    /// member.leave_multicast_v6(group, 0)?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn leave_multicast_v6(&self, group: Ipv6Addr, interface: u32) -> io::Result<()> {
        let left = self.source.get_ref().leave_multicast_v6(&group, interface);
        left.about(format_args!("leave the multicast group {group} on interface {interface}"))
    }

    /// The socket, for its other options: time to live, multicast loop, buffer sizes, and all
    /// others of `socket2`. Do not send or receive through it, because the loop would not notice.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?;
    /// socket.socket().set_multicast_loop_v4(false)?;
    /// assert!(!socket.socket().multicast_loop_v4()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "setsockopt")]
    pub fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.source.get_ref())
    }

    /// Takes over a socket of std. It is put into non-blocking mode.
    ///
    /// # Errors
    /// The operating system's error, with the address; and if this thread has no loop.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// picot_loop::run(async {
    ///     let socket = UdpSocket::from_std(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    ///     let address = socket.local_addr()?;
    ///     assert_eq!(socket.into_std().local_addr()?, address);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn from_std(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        let named = socket.local_addr();
        let taken = UdpSocket::take_over(socket);
        match named {
            Ok(local) => taken.about(format_args!("take over the datagram socket at {local}")),
            Err(_) => taken.about(format_args!("take over a datagram socket")),
        }
    }

    /// Returns the socket as one of std. It stays in non-blocking mode.
    ///
    /// ```
    /// use picot_net::UdpSocket;
    ///
    /// # picot_loop::run(async {
    /// let socket = UdpSocket::bind("127.0.0.1:0").await?.into_std();
    /// let error = socket.recv(&mut [0; 16]).unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "still in non-blocking mode");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn into_std(self) -> net::UdpSocket {
        self.source.into_inner()
    }

    /// [`from_std`](UdpSocket::from_std) with the bare error.
    pub(crate) fn take_over(socket: net::UdpSocket) -> io::Result<UdpSocket> {
        socket.set_nonblocking(true)?;
        let peer = Cell::new(socket.peer_addr().ok());
        let source = LoopHandle::try_current()?.register(socket)?;
        // A new socket has room for datagrams, so the first send needs no event.
        source.assume_ready(Direction::Write);
        Ok(UdpSocket { source, _count: CountWhenClosed, peer })
    }

    /// Names both ends, because the error may be one that the network has sent back.
    #[cold]
    fn not_received(&self, error: io::Error) -> io::Error {
        match (self.local_addr(), self.peer.get()) {
            (Ok(local), Some(peer)) => error.about(format_args!("receive a datagram at {local} from {peer}")),
            (Ok(local), None) => error.about(format_args!("receive a datagram at {local}")),
            (Err(_), _) => error.about(format_args!("receive a datagram")),
        }
    }
}

descriptor!(UdpSocket, net::UdpSocket);

impl fmt::Debug for UdpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UdpSocket").field(self.source.get_ref()).finish()
    }
}
