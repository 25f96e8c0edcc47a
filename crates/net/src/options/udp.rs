//! Options for datagram sockets, and the binding of them.

use std::io;
use std::net::{self, SocketAddr};

use picot_context::budget;
use socket2::{Domain, Protocol, Socket, Type};

use super::reuse_port;
use crate::address::Address;
use crate::open::open_loop;
use crate::operation_error::About;
use crate::race::first_success;
use crate::resolve::{SystemResolver, lookup_with};
use crate::udp::UdpSocket;

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
    ///
    /// ```
    /// use picot_net::UdpOptions;
    ///
    /// # picot_loop::run(async {
    /// let socket = UdpOptions::new().bind("127.0.0.1:0").await?;
    /// assert!(socket.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn new() -> UdpOptions {
        UdpOptions::default()
    }

    /// Sets whether several sockets may use the same address (`SO_REUSEADDR`), for multicast
    /// groups.
    ///
    /// Every socket must set it. Each receives the datagrams of a group that it has joined. A
    /// datagram to the address itself reaches only one of them, even if that belongs to another
    /// user, which is why asyncio removed the option.
    ///
    /// ```
    /// use picot_net::UdpOptions;
    ///
    /// # #[cfg(unix)]
    /// # picot_loop::run(async {
    /// let options = UdpOptions::new().reuse_address(true);
    /// let one = options.bind("0.0.0.0:0").await?;
    /// let other = options.bind(one.local_addr()?).await?;
    /// assert_eq!(one.local_addr()?, other.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn reuse_address(self, reuse: bool) -> UdpOptions {
        UdpOptions { reuse_address: reuse, ..self }
    }

    /// Sets whether several sockets of the same user may use the same port (`SO_REUSEPORT`).
    ///
    /// Linux distributes the senders among them, so one socket per loop uses more than one core.
    /// Where the system has no such option, as on Windows, `bind` fails.
    ///
    /// ```
    /// use picot_net::UdpOptions;
    ///
    /// # #[cfg(unix)]
    /// # picot_loop::run(async {
    /// // One socket per loop, at the same port.
    /// let options = UdpOptions::new().reuse_port(true);
    /// let first = options.bind("127.0.0.1:0").await?;
    /// let second = options.bind(first.local_addr()?).await?;
    /// assert_eq!(first.local_addr()?, second.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn reuse_port(self, reuse: bool) -> UdpOptions {
        UdpOptions { reuse_port: reuse, ..self }
    }

    /// Sets whether an IPv6 socket ignores datagrams over IPv4, which otherwise have a mapped
    /// address.
    ///
    /// ```
    /// use picot_net::UdpOptions;
    ///
    /// # picot_loop::run(async {
    /// // Two sockets at one port, one for each family.
    /// let v4 = UdpOptions::new().bind("127.0.0.1:0").await?;
    /// let v6 = UdpOptions::new().only_v6(true).bind(("::", v4.local_addr()?.port())).await;
    /// # drop(v6); // a machine may have no IPv6
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
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
    ///
    /// ```
    /// use picot_net::UdpOptions;
    ///
    /// # picot_loop::run(async {
    /// let receiver = UdpOptions::new().bind("127.0.0.1:0").await?;
    /// let sender = UdpOptions::new().bind("127.0.0.1:0").await?;
    /// sender.send_to(b"hello", receiver.local_addr()?).await?;
    /// assert_eq!(receiver.recv(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
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
