//! One connection of a set: its socket, its protocol, and the order in which things happen to them.
//!
//! The invariants: callbacks are called by `drive` alone, which never runs inside of itself, and with nothing borrowed;
//! whatever a call to the transport causes is noted, and done by the next `drive`, or by the loop of the running one; `lost` is
//! the last callback, and after it the socket is closed, whoever still holds the transport.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice, Write};
use std::net::{self, Shutdown};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use picot_context::{Kind, Origin, Payload, Report, TaskInfo, catch};
use picot_reactor::{Direction, Source};
use socket2::SockRef;

use super::Eof;
use super::outgoing::{Outgoing, PIECE};
use super::receive::{Callbacks, Received};
use super::token::Token;
use super::transport::Transport;
use crate::duplex::unless_ended;
use crate::stream::TcpStream;
use crate::transfer::{receive, send};
#[cfg(unix)]
use crate::unix::UnixStream;

/// The high and the low mark: more than the first waiting to go out pauses a protocol, and the second resumes it, unless it sets
/// others.
const MARKS: (u32, u32) = (64 * 1024, 16 * 1024);

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
    /// `None` while there is nothing of it, so that an idle connection is small.
    extra: Cell<Option<Box<Extra>>>,
    /// Something waits to go out.
    has_unsent: Cell<bool>,
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

/// What a connection mostly has not.
struct Extra {
    outgoing: Outgoing,
    /// The high and the low mark of what waits to go out.
    marks: (u32, u32),
    /// Why the connection ends, if not in order.
    error: Option<io::Error>,
}

impl Extra {
    fn is_of_use(&self) -> bool {
        self.outgoing.len() > 0 || self.error.is_some() || self.marks != MARKS
    }
}

impl Default for Extra {
    fn default() -> Extra {
        Extra { outgoing: Outgoing::default(), marks: MARKS, error: None }
    }
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

    /// Nothing is written any more.
    const NO_WRITING: Stops = Stops::CLOSING.or(Stops::ABORTED).or(Stops::LOST);

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
    #[inline]
    fn poll_read(&self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        either!(self, source => {
            source.poll_transfer(cx, Direction::Read, buffer.len(), |stream| receive(stream, buffer))
        })
    }

    fn poll_write(&self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        either!(self, source => {
            source.poll_transfer(cx, Direction::Write, length, |mut stream| stream.write_vectored(slices))
        })
    }

    #[inline]
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        either!(self, source => source.try_io(Direction::Write, |stream| send(stream, bytes)))
    }

    #[inline]
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
            extra: Cell::new(None),
            has_unsent: Cell::new(false),
            stops: Cell::new(Stops::NEW),
            is_attended: Cell::new(false),
            is_driven: Cell::new(false),
            has_written: Cell::new(false),
            was_told_to_pause: Cell::new(false),
            write_end: Cell::new(WriteEnd::Open),
        })
    }

    /// Does whatever there is to do. Returns whether the connection lives on.
    pub(super) fn drive(transport: &Transport, buffer: &mut [u8]) -> bool {
        let this = transport.connection();
        let Some(mut callbacks) = this.callbacks.take() else { return false };
        this.is_driven.set(true);
        // A drive that was woken for room to send finds nothing else to tell it so.
        this.is_attended.set(this.is_attended.get() || this.has_unsent.get());
        if let Err(payload) = catch(|| this.serve(transport, &mut *callbacks, buffer)) {
            this.report(payload);
            this.fail(io::Error::other("a callback of the protocol has panicked"));
        }
        this.is_driven.set(false);
        if !this.is_over() {
            this.callbacks.set(Some(callbacks));
            return true;
        }
        this.release();
        let error = this.extra.take().and_then(|extra| extra.error);
        let lost = catch(move || {
            callbacks.lost(error);
            drop(callbacks);
        });
        if let Err(payload) = lost {
            this.report(payload);
        }
        false
    }

    /// Mostly there is data, all of it is read at once, and that is all. The rest is `serve_all`.
    #[inline]
    fn serve(&self, transport: &Transport, callbacks: &mut dyn Callbacks, buffer: &mut [u8]) {
        let mut received = None;
        if !self.is_attended.get() && self.stops.get() == Stops::NONE {
            self.has_written.set(false);
            let first = callbacks.receive(transport, buffer);
            if first == Received::Last && !self.is_attended.get() {
                self.has_written.set(false);
                return;
            }
            received = Some(first);
        }
        self.serve_all(transport, callbacks, buffer, received);
    }

    /// Goes on after what was received, or begins.
    #[inline(never)]
    fn serve_all(
        &self,
        transport: &Transport,
        callbacks: &mut dyn Callbacks,
        buffer: &mut [u8],
        mut received: Option<Received>,
    ) {
        if self.has_any(Stops::NEW) {
            self.lift(Stops::NEW);
            callbacks.made(transport);
        }
        if received.is_none() {
            self.has_written.set(false);
        }
        loop {
            let is_waiting = matches!(received, Some(Received::Last | Received::Nothing));
            if received == Some(Received::End) {
                self.stop(Stops::AT_END);
                if callbacks.eof(transport) == Eof::Close {
                    self.stop(Stops::CLOSING);
                }
                self.is_attended.set(true);
            }
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
            if is_waiting || !self.is_reading() {
                return;
            }
            received = Some(callbacks.receive(transport, buffer));
        }
    }

    /// Reads once, for a protocol, and says how much that was. An error ends the connection.
    pub(super) fn read(&self, buffer: &mut [u8]) -> (Received, usize) {
        let io = self.io.borrow();
        let Some(io) = &*io else { return (Received::Nothing, 0) };
        let mut cx = Context::from_waker(&self.waker);
        match io.poll_read(&mut cx, buffer) {
            Poll::Ready(Ok(0)) => (Received::End, 0),
            // Why it cannot be waited for, if so, is told by the next try.
            Poll::Ready(Ok(length)) if length < buffer.len() && io.poll_readable(&mut cx).is_pending() => {
                (Received::Last, length)
            }
            Poll::Ready(Ok(length)) => (Received::Data, length),
            Poll::Ready(Err(error)) => {
                self.fail(error);
                (Received::Nothing, 0)
            }
            Poll::Pending => (Received::Nothing, 0),
        }
    }

    /// Sends what waits, as far as there is room; when nothing waits any more, the end, if it was asked for.
    fn flush(&self) {
        while self.has_unsent.get() {
            let sent = self.change_extra(|extra| {
                let io = self.io.borrow();
                let io = io.as_ref().ok_or(None)?;
                extra.outgoing.send(|slices| match io.poll_write(&mut Context::from_waker(&self.waker), slices) {
                    Poll::Ready(Ok(0)) => Err(Some(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(sent)) => Ok(sent),
                    Poll::Ready(Err(error)) => Err(Some(error)),
                    Poll::Pending => Err(None),
                })
            });
            match sent {
                Ok(()) => {}
                Err(None) => return,
                Err(Some(error)) => return self.fail(error),
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
        let ((high, low), unsent) = self.ask_extra(|extra| (extra.marks, extra.outgoing.len())).unwrap_or((MARKS, 0));
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
        self.has_any(at_once) || (self.has_any(Stops::CLOSING) && !self.has_unsent.get())
    }

    /// The connection ends with this error; the first one counts.
    #[cold]
    pub(super) fn fail(&self, error: io::Error) {
        self.change_extra(|extra| {
            extra.error.get_or_insert(error);
        });
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
        if self.has_unsent.get() {
            self.change_extra(|extra| extra.outgoing = Outgoing::default());
        }
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
        self.ask_extra(|extra| extra.outgoing.len()).unwrap_or(0)
    }

    fn ask_extra<R>(&self, ask: impl FnOnce(&Extra) -> R) -> Option<R> {
        let extra = self.extra.take()?;
        let answer = ask(&extra);
        self.extra.set(Some(extra));
        Some(answer)
    }

    fn change_extra<R>(&self, change: impl FnOnce(&mut Extra) -> R) -> R {
        let mut extra = self.extra.take().unwrap_or_default();
        let result = change(&mut extra);
        self.has_unsent.set(extra.outgoing.len() > 0);
        self.extra.set(Some(extra).filter(|extra| extra.is_of_use()));
        result
    }

    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        if self.write_end.get() != WriteEnd::Open || self.has_any(Stops::NO_WRITING) {
            return Err(self.refusal());
        }
        let mut rest = bytes;
        // What is as large as a piece is not collected: a call of its own costs less than copying it.
        if !self.has_unsent.get() && (!self.has_written.replace(true) || bytes.len() >= PIECE) {
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
            self.keep(rest);
        }
        Ok(())
    }

    /// Why nothing can be written any more.
    #[cold]
    fn refusal(&self) -> io::Error {
        if self.write_end.get() != WriteEnd::Open {
            let text = "the transport's writing direction was ended by `write_eof`; write before that";
            return io::Error::new(io::ErrorKind::BrokenPipe, text);
        }
        io::Error::new(io::ErrorKind::NotConnected, "the transport is closed, or its connection lost")
    }

    /// Keeps what is to go out when there is room, or with what else is written in this turn.
    #[cold]
    fn keep(&self, bytes: &[u8]) {
        self.change_extra(|extra| extra.outgoing.push(bytes));
        self.attend();
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
        self.has_any(Stops::NO_WRITING)
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
        self.change_extra(|extra| extra.marks = (mark(high), mark(low)));
        self.attend();
    }

    pub(super) fn with_socket<R>(&self, ask: impl FnOnce(SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        match &*self.io.borrow() {
            Some(io) => ask(io.socket()),
            None => Err(io::Error::new(io::ErrorKind::NotConnected, "the connection is lost")),
        }
    }
}
