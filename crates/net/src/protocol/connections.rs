//! A set of connections, which one task serves.
//!
//! The invariants: a connection has its slot until it is lost, and its slot's number is in the list of the ready, or in the
//! queue that was taken from there, whenever there is something to do for it. Whoever has got the slot of one that was lost may
//! be looked at in its stead, and in vain. Slots are given and taken between batches only, so a batch goes through them as
//! they are, whatever the callbacks do.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll};

use picot_context::catch;
use picot_reactor::ReadyList;

use super::connection::{Connection, Io};
use super::receive::{Callbacks, Own, Reading, Shared};
use super::slots::Slots;
use super::transport::Transport;
use super::{BufferedProtocol, Protocol};
use crate::address::Address;
use crate::open::open_loop;
use crate::signal::Signal;
use crate::stream::TcpStream;
#[cfg(unix)]
use crate::unix::UnixStream;

/// So much is read at once, into memory that all connections share.
const BUFFER: usize = 64 * 1024;

/// So many connections are driven in one step of the task; then others have their turn. It is what a wait brings at the most,
/// and each of them would be a step of its own if it had a task.
const BATCH: usize = 256;

/// When so many bytes were read, the step ends earlier: those who bring little do not wait for many who bring much.
const BYTES: isize = 1024 * 1024;

/// A set of connections that call protocols. Clones are handles of the same set.
///
/// One task serves all connections of a set, and they share the memory that is read into: a connection that is idle costs
/// its own few hundred bytes and no task. A [`Server`](crate::Server) has a set of its own; many connections to elsewhere are
/// best made in one set. The task ends when the last handle is dropped and the last connection lost.
///
/// If the loop is closed before that, connections are closed and protocols dropped, without another callback; so are those
/// that are added later.
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

/// Tells the task when nobody has the set any more.
struct Handle(Rc<Set>);

struct Set {
    connections: RefCell<Slots>,
    /// Those who have no slot yet.
    newcomers: RefCell<Vec<Rc<Connection>>>,
    /// The slots of those who have something to do, and of those among them who were taken from there.
    ready: ReadyList,
    is_forsaken: Cell<bool>,
    /// The loop is closed, and nobody serves the connections any more.
    is_closed: Cell<bool>,
    /// A connection has ended.
    changed: Rc<Signal>,
}

/// Slots that were taken from the list, of which the first have had their turn. Kept between steps for its memory.
#[derive(Default)]
struct Queue {
    slots: Vec<usize>,
    served: usize,
}

/// The task's side: when it is dropped, nobody serves the connections any more.
struct Serving {
    set: Rc<Set>,
    queue: Queue,
    reading: Reading,
}

impl Connections {
    /// A set without connections, and the task that serves it.
    ///
    /// # Errors
    /// If this thread has no loop, or it is closed.
    pub fn new() -> io::Result<Connections> {
        let handle = open_loop()?;
        let set = Rc::new(Set {
            connections: RefCell::default(),
            newcomers: RefCell::default(),
            ready: ReadyList::new(),
            is_forsaken: Cell::new(false),
            is_closed: Cell::new(false),
            changed: Rc::default(),
        });
        let mut serving = Serving { set: set.clone(), queue: Queue::default(), reading: Reading::default() };
        drop(handle.spawn(poll_fn(move |cx| serving.poll(cx))));
        Ok(Connections { handle: Rc::new(Handle(set)) })
    }

    /// Connects to `address`, as [`TcpStream::connect`] does, and lets `protocol` have the connection.
    ///
    /// # Errors
    /// As for [`TcpStream::connect`]; the protocol is dropped, without a callback.
    ///
    /// # If dropped
    /// The connection is not made, or closed again, and the protocol dropped without a callback.
    #[doc(alias = "create_connection")]
    pub async fn connect(&self, address: impl Into<Address>, protocol: impl Protocol) -> io::Result<Transport> {
        Ok(self.adopt(TcpStream::connect(address).await?, protocol))
    }

    /// Lets `protocol` have a connection. Its first callback comes in the next turn.
    #[doc(alias = "connect_accepted_socket")]
    pub fn adopt(&self, stream: TcpStream, protocol: impl Protocol) -> Transport {
        self.adopt_io(stream.into(), protocol)
    }

    /// Lets a protocol that brings its own buffer have a connection; see [`adopt`](Connections::adopt).
    pub fn adopt_buffered(&self, stream: TcpStream, protocol: impl BufferedProtocol) -> Transport {
        self.adopt_io_buffered(stream.into(), protocol)
    }

    /// Lets `protocol` have a connection over a Unix socket; see [`adopt`](Connections::adopt).
    #[cfg(unix)]
    pub fn adopt_unix(&self, stream: UnixStream, protocol: impl Protocol) -> Transport {
        self.adopt_io(stream.into(), protocol)
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.handle.0.len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Waits until there is no connection: of all that there were, `lost` was called, the protocol dropped and the socket
    /// closed. It returns at once if there is none, and waits also for those that are added meanwhile. Together with
    /// [`close_all`](Connections::close_all) it is the graceful end of a client.
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
        self.handle.0.changed.until(|| self.is_empty()).await;
    }

    /// Closes all connections; see [`Transport::close`].
    pub fn close_all(&self) {
        self.handle.0.for_each(Connection::close);
    }

    /// Aborts all connections; see [`Transport::abort`].
    pub fn abort_all(&self) {
        self.handle.0.for_each(Connection::abort);
    }

    /// Aborts all connections, whose peers see a reset.
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
            connection.forsake();
            return transport;
        }
        set.newcomers.borrow_mut().push(connection);
        set.ready.wake();
        transport
    }

    /// What is notified whenever a connection has ended.
    pub(crate) fn changed(&self) -> Rc<Signal> {
        self.handle.0.changed.clone()
    }
}

impl Serving {
    /// One step of the task: drives those who have something to do, in the order in which they were listed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Serving { set, queue, reading } = self;
        set.give_slots();
        let is_new = queue.served == queue.slots.len();
        if is_new {
            queue.slots.clear();
            queue.served = 0;
            let _ = set.ready.poll_take(cx, &mut queue.slots);
        }
        let end = queue.slots.len().min(queue.served + BATCH);
        if end > queue.served {
            if reading.buffer.is_empty() {
                reading.buffer.resize(BUFFER, 0);
            }
            reading.left = BYTES;
            let (served, ended) = set.drive(&queue.slots[queue.served..end], reading);
            queue.served += served;
            set.take_slots(ended);
        }
        // What was listed since the last that was taken has woken the task already, which may have been for this step.
        if queue.served < queue.slots.len() || !is_new {
            cx.waker().wake_by_ref();
        }
        if set.is_forsaken.get() && set.len() == 0 {
            return Poll::Ready(());
        }
        Poll::Pending
    }
}

impl Set {
    fn len(&self) -> usize {
        self.connections.borrow().len() + self.newcomers.borrow().len()
    }

    /// Calls something for each connection that lets no callback run.
    fn for_each(&self, f: impl Fn(&Connection)) {
        self.connections.borrow().iter().for_each(|connection| f(connection));
        self.newcomers.borrow().iter().for_each(|connection| f(connection));
    }

    fn give_slots(&self) {
        if self.newcomers.borrow().is_empty() {
            return;
        }
        for connection in self.newcomers.take() {
            let slot = self.connections.borrow_mut().insert(connection.clone());
            connection.list_in(&self.ready, slot);
        }
    }

    /// Drives the connections in these slots. Returns how many had their turn, and the slots of those that have ended. Panics
    /// of callbacks are caught once for all: each ends its connection, and the others go on.
    fn drive(&self, slots: &[usize], reading: &mut Reading) -> (usize, Vec<usize>) {
        let (next, mut ended) = (Cell::new(0), Vec::new());
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
            drop(closed);
            self.changed.notify();
        }
    }
}

/// Drives the connections in these slots, each counted in `next` beforehand, until enough was read, or one has ended, which it
/// returns, or panics. A function of its own, so that what it needs is in registers.
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
        self.set.is_closed.set(true);
        let connections = self.set.connections.take();
        let newcomers = self.set.newcomers.take();
        for connection in connections.iter().chain(&newcomers) {
            connection.forsake();
        }
        drop((connections, newcomers));
        self.set.changed.notify();
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.is_forsaken.set(true);
        self.0.ready.wake();
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Connects to `address` and lets `protocol` have the connection, in a set of its own: that is a task, and from the first data
/// that comes 64 KiB to read into, for this one connection. A program that has several makes one set of [`Connections`], and
/// there [connects](Connections::connect) them all.
///
/// # Errors
/// As for [`Connections::connect`].
///
/// # If dropped
/// As for [`Connections::connect`].
#[doc(alias = "create_connection")]
pub async fn connect_protocol(address: impl Into<Address>, protocol: impl Protocol) -> io::Result<Transport> {
    Connections::new()?.connect(address, protocol).await
}
