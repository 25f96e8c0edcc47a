//! One connection of a set: its socket, its protocol, and the order in which things happen to them.
//!
//! Invariants:
//! - Only `drive` calls callbacks. It never runs inside itself, and holds no borrow that a method
//!   of the transport or of the set needs.
//! - A method of the transport only records what it causes, as flags. The rest of the running
//!   `drive`, or the next one, acts on them.
//! - `lost` is the last callback. After it, every method of a remaining transport reports that the
//!   connection is lost.

use std::cell::{Cell, RefCell};
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use picot_context::{Cause, Payload, catch};
use picot_reactor::{Direction, Readiness, ReadyList, Source};
use socket2::SockRef;

use super::Eof;
use super::flags::Flags;
use super::outgoing::{Outgoing, PIECE};
use super::receive::{Callbacks, Reading, Received};
use super::transport::Transport;
use crate::condition::Condition;
use crate::duplex::unless_ended;
use crate::freed::CountWhenClosed;
use crate::report::{connection_name, report_as};
use crate::stream::TcpStream;
use crate::transfer::{receive, send, send_vectored};
#[cfg(unix)]
use crate::unix::UnixStream;

/// The default marks, in bytes. More unsent bytes than the first pause a protocol; at the second or
/// fewer it resumes.
const MARKS: (u32, u32) = (64 * 1024, 16 * 1024);

/// How often one step acts on what its callbacks caused. Without a limit, a protocol that writes in
/// each `resume_writing` would keep the loop for as long as its peer reads.
const ROUNDS: usize = 2;

#[cfg(unix)]
type Socket = std::os::fd::OwnedFd;
#[cfg(not(unix))]
type Socket = std::net::TcpStream;

/// The socket of a connection, of any family.
pub(crate) struct Io(Source<Socket>, CountWhenClosed);

/// A connection. Its set owns it; when the set drops it, the socket is closed.
pub(super) struct Connection {
    flags: Cell<Flags>,
    io: Io,
    /// The handle that callbacks receive.
    transport: Transport,
    /// Mutably borrowed during a callback. `None` once the connection is lost.
    callbacks: RefCell<Option<Box<dyn Callbacks>>>,
    /// `None` while all of it has its default, so that an idle connection is small.
    extra: Cell<Option<Box<RareState>>>,
}

/// The state that few connections have.
struct RareState {
    outgoing: Outgoing,
    /// The high and the low mark of unsent bytes.
    marks: (u32, u32),
    /// The error that ends the connection.
    error: Option<io::Error>,
    /// Notified when the connection has ended. `None` while no task waits for that.
    ending: Option<Rc<Condition>>,
}

impl RareState {
    fn differs_from_default(&self) -> bool {
        self.outgoing.length() > 0 || self.error.is_some() || self.ending.is_some() || self.marks != MARKS
    }
}

impl Default for RareState {
    fn default() -> RareState {
        RareState { outgoing: Outgoing::default(), marks: MARKS, error: None, ending: None }
    }
}

impl Io {
    #[inline]
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_transfer(Direction::Read, buffer.len(), |socket| receive(socket, buffer))
    }

    /// Whether there may be data. Acknowledges the event, so that the next one puts the connection
    /// into the ready list again.
    #[inline]
    fn look(&self) -> bool {
        self.0.acknowledge().contains(Readiness::READABLE)
    }

    #[inline]
    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_transfer(Direction::Write, bytes.len(), |socket| send(socket, bytes))
    }

    fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let length = slices.iter().map(|slice| slice.len()).sum();
        self.0.try_transfer(Direction::Write, length, |socket| send_vectored(socket, slices))
    }

    fn end_writing(&self) -> io::Result<()> {
        unless_ended(self.socket().shutdown(Shutdown::Write))
    }

    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self.0.get_ref())
    }
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Io {
        #[cfg_attr(not(unix), expect(clippy::useless_conversion, reason = "it is one where there are Unix sockets"))]
        Io(stream.into_source().into(), CountWhenClosed)
    }
}

#[cfg(unix)]
impl From<UnixStream> for Io {
    fn from(stream: UnixStream) -> Io {
        Io(stream.into_source().into(), CountWhenClosed)
    }
}

impl Connection {
    pub(super) fn new(io: Io, callbacks: Box<dyn Callbacks>) -> Rc<Connection> {
        Rc::new_cyclic(|connection| Connection {
            flags: Cell::new(Flags::NEW),
            io,
            transport: Transport::new(connection.clone()),
            callbacks: RefCell::new(Some(callbacks)),
            extra: Cell::new(None),
        })
    }

    pub(super) fn transport(&self) -> &Transport {
        &self.transport
    }

    /// From now on, events put `token` into `list`. It is put there at once, for the first
    /// callback.
    pub(super) fn list_in(&self, list: &ReadyList, token: usize) {
        self.io.0.list_in(list, token);
    }

    /// Does everything there is to do, but reads only once. Returns whether the connection lives
    /// on; if not, the caller calls
    /// [`end`](Self::end). A callback may panic out of this; then the caller calls
    /// [`panicked`](Self::panicked) first.
    ///
    /// This is the hot path: one read brings all data, and nothing else is to be done. `drive_on`
    /// handles the rest.
    #[inline]
    pub(super) fn drive(&self, reading: &mut Reading) -> bool {
        if self.flags.get().without(Flags::WRITTEN) != Flags::NONE {
            return self.drive_on(reading, None);
        }
        // The connection can be driven again only after this, because callbacks run inside of the
        // borrow and methods of the transport only set flags.
        self.flags.set(Flags::DRIVEN);
        let received = match self.callbacks.borrow_mut().as_deref_mut() {
            Some(callbacks) => callbacks.receive(self, reading),
            None => Received::Nothing,
        };
        // User code has run: any flag may be set now.
        let is_usual = received == Received::Data && self.flags.get().without(Flags::WRITTEN) == Flags::DRIVEN;
        // The event is acknowledged after the read. An event that arrives between them leaves the
        // source readable, and `drive_on` puts the connection into the ready list again.
        if is_usual && !self.io.look() {
            self.flags.set(Flags::NONE);
            return true;
        }
        self.drive_on(reading, Some(received))
    }

    /// Continues after the read of `drive`, or begins where nothing was read yet.
    #[inline(never)]
    fn drive_on(&self, reading: &mut Reading, mut received: Option<Received>) -> bool {
        let mut callbacks = self.callbacks.borrow_mut();
        // A number in the ready list can outlive its connection; then there is nothing to do.
        let Some(callbacks) = callbacks.as_deref_mut() else { return true };
        let transport = &self.transport;
        self.raise(Flags::DRIVEN);
        if self.has_any(Flags::NEW) {
            self.lift(Flags::NEW);
            callbacks.made(transport);
        }
        if received.is_none() {
            self.lift(Flags::WRITTEN);
            // No flag records that there is room to send, so a connection with unsent bytes always
            // tries.
            if self.has_any(Flags::UNSENT) {
                self.raise(Flags::ATTENDED);
            }
            if self.has_any(Flags::AT_END) {
                self.look_for_reset();
            }
        }
        loop {
            if received == Some(Received::End) {
                // Set before the callback, so that `is_reading` is false inside of it.
                self.raise(Flags::AT_END);
                if callbacks.eof(transport) == Eof::Close {
                    self.raise(Flags::CLOSING);
                }
                self.look_for_reset();
                self.raise(Flags::ATTENDED);
            }
            for _ in 0..ROUNDS {
                if !self.has_any(Flags::ATTENDED) {
                    break;
                }
                // Lifted first: a callback below that causes more sets it again, for the next
                // round.
                self.lift(Flags::ATTENDED);
                if self.has_any(Flags::OVER) {
                    return false;
                }
                // Before the bytes are sent, even if all of them go out then: a protocol that saw
                // `unsent` above the mark stops writing, and expects `resume_writing`.
                self.call_at_marks(callbacks);
                self.flush();
                if self.is_over() {
                    return false;
                }
                self.call_at_marks(callbacks);
            }
            self.lift(Flags::WRITTEN);
            if received.is_some() || self.has_any(Flags::ATTENDED) || !self.is_reading() {
                break;
            }
            received = Some(callbacks.receive(self, reading));
        }
        self.lift(Flags::DRIVEN);
        // Other connections have their turn before this one reads again, or acts on what the last
        // callbacks caused.
        let is_readable = self.io.look();
        if self.has_any(Flags::ATTENDED) || (is_readable && self.is_reading()) {
            self.io.0.enqueue();
        }
        true
    }

    /// Reads once, for a protocol. Returns the number of bytes, or what came instead of data. An
    /// error ends the connection.
    #[inline]
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<usize, Received> {
        match self.io.read(buffer) {
            Ok(0) => Err(Received::End),
            Ok(length) => Ok(length),
            Err(error) => Err(self.has_not_read(error)),
        }
    }

    #[cold]
    fn has_not_read(&self, error: io::Error) -> Received {
        // An interrupted read leaves the socket ready, so the next step tries again.
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            self.fail(error);
        }
        Received::Nothing
    }

    /// Notices a reset after the peer's end of stream. No read would find it, because nothing is
    /// read any more, and perhaps no write follows.
    ///
    /// A connection that is closing needs no look: bytes that are still unsent meet the error
    /// themselves, and without any, that the peer has gone is the normal end and no error.
    #[cold]
    fn look_for_reset(&self) {
        if self.has_any(Flags::CLOSING) {
            return;
        }
        let known = self.io.0.known();
        if !known.intersects(Readiness::ERROR | Readiness::HUNG_UP) {
            // A driver without edges must be asked for each event. It reports errors and hang-ups
            // with every request, so one for urgent data serves.
            let would_block = |_: &Socket| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
            let _ = self.io.0.try_io(Direction::Priority, would_block);
            return;
        }
        if self.has_any(Flags::OVER) {
            return;
        }
        match self.io.socket().take_error() {
            Ok(Some(error)) => self.fail(error),
            // A hang-up after both ends were sent is the normal end. Without our own end, it means
            // that the peer stopped reading.
            Ok(None) if self.has_any(Flags::ENDED) || !known.contains(Readiness::HUNG_UP) => {}
            Ok(None) => self.fail(io::ErrorKind::BrokenPipe.into()),
            Err(error) => self.fail(error),
        }
    }

    /// Sends unsent bytes as far as there is room. When all are sent, it sends the end of the
    /// stream, if that was requested.
    fn flush(&self) {
        // The callback before this may have aborted the connection, which then sends nothing more.
        while self.has_any(Flags::UNSENT) && !self.has_any(Flags::OVER) {
            let sent = self.change_extra(|extra| {
                extra.outgoing.send(|slices| match self.io.write_vectored(slices)? {
                    0 => Err(io::Error::from(io::ErrorKind::WriteZero)),
                    sent => Ok(sent),
                })
            });
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => return self.fail(error),
            }
        }
        if self.has_any(Flags::END_ASKED) && !self.has_any(Flags::OVER) {
            self.lift(Flags::END_ASKED);
            self.raise(Flags::END_SENT);
            if let Err(error) = self.io.end_writing() {
                self.fail(error);
            }
        }
    }

    /// Calls `pause_writing` or `resume_writing` if the unsent bytes crossed a mark. User code runs
    /// here, and may set flags.
    fn call_at_marks(&self, callbacks: &mut dyn Callbacks) {
        let ((high, low), unsent) =
            self.ask_extra(|extra| (extra.marks, extra.outgoing.length())).unwrap_or((MARKS, 0));
        let is_paused = self.has_any(Flags::WRITING_PAUSED);
        if !is_paused && unsent > high as usize {
            self.raise(Flags::WRITING_PAUSED);
            callbacks.pause_writing(&self.transport);
        } else if is_paused && unsent <= low as usize {
            self.lift(Flags::WRITING_PAUSED);
            callbacks.resume_writing(&self.transport);
        }
    }

    fn is_over(&self) -> bool {
        self.has_any(Flags::OVER) || (self.has_any(Flags::CLOSING) && !self.has_any(Flags::UNSENT))
    }

    /// Ends the connection with this error. Of several errors, the first is kept.
    #[cold]
    pub(super) fn fail(&self, error: io::Error) {
        // Later errors follow from the first one, for example a broken pipe after a reset.
        self.change_extra(|extra| {
            extra.error.get_or_insert(error);
        });
        self.raise(Flags::FAILED);
        self.attend();
    }

    /// Reports that a callback panicked out of `drive`. The caller then calls [`end`](Self::end).
    #[cold]
    pub(super) fn panicked(&self, payload: Payload) {
        self.report(payload);
        self.fail(io::Error::other("a callback of the protocol panicked"));
    }

    /// Calls `lost`, and drops the protocol. Both are user code, so each panic is contained by
    /// itself.
    pub(super) fn end(&self) {
        // Set before `lost` runs, so that calls of its transport see a lost connection.
        self.raise(Flags::LOST);
        // Taken out: no borrow is live while `lost` and the destructor run.
        let Some(mut callbacks) = self.callbacks.take() else { return };
        // Unsent bytes are dropped here, because a transport may keep the connection's memory
        // alive.
        let error = self.change_extra(|extra| {
            extra.outgoing = Outgoing::default();
            extra.error.take()
        });
        self.contain(|| callbacks.lost(error));
        self.contain(|| drop(callbacks));
    }

    /// Calls user code outside of `drive`. A panic is reported, and the caller continues.
    fn contain(&self, call: impl FnOnce()) {
        if let Err(payload) = catch(call) {
            self.report(payload);
        }
    }

    fn has_any(&self, flags: Flags) -> bool {
        self.flags.get().has_any(flags)
    }

    fn raise(&self, flags: Flags) {
        self.flags.set(self.flags.get().with(flags));
    }

    fn lift(&self, flags: Flags) {
        self.flags.set(self.flags.get().without(flags));
    }

    /// Drops the protocol without a callback, because the task that drives the set has ended.
    pub(super) fn abandon(&self) {
        self.raise(Flags::LOST);
        let callbacks = self.callbacks.take();
        self.contain(|| drop(callbacks));
    }

    /// The condition that is notified when the connection has ended.
    pub(super) fn ending(&self) -> Rc<Condition> {
        self.change_extra(|extra| extra.ending.get_or_insert_default().clone())
    }

    /// Reports a panic under the name of the connection. The socket is still open, even in the last
    /// callback.
    fn report(&self, payload: Payload) {
        report_as(&connection_name(&self.io.socket()), Cause::Panic(payload));
    }

    /// Makes `drive` check all flags: the running one, or the next.
    fn attend(&self) {
        // A lost connection is not driven any more, and another may have its slot.
        if self.has_any(Flags::LOST) {
            return;
        }
        self.raise(Flags::ATTENDED);
        if !self.has_any(Flags::DRIVEN) {
            self.io.0.enqueue();
        }
    }

    pub(super) fn unsent(&self) -> usize {
        self.ask_extra(|extra| extra.outgoing.length()).unwrap_or(0)
    }

    fn ask_extra<R>(&self, ask: impl FnOnce(&RareState) -> R) -> Option<R> {
        let extra = self.extra.take()?;
        let answer = ask(&extra);
        self.extra.set(Some(extra));
        Some(answer)
    }

    fn change_extra<R>(&self, change: impl FnOnce(&mut RareState) -> R) -> R {
        // Taken out instead of borrowed, so that no borrow flag is needed. `change` runs no user
        // code, which could otherwise see the default state.
        let mut extra = self.extra.take().unwrap_or_default();
        let result = change(&mut extra);
        // The flag mirrors the length, so that the hot path tests one word only.
        self.lift(Flags::UNSENT);
        if extra.outgoing.length() > 0 {
            self.raise(Flags::UNSENT);
        }
        // Freed as soon as all of it is the default again: an idle connection is small.
        self.extra.set(Some(extra).filter(|extra| extra.differs_from_default()));
        result
    }

    /// Sends at once the first bytes that a callback writes, which is the hot path.
    /// `write_otherwise` handles the rest.
    #[inline]
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        // Exactly `DRIVEN`: a callback runs, nothing is unsent, and no write was tried in this
        // turn.
        if self.flags.get() == Flags::DRIVEN && !bytes.is_empty() {
            self.flags.set(Flags::DRIVEN.with(Flags::WRITTEN));
            return match self.io.write(bytes) {
                Ok(sent) if sent == bytes.len() => Ok(()),
                sent => self.has_not_sent_all(bytes, sent),
            };
        }
        self.write_otherwise(bytes)
    }

    #[inline(never)]
    fn write_otherwise(&self, bytes: &[u8]) -> io::Result<()> {
        let flags = self.flags.get();
        if flags.has_any(Flags::NO_WRITING) {
            return Err(self.refusal());
        }
        if bytes.is_empty() {
            return Ok(());
        }
        // A write as large as a piece is tried at once: a system call costs less than copying the
        // bytes.
        let is_tried = !flags.has_any(Flags::UNSENT) && (!flags.has_any(Flags::WRITTEN) || bytes.len() >= PIECE);
        if !is_tried {
            return self.has_not_sent_all(bytes, Ok(0));
        }
        self.raise(Flags::WRITTEN);
        if !flags.has_any(Flags::DRIVEN) {
            // Later writes of this turn are collected, and the next step sends them.
            self.io.0.enqueue();
        }
        self.has_not_sent_all(bytes, self.io.write(bytes))
    }

    /// Keeps the bytes for which the kernel had no room. They go out later, together with further
    /// writes of this turn.
    #[cold]
    fn has_not_sent_all(&self, bytes: &[u8], sent: io::Result<usize>) -> io::Result<()> {
        let rest = match sent {
            Ok(sent) => &bytes[sent..],
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => bytes,
            Err(error) => {
                // The protocol is given the error itself, so the caller gets its kind and text.
                let refused = io::Error::new(error.kind(), error.to_string());
                self.fail(error);
                return Err(refused);
            }
        };
        if !rest.is_empty() {
            self.change_extra(|extra| extra.outgoing.push(rest));
            self.attend();
        }
        Ok(())
    }

    /// Says why the transport accepts no more bytes.
    #[cold]
    fn refusal(&self) -> io::Error {
        if self.has_any(Flags::ENDED) {
            let text = "the transport's writing direction was ended by `write_eof`; write before that";
            return io::Error::new(io::ErrorKind::BrokenPipe, text);
        }
        closed()
    }

    pub(super) fn end_writing(&self) {
        if !self.has_any(Flags::ENDED) {
            self.raise(Flags::END_ASKED);
            self.attend();
        }
    }

    pub(super) fn close(&self) {
        self.raise(Flags::CLOSING);
        self.attend();
    }

    pub(super) fn abort(&self) {
        if !self.has_any(Flags::LOST) {
            self.raise(Flags::ABORTED);
            self.attend();
        }
    }

    /// Aborts, so that the peer sees a reset, where the family of the socket has one.
    pub(super) fn reset(&self) {
        // A forked child shares the socket with its parent, whose connection would be reset, too.
        if !self.has_any(Flags::LOST) && !self.io.0.is_forked() {
            // Without the option the peer reads an end of stream.
            let _ = self.io.socket().set_linger(Some(Duration::ZERO));
            self.abort();
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        self.has_any(Flags::CLOSED)
    }

    pub(super) fn pause_reading(&self) {
        self.raise(Flags::PAUSED);
    }

    pub(super) fn resume_reading(&self) {
        if self.has_any(Flags::PAUSED) {
            self.lift(Flags::PAUSED);
            self.attend();
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        !self.has_any(Flags::NO_READING)
    }

    pub(super) fn set_marks(&self, high: usize, low: usize) {
        let mark = |bytes| u32::try_from(bytes).unwrap_or(u32::MAX);
        self.change_extra(|extra| extra.marks = (mark(high), mark(low)));
        // The unsent bytes may be on the other side of a mark now.
        self.attend();
    }

    pub(super) fn with_socket<R>(&self, ask: impl FnOnce(SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        if self.has_any(Flags::LOST) {
            return Err(lost());
        }
        ask(self.io.socket())
    }
}

/// The set dropped its reference, so the socket is closed right after this.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(ending) = self.extra.take().and_then(|extra| extra.ending) {
            // User code may run here, in a waker. The waiters see a strong count of 0.
            ending.notify();
        }
    }
}

/// The error of a write to a transport that accepts no more bytes.
#[cold]
pub(super) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the transport is closed, or its connection is lost")
}

/// The error of a question about a socket that is closed.
#[cold]
pub(super) fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection is lost")
}
