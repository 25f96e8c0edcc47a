//! One connection of a set: its socket, its protocol, and the order in which things happen to them.
//!
//! The invariants: callbacks are called by `drive` alone, which never runs inside of itself, and with nothing borrowed that a
//! call to the transport or the set needs; whatever such a call causes is noted, and done by the next `drive`, or by the rest
//! of the running one; `lost` is the last callback, and after it nothing of the transport works, whoever still holds it.

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
use crate::duplex::unless_ended;
use crate::freed::Descriptor;
use crate::report::{connection_name, report_as};
use crate::signal::Signal;
use crate::stream::TcpStream;
use crate::transfer::{receive, send, send_vectored};
#[cfg(unix)]
use crate::unix::UnixStream;

/// The high and the low mark: more than the first waiting to go out pauses a protocol, and the second resumes it, unless it sets
/// others.
const MARKS: (u32, u32) = (64 * 1024, 16 * 1024);

/// So often a step does what its callbacks have caused, which may cause more: a protocol that writes whenever it is told to resume
/// would keep the loop for as long as its peer reads.
const ROUNDS: usize = 2;

#[cfg(unix)]
type Socket = std::os::fd::OwnedFd;
#[cfg(not(unix))]
type Socket = std::net::TcpStream;

/// The socket of a connection, of whatever family.
pub(crate) struct Io(Source<Socket>, Descriptor);

/// The set owns it: when that lets go of it, the socket is closed.
pub(super) struct Connection {
    flags: Cell<Flags>,
    io: Io,
    /// Itself, as callbacks are given it.
    transport: Transport,
    /// Borrowed while it is called. `None` when the connection is lost.
    callbacks: RefCell<Option<Box<dyn Callbacks>>>,
    /// `None` while there is nothing of it, so that an idle connection is small.
    extra: Cell<Option<Box<Extra>>>,
}

/// What a connection mostly has not.
struct Extra {
    outgoing: Outgoing,
    /// The high and the low mark of what waits to go out.
    marks: (u32, u32),
    /// Why the connection ends, if not in order.
    error: Option<io::Error>,
    /// Whom to tell when it has ended.
    ending: Option<Rc<Signal>>,
}

impl Extra {
    fn is_of_use(&self) -> bool {
        self.outgoing.len() > 0 || self.error.is_some() || self.ending.is_some() || self.marks != MARKS
    }
}

impl Default for Extra {
    fn default() -> Extra {
        Extra { outgoing: Outgoing::default(), marks: MARKS, error: None, ending: None }
    }
}

impl Io {
    #[inline]
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_transfer(Direction::Read, buffer.len(), |socket| receive(socket, buffer))
    }

    /// Whether there may be something to read. What happens from now on lists it again.
    #[inline]
    fn look(&self) -> bool {
        self.0.look().contains(Readiness::READABLE)
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
        Io(stream.into_source().into(), Descriptor)
    }
}

#[cfg(unix)]
impl From<UnixStream> for Io {
    fn from(stream: UnixStream) -> Io {
        Io(stream.into_source().into(), Descriptor)
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

    /// Whenever there is something to do, `token` is put into `list`: now, for the first callback.
    pub(super) fn list_in(&self, list: &ReadyList, token: usize) {
        self.io.0.list_in(list, token);
    }

    /// Does whatever there is to do, but reads only once. Returns whether the connection lives on; if not, [`end`](Self::end)
    /// is to be called. A callback may panic out of this; then [`panicked`](Self::panicked) is.
    ///
    /// Mostly there is data, all of it is read at once, and that is all. The rest is `drive_on`.
    #[inline]
    pub(super) fn drive(&self, reading: &mut Reading) -> bool {
        if self.flags.get().without(Flags::WRITTEN) != Flags::NONE {
            return self.drive_on(reading, None);
        }
        self.flags.set(Flags::DRIVEN);
        let received = match self.callbacks.borrow_mut().as_deref_mut() {
            Some(callbacks) => callbacks.receive(self, reading),
            None => Received::Nothing,
        };
        let is_usual = received == Received::Data && self.flags.get().without(Flags::WRITTEN) == Flags::DRIVEN;
        if is_usual && !self.io.look() {
            self.flags.set(Flags::NONE);
            return true;
        }
        self.drive_on(reading, Some(received))
    }

    /// Goes on after what was received, or begins.
    #[inline(never)]
    fn drive_on(&self, reading: &mut Reading, mut received: Option<Received>) -> bool {
        let mut callbacks = self.callbacks.borrow_mut();
        let Some(callbacks) = callbacks.as_deref_mut() else { return true };
        let transport = &self.transport;
        self.raise(Flags::DRIVEN);
        if self.has_any(Flags::NEW) {
            self.lift(Flags::NEW);
            callbacks.made(transport);
        }
        if received.is_none() {
            self.lift(Flags::WRITTEN);
            // Woken for room to send, it finds nothing else to tell it so.
            if self.has_any(Flags::UNSENT) {
                self.raise(Flags::ATTENDED);
            }
            if self.has_any(Flags::AT_END) {
                self.look_for_reset();
            }
        }
        loop {
            if received == Some(Received::End) {
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
                self.lift(Flags::ATTENDED);
                if self.has_any(Flags::OVER) {
                    return false;
                }
                // Told of before it is sent, also if it all goes out then: whoever has seen it wait is told to go on.
                self.tell_of_marks(callbacks);
                self.flush();
                if self.is_over() {
                    return false;
                }
                self.tell_of_marks(callbacks);
            }
            self.lift(Flags::WRITTEN);
            if received.is_some() || self.has_any(Flags::ATTENDED) || !self.is_reading() {
                break;
            }
            received = Some(callbacks.receive(self, reading));
        }
        self.lift(Flags::DRIVEN);
        // Others have their turn before it reads again, or does what was caused last.
        let is_readable = self.io.look();
        if self.has_any(Flags::ATTENDED) || (is_readable && self.is_reading()) {
            self.io.0.list();
        }
        true
    }

    /// Reads once, for a protocol. Returns how much, or what there was instead of data. An error ends the connection.
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
        // What was interrupted is tried again: it is still ready.
        if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) {
            self.fail(error);
        }
        Received::Nothing
    }

    /// Notices that the peer has gone after its end, where no read would find that, and perhaps no write follows.
    #[cold]
    fn look_for_reset(&self) {
        let known = self.io.0.known();
        if !known.intersects(Readiness::ERROR | Readiness::HUNG_UP) {
            // Where events must be asked for, this asks for those that every wait tells: errors and hang-ups.
            let would_block = |_: &Socket| io::Result::<()>::Err(io::ErrorKind::WouldBlock.into());
            let _ = self.io.0.try_io(Direction::Priority, would_block);
            return;
        }
        if self.has_any(Flags::OVER) {
            return;
        }
        match self.io.socket().take_error() {
            Ok(Some(error)) => self.fail(error),
            // Both ends have ended, each by itself; or this one did not, and the peer has no reader any more.
            Ok(None) if self.has_any(Flags::ENDED) || !known.contains(Readiness::HUNG_UP) => {}
            Ok(None) => self.fail(io::ErrorKind::BrokenPipe.into()),
            Err(error) => self.fail(error),
        }
    }

    /// Sends what waits, as far as there is room; when nothing waits any more, the end, if it was asked for.
    fn flush(&self) {
        // What was aborted, as by the callback before this, sends nothing more.
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

    /// Tells the protocol to pause or resume writing, if it should. It may cause more to be attended to.
    fn tell_of_marks(&self, callbacks: &mut dyn Callbacks) {
        let ((high, low), unsent) = self.ask_extra(|extra| (extra.marks, extra.outgoing.len())).unwrap_or((MARKS, 0));
        let was_told = self.has_any(Flags::TOLD_TO_PAUSE);
        if !was_told && unsent > high as usize {
            self.raise(Flags::TOLD_TO_PAUSE);
            callbacks.pause_writing(&self.transport);
        } else if was_told && unsent <= low as usize {
            self.lift(Flags::TOLD_TO_PAUSE);
            callbacks.resume_writing(&self.transport);
        }
    }

    fn is_over(&self) -> bool {
        self.has_any(Flags::OVER) || (self.has_any(Flags::CLOSING) && !self.has_any(Flags::UNSENT))
    }

    /// The connection ends with this error; the first one counts.
    #[cold]
    pub(super) fn fail(&self, error: io::Error) {
        self.change_extra(|extra| {
            extra.error.get_or_insert(error);
        });
        self.raise(Flags::FAILED);
        self.attend();
    }

    /// A callback has panicked out of `drive`; what is left to do is [`end`](Self::end).
    #[cold]
    pub(super) fn panicked(&self, payload: Payload) {
        self.report(payload);
        self.fail(io::Error::other("a callback of the protocol has panicked"));
    }

    /// Tells the protocol, which is dropped then.
    pub(super) fn end(&self) {
        self.raise(Flags::LOST);
        let Some(mut callbacks) = self.callbacks.take() else { return };
        let error = self.change_extra(|extra| {
            extra.outgoing = Outgoing::default();
            extra.error.take()
        });
        self.contain(|| callbacks.lost(error));
        self.contain(|| drop(callbacks));
    }

    /// Calls code of the protocol that is no callback of `drive`, or the last one: a panic ends nothing.
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

    /// The set is gone, and with it whoever would drive the connection.
    pub(super) fn forsake(&self) {
        self.raise(Flags::LOST);
        let callbacks = self.callbacks.take();
        self.contain(|| drop(callbacks));
    }

    /// What is notified when the connection has ended.
    pub(super) fn ending(&self) -> Rc<Signal> {
        self.change_extra(|extra| extra.ending.get_or_insert_default().clone())
    }

    /// The socket is still there, also in the last callback.
    fn report(&self, payload: Payload) {
        report_as(&connection_name(&self.io.socket()), Cause::Panic(payload));
    }

    /// Lets `drive` look at everything: the running one, or the next. Nobody drives what is lost, and its slot may be another's.
    fn attend(&self) {
        if self.has_any(Flags::LOST) {
            return;
        }
        self.raise(Flags::ATTENDED);
        if !self.has_any(Flags::DRIVEN) {
            self.io.0.list();
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
        self.lift(Flags::UNSENT);
        if extra.outgoing.len() > 0 {
            self.raise(Flags::UNSENT);
        }
        self.extra.set(Some(extra).filter(|extra| extra.is_of_use()));
        result
    }

    /// Mostly it is the first thing that a callback writes, and goes out at once. The rest is `write_otherwise`.
    #[inline]
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
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
        // What is as large as a piece is not collected: a call of its own costs less than copying it.
        let is_tried = !flags.has_any(Flags::UNSENT) && (!flags.has_any(Flags::WRITTEN) || bytes.len() >= PIECE);
        if !is_tried {
            return self.has_not_sent_all(bytes, Ok(0));
        }
        self.raise(Flags::WRITTEN);
        if !flags.has_any(Flags::DRIVEN) {
            // What follows in this turn is collected, and the next step sends it.
            self.io.0.list();
        }
        self.has_not_sent_all(bytes, self.io.write(bytes))
    }

    /// What the kernel has no room for goes out when there is room, or with what else is written in this turn.
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

    /// Why nothing can be written any more.
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

    /// Aborts, and lets the peer see a reset, where its socket knows such a thing.
    pub(super) fn reset(&self) {
        // A child that was forked shares the socket with its parent, where it would be reset, too.
        if !self.has_any(Flags::LOST) && !self.io.0.is_forked() {
            // Without it the peer reads an end.
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
        self.attend();
    }

    pub(super) fn with_socket<R>(&self, ask: impl FnOnce(SockRef<'_>) -> io::Result<R>) -> io::Result<R> {
        if self.has_any(Flags::LOST) {
            return Err(lost());
        }
        ask(self.io.socket())
    }
}

/// Nobody has it any more: its set has let go of it, so its socket is closed right after this.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(ending) = self.extra.take().and_then(|extra| extra.ending) {
            ending.notify();
        }
    }
}

/// Why nothing can be written.
#[cold]
pub(super) fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the transport is closed, or its connection lost")
}

/// Why there is no socket.
#[cold]
pub(super) fn lost() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the connection is lost")
}
