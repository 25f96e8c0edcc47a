//! Options for listening, and the binding of listeners.

use std::io;
use std::net::{self, SocketAddr};

use picot_context::budget;
use picot_loop::LoopHandle;
use socket2::{Domain, Protocol, Socket, Type};

use super::reuse_port;
use crate::address::Address;
use crate::listener::TcpListener;
use crate::open::open_loop;
use crate::operation_error::About;
use crate::race::first_success;
use crate::resolve::{SystemResolver, lookup_with};

/// Options for listening; [`TcpListener::bind`] uses the defaults.
///
/// ```
/// use picot_net::ListenOptions;
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     // Two listeners at one port, as on two threads: the kernel distributes connections.
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
    ///
    /// ```
    /// use picot_net::ListenOptions;
    ///
    /// # picot_loop::run(async {
    /// let listener = ListenOptions::new().bind("127.0.0.1:0").await?;
    /// assert!(listener.local_addr()?.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn new() -> ListenOptions {
        ListenOptions { backlog: 1024, reuse_port: false, only_v6: None }
    }

    /// Sets how many connections may wait to be accepted. The system may have a lower limit.
    ///
    /// ```
    /// use picot_net::ListenOptions;
    ///
    /// # picot_loop::run(async {
    /// let _listener = ListenOptions::new().backlog(16).bind("127.0.0.1:0").await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn backlog(self, backlog: u32) -> ListenOptions {
        ListenOptions { backlog, ..self }
    }

    /// Sets whether several listeners may use the same port (`SO_REUSEPORT`).
    ///
    /// Linux distributes connections among them, so one listener per loop uses more than one core;
    /// see [`LoopGroup`](crate::LoopGroup). Where the system has no such option, as on Windows,
    /// `bind` fails.
    ///
    /// ```
    /// use picot_net::ListenOptions;
    ///
    /// # #[cfg(unix)]
    /// # picot_loop::run(async {
    /// let options = ListenOptions::new().reuse_port(true);
    /// let first = options.bind("127.0.0.1:0").await?;
    /// let second = options.bind(first.local_addr()?).await?;
    /// assert_eq!(first.local_addr()?, second.local_addr()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn reuse_port(self, reuse: bool) -> ListenOptions {
        ListenOptions { reuse_port: reuse, ..self }
    }

    /// Sets whether an IPv6 listener refuses IPv4 connections, which otherwise have a mapped
    /// address.
    ///
    /// ```
    /// use picot_net::ListenOptions;
    ///
    /// # picot_loop::run(async {
    /// // Two listeners at one port, one for each family.
    /// let v4 = ListenOptions::new().bind("127.0.0.1:0").await?;
    /// let v6 = ListenOptions::new().only_v6(true).bind(("::", v4.local_addr()?.port())).await;
    /// # drop(v6); // a machine may have no IPv6
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
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
    ///
    /// ```
    /// use picot_net::{ListenOptions, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let listener = ListenOptions::new().backlog(16).bind("127.0.0.1:0").await?;
    /// let _client = TcpStream::connect(listener.local_addr()?).await?;
    /// let (_stream, _peer) = listener.accept().await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
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
