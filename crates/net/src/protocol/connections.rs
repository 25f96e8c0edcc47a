//! A set of connections, which one task serves.
//!
//! Invariants:
//! - A connection keeps its slot until it is lost. While there is something to do for it, the
//!   slot's number is in the ready list, or in the queue that was taken from that list.
//! - A number may outlive its connection. The connection that has the slot next is then driven once
//!   without need, which is harmless.
//! - Slots are assigned and freed between batches only. So a batch can iterate over them while
//!   callbacks add and end connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::{WaitInfo, WaitKind, catch};
use picot_reactor::ReadyList;

use super::connection::{Connection, Io};
use super::receive::{Callbacks, Own, Reading, Shared};
use super::slots::Slots;
use super::transport::Transport;
use super::{BufferedProtocol, Protocol};
use crate::address::Address;
use crate::condition::Condition;
use crate::open::open_loop;
use crate::stream::TcpStream;
#[cfg(unix)]
use crate::unix::UnixStream;

/// How many bytes are read at once, into memory that all connections share.
const BUFFER: usize = 64 * 1024;

/// How many connections one step of the task drives; then other tasks have their turn. It equals
/// the number of events that one wait of the reactor returns at most, so that all of them can be
/// served in one step.
const BATCH: usize = 256;

/// After how many bytes a step ends early, so that connections with little data do not wait for
/// many that have much.
const BYTES: isize = 1024 * 1024;

/// A set of connections that call protocols. Clones are handles of the same set.
///
/// One task serves all connections of a set, and they share the memory that is read into: a
/// connection that is idle costs a few hundred bytes and no task. A [`Server`](crate::Server) has a
/// set of its own; a client that has many connections makes them in one set. The task ends when the
/// last handle is dropped and the last connection is lost.
///
/// If the loop is closed before that, connections are closed and protocols dropped, without another
/// callback; so are connections that are added later.
///
/// ```
/// use std::cell::RefCell;
/// use std::rc::Rc;
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use picot_net::{Connections, Protocol, TcpListener, Transport};
///
/// struct Greet(Rc<RefCell<Vec<u8>>>);
///
/// impl Protocol for Greet {
///     fn made(&mut self, transport: &Transport) {
///         transport.write(b"hello").unwrap();
///     }
///
///     fn data(&mut self, transport: &Transport, data: &[u8]) {
///         self.0.borrow_mut().extend_from_slice(data);
///         transport.close();
///     }
/// }
///
/// picot_loop::run(async {
///     let listener = TcpListener::bind("127.0.0.1:0").await?;
///     let received = Rc::new(RefCell::new(Vec::new()));
///     let connections = Connections::new()?;
///     connections.connect(listener.local_addr()?, Greet(received.clone())).await?;
///
///     let (mut stream, _) = listener.accept().await?;
///     let mut greeting = [0; 5];
///     stream.read_exact(&mut greeting).await?;
///     stream.write_all(b"goodbye").await?;
///     assert_eq!(stream.read(&mut [0]).await?, 0);
///     assert_eq!((&greeting, &received.borrow()[..]), (b"hello", &b"goodbye"[..]));
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[derive(Clone)]
pub struct Connections {
    handle: Rc<Handle>,
}

/// The last clone wakes the task when it is dropped, so that the task can end.
struct Handle(Rc<Set>);

struct Set {
    connections: RefCell<Slots>,
    /// Connections that have no slot yet.
    newcomers: RefCell<Vec<Rc<Connection>>>,
    /// The slots of connections for which there is something to do.
    ready: ReadyList,
    /// No handle is left.
    is_abandoned: Cell<bool>,
    /// The loop is closed, so no task serves the connections any more.
    is_closed: Cell<bool>,
    /// Notified when a connection has ended.
    changed: Rc<Condition>,
}

/// Slots that were taken from the ready list. The first `served` of them had their turn. Kept
/// between steps to reuse its memory.
#[derive(Default)]
struct Queue {
    slots: Vec<usize>,
    served: usize,
}

/// The state of the task. Dropping it closes all connections, because no task serves them any more.
struct Serving {
    set: Rc<Set>,
    queue: Queue,
    reading: Reading,
}

impl Connections {
    /// Makes an empty set, and spawns the task that serves it.
    ///
    /// # Errors
    /// If this thread has no loop, or it is closed.
    ///
    /// ```
    /// use picot_net::Connections;
    ///
    /// # picot_loop::run(async {
    /// let connections = Connections::new()?;
    /// assert!(connections.is_empty());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn new() -> io::Result<Connections> {
        let handle = open_loop()?;
        let set = Rc::new(Set {
            connections: RefCell::default(),
            newcomers: RefCell::default(),
            ready: ReadyList::new(),
            is_abandoned: Cell::new(false),
            is_closed: Cell::new(false),
            changed: Rc::default(),
        });
        let mut serving = Serving { set: set.clone(), queue: Queue::default(), reading: Reading::default() };
        drop(handle.spawn(poll_fn(move |cx| serving.poll(cx))));
        Ok(Connections { handle: Rc::new(Handle(set)) })
    }

    /// Connects to `address`, as [`TcpStream::connect`] does, and attaches `protocol` to the
    /// connection.
    ///
    /// # Errors
    /// As for [`TcpStream::connect`]; the protocol is dropped, without a callback.
    ///
    /// # If dropped
    /// The connection is not made, or closed again, and the protocol dropped without a callback.
    ///
    /// ```
    /// use picot_net::{Connections, TcpListener};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let connections = Connections::new()?;
    /// let transport = connections.connect(listener.local_addr()?, Quiet).await?;
    /// let (stream, _) = listener.accept().await?;
    /// transport.write(b"hello")?;
    /// assert_eq!(stream.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "create_connection")]
    pub async fn connect(&self, address: impl Into<Address>, protocol: impl Protocol) -> io::Result<Transport> {
        Ok(self.adopt(TcpStream::connect(address).await?, protocol))
    }

    /// Attaches `protocol` to a connection. Its first callback comes in the next turn.
    ///
    /// ```
    /// use picot_net::{Connections, TcpListener, TcpStream};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let connections = Connections::new()?;
    /// // A stream until here, and a protocol from here on.
    /// let (stream, _) = listener.accept().await?;
    /// let transport = connections.adopt(stream, Quiet);
    /// transport.write(b"hello")?;
    /// assert_eq!(client.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[doc(alias = "connect_accepted_socket")]
    pub fn adopt(&self, stream: TcpStream, protocol: impl Protocol) -> Transport {
        self.adopt_io(stream.into(), protocol)
    }

    /// Attaches a protocol that reads into its own buffer; see [`adopt`](Connections::adopt).
    ///
    /// ```
    /// use picot_net::{BufferedProtocol, Connections, TcpListener, TcpStream, Transport};
    ///
    /// struct Echo([u8; 64]);
    ///
    /// impl BufferedProtocol for Echo {
    ///     fn buffer(&mut self) -> &mut [u8] {
    ///         &mut self.0
    ///     }
    ///
    ///     fn filled(&mut self, transport: &Transport, length: usize) {
    ///         let _ = transport.write(&self.0[..length]);
    ///     }
    /// }
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let client = TcpStream::connect(listener.local_addr()?).await?;
    ///     let connections = Connections::new()?;
    ///     connections.adopt_buffered(listener.accept().await?.0, Echo([0; 64]));
    ///     client.write_all(b"hello").await?;
    ///     assert_eq!(client.read(&mut [0; 16]).await?, 5);
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    pub fn adopt_buffered(&self, stream: TcpStream, protocol: impl BufferedProtocol) -> Transport {
        self.adopt_io_buffered(stream.into(), protocol)
    }

    /// Attaches `protocol` to a connection over a Unix socket; see [`adopt`](Connections::adopt).
    ///
    /// ```
    /// use picot_net::{Connections, UnixStream};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// let (near, far) = UnixStream::pair()?;
    /// let connections = Connections::new()?;
    /// let transport = connections.adopt_unix(near, Quiet);
    /// transport.write(b"hello")?;
    /// assert_eq!(far.read(&mut [0; 16]).await?, 5);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    #[cfg(unix)]
    pub fn adopt_unix(&self, stream: UnixStream, protocol: impl Protocol) -> Transport {
        self.adopt_io(stream.into(), protocol)
    }

    /// The number of connections.
    ///
    /// ```
    /// use picot_net::{Connections, TcpListener};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let connections = Connections::new()?;
    /// for _ in 0..3 {
    ///     connections.connect(listener.local_addr()?, Quiet).await?;
    /// }
    /// assert_eq!(connections.len(), 3);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn len(&self) -> usize {
        self.handle.0.len()
    }

    /// Whether the set has no connection.
    ///
    /// ```
    /// use picot_net::{Connections, TcpListener};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let connections = Connections::new()?;
    /// connections.connect(listener.local_addr()?, Quiet).await?;
    /// assert!(!connections.is_empty());
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until the set is empty: for each connection `lost` was called, its protocol dropped
    /// and its socket closed.
    ///
    /// It returns at once if the set is empty, and also waits for connections that are added
    /// meanwhile. Call
    /// [`close_all`](Connections::close_all) before it to end a client gracefully.
    ///
    /// ```
    /// use picot_net::{Connections, Protocol, TcpListener, Transport};
    ///
    /// struct Send(&'static str);
    ///
    /// impl Protocol for Send {
    ///     fn made(&mut self, transport: &Transport) {
    ///         let _ = transport.write(self.0.as_bytes());
    ///         transport.close();
    ///     }
    ///
    ///     fn data(&mut self, _: &Transport, _: &[u8]) {}
    /// }
    ///
    /// picot_loop::run(async {
    ///     let listener = TcpListener::bind("127.0.0.1:0").await?;
    ///     let connections = Connections::new()?;
    ///     for text in ["one", "two"] {
    ///         connections.connect(listener.local_addr()?, Send(text)).await?;
    ///     }
    ///     connections.wait_empty().await;
    ///     for text in ["one", "two"] {
    ///         let (stream, _) = listener.accept().await?;
    ///         let mut buffer = [0; 8];
    ///         assert_eq!(stream.read(&mut buffer).await?, 3);
    ///         assert_eq!(&buffer[..3], text.as_bytes());
    ///     }
    ///     std::io::Result::Ok(())
    /// })
    /// .unwrap();
    /// ```
    ///
    /// # If dropped
    /// Nothing happens.
    pub async fn wait_empty(&self) {
        let about = || WaitInfo::new(WaitKind::Server, "the end of the connections");
        self.handle.0.changed.until_about(about, || self.is_empty()).await;
    }

    /// Closes all connections; see [`Transport::close`].
    ///
    /// ```
    /// use picot_net::{Connections, TcpListener};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let connections = Connections::new()?;
    /// connections.connect(listener.local_addr()?, Quiet).await?.write(b"sent before the close")?;
    /// connections.close_all();
    /// connections.wait_empty().await;
    /// let (stream, _) = listener.accept().await?;
    /// assert_eq!(stream.read(&mut [0; 64]).await?, 21);
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn close_all(&self) {
        self.handle.0.for_each(Connection::close);
    }

    /// Aborts all connections; see [`Transport::abort`].
    ///
    /// ```
    /// use picot_net::{Connections, TcpListener};
    ///
    /// # struct Quiet;
    /// #
    /// # impl picot_net::Protocol for Quiet {
    /// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
    /// # }
    /// #
    /// # picot_loop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// let connections = Connections::new()?;
    /// let transport = connections.connect(listener.local_addr()?, Quiet).await?;
    /// connections.abort_all();
    /// assert!(transport.is_closing());
    /// connections.wait_empty().await;
    /// # std::io::Result::Ok(())
    /// # })
    /// # .unwrap();
    /// ```
    pub fn abort_all(&self) {
        self.handle.0.for_each(Connection::abort);
    }

    /// Aborts all connections, so that their peers see a reset.
    pub(crate) fn reset_all(&self) {
        self.handle.0.for_each(Connection::reset);
    }

    pub(crate) fn adopt_io(&self, io: Io, protocol: impl Protocol) -> Transport {
        self.insert(io, Box::new(Shared(protocol)))
    }

    pub(crate) fn adopt_io_buffered(&self, io: Io, protocol: impl BufferedProtocol) -> Transport {
        self.insert(io, Box::new(Own(protocol)))
    }

    fn insert(&self, io: Io, callbacks: Box<dyn Callbacks>) -> Transport {
        let set = &self.handle.0;
        let connection = Connection::new(io, callbacks);
        let transport = connection.transport().clone();
        if set.is_closed.get() {
            // User code may run here, in the destructor of the protocol; no borrow is live.
            connection.abandon();
            return transport;
        }
        set.newcomers.borrow_mut().push(connection);
        set.ready.wake();
        transport
    }

    /// The condition that is notified whenever a connection has ended.
    pub(crate) fn changed(&self) -> Rc<Condition> {
        self.handle.0.changed.clone()
    }
}

impl Serving {
    /// One step of the task: drives connections in the order in which they entered the ready list.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Serving { set, queue, reading } = self;
        // Only here and in `take_slots`, between batches, so that a batch can iterate over the
        // slots.
        set.give_slots();
        let is_new = queue.served == queue.slots.len();
        if is_new {
            queue.slots.clear();
            queue.served = 0;
            // `Pending` means an empty list; the waker is registered for the next entry.
            let _ = set.ready.poll_take(cx, &mut queue.slots);
        }
        let end = queue.slots.len().min(queue.served + BATCH);
        if end > queue.served {
            // Allocated at the first event, so that a set without data costs little.
            if reading.buffer.is_empty() {
                reading.buffer.resize(BUFFER, 0);
            }
            reading.left = BYTES;
            let (served, ended) = set.drive(&queue.slots[queue.served..end], reading);
            queue.served += served;
            set.take_slots(ended);
        }
        // Entries that were added after the list was last taken have used up their wake-up, perhaps
        // for this step. So the task wakes itself unless it took the list in this step and served
        // all of it.
        if queue.served < queue.slots.len() || !is_new {
            cx.waker().wake_by_ref();
        }
        if set.is_abandoned.get() && set.len() == 0 {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Set {
    fn len(&self) -> usize {
        self.connections.borrow().len() + self.newcomers.borrow().len()
    }

    /// Calls `f` for each connection. `f` must not run user code, because the connections are
    /// borrowed.
    fn for_each(&self, f: impl Fn(&Connection)) {
        self.connections.borrow().iter().for_each(|connection| f(connection));
        self.newcomers.borrow().iter().for_each(|connection| f(connection));
    }

    fn give_slots(&self) {
        if self.newcomers.borrow().is_empty() {
            return;
        }
        // Taken out first: `list_in` may wake this task, whose waker is foreign code.
        for connection in self.newcomers.take() {
            let slot = self.connections.borrow_mut().insert(connection.clone());
            connection.list_in(&self.ready, slot);
        }
    }

    /// Drives the connections in these slots. Returns how many had their turn, and the slots of
    /// connections that ended.
    ///
    /// A callback that panics ends its own connection only. One `catch` covers all connections up
    /// to the next end or panic, which costs less than one for each.
    fn drive(&self, slots: &[usize], reading: &mut Reading) -> (usize, Vec<usize>) {
        let (next, mut ended) = (Cell::new(0), Vec::new());
        // A shared borrow during callbacks: they may add connections, which go to `newcomers`, and
        // end connections, which only sets flags. Both leave the slots unchanged.
        let connections = self.connections.borrow();
        let connections = connections.as_slice();
        loop {
            let until_an_end = catch(|| drive_on(connections, &slots[next.get()..], &next, reading));
            let payload = match until_an_end {
                Ok(false) => return (next.get(), ended),
                Ok(true) => None,
                Err(payload) => Some(payload),
            };
            let slot = slots[next.get() - 1];
            if let Some(Some(connection)) = connections.get(slot) {
                if let Some(payload) = payload {
                    connection.panicked(payload);
                }
                connection.end();
                ended.push(slot);
            }
        }
    }

    /// Closes the connections that have ended.
    fn take_slots(&self, ended: Vec<usize>) {
        for slot in ended {
            let closed = self.connections.borrow_mut().remove(slot);
            // Dropped after the borrow: closing notifies waiters, whose wakers are foreign code.
            drop(closed);
            self.changed.notify();
        }
    }
}

/// Drives the connections in these slots until enough bytes were read (`false`), or one has ended
/// (`true`).
///
/// `next` counts each connection before it is driven, so that the caller knows which one panicked.
/// A function of its own, so that its variables stay in registers.
#[inline(never)]
fn drive_on(
    connections: &[Option<Rc<Connection>>],
    slots: &[usize],
    next: &Cell<usize>,
    reading: &mut Reading,
) -> bool {
    for &slot in slots {
        if reading.left <= 0 {
            return false;
        }
        next.set(next.get() + 1);
        if matches!(connections.get(slot), Some(Some(connection)) if !connection.drive(reading)) {
            return true;
        }
    }
    false
}

impl Drop for Serving {
    fn drop(&mut self) {
        // Set first, and both lists taken out: destructors of protocols may add connections to the
        // set, which must be closed at once.
        self.set.is_closed.set(true);
        let connections = self.set.connections.take();
        let newcomers = self.set.newcomers.take();
        for connection in connections.iter().chain(&newcomers) {
            connection.abandon();
        }
        drop((connections, newcomers));
        self.set.changed.notify();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.is_abandoned.set(true);
        self.0.ready.wake();
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Connects to `address`, and attaches `protocol` to the connection, in a set of its own.
///
/// The set costs a task, and 64 KiB of memory to read into from the first data on. A program with
/// several connections makes one
/// [`Connections`], and [connects](Connections::connect) all of them there.
///
/// # Errors
/// As for [`Connections::connect`].
///
/// # If dropped
/// As for [`Connections::connect`].
///
/// ```
/// use picot_net::{TcpListener, connect_protocol};
///
/// # struct Quiet;
/// #
/// # impl picot_net::Protocol for Quiet {
/// #     fn data(&mut self, _: &picot_net::Transport, _: &[u8]) {}
/// # }
/// #
/// # picot_loop::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0").await?;
/// let transport = connect_protocol(listener.local_addr()?, Quiet).await?;
/// let (stream, _) = listener.accept().await?;
/// transport.write(b"hello")?;
/// assert_eq!(stream.read(&mut [0; 16]).await?, 5);
/// # std::io::Result::Ok(())
/// # })
/// # .unwrap();
/// ```
#[doc(alias = "create_connection")]
pub async fn connect_protocol(address: impl Into<Address>, protocol: impl Protocol) -> io::Result<Transport> {
    Connections::new()?.connect(address, protocol).await
}
