//! Servers: what accepts, counts, limits and ends connections, whether tasks or protocols handle them.
//!
//! The invariants: every connection that was accepted is among the clients until its handler is gone; a listener accepts
//! only while there is room for a client; a server that is closed never accepts again.

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

use picot_context::{Cause, Payload, Place, budget, catch, contain};
use picot_loop::{Closed, LoopHandle, Task};
use slab::Slab;

use crate::limit::within;
use crate::operation_error::About;
use crate::protocol::Connections;
use crate::report::report;
use crate::signal::Signal;

pub use builder::ServerBuilder;
pub use listen::Listener;

/// How long a listener rests when accepting has failed, as for want of descriptors: the next try would most likely fail, too.
const REST: Duration = Duration::from_secs(1);

/// A server: listeners, and a handler for each connection that they accept.
///
/// It serves from the moment it is made. Each connection has a task of its own, named after its peer: an error that the
/// handler returns goes to the loop's error hook under that name, with the place where the handler was given, and so do panics
/// and slow steps. A handler that is cancelled is no error. With [`serve_protocol`](ServerBuilder::serve_protocol) there are
/// callbacks instead of tasks.
///
/// If accepting fails, as for want of descriptors, that is reported, and the listener rests for a second, or until a socket of
/// this thread is closed; connections wait in its backlog meanwhile.
///
/// Dropping the server closes it: connections that are open stay so.
///
/// ```
/// use std::time::Duration;
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use picot_net::{Server, TcpStream};
///
/// picot_loop::run(async {
///     let server = Server::builder().max_connections(1_000).bind("127.0.0.1:0").await?.serve(|mut stream, _peer| async move {
///         stream.write_all(b"goodbye").await
///     })?;
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
    /// Those that tasks handle.
    clients: RefCell<Slab<Client>>,
    /// Those that protocols handle.
    connections: Option<Connections>,
    max: usize,
    /// The loop whose tasks accept.
    handle: LoopHandle,
    /// Something ended: a client, a listener, the server. It is the signal of `connections`, where there are any.
    changed: Rc<Signal>,
    acceptors: RefCell<Vec<Task<()>>>,
    /// How many listeners are still open.
    listening: Cell<usize>,
    addresses: Vec<SocketAddr>,
    is_closed: Cell<bool>,
    is_served: Cell<bool>,
}

/// What begins with a connection that a listener has accepted.
type Start<L> = dyn Fn(&Rc<Shared>, <L as listen::Accept>::Stream, <L as listen::Accept>::Peer);

/// A connection that a task handles.
struct Client {
    task: Task<()>,
    link: Weak<dyn Link>,
}

/// A connection that its handler owns, as far as a server may end it.
pub(crate) trait Link {
    /// Lets the handler read an end.
    fn end_reading(&self);
    /// Lets the peer know, when the connection is closed, that it was not in order.
    fn reset_on_close(&self);
}

impl Server {
    /// Options of a server, before it serves.
    pub fn builder<L>() -> ServerBuilder<L> {
        ServerBuilder::new()
    }

    /// The addresses at which it listens, in the order in which they were bound; none when it is closed. Unix sockets are
    /// not among them.
    #[doc(alias = "sockets")]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        if self.is_closed() { Vec::new() } else { self.shared.addresses.clone() }
    }

    /// How many connections are open.
    pub fn clients(&self) -> usize {
        self.shared.clients()
    }

    /// Whether it is closed, and accepts nothing any more.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed.get()
    }

    /// Stops listening, in the next turn. Connections that are open stay so. Closing twice is fine.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Waits until the server is closed, no listener is open, and all connections have ended. The end of its loop closes it, too.
    ///
    /// # If dropped
    /// Nothing happens.
    pub async fn wait_closed(&self) {
        let shared = &self.shared;
        // The last listener that ends closes the server.
        shared.changed.until(|| shared.listening.get() == 0 && shared.clients() == 0).await;
    }

    /// Waits until the server is closed and all connections have ended. To be used where a program does nothing but serve.
    ///
    /// # Errors
    /// If the server is closed already, or another call of this waits; and if the server has ended because its loop was
    /// closed.
    ///
    /// # If dropped
    /// The server is closed.
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
        let _closes = CloseOnDrop(&self.shared);
        self.wait_closed().await;
        if self.shared.handle.is_closed() {
            return Err(io::Error::other(Closed::new()).about(format_args!("serve on: {self} has ended")));
        }
        Ok(())
    }

    /// Closes the server, lets the connections end by themselves for as long as `deadline`, and aborts those that have not
    /// by then. Returns how many these were.
    ///
    /// # If dropped
    /// The server is closed; no connection is aborted.
    pub async fn shutdown(&self, deadline: Duration) -> usize {
        self.close();
        let ended = async {
            self.wait_closed().await;
            Ok(())
        };
        if within(Some(deadline), "shutting down", ended).await.is_ok() {
            return 0;
        }
        let late = self.clients();
        self.abort_clients();
        self.wait_closed().await;
        late
    }

    /// Asks all connections to end: a handler reads an end, as if its peer had sent everything, and may still answer; a
    /// protocol's transport is closed.
    pub fn close_clients(&self) {
        for client in self.shared.links() {
            client.end_reading();
        }
        if let Some(connections) = &self.shared.connections {
            connections.close_all();
        }
    }

    /// Ends all connections: handlers are cancelled, transports aborted, and peers see a reset.
    pub fn abort_clients(&self) {
        for client in self.shared.links() {
            client.reset_on_close();
        }
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
        for acceptor in self.acceptors.take() {
            acceptor.cancel("the server is closed");
        }
        self.changed.notify();
    }

    /// Accepts until it is cancelled.
    async fn accept<L: Listener>(open: Open<L>, start: Rc<Start<L>>) {
        let Open { listener, listening: Listening(shared) } = &open;
        loop {
            // The back-pressure: connections wait in the backlog.
            shared.changed.until(|| shared.clients() < shared.max).await;
            match listener.accept().await {
                Ok((stream, peer)) => start(shared, stream, peer),
                Err(error) => {
                    report(Cause::Io(error));
                    listener.rest().begin(REST);
                }
            }
        }
    }

    /// Runs a handler as a task. The handler is called inside of the task, so that a panic ends this client only, and so that its
    /// future is made where it stays, and not moved there from a second place as large.
    ///
    /// The future is polled and dropped in a slot: a panic in its poll would unwind through this wrapper otherwise, and a second
    /// one in its drop would abort the process.
    fn spawn<F>(
        self: &Rc<Self>,
        place: Place,
        name: String,
        link: Weak<dyn Link>,
        handler: impl FnOnce() -> F + 'static,
    ) where
        F: Future<Output = io::Result<()>> + 'static,
    {
        // The key is free until it is used, because only the tasks that accept take keys. The table is not borrowed while the
        // task is made, because the loop's hooks run then.
        let key = self.clients.borrow().vacant_key();
        let leave = Leave { shared: self.clone(), key };
        let handle = LoopHandle::current();
        let task = handle.build_task().name(name).at(place).spawn(async move {
            // Outlives the handler's future, so that nothing is left of the client when its end is notified.
            let _leave = leave;
            let mut slot = pin!(Some(catch(handler).unwrap_or_else(|payload| unwind(payload))));
            match poll_fn(|cx| contain::poll(slot.as_mut(), cx)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => report(Cause::Failed(error.into())),
                Err(payload) => unwind(payload),
            }
        });
        let inserted = self.clients.borrow_mut().insert(Client { task, link });
        debug_assert_eq!(inserted, key, "nobody has come in between");
    }
}

/// Goes on with a panic, which ends the task: its executor reports it once.
fn unwind(payload: Payload) -> ! {
    resume_unwind(payload.take().expect("the payload was caught just now, and has one owner"))
}

/// A client, for as long as its task has not ended.
struct Leave {
    shared: Rc<Shared>,
    key: usize,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let client = self.shared.clients.borrow_mut().remove(self.key);
        drop(client);
        self.shared.changed.notify();
    }
}

/// A listener of a server, from before its task is spawned. It is closed first, and second is told to be.
struct Open<L> {
    listener: L,
    listening: Listening,
}

/// Counts a listener as open.
struct Listening(Rc<Shared>);

impl Drop for Listening {
    fn drop(&mut self) {
        let left = self.0.listening.get() - 1;
        self.0.listening.set(left);
        if left == 0 {
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

/// The server, with the addresses that it was bound to.
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
