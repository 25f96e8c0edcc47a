//! Options for connecting, and the connecting itself.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use picot_loop::LoopHandle;

use crate::address::Address;
use crate::limit::within;
use crate::open::open_loop;
use crate::operation_error::About;
use crate::race::race;
use crate::resolve::{Resolve, SystemResolver, lookup_with};
use crate::stream::TcpStream;

/// Options for connecting; [`TcpStream::connect`] uses the defaults.
///
/// ```
/// use std::time::Duration;
/// use picot_net::{ConnectOptions, TcpListener};
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let options = ConnectOptions::new().timeout(Duration::from_secs(5));
///     let options = options.local_addr(([127, 0, 0, 1], 0));
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
    ///
    /// ```
    /// use picot_net::{ConnectOptions, TcpListener};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let stream = ConnectOptions::new().connect(listener.local_addr()?).await?;
    /// assert!(stream.socket().tcp_nodelay()?);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub const fn new() -> ConnectOptions {
        ConnectOptions { stagger: Duration::from_millis(250), timeout: None, local: None, resolver: None }
    }

    /// Sets the time after which the next address is tried beside a pending attempt.
    ///
    /// The default is 250 ms, as RFC 8305 recommends. `Duration::MAX` tries the addresses one after
    /// the other, each when the previous one has failed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::{ConnectOptions, TcpListener};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// // One address after the other, never two attempts at once.
    /// let options = ConnectOptions::new().stagger(Duration::MAX);
    /// options.connect(("localhost", listener.local_addr()?.port())).await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "happy_eyeballs_delay")]
    pub fn stagger(self, stagger: Duration) -> ConnectOptions {
        ConnectOptions { stagger, ..self }
    }

    /// Limits the time for looking up and connecting together.
    ///
    /// Without a limit the operating system gives up after minutes.
    ///
    /// ```
    /// use std::io::ErrorKind;
    /// use std::time::Duration;
    /// use picot_net::{ConnectOptions, Resolve, Resolving};
    ///
    /// /// A resolver whose server does not answer.
    /// struct Silent;
    ///
    /// impl Resolve for Silent {
    ///     fn resolve<'a>(&'a self, _host: &'a str, _port: u16) -> Resolving<'a> {
    ///         Box::pin(std::future::pending())
    ///     }
    /// }
    ///
    /// picot_loop::run(async {
    ///     let options = ConnectOptions::new().resolver(Silent).timeout(Duration::from_millis(5));
    ///     let error = options.connect("host:80").await.unwrap_err();
    ///     assert_eq!(error.kind(), ErrorKind::TimedOut);
    /// });
    /// ```
    pub fn timeout(self, timeout: Duration) -> ConnectOptions {
        ConnectOptions { timeout: Some(timeout), ..self }
    }

    /// Sets the address to connect from. Only peer addresses of its family are tried.
    ///
    /// ```
    /// use picot_net::{ConnectOptions, TcpListener};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let options = ConnectOptions::new().local_addr(([127, 0, 0, 1], 0));
    /// let _client = options.connect(listener.local_addr()?).await?;
    /// let (_stream, peer) = listener.accept().await?;
    /// assert!(peer.ip().is_loopback());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn local_addr(self, address: impl Into<SocketAddr>) -> ConnectOptions {
        ConnectOptions { local: Some(address.into()), ..self }
    }

    /// Sets the resolver that looks names up.
    ///
    /// ```
    /// use picot_net::{ConnectOptions, Resolve, Resolving, TcpListener};
    ///
    /// /// Resolves every name to this machine, for a test.
    /// struct Here;
    ///
    /// impl Resolve for Here {
    ///     fn resolve<'a>(&'a self, _host: &'a str, port: u16) -> Resolving<'a> {
    ///         Box::pin(std::future::ready(Ok(vec![([127, 0, 0, 1], port).into()])))
    ///     }
    /// }
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let port = listener.local_addr()?.port();
    ///     let stream = ConnectOptions::new().resolver(Here).connect(("database", port)).await?;
    ///     assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn resolver(self, resolver: impl Resolve + 'static) -> ConnectOptions {
        ConnectOptions { resolver: Some(Rc::new(resolver)), ..self }
    }

    /// Connects to `address`. Of several, to the first that accepts: they are tried in turns of
    /// their families, the next one when the previous one has failed or its time has passed
    /// ([`stagger`](ConnectOptions::stagger)), and the first that succeeds ends the others.
    ///
    /// # Errors
    /// The operating system's error, for example that the connection was refused, with the address;
    /// of several addresses, each attempt is named. [`TimedOut`](io::ErrorKind::TimedOut) after the
    /// [`timeout`](ConnectOptions::timeout). And if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// The connection is not made, or closed again.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::{ConnectOptions, TcpListener};
    ///
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let options = ConnectOptions::new().timeout(Duration::from_secs(5));
    /// let stream = options.connect(listener.local_addr()?).await?;
    /// stream.write_all(b"hello").await?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
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
        // One time limit covers both the lookup and the race.
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
