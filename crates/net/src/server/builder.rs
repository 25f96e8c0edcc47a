//! What a server is made of, before it serves.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::Rc;

use picot_context::{Cause, Place, catch};
use picot_loop::LoopHandle;
use slab::Slab;

use super::{Listener, Listening, Open, Server, Shared, Start};
use crate::address::Address;
use crate::listener::TcpListener;
use crate::open::open_loop;
use crate::options::ListenOptions;
use crate::protocol::{BufferedProtocol, Connections, Protocol};
use crate::report::report_as;
use crate::resolve::lookup;
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
///         .serve(|stream, peer| async move { stream.write_all(format!("hello, {peer}").as_bytes()).await })?;
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

    /// How many connections may be open at once; unless set, as many as the system allows. While there are so many, no more
    /// are accepted: they wait in the backlog of their listener. (Each listener may have one more in its hands.)
    ///
    /// # Panics
    /// If it is 0.
    pub fn max_connections(self, max: usize) -> ServerBuilder<L> {
        assert!(max > 0, "a server with room for no connection would accept nothing");
        ServerBuilder { max, ..self }
    }

    /// How the listeners of later calls of [`bind`](ServerBuilder::bind) listen.
    pub fn listen_options(self, listen: ListenOptions) -> ServerBuilder<L> {
        ServerBuilder { listen, ..self }
    }

    /// Adds a listener.
    pub fn listener(mut self, listener: L) -> ServerBuilder<L> {
        self.listeners.push(listener);
        self
    }
}

impl ServerBuilder<TcpListener> {
    /// Adds a listener at each address of `address`: a name may have several. With port 0 each gets a port of its own.
    ///
    /// # Errors
    /// What the operating system says, for example that an address is in use; and if this thread has no loop.
    ///
    /// # If dropped
    /// Nothing listens.
    pub async fn bind(mut self, address: impl Into<Address>) -> io::Result<ServerBuilder<TcpListener>> {
        LoopHandle::try_current()?;
        for address in lookup(address).await? {
            let listener = self.listen.bind(address).await?;
            self.listeners.push(listener);
        }
        Ok(self)
    }
}

impl<L: Listener> ServerBuilder<L> {
    /// Serves: runs `handler` for each connection, in a task of its own.
    ///
    /// # Errors
    /// If there is no listener, or this thread has no loop, or it is closed.
    #[track_caller]
    pub fn serve<H, F>(self, handler: H) -> io::Result<Server>
    where
        H: Fn(L::Stream, L::Peer) -> F + 'static,
        F: Future<Output = io::Result<()>> + 'static,
    {
        self.serve_at(Location::caller(), handler)
    }

    /// Serves with a handler that was given at `place`.
    pub(crate) fn serve_at<H, F>(self, place: Place, handler: H) -> io::Result<Server>
    where
        H: Fn(L::Stream, L::Peer) -> F + 'static,
        F: Future<Output = io::Result<()>> + 'static,
    {
        let handler = Rc::new(handler);
        self.start(None, move |shared, stream, peer| {
            let (name, link) = (L::name(&stream, &peer), L::link(&stream));
            let handler = handler.clone();
            shared.spawn(place, name, link, move || handler(stream, peer));
        })
    }

    /// Serves by callbacks: makes a protocol for each connection, when it is accepted. A call of `factory` that panics costs
    /// that connection, and is reported under its name. [`Protocol`] has an example.
    ///
    /// # Errors
    /// If there is no listener, or this thread has no loop, or it is closed.
    #[doc(alias = "create_server")]
    pub fn serve_protocol<P: Protocol>(self, factory: impl Fn() -> P + 'static) -> io::Result<Server> {
        let connections = Connections::new()?;
        self.start(Some(connections.clone()), move |_, stream, peer| {
            if let Some(protocol) = make(&factory, || L::name(&stream, &peer)) {
                drop(connections.adopt_io(L::io(stream), protocol));
            }
        })
    }

    /// Serves by callbacks that bring their own buffers; see [`BufferedProtocol`], which has an example.
    ///
    /// # Errors
    /// If there is no listener, or this thread has no loop, or it is closed.
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
        let addresses: Vec<_> = self.listeners.iter().map(Accept::address).collect::<io::Result<_>>()?;
        let changed = connections.as_ref().map(Connections::changed).unwrap_or_default();
        let shared = Rc::new(Shared {
            clients: RefCell::new(Slab::new()),
            connections,
            max: self.max,
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

/// Makes a protocol. A factory that panics costs its one connection, and not the listener.
fn make<P>(factory: &impl Fn() -> P, name: impl Fn() -> String) -> Option<P> {
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
