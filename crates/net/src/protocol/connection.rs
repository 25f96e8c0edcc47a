//! One connection of a set: its socket, its protocol, and the order in which things happen to them.
//!
//! The invariants: callbacks are called by `drive` alone, which never runs inside of itself, and with nothing borrowed;
//! whatever a call to the transport causes is noted, and done by the next `drive`, or by the loop of the running one; `lost` is
//! the last callback, and after it the socket is closed, whoever still holds the transport.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Read, Write};
use std::net::{self, Shutdown};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use picot_context::{Kind, Origin, Payload, Report, TaskInfo, catch};
use picot_reactor::{Direction, Source};
use socket2::SockRef;

use super::Eof;
use super::outgoing::Outgoing;
use super::receive::{Callbacks, Received};
use super::token::Token;
use super::transport::Transport;
use crate::duplex::unless_ended;
use crate::stream::TcpStream;
#[cfg(unix)]
use crate::unix::UnixStream;

/// More than this waiting to go out pauses a protocol, unless it sets another mark; a quarter of it resumes it.
const HIGH: u32 = 64 * 1024;

/// The socket of a connection, of whatever family.
pub(crate) enum Io {
    Tcp(Source<net::TcpStream>),
    #[cfg(unix)]
    Unix(Source<std::os::unix::net::UnixStream>),
}

/// Does the same with either kind of socket.
macro_rules! either {
    ($io:expr, $source:ident => $result:expr) => {
        match $io {
            Io::Tcp($source) => $result,
            #[cfg(unix)]
            Io::Unix($source) => $result,
        }
    };
}

pub(super) struct Connection {
    /// `None` when it is closed.
    io: RefCell<Option<Io>>,
    /// `None` while it is called, and when the connection is lost.
    callbacks: Cell<Option<Box<dyn Callbacks>>>,
    pub(super) token: Arc<Token>,
    /// The token, as the reactor knows it.
    waker: Waker,
    outgoing: Cell<Option<Box<Outgoing>>>,
    /// How many bytes are in there.
    unsent: Cell<usize>,
    /// Why the connection ends, if not in order.
    error: Cell<Option<io::Error>>,
    /// The high and the low mark of what waits to go out. They are small, so that a connection is.
    marks: Cell<(u32, u32)>,
    /// What keeps it from reading; mostly nothing.
    stops: Cell<Stops>,
    /// Something other than reading is to be done: something to send, to tell or to end.
    is_attended: Cell<bool>,
    is_driven: Cell<bool>,
    /// A write has been tried in this turn; what follows goes out together.
    has_written: Cell<bool>,
    /// The protocol was told to pause writing.
    was_told_to_pause: Cell<bool>,
    write_end: Cell<WriteEnd>,
}

/// Reasons for not reading, as bits.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stops(u8);

impl Stops {
    const NONE: Stops = Stops(0);
    /// The protocol has not been told of its connection.
    const NEW: Stops = Stops(1);
    const PAUSED: Stops = Stops(2);
    /// The peer has sent everything.
    const AT_END: Stops = Stops(4);
    /// To be closed when everything has gone out.
    const CLOSING: Stops = Stops(8);
    /// To be closed at once.
    const ABORTED: Stops = Stops(16);
    /// Closed.
    const LOST: Stops = Stops(32);
    /// An error ends it.
    const FAILED: Stops = Stops(64);

    const fn or(self, other: Stops) -> Stops {
        Stops(self.0 | other.0)
    }

    const fn without(self, other: Stops) -> Stops {
        Stops(self.0 & !other.0)
    }

    const fn has_any(self, other: Stops) -> bool {
        self.0 & other.0 != 0
    }
}

/// The end of the writing direction.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WriteEnd {
    Open,
    /// To be sent when everything has gone out.
    Asked,
    Sent,
}

impl Io {
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        either!(self, source => {
            source.poll_transfer(cx, Direction::Read, buffer.len(), |mut stream| stream.read(buffer))
        })
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        either!(self, source => {
            source.poll_transfer(cx, Direction::Write, length, |mut stream| stream.write_vectored(slices))
        })
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, source => source.try_io(Direction::Write, |mut stream| stream.write(bytes)))
    }

    fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, source => source.poll_ready(cx, Direction::Read))
    }

    fn end_writing(&self) -> io::Result<()> {
        unless_ended(either!(self, source => source.get_ref().shutdown(Shutdown::Write)))
    }

    fn socket(&self) -> SockRef<'_> {
        either!(self, source => SockRef::from(source.get_ref()))
    }
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Io {
        Io::Tcp(stream.into_source())
    }
}

#[cfg(unix)]
impl From<UnixStream> for Io {
    fn from(stream: UnixStream) -> Io {
        Io::Unix(stream.into_source())
    }
}

impl Connection {
    pub(super) fn new(io: Io, callbacks: Box<dyn Callbacks>, token: Arc<Token>) -> Rc<Connection> {
        Rc::new(Connection {
            io: RefCell::new(Some(io)),
            callbacks: Cell::new(Some(callbacks)),
            waker: token.clone().into(),
            token,
            outgoing: Cell::new(None),
            unsent: Cell::new(0),
            error: Cell::new(None),
            marks: Cell::new((HIGH, HIGH / 4)),
            stops: Cell::new(Stops::NEW),
            is_attended: Cell::new(false),
            is_driven: Cell::new(false),
            has_written: Cell::new(false),
            was_told_to_pause: Cell::new(false),
            write_end: Cell::new(WriteEnd::Open),
        })
    }

    /// Does whatever there is to do. Returns whether the connection lives on.
    pub(super) fn drive(self: &Rc<Self>, buffer: &mut [u8]) -> bool {
        let Some(mut callbacks) = self.callbacks.take() else { return false };
        let transport = Transport::new(self.clone());
        self.is_driven.set(true);
        // A drive that was woken for room to send finds nothing else to tell it so.
        self.is_attended.set(self.is_attended.get() || self.unsent.get() > 0);
        if let Err(payload) = catch(|| self.serve(&transport, &mut *callbacks, buffer)) {
            self.report(payload);
            self.fail(io::Error::other("a callback of the protocol has panicked"));
        }
        self.is_driven.set(false);
        if !self.is_over() {
            self.callbacks.set(Some(callbacks));
            return true;
        }
        self.release();
        let error = self.error.take();
        let lost = catch(move || {
            callbacks.lost(error);
            drop(callbacks);
        });
        if let Err(payload) = lost {
            self.report(payload);
        }
        false
    }

    fn serve(&self, transport: &Transport, callbacks: &mut dyn Callbacks, buffer: &mut [u8]) {
        if self.has_any(Stops::NEW) {
            self.lift(Stops::NEW);
            callbacks.made(transport);
        }
        self.has_written.set(false);
        loop {
            while self.is_attended.replace(false) {
                // Told of before it is sent, also if it all goes out then: whoever has seen it wait is told to go on.
                self.tell_of_marks(transport, callbacks);
                self.flush();
                if self.is_over() {
                    return;
                }
                self.tell_of_marks(transport, callbacks);
            }
            self.has_written.set(false);
            if !self.is_reading() {
                return;
            }
            match callbacks.receive(transport, buffer) {
                Received::Data => {}
                Received::Last if self.is_attended.get() => {}
                Received::Last => match self.poll_readable() {
                    Poll::Pending => return,
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => self.fail(error),
                },
                Received::Nothing => return,
                Received::End => {
                    self.stop(Stops::AT_END);
                    if callbacks.eof(transport) == Eof::Close {
                        self.stop(Stops::CLOSING);
                    }
                    self.is_attended.set(true);
                }
                Received::Error(error) => self.fail(error),
            }
        }
    }

    /// Waits for more to read, unless there is.
    fn poll_readable(&self) -> Poll<io::Result<()>> {
        match &*self.io.borrow() {
            Some(io) => io.poll_readable(&mut Context::from_waker(&self.waker)),
            None => Poll::Pending,
        }
    }

    /// Reads once, for a protocol.
    pub(super) fn poll_read(&self, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        match &*self.io.borrow() {
            Some(io) => io.poll_read(&mut Context::from_waker(&self.waker), buffer),
            None => Poll::Pending,
        }
    }

    /// Sends what waits, as far as there is room; when nothing waits any more, the end, if it was asked for.
    fn flush(&self) {
        if let Some(mut outgoing) = self.outgoing.take() {
            while outgoing.len() > 0 {
                let io = self.io.borrow();
                let Some(io) = &*io else { return };
                let sent = outgoing.send(|slices| match io.poll_write(&mut Context::from_waker(&self.waker), slices) {
                    Poll::Ready(Ok(0)) => Err(Some(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(sent)) => Ok(sent),
                    Poll::Ready(Err(error)) => Err(Some(error)),
                    Poll::Pending => Err(None),
                });
                self.unsent.set(outgoing.len());
                match sent {
                    Ok(()) => {}
                    Err(None) => {
                        self.outgoing.set(Some(outgoing));
                        return;
                    }
                    Err(Some(error)) => return self.fail(error),
                }
            }
        }
        if self.write_end.get() == WriteEnd::Asked {
            self.write_end.set(WriteEnd::Sent);
            let ended = self.io.borrow().as_ref().map_or(Ok(()), Io::end_writing);
            if let Err(error) = ended {
                self.fail(error);
            }
        }
    }

    /// Tells the protocol to pause or resume writing, if it should. It may cause more to be attended to.
    fn tell_of_marks(&self, transport: &Transport, callbacks: &mut dyn Callbacks) {
        let ((high, low), unsent) = (self.marks.get(), self.unsent.get());
        let was_told = self.was_told_to_pause.get();
        if !was_told && unsent > high as usize {
            self.was_told_to_pause.set(true);
            callbacks.pause_writing(transport);
        } else if was_told && unsent <= low as usize {
            self.was_told_to_pause.set(false);
            callbacks.resume_writing(transport);
        }
    }

    fn is_over(&self) -> bool {
        let at_once = Stops::ABORTED.or(Stops::FAILED);
        self.has_any(at_once) || (self.has_any(Stops::CLOSING) && self.unsent.get() == 0)
    }

    /// The connection ends with this error; the first one counts.
    fn fail(&self, error: io::Error) {
        let first = self.error.take();
        self.error.set(Some(first.unwrap_or(error)));
        self.stop(Stops::FAILED);
        self.attend();
    }

    fn has_any(&self, stops: Stops) -> bool {
        self.stops.get().has_any(stops)
    }

    fn stop(&self, stops: Stops) {
        self.stops.set(self.stops.get().or(stops));
    }

    fn lift(&self, stops: Stops) {
        self.stops.set(self.stops.get().without(stops));
    }

    /// Closes the socket and lets go of everything but the protocol.
    fn release(&self) {
        self.stop(Stops::LOST);
        self.outgoing.set(None);
        self.unsent.set(0);
        let io = self.io.borrow_mut().take();
        drop(io);
    }

    /// The set is gone, and with it whoever would drive the connection.
    pub(super) fn forsake(&self) {
        self.release();
        drop(self.callbacks.take());
    }

    fn report(&self, payload: Payload) {
        let Some(host) = picot_context::host() else { return };
        // Under the peer's address: the task serves many connections, and so its name says little.
        let peer = self.with_socket(|socket| socket.peer_addr()).ok().and_then(|peer| peer.as_socket());
        let origin = match (picot_context::current(), peer) {
            (Some(task), Some(peer)) => {
                Origin::task(TaskInfo::new(task.id(), Some(&format!("connection of {peer}")), task.place()))
            }
            (Some(task), None) => Origin::task(task),
            (None, _) => Origin::new(Kind::Callback),
        };
        host.report(Report::panic(origin, payload));
    }

    /// Lets `drive` look at everything: the running one, or the next.
    fn attend(&self) {
        self.is_attended.set(true);
        if !self.is_driven.get() {
            self.token.wake();
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.unsent.get()
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        if self.write_end.get() != WriteEnd::Open {
            let text = "the transport's writing direction was ended by `write_eof`; write before that";
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, text));
        }
        if self.is_closing() {
            return Err(io::Error::new(io::ErrorKind::NotConnected, "the transport is closed, or its connection lost"));
        }
        let mut rest = bytes;
        if self.unsent.get() == 0 && !self.has_written.replace(true) {
            if !self.is_driven.get() {
                // What follows in this turn is collected, and the next step sends it.
                self.token.wake();
            }
            let sent = match &*self.io.borrow() {
                Some(io) => io.try_write(bytes),
                None => return Ok(()),
            };
            match sent {
                Ok(sent) if sent == bytes.len() => return Ok(()),
                Ok(sent) => rest = &bytes[sent..],
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => {
                    let kind = error.kind();
                    self.fail(error);
                    return Err(kind.into());
                }
            }
        }
        if !rest.is_empty() {
            let mut outgoing = self.outgoing.take().unwrap_or_default();
            outgoing.push(rest);
            self.unsent.set(outgoing.len());
            self.outgoing.set(Some(outgoing));
            self.attend();
        }
        Ok(())
    }

    pub(super) fn end_writing(&self) {
        if self.write_end.get() == WriteEnd::Open {
            self.write_end.set(WriteEnd::Asked);
            self.attend();
        }
    }

    pub(super) fn close(&self) {
        self.stop(Stops::CLOSING);
        self.attend();
    }

    pub(super) fn abort(&self) {
        if !self.has_any(Stops::LOST) {
            self.stop(Stops::ABORTED);
            self.attend();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.has_any(Stops::CLOSING.or(Stops::ABORTED).or(Stops::LOST))
    }

    pub(super) fn pause_reading(&self) {
        self.stop(Stops::PAUSED);
    }

    pub(super) fn resume_reading(&self) {
        if self.has_any(Stops::PAUSED) {
            self.lift(Stops::PAUSED);
            self.attend();
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        self.stops.get().without(Stops::NEW) == Stops::NONE
    }

    pub(super) fn set_marks(&self, high: usize, low: usize) {
        let mark = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        self.marks.set((mark(high), mark(low)));
        self.attend();
    }

    pub(super) fn with_socket<R>(&self, ask: impl FnOnce(SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        match &*self.io.borrow() {
            Some(io) => ask(io.socket()),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "the connection is lost")),
        }
    }
}
