//! Servers: they accept, count, limit and end connections, which tasks or protocols handle.
//!
//! Invariants: an accepted connection is among the clients until its handler has been dropped. A
//! listener accepts only while there is room for a client. A closed server never accepts again.

mod builder;
mod listen;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::time::Duration;

use picot_context::{Cause, Payload, Place, WaitInfo, WaitKind, budget, catch, contain};
use picot_loop::{Closed, LoopHandle, Task};
use slab::Slab;

use crate::condition::Condition;
use crate::limit::within;
use crate::operation_error::About;
use crate::protocol::Connections;
use crate::report::report;

pub use builder::ServerBuilder;
pub use listen::Listener;

/// How long a listener rests when accepting has failed: the next try would most likely fail as
/// well.
const REST: Duration = Duration::from_secs(1);

/// A server: listeners, and a handler for each connection that they accept.
///
/// It serves as soon as it exists. Each connection has a task of its own, named after its peer. The
/// loop's error hook receives the errors that handlers return, their panics and slow steps, under
/// that name and with the source location of the call of `serve`. A cancelled handler is not an
/// error. Neither is the end of a client that leaves out TLS's `close_notify`: the acceptor counts
/// it. [`serve_protocol`](ServerBuilder::serve_protocol) uses callbacks instead of tasks.
///
/// If accepting fails, for example for lack of descriptors, the server reports it, and the listener
/// rests for a second. A lack of descriptors ends as soon as a socket of this thread closes.
/// Meanwhile connections wait in the backlog.
///
/// Dropping the server closes it: connections that are open stay so.
///
/// ```
/// use std::time::Duration;
/// use futures_lite::AsyncReadExt;
/// use picot_net::{Server, TcpStream};
///
/// picot_loop::run(async {
///     let server = Server::builder().max_connections(1_000).bind("127.0.0.1:0").await?;
///     let server = server.serve(|stream, _| async move { stream.write_all(b"goodbye").await })?;
///     let mut client = TcpStream::connect(server.local_addrs()[0]).await?;
///     let mut text = String::new();
///     client.read_to_string(&mut text).await?;
///     assert_eq!(text, "goodbye");
///     assert_eq!(server.shutdown(Duration::from_secs(5)).await, 0);
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[must_use = "a server that is dropped is closed"]
pub struct Server {
    shared: Rc<Shared>,
}

struct Shared {
    /// The connections that tasks handle.
    clients: RefCell<Slab<Client>>,
    /// The connections that protocols handle.
    connections: Option<Connections>,
    max: usize,
    /// The loop whose tasks accept.
    handle: LoopHandle,
    /// Notified when a client, a listener or the server ends. Shared with `connections`, if there
    /// are any.
    changed: Rc<Condition>,
    acceptors: RefCell<Vec<Task<()>>>,
    /// How many listeners are still open.
    listening: Cell<usize>,
    addresses: Vec<SocketAddr>,
    is_closed: Cell<bool>,
    is_served: Cell<bool>,
}

/// Begins to handle a connection that a listener has accepted.
type Start<L> = dyn Fn(&Rc<Shared>, <L as listen::Accept>::Stream, <L as listen::Accept>::Peer);

/// A connection that a task handles.
struct Client {
    task: Task<()>,
    link: Weak<dyn Link>,
}

/// How a server ends a connection that its handler owns.
pub(crate) trait Link {
    /// Lets the handler read an end.
    fn end_reading(&self);
    /// Makes the close of the connection a reset, so that its peer sees an error.
    fn reset_on_close(&self);
}

impl Server {
    /// Options of a server, before it serves.
    ///
    /// ```
    /// use picot_net::Server;
    ///
    /// # picot_loop::run(async {
    /// let builder = Server::builder().max_connections(100).bind("127.0.0.1:0").await?;
    /// let _server = builder.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn builder<L>() -> ServerBuilder<L> {
        ServerBuilder::new()
    }

    /// The addresses at which it listens, in the order of binding; none once it is closed.
    ///
    /// Unix sockets are not among them.
    ///
    /// ```
    /// use picot_net::Server;
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// println!("serving at {}", server.local_addrs()[0]);
    /// server.close();
    /// assert!(server.local_addrs().is_empty());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "sockets")]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        if self.is_closed() { Vec::new() } else { self.shared.addresses.clone() }
    }

    /// How many connections are open.
    ///
    /// ```
    /// use picot_net::{Server, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _peer| async move {
    ///     stream.read(&mut [0]).await?; // until the client ends
    ///     Ok(())
    /// })?;
    /// let _client = TcpStream::connect(server.local_addrs()[0]).await?;
    /// while server.clients() == 0 {
    ///     picot_loop::yield_now().await;
    /// }
    /// assert_eq!(server.clients(), 1);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn clients(&self) -> usize {
        self.shared.clients()
    }

    /// Whether it is closed, and accepts nothing any more.
    ///
    /// ```
    /// use picot_net::Server;
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// assert!(!server.is_closed());
    /// server.close();
    /// assert!(server.is_closed());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.get()
    }

    /// Stops listening in the next turn. Open connections stay open. Closing twice is fine.
    ///
    /// ```
    /// use picot_net::{Server, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// let address = server.local_addrs()[0];
    /// server.close();
    /// server.wait_closed().await;
    /// assert!(TcpStream::connect(address).await.is_err(), "refused");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn close(&self) {
        self.shared.close();
    }

    /// Waits until the server is closed and all connections have ended. Closing its loop also
    /// closes it.
    ///
    /// # If dropped
    /// Nothing happens.
    ///
    /// ```
    /// use picot_net::{Server, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    /// let client = TcpStream::connect(server.local_addrs()[0]).await?;
    /// client.read(&mut [0; 16]).await?; // the connection is being served
    /// server.close();
    /// server.wait_closed().await;
    /// assert_eq!(server.clients(), 0);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn wait_closed(&self) {
        let shared = &self.shared;
        // The last listener that ends closes the server.
        let about = || WaitInfo::new(WaitKind::Server, "the end of the server");
        shared.changed.until_about(about, || shared.listening.get() == 0 && shared.clients() == 0).await;
    }

    /// Waits until the server is closed and all connections have ended, for a program that only
    /// serves.
    ///
    /// # Errors
    /// If the server is closed already, if another call waits, or if the server's loop was closed.
    ///
    /// # If dropped
    /// The server is closed.
    ///
    /// ``` no_run
    /// use picot_net::Server;
    ///
    /// picot_loop::run(async {
    ///     let server = Server::builder().bind("127.0.0.1:7007").await?;
    ///     let server = server.serve(|stream, _| async move { stream.write_all(b"hello").await })?;
    ///     server.serve_forever().await
    /// })
    /// .unwrap();
    /// ```
    pub async fn serve_forever(&self) -> io::Result<()> {
        poll_fn(budget::poll_left).await;
        budget::spend();
        if self.is_closed() {
            return Err(io::Error::other(format!("{self} is closed and cannot serve again; build another one")));
        }
        if self.shared.is_served.replace(true) {
            let text = format!("another `serve_forever` waits for {self} already; use `wait_closed` beside it");
            return Err(io::Error::other(text));
        }
        // From here on, dropping this future closes the server, as cancelling does in asyncio.
        let _closes = CloseOnDrop(&self.shared);
        self.wait_closed().await;
        if self.shared.handle.is_closed() {
            return Err(io::Error::other(Closed::new()).about(format_args!("serve on: {self} has ended")));
        }
        Ok(())
    }

    /// Closes the server, and aborts the connections that have not ended within `deadline`.
    ///
    /// Returns how many connections were aborted.
    ///
    /// # If dropped
    /// The server is closed; no connection is aborted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use picot_net::{Server, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|_stream, _peer| std::future::pending())?;
    /// let _client = TcpStream::connect(server.local_addrs()[0]).await?;
    /// while server.clients() == 0 {
    ///     picot_loop::yield_now().await;
    /// }
    /// assert_eq!(server.shutdown(Duration::from_millis(5)).await, 1, "its handler never ends");
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        self.close();
        let ended = async {
            self.wait_closed().await;
            Ok(())
        };
        if within(Some(deadline), "shutting down", ended).await.is_ok() {
            return 0;
        }
        // Counted before the abort, which ends them.
        let late = self.clients();
        self.abort_clients();
        self.wait_closed().await;
        late
    }

    /// Requests the end of all connections.
    ///
    /// A handler reads an end, as if its peer had ended its stream, and may still answer. A
    /// protocol's transport is closed.
    ///
    /// ```
    /// use picot_net::{Server, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _peer| async move {
    ///     stream.write_all(b"hello").await?;
    ///     assert_eq!(stream.read(&mut [0]).await?, 0, "the server asks for an end");
    ///     stream.write_all(b"goodbye").await
    /// })?;
    /// let client = TcpStream::connect(server.local_addrs()[0]).await?;
    /// assert_eq!(client.read(&mut [0; 16]).await?, 5);
    /// server.close_clients();
    /// assert_eq!(client.read(&mut [0; 16]).await?, 7);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn close_clients(&self) {
        for client in self.shared.links() {
            client.end_reading();
        }
        if let Some(connections) = &self.shared.connections {
            connections.close_all();
        }
    }

    /// Ends all connections at once: cancels handlers and aborts transports. Peers see a reset.
    ///
    /// ```
    /// use picot_net::{Server, TcpStream};
    ///
    /// # picot_loop::run(async {
    /// let server = Server::builder().bind("127.0.0.1:0").await?;
    /// let server = server.serve(|stream, _peer| async move {
    ///     stream.write_all(b"hello").await?;
    ///     std::future::pending().await
    /// })?;
    /// let client = TcpStream::connect(server.local_addrs()[0]).await?;
    /// assert_eq!(client.read(&mut [0; 16]).await?, 5);
    /// server.abort_clients();
    /// let error = client.read(&mut [0; 16]).await.unwrap_err();
    /// assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn abort_clients(&self) {
        for client in self.shared.links() {
            client.reset_on_close();
        }
        // A cancel takes effect in a later step, so no user code runs while the clients are
        // borrowed.
        for (_, client) in self.shared.clients.borrow().iter() {
            client.task.cancel("the server aborts its connections");
        }
        if let Some(connections) = &self.shared.connections {
            connections.reset_all();
        }
    }
}

impl Shared {
    fn clients(&self) -> usize {
        self.clients.borrow().len() + self.connections.as_ref().map_or(0, Connections::len)
    }

    fn links(&self) -> Vec<Rc<dyn Link>> {
        self.clients.borrow().iter().filter_map(|(_, client)| client.link.upgrade()).collect()
    }

    fn close(&self) {
        if self.is_closed.replace(true) {
            return;
        }
        // Taken out, so that no borrow is live while tasks are cancelled.
        for acceptor in self.acceptors.take() {
            acceptor.cancel("the server is closed");
        }
        self.changed.notify();
    }

    /// Accepts until it is cancelled.
    async fn accept<L: Listener>(open: Open<L>, start: Rc<Start<L>>) {
        let Open { listener, listening: Listening(shared) } = &open;
        loop {
            // Back-pressure: at the limit, connections wait in the backlog.
            let about = || WaitInfo::new(WaitKind::Server, "room for a client");
            shared.changed.until_about(about, || shared.clients() < shared.max).await;
            match listener.accept().await {
                Ok((stream, peer)) => start(shared, stream, peer),
                Err(error) => {
                    report(Cause::Io(error));
                    listener.rest().begin(REST);
                }
            }
        }
    }

    /// Runs a handler as a task.
    ///
    /// The task calls the handler, so that a panic ends this client only, and so that the handler's
    /// future is created where it stays instead of being moved.
    ///
    /// The future is polled and dropped in a slot. Otherwise a panic in its poll would unwind
    /// through this wrapper, and a second panic in its drop would abort the process.
    fn spawn<F>(
        self: &Rc<Self>,
        place: Place,
        name: String,
        link: Weak<dyn Link>,
        handler: impl FnOnce() -> F + 'static,
    ) where
        F: Future<Output = io::Result<()>> + 'static,
    {
        // The key stays vacant until the insert, because only accepting tasks insert clients. The
        // table is not borrowed while the task is spawned, because the loop's hooks run then.
        let key = self.clients.borrow().vacant_key();
        let leave = Leave { shared: self.clone(), key };
        let handle = LoopHandle::current();
        let task = handle.build_task().name(name).at(place).spawn(async move {
            // Dropped after the handler's future, so that nothing is left of the client at the
            // notification.
            let _leave = leave;
            let mut slot = pin!(Some(catch(handler).unwrap_or_else(|payload| unwind(payload))));
            match poll_fn(|cx| contain::poll(slot.as_mut(), cx)).await {
                Ok(Ok(())) => {}
                // Counted by the acceptor: many clients end like this, and a report for each would
                // bury the others.
                #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
                Ok(Err(error)) if crate::tls::MissingCloseNotify::is(&error) => {}
                Ok(Err(error)) => report(Cause::Failed(error.into())),
                Err(payload) => unwind(payload),
            }
        });
        let inserted = self.clients.borrow_mut().insert(Client { task, link });
        debug_assert_eq!(inserted, key, "no client was inserted since `vacant_key`");
    }
}

/// Resumes a panic, which ends the task. The executor reports it once.
fn unwind(payload: Payload) -> ! {
    resume_unwind(payload.take().expect("the payload has one owner: caught above"))
}

/// Removes a client when its task ends.
struct Leave {
    shared: Rc<Shared>,
    key: usize,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let client = self.shared.clients.borrow_mut().remove(self.key);
        // Dropped after the borrow, before the notification.
        drop(client);
        self.shared.changed.notify();
    }
}

/// A listener of a server. The fields' order closes the listener before it is counted as closed.
struct Open<L> {
    listener: L,
    listening: Listening,
}

/// Counts a listener as open until it is dropped. The last one closes the server.
struct Listening(Rc<Shared>);

impl Drop for Listening {
    fn drop(&mut self) {
        let left = self.0.listening.get() - 1;
        self.0.listening.set(left);
        if left == 0 {
            // Without a listener the server can accept nothing more, for example after the loop
            // closed.
            self.0.is_closed.set(true);
        }
        self.0.changed.notify();
    }
}

struct CloseOnDrop<'a>(&'a Shared);

impl Drop for CloseOnDrop<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.close();
    }
}

/// Displays the server with the addresses to which it was bound.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "the server at ";
        if self.shared.addresses.is_empty() {
            return f.write_str("the server");
        }
        for address in &self.shared.addresses {
            write!(f, "{before}{address}")?;
            before = ", ";
        }
        Ok(())
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("local_addrs", &self.local_addrs())
            .field("clients", &self.clients())
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}
