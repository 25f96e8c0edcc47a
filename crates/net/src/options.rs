//! Options for connecting, listening and datagram sockets, beyond the defaults of `connect` and
//! `bind`.

use std::fmt;
use std::io;
use std::net::{self, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use picot_context::budget;
use picot_loop::LoopHandle;
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::Address;
use crate::limit::within;
use crate::listener::TcpListener;
use crate::open::open_loop;
use crate::operation_error::About;
use crate::race::{first_success, race};
use crate::resolve::{Resolve, SystemResolver, lookup_with};
use crate::stream::TcpStream;
use crate::udp::UdpSocket;

/// Options for connecting; [`TcpStream::connect`] uses the defaults.
///
/// ```
/// use std::time::Duration;
/// use picot_net::{ConnectOptions, TcpListener};
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let options = ConnectOptions::new().timeout(Duration::from_secs(5)).local_addr(([127, 0, 0, 1], 0));
///     let stream = options.connect(listener.local_addr()?).await?;
///     assert!(stream.local_addr()?.ip().is_loopback());
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone)]
#[must_use = "nothing is connected until `connect` is called"]
pub struct ConnectOptions {
    stagger: Duration,
    timeout: Option<Duration>,
    local: Option<SocketAddr>,
    /// `None` is the system's.
    resolver: Option<Rc<dyn Resolve>>,
}

impl ConnectOptions {
    /// The defaults: attempts 250 ms apart, no time limit, any local address, the system's
    /// resolver.
    pub const fn new() -> ConnectOptions {
        ConnectOptions { stagger: Duration::from_millis(250), timeout: None, local: None, resolver: None }
    }

    /// Sets the time after which the next address is tried beside a pending attempt.
    ///
    /// The default is 250 ms, as RFC 8305 recommends. `Duration::MAX` tries the addresses one after
    /// the other, each when the previous one has failed.
    #[doc(alias = "happy_eyeballs_delay")]
    pub fn stagger(self, stagger: Duration) -> ConnectOptions {
        ConnectOptions { stagger, ..self }
    }

    /// Limits the time for looking up and connecting together.
    ///
    /// Without a limit the operating system gives up after minutes.
    pub fn timeout(self, timeout: Duration) -> ConnectOptions {
        ConnectOptions { timeout: Some(timeout), ..self }
    }

    /// Sets the address to connect from. Only peer addresses of its family are tried.
    pub fn local_addr(self, address: impl Into<SocketAddr>) -> ConnectOptions {
        ConnectOptions { local: Some(address.into()), ..self }
    }

    /// Sets the resolver that looks names up.
    pub fn resolver(self, resolver: impl Resolve + 'static) -> ConnectOptions {
        ConnectOptions { resolver: Some(Rc::new(resolver)), ..self }
    }

    /// Connects to `address`. Of several, to the first that accepts: they are tried in turns of
    /// their families, the next one when the one before has failed or has had its time
    /// ([`stagger`](ConnectOptions::stagger)), and the first that succeeds ends the others.
    ///
    /// # Errors
    /// The operating system's error, for example that the connection was refused, with the address;
    /// of several addresses, each attempt is named. [`TimedOut`](io::ErrorKind::TimedOut) after the
    /// [`timeout`](ConnectOptions::timeout). And if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// The connection is not made, or closed again.
    #[doc(alias = "create_connection")]
    pub fn connect(&self, address: impl Into<Address>) -> impl Future<Output = io::Result<TcpStream>> {
        self.connect_to(address.into())
    }

    /// Every task that connects holds this future, so what only a name, a time limit or a race
    /// needs is boxed.
    pub(crate) async fn connect_to(&self, address: Address) -> io::Result<TcpStream> {
        let connected = match (address.number(), open_loop()) {
            (_, Err(error)) => Err(error),
            (Some(number), Ok(handle)) if self.timeout.is_none() && self.suits(number) => {
                TcpStream::connect_one(handle, self.local, number).await
            }
            (_, Ok(handle)) => Box::pin(within(self.timeout, "connecting", self.search(&address, handle))).await,
        };
        match self.local {
            Some(local) => connected.about(format_args!("connect from {local} to {address}")),
            None => connected.about(format_args!("connect to {address}")),
        }
    }

    /// Looks `address` up, and races the addresses that are found.
    async fn search(&self, address: &Address, handle: LoopHandle) -> io::Result<TcpStream> {
        let mut addresses = lookup_with(self.resolver.as_deref().unwrap_or(&SystemResolver), address).await?;
        addresses.retain(|address| self.suits(*address));
        if addresses.is_empty() {
            let text = "it has no address of the family of the local one";
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, text));
        }
        let attempt = |address| TcpStream::connect_one(handle.clone(), self.local, address);
        race(address, addresses, self.stagger, attempt).await
    }

    /// Whether `address` can be reached from the local address that was chosen.
    fn suits(&self, address: SocketAddr) -> bool {
        self.local.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
    }
}

impl Default for ConnectOptions {
    fn default() -> ConnectOptions {
        ConnectOptions::new()
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("stagger", &self.stagger)
            .field("timeout", &self.timeout)
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

/// Options for listening; [`TcpListener::bind`] uses the defaults.
///
/// ```
/// use picot_net::ListenOptions;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     // Two listeners at one port, as two loops on two threads would have them: the kernel shares connections out.
///     let options = ListenOptions::new().reuse_port(true);
///     let first = options.bind("127.0.0.1:0").await?;
///     let second = options.bind(first.local_addr()?).await?;
///     assert_eq!(first.local_addr()?, second.local_addr()?);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing listens until `bind` is called"]
pub struct ListenOptions {
    backlog: u32,
    reuse_port: bool,
    only_v6: Option<bool>,
}

impl ListenOptions {
    /// The defaults: a backlog of 1024, one listener per port, and the system's default for IPv6
    /// sockets.
    ///
    /// A port that only closing connections still use can be bound (`SO_REUSEADDR`; not on Windows,
    /// where that option means something else).
    pub fn new() -> ListenOptions {
        ListenOptions { backlog: 1024, reuse_port: false, only_v6: None }
    }

    /// Sets how many connections may wait to be accepted. The system may have a lower limit.
    pub fn backlog(self, backlog: u32) -> ListenOptions {
        ListenOptions { backlog, ..self }
    }

    /// Sets whether several listeners may use the same port (`SO_REUSEPORT`).
    ///
    /// Linux distributes connections among them, so one listener per loop uses more than one core;
    /// see [`LoopGroup`](crate::LoopGroup). Where the system has no such option, as on Windows,
    /// `bind` fails.
    pub fn reuse_port(self, reuse: bool) -> ListenOptions {
        ListenOptions { reuse_port: reuse, ..self }
    }

    /// Sets whether an IPv6 listener refuses IPv4 connections, which otherwise have a mapped
    /// address.
    pub fn only_v6(self, only: bool) -> ListenOptions {
        ListenOptions { only_v6: Some(only), ..self }
    }

    /// Listens at `address`; of several, at the first that can be bound. Port 0 picks a free one.
    ///
    /// # Errors
    /// The operating system's error, for example that the address is in use, with the address; of
    /// several addresses, each is named. And if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// Nothing listens.
    pub async fn bind(&self, address: impl Into<Address>) -> io::Result<TcpListener> {
        let address = address.into();
        let bind = async {
            let handle = open_loop()?;
            let addresses = lookup_with(&SystemResolver, &address).await?;
            first_success(&address, addresses, |address| self.listen(&handle, address))
        };
        bind.await.about(format_args!("listen at {address}"))
    }

    /// Listens at one address.
    pub(crate) fn listen(&self, handle: &LoopHandle, address: SocketAddr) -> io::Result<TcpListener> {
        budget::spend_call();
        TcpListener::register(handle, self.socket(address)?)
    }

    fn socket(&self, address: SocketAddr) -> io::Result<net::TcpListener> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        #[cfg(unix)]
        socket.set_reuse_address(true)?;
        if self.reuse_port {
            reuse_port(&socket, "accept in one loop, and hand connections on")?;
        }
        if let (Some(only), true) = (self.only_v6, address.is_ipv6()) {
            socket.set_only_v6(only)?;
        }
        socket.bind(&address.into())?;
        socket.listen(i32::try_from(self.backlog).unwrap_or(i32::MAX))?;
        Ok(socket.into())
    }
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions::new()
    }
}

/// Options for a datagram socket; [`UdpSocket::bind`] uses the defaults.
///
/// ```
/// use std::net::Ipv4Addr;
/// use picot_net::UdpOptions;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     // Two members of a group on one machine, as two programs that look for services would be.
///     let options = UdpOptions::new().reuse_address(true);
///     let one = options.bind("0.0.0.0:0").await?;
///     let other = options.bind(one.local_addr()?).await?;
///     for member in [&one, &other] {
///         member.join_multicast_v4(Ipv4Addr::new(239, 255, 4, 2), Ipv4Addr::LOCALHOST)?;
///     }
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "there is no socket until `bind` is called"]
pub struct UdpOptions {
    reuse_address: bool,
    reuse_port: bool,
    only_v6: Option<bool>,
}

impl UdpOptions {
    /// The defaults: one socket an address, IPv6 sockets as the system has them.
    pub fn new() -> UdpOptions {
        UdpOptions::default()
    }

    /// Sets whether several sockets may use the same address (`SO_REUSEADDR`), for multicast
    /// groups.
    ///
    /// Every socket has to set it. Each receives what is sent to a group that it has joined. A
    /// datagram to the address itself reaches only one of them, even if that belongs to another
    /// user, which is why asyncio removed the option.
    pub fn reuse_address(self, reuse: bool) -> UdpOptions {
        UdpOptions { reuse_address: reuse, ..self }
    }

    /// Sets whether several sockets of the same user may use the same port (`SO_REUSEPORT`).
    ///
    /// Linux distributes the senders among them, so one socket per loop uses more than one core.
    /// Where the system has no such option, as on Windows, `bind` fails.
    pub fn reuse_port(self, reuse: bool) -> UdpOptions {
        UdpOptions { reuse_port: reuse, ..self }
    }

    /// Sets whether an IPv6 socket ignores datagrams over IPv4, which otherwise have a mapped
    /// address.
    pub fn only_v6(self, only: bool) -> UdpOptions {
        UdpOptions { only_v6: Some(only), ..self }
    }

    /// A socket at `address`; of several, at the first that can be bound. Port 0 picks a free one.
    ///
    /// # Errors
    /// The operating system's error, for example that the address is in use, with the address; of
    /// several addresses, each is named. And if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// There is no socket.
    pub async fn bind(&self, address: impl Into<Address>) -> io::Result<UdpSocket> {
        let address = address.into();
        let bind = async {
            open_loop()?;
            let addresses = lookup_with(&SystemResolver, &address).await?;
            first_success(&address, addresses, |address| {
                budget::spend_call();
                UdpSocket::take_over(self.bind_one(address)?)
            })
        };
        bind.await.about(format_args!("bind a datagram socket to {address}"))
    }

    fn bind_one(&self, address: SocketAddr) -> io::Result<net::UdpSocket> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if self.reuse_address {
            socket.set_reuse_address(true)?;
        }
        if self.reuse_port {
            reuse_port(&socket, "receive in one loop, and hand datagrams on")?;
        }
        if let (Some(only), true) = (self.only_v6, address.is_ipv6()) {
            socket.set_only_v6(only)?;
        }
        socket.bind(&address.into())?;
        Ok(socket.into())
    }
}

/// Lets several sockets use one port. Where that is impossible, the error says what to do
/// `instead`.
#[cfg(all(unix, not(any(target_os = "solaris", target_os = "illumos", target_os = "cygwin"))))]
fn reuse_port(socket: &Socket, _instead: &str) -> io::Result<()> {
    socket.set_reuse_port(true)
}

#[cfg(any(not(unix), target_os = "solaris", target_os = "illumos", target_os = "cygwin"))]
fn reuse_port(_socket: &Socket, instead: &str) -> io::Result<()> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("this system does not let several sockets have one port; {instead}"),
    ))
}
