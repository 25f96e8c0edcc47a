//! A set of connections, which one task serves.
//!
//! The invariant: a connection has its slot until it is lost and is not in the list of the woken any more; so the list, which
//! goes by slots, never leads to another connection.

use std::cell::{Cell, OnceCell, RefCell};
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use picot_loop::LoopHandle;

use super::connection::{Connection, Io};
use super::receive::{Callbacks, Own, Shared};
use super::slots::Slots;
use super::token::{Token, Woken};
use super::transport::Transport;
use super::{BufferedProtocol, Protocol};
use crate::address::Address;
use crate::stream::TcpStream;
#[cfg(unix)]
use crate::unix::UnixStream;

/// So much is read at once, into memory that all connections share.
const BUFFER: usize = 64 * 1024;

/// So many connections are driven in one step of the task; then others have their turn.
const BATCH: usize = 64;

/// A set of connections that call protocols. Clones are handles of the same set.
///
/// One task serves all connections of a set, and they share the memory that is read into: a connection that is idle costs
/// its own few hundred bytes and no task. A [`Server`](crate::Server) has a set of its own; many connections to elsewhere are
/// best made in one set. The task ends when the last handle is dropped and the last connection lost.
///
/// If the loop is closed before that, connections are closed and protocols dropped, without another callback.
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
    woken: Arc<Woken>,
    /// Who was woken and has not had a turn, the first of them last. Kept between steps for its memory.
    queue: RefCell<Vec<Rc<Connection>>>,
    /// What is read into; empty until then.
    buffer: RefCell<Vec<u8>>,
    is_forsaken: Cell<bool>,
    on_end: OnceCell<Box<dyn Fn()>>,
}

/// The task's side: when it is dropped, nobody serves the connections any more.
struct Serving(Rc<Set>);

impl Connections {
    /// A set without connections, and the task that serves it.
    ///
    /// # Errors
    /// If this thread has no loop.
    ///
    /// # Panics
    /// If the loop is closed.
    pub fn new() -> io::Result<Connections> {
        let handle = LoopHandle::try_current()?;
        let set = Rc::new(Set {
            connections: RefCell::default(),
            woken: Woken::new(),
            queue: RefCell::default(),
            buffer: RefCell::default(),
            is_forsaken: Cell::new(false),
            on_end: OnceCell::new(),
        });
        let serving = Serving(set.clone());
        drop(handle.spawn(poll_fn(move |cx| serving.0.poll(cx))));
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
        self.handle.0.connections.borrow().len()
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes all connections; see [`Transport::close`].
    pub fn close_all(&self) {
        for connection in self.handle.0.connections.borrow().iter() {
            connection.close();
        }
    }

    /// Aborts all connections; see [`Transport::abort`].
    pub fn abort_all(&self) {
        for connection in self.handle.0.connections.borrow().iter() {
            connection.abort();
        }
    }

    pub(crate) fn adopt_io(&self, io: Io, protocol: impl Protocol) -> Transport {
        self.insert(io, Box::new(Shared(protocol)))
    }

    pub(crate) fn adopt_io_buffered(&self, io: Io, protocol: impl BufferedProtocol) -> Transport {
        self.insert(io, Box::new(Own(protocol)))
    }

    fn insert(&self, io: Io, callbacks: Box<dyn Callbacks>) -> Transport {
        let set = &self.handle.0;
        let make = |slot| Connection::new(io, callbacks, Token::new(&set.woken, slot));
        let connection = set.connections.borrow_mut().insert(make);
        connection.token.wake();
        Transport::new(connection)
    }

    /// Calls `on_end` whenever a connection has been lost. For the one owner of the set.
    pub(crate) fn on_end(&self, on_end: impl Fn() + 'static) {
        self.handle.0.on_end.get_or_init(|| Box::new(on_end));
    }
}

impl Set {
    /// One step of the task: drives whoever was woken, in the order in which that happened.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.woken.served_by(cx.waker());
        let (mut queue, mut buffer) = (self.queue.take(), self.buffer.take());
        self.take_woken(&mut queue);
        if buffer.is_empty() && !queue.is_empty() {
            buffer.resize(BUFFER, 0);
        }
        for _ in 0..BATCH {
            let Some(connection) = queue.pop() else { break };
            let transport = Transport::new(connection);
            if !Connection::drive(&transport, &mut buffer) {
                self.remove(transport.connection());
            }
        }
        if !queue.is_empty() {
            cx.waker().wake_by_ref();
        }
        self.queue.replace(queue);
        self.buffer.replace(buffer);
        if self.is_forsaken.get() && self.connections.borrow().len() == 0 {
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Puts those who were woken behind those who wait already.
    fn take_woken(&self, queue: &mut Vec<Rc<Connection>>) {
        let waiting = queue.len();
        let connections = self.connections.borrow();
        self.woken.take(|slot| {
            let connection = connections.get(slot)?;
            queue.push(connection.clone());
            Some(&*connection.token)
        });
        // The list and the queue both have the latest first; those who wait have been woken before.
        if waiting > 0 {
            queue.rotate_left(waiting);
        }
    }

    fn remove(&self, connection: &Connection) {
        // One that is in the list keeps its slot until it has left that, in one of the next steps.
        if connection.token.is_woken() {
            return;
        }
        let slot = connection.token.slot();
        let mut connections = self.connections.borrow_mut();
        // It may have waited twice for its turn, and have lost its slot in the first.
        if !connections.get(slot).is_some_and(|there| ptr::eq(&**there, connection)) {
            return;
        }
        let removed = connections.remove(slot);
        drop(connections);
        drop(removed);
        if let Some(on_end) = self.on_end.get() {
            on_end();
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        drop(self.0.queue.take());
        let connections = self.0.connections.take();
        for connection in connections.iter() {
            connection.forsake();
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.is_forsaken.set(true);
        self.0.woken.wake_task();
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// Connects to `address` and lets `protocol` have the connection, in a set of its own. For many connections, one set of
/// [`Connections`] is better.
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
