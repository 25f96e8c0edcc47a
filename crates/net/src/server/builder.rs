//! The options and listeners of a server, before it serves.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::panic::Location;
use std::rc::Rc;

use picot_context::{Cause, Place, catch};
use slab::Slab;

use super::{Listener, Listening, Open, Server, Shared, Start};
use crate::address::Address;
use crate::listener::TcpListener;
use crate::open::open_loop;
#[cfg(unix)]
use crate::operation_error::raw_os_error;
use crate::operation_error::{About, Attempts};
use crate::options::listen::ListenOptions;
use crate::protocol::{BufferedProtocol, Connections, Protocol};
use crate::report::report_as;
use crate::resolve::{SystemResolver, lookup_with};
use crate::server::listen::Accept;

/// Options of a [`Server`], and its listeners.
///
/// ```
/// use picot_net::{ListenOptions, Server};
///
/// picot_loop::run(async {
///     // For the machine itself and for all others, each with a backlog of its own.
///     let server = Server::builder()
///         .max_connections(100)
///         .bind("127.0.0.1:0")
///         .await?
///         .listen_options(ListenOptions::new().backlog(16))
///         .bind("0.0.0.0:0")
///         .await?
///         .serve(|stream, _| async move { stream.write_all(b"hello").await })?;
///     assert_eq!(server.local_addrs().len(), 2);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[must_use = "nothing is served until `serve` is called"]
pub struct ServerBuilder<L> {
    listeners: Vec<L>,
    max: usize,
    listen: ListenOptions,
}

impl<L> ServerBuilder<L> {
    pub(super) fn new() -> ServerBuilder<L> {
        ServerBuilder { listeners: Vec::new(), max: usize::MAX, listen: ListenOptions::new() }
    }

    /// Limits how many connections may be open at once. The default is no limit.
    ///
    /// At the limit, further connections wait in the backlog of their listener.
    ///
    /// # Panics
    /// If it is 0.
    ///
    /// ```
    /// use picot_net::Server;
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().max_connections(100).bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// assert_eq!(server.clients(), 0);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn max_connections(self, max: usize) -> ServerBuilder<L> {
        assert!(max > 0, "a server with room for no connection would accept nothing");
        ServerBuilder { max, ..self }
    }

    /// Sets the options for the listeners of later calls of [`bind`](ServerBuilder::bind).
    ///
    /// ```
    /// use picot_net::{ListenOptions, Server};
    ///
    /// # picot_loop::run(async {
    /// let options = ListenOptions::new().backlog(16);
    /// let server = Server::builder().listen_options(options).bind("127.0.0.1:0").await?;
    /// let _server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn listen_options(self, listen: ListenOptions) -> ServerBuilder<L> {
        ServerBuilder { listen, ..self }
    }

    /// Adds a listener.
    ///
    /// ```
    /// use picot_net::{Server, TcpListener};
    ///
    /// # picot_loop::run(async {
    /// // For example one that a service manager opened.
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let server = Server::builder().listener(TcpListener::from_std(listener)?);
    /// let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// assert_eq!(server.local_addrs().len(), 1);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn listener(mut self, listener: L) -> ServerBuilder<L> {
        self.listeners.push(listener);
        self
    }
}

impl ServerBuilder<TcpListener> {
    /// Adds a listener at each address of `address`: a name may have several. With port 0 each gets
    /// a port of its own.
    ///
    /// An address that this machine does not have is skipped, as in asyncio, if another one can
    /// be bound: `localhost` is often `::1` too where IPv6 is disabled. Any other failure is an
    /// error even if the other addresses are free: a server that leaves one of them to another
    /// program would not get all of its clients.
    ///
    /// # Errors
    /// The operating system's error, for example that an address is in use, with each address that
    /// failed; and if this thread has no loop, or it is closed.
    ///
    /// # If dropped
    /// Nothing listens.
    ///
    /// ```
    /// use picot_net::Server;
    ///
    /// # picot_loop::run(async {
    /// // At two addresses.
    /// let server = Server::builder().bind("127.0.0.1:0").await?.bind("0.0.0.0:0").await?;
    /// let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// assert_eq!(server.local_addrs().len(), 2);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn bind(mut self, address: impl Into<Address>) -> io::Result<ServerBuilder<TcpListener>> {
        let address = address.into();
        let bind = async {
            let handle = open_loop()?;
            let addresses = lookup_with(&SystemResolver, &address).await?;
            listen_at_each(&address, addresses, |address| self.listen.listen(&handle, address))
        };
        let listeners = bind.await.about(format_args!("listen at {address}"))?;
        self.listeners.extend(listeners);
        Ok(self)
    }
}

/// Listens at each of the `addresses` of `target` that this machine has. An error names each
/// address that failed.
fn listen_at_each<L>(
    target: &Address,
    addresses: Vec<SocketAddr>,
    listen: impl Fn(SocketAddr) -> io::Result<L>,
) -> io::Result<Vec<L>> {
    let (mut listeners, mut failed) = (Vec::new(), Vec::new());
    for address in addresses {
        match listen(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => failed.push((address, error)),
        }
    }
    // A name such as `localhost` has addresses of families that the machine may lack. Any other
    // failure fails the whole: a server that listens at some addresses only is hard to find.
    if listeners.is_empty() || !failed.iter().all(|(_, error)| is_elsewhere(error)) {
        return Err(Attempts::combine(target, failed));
    }
    Ok(listeners)
}

/// Whether the machine does not have such an address, or no address of such a family.
fn is_elsewhere(error: &io::Error) -> bool {
    #[cfg(unix)]
    if raw_os_error(error) == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error()) {
        return true;
    }
    error.kind() == io::ErrorKind::AddrNotAvailable
}

impl<L: Listener> ServerBuilder<L> {
    /// Starts to serve: runs `handler` for each connection, in a task of its own.
    ///
    /// # Errors
    /// If there is no listener, or this thread has no loop, or it is closed.
    ///
    /// ```
    /// use picot_net::{Server, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?.serve(|stream, peer| async move {
    ///     stream.write_all(format!("hello, {peer}").as_bytes()).await
    /// })?;
    /// let client = TcpStream::connect(server.local_addrs()[0]).await?;
    /// assert!(client.read(&mut [0; 64]).await? > 7);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[track_caller]
    pub fn serve<H, F>(self, handler: H) -> io::Result<Server>
    where
        H: Fn(L::Stream, L::Peer) -> F + 'static,
        F: Future<Output = io::Result<()>> + 'static,
    {
        self.serve_at(Location::caller(), handler)
    }

    /// Serves with a handler that the caller passed at `place`.
    pub(crate) fn serve_at<H, F>(self, place: Place, handler: H) -> io::Result<Server>
    where
        H: Fn(L::Stream, L::Peer) -> F + 'static,
        F: Future<Output = io::Result<()>> + 'static,
    {
        let handler = Rc::new(handler);
        self.start(None, move |shared, stream, peer| {
            // Read before the handler owns the stream.
            let (name, link) = (L::name(&stream, &peer), L::link(&stream));
            let handler = handler.clone();
            shared.spawn(place, name, link, move || handler(stream, peer));
        })
    }

    /// Starts to serve with callbacks: creates a protocol for each connection that is accepted.
    ///
    /// If `factory` panics, its connection is closed and the panic reported under its name.
    /// [`Protocol`] has an example.
    ///
    /// # Errors
    /// If there is no listener, or this thread has no loop, or it is closed.
    ///
    /// ```
    /// use picot_net::{Protocol, Server, TcpStream, Transport};
    ///
    /// struct Greet;
    ///
    /// impl Protocol for Greet {
    ///     fn made(&mut self, transport: &Transport) {
    ///         let _ = transport.write(b"hello");
    ///     }
    ///
    ///     fn data(&mut self, _: &Transport, _: &[u8]) {}
    /// }
    ///
    /// picot_loop::run(async {
    ///     let server = Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| Greet)?;
    ///     let client = TcpStream::connect(server.local_addrs()[0]).await?;
    ///     assert_eq!(client.read(&mut [0; 16]).await?, 5);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    #[doc(alias = "create_server")]
    pub fn serve_protocol<P: Protocol>(self, factory: impl Fn() -> P + 'static) -> io::Result<Server> {
        let connections = Connections::new()?;
        self.start(Some(connections.clone()), move |_, stream, peer| {
            if let Some(protocol) = make(&factory, || L::name(&stream, &peer)) {
                drop(connections.adopt_io(L::io(stream), protocol));
            }
        })
    }

    /// Starts to serve with callbacks that provide their own buffers; see [`BufferedProtocol`].
    ///
    /// # Errors
    /// If there is no listener, or this thread has no loop, or it is closed.
    ///
    /// ```
    /// use picot_net::{BufferedProtocol, Server, TcpStream, Transport};
    ///
    /// /// Answers the first byte.
    /// struct First([u8; 1]);
    ///
    /// impl BufferedProtocol for First {
    ///     fn buffer(&mut self) -> &mut [u8] {
    ///         &mut self.0
    ///     }
    ///
    ///     fn filled(&mut self, transport: &Transport, _: usize) {
    ///         let _ = transport.write(&self.0);
    ///         transport.close();
    ///     }
    /// }
    ///
    /// picot_loop::run(async {
    ///     let server = Server::builder().bind("127.0.0.1:0").await?;
    ///     let server = server.serve_buffered(|| First([0]))?;
    ///     let client = TcpStream::connect(server.local_addrs()[0]).await?;
    ///     client.write_all(b"x").await?;
    ///     assert_eq!(client.read(&mut [0; 16]).await?, 1);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn serve_buffered<P: BufferedProtocol>(self, factory: impl Fn() -> P + 'static) -> io::Result<Server> {
        let connections = Connections::new()?;
        self.start(Some(connections.clone()), move |_, stream, peer| {
            if let Some(protocol) = make(&factory, || L::name(&stream, &peer)) {
                drop(connections.adopt_io_buffered(L::io(stream), protocol));
            }
        })
    }

    fn start(
        self,
        connections: Option<Connections>,
        start: impl Fn(&Rc<Shared>, L::Stream, L::Peer) + 'static,
    ) -> io::Result<Server> {
        if self.listeners.is_empty() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "a server needs a listener; add one by `bind`"));
        }
        let handle = open_loop()?;
        // Asked before a task starts, so that an error leaves nothing behind.
        let addresses: Vec<_> = self.listeners.iter().map(Accept::address).collect::<io::Result<_>>()?;
        let changed = connections.as_ref().map(Connections::changed).unwrap_or_default();
        let shared = Rc::new(Shared {
            clients: RefCell::new(Slab::new()),
            connections,
            max: self.max,
            handle: handle.clone(),
            changed,
            acceptors: RefCell::default(),
            listening: Cell::new(self.listeners.len()),
            addresses: addresses.into_iter().flatten().collect(),
            is_closed: Cell::new(false),
            is_served: Cell::new(false),
        });
        let start: Rc<Start<L>> = Rc::new(start);
        for listener in self.listeners {
            let open = Open { listener, listening: Listening(shared.clone()) };
            let acceptor = handle.spawn(Shared::accept(open, start.clone()));
            shared.acceptors.borrow_mut().push(acceptor);
        }
        Ok(Server { shared })
    }
}

/// A server with one listener and default options, for functions that take either.
///
/// ```
/// use picot_net::{ServerBuilder, TcpListener};
///
/// fn limited(listeners: impl Into<ServerBuilder<TcpListener>>) -> ServerBuilder<TcpListener> {
///     listeners.into().max_connections(100)
/// }
///
/// # picot_loop::run(async {
/// let _builder = limited(TcpListener::bind("127.0.0.1:0").await?);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
impl<L: Listener> From<L> for ServerBuilder<L> {
    fn from(listener: L) -> ServerBuilder<L> {
        ServerBuilder::new().listener(listener)
    }
}

/// Creates a protocol. If the factory panics, only its connection is lost, not the listener.
fn make<P>(factory: &impl Fn() -> P, name: impl Fn() -> String) -> Option<P> {
    // The factory is user code: its panic costs this connection, not the acceptor.
    catch(factory).map_err(|payload| report_as(&name(), Cause::Panic(payload))).ok()
}

impl<L: fmt::Debug> fmt::Debug for ServerBuilder<L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerBuilder")
            .field("listeners", &self.listeners)
            .field("max", &self.max)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAMILIES: [&str; 3] = ["[::1]:80", "127.0.0.1:80", "10.0.0.1:80"];

    /// Listens where `outcomes` says `None`; otherwise fails by that kind.
    fn listen(outcomes: [Option<io::ErrorKind>; 3], addresses: usize) -> io::Result<Vec<SocketAddr>> {
        let addresses: Vec<SocketAddr> = FAMILIES[..addresses].iter().map(|text| text.parse().unwrap()).collect();
        listen_at_each(&"host:80".into(), addresses.clone(), |address| {
            let index = addresses.iter().position(|other| *other == address).unwrap();
            outcomes[index].map_or(Ok(address), |kind| Err(kind.into()))
        })
    }

    #[test]
    fn a_server_ignores_missing_addresses_and_any_other_failure_names_each_address() {
        use io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
        let kinds = [None, Some(AddrNotAvailable), Some(AddrInUse), Some(PermissionDenied)];
        for number in 0..64 {
            let outcomes = [kinds[number / 16], kinds[number / 4 % 4], kinds[number % 4]];
            let hard = outcomes.iter().any(|outcome| !matches!(outcome, None | Some(AddrNotAvailable)));
            let bound = outcomes.iter().filter(|outcome| outcome.is_none()).count();
            match listen(outcomes, 3) {
                Ok(listeners) => assert!(!hard && bound > 0 && listeners.len() == bound, "{outcomes:?}"),
                Err(error) => {
                    assert!(hard || bound == 0, "{outcomes:?}");
                    for (address, outcome) in FAMILIES.iter().zip(outcomes) {
                        assert_eq!(error.to_string().contains(address), outcome.is_some(), "{outcomes:?}: {error}");
                    }
                }
            }
        }
        assert_eq!(listen([Some(AddrInUse), None, None], 1).unwrap_err().kind(), AddrInUse);
    }

    #[cfg(unix)]
    #[test]
    fn a_family_that_the_system_does_not_have_is_passed_over() {
        assert!(is_elsewhere(&rustix::io::Errno::AFNOSUPPORT.into()));
        assert!(is_elsewhere(&rustix::io::Errno::ADDRNOTAVAIL.into()));
        assert!(!is_elsewhere(&rustix::io::Errno::ADDRINUSE.into()));
    }
}
