//! Sources: I/O objects that are registered with a reactor.
//!
//! This file registers and deregisters objects, and has the methods for a source as a whole.
//! [`state`] holds what the reactor stores for a source, [`waiters`] the tasks that wait for it,
//! [`operation`] tries operations on the object, and [`arming`] asks one-shot drivers for events.
//!
//! The invariants:
//! - Events and `assume_ready` set readiness. Only an operation that would block clears it, or a
//!   short transfer if the owner declared that this means the same.
//! - When a direction becomes ready, every waiter of it is woken.
//! - Dropping a source removes it from the table and from the kernel's set before its object
//!   closes.

mod arming;
mod operation;
pub(crate) mod state;
mod waiters;

use std::fmt;
use std::io;
use std::rc::Rc;

use crate::inner::Inner;
use crate::key::Key;
use crate::pollable::{BorrowedIo, Pollable, raw};
use crate::ready::{Direction, Readiness};
use crate::ready_list::ReadyList;
use state::{ACKNOWLEDGED, NEEDS_ARMING, State};
pub use waiters::{Ready, ReadyOwned};

/// An I/O object that is registered with a reactor.
///
/// Operations that move data go through [`try_io`](Source::try_io) or [`poll_io`](Source::poll_io),
/// which keep the readiness up to date.
///
/// ```
/// # #[cfg(unix)]
/// # fn main() -> std::io::Result<()> {
/// use std::io::{ErrorKind, Read, Write};
/// use std::os::unix::net::UnixStream;
/// use picot_reactor::{Direction, Reactor};
///
/// let reactor = Reactor::new()?;
/// let (stream, mut peer) = UnixStream::pair()?;
/// stream.set_nonblocking(true)?;
/// let source = reactor.register(stream)?;
/// let mut buffer = [0; 16];
/// let mut read = || source.try_io(Direction::Read, |mut stream| stream.read(&mut buffer));
/// assert_eq!(read().unwrap_err().kind(), ErrorKind::WouldBlock);
///
/// peer.write_all(b"hello")?;
/// while !source.known().contains(picot_reactor::Readiness::READABLE) {
///     reactor.wait(None)?;
/// }
/// assert_eq!(read()?, 5);
/// # Ok(())
/// # }
/// # #[cfg(not(unix))]
/// # fn main() {}
/// ```
pub struct Source<T> {
    // In this order: dropping the source deregisters the object first, and closes it second.
    registered: Registered,
    io: T,
}

/// A registration, complete or not. Dropping it undoes it.
pub(crate) struct Registered {
    inner: Rc<Inner>,
    state: Rc<State>,
}

impl Registered {
    /// Registers an object that outlives its registration.
    pub(crate) fn new(inner: &Rc<Inner>, io: BorrowedIo<'_>) -> io::Result<Registered> {
        inner.check()?;
        let state = Rc::new(State::new(raw(io)));
        state.readiness.set(Readiness::UNTRUSTED);
        let is_edge = inner.driver.is_edge();
        // Into the table before the driver is called: the driver is foreign code, and an object
        // that it registers must not get this slot.
        let state = inner.table.insert(state);
        let state = state.ok_or_else(|| io::Error::other("the reactor has no room for more sources"))?;
        // From here on, dropping `registered` undoes it if the driver refuses or panics.
        let registered = Registered { inner: inner.clone(), state };
        let state = &registered.state;
        if is_edge {
            state.add(inner, Readiness::EVERY_DIRECTION)?;
        } else {
            // One-shot: armed when an operation would block or a task waits.
            state.set_flag(NEEDS_ARMING);
            state.add(inner, Readiness::NONE)?;
        }
        Ok(registered)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let Registered { inner, state } = self;
        let removed = inner.table.remove(state.key());
        state.set_key(Key::NONE);
        state.clear_flag(ACKNOWLEDGED);
        if state.list.get().is_some() {
            inner.waiting.set(inner.waiting.get() - 1);
        }
        // Before foreign code runs (the driver, and destructors of wakers), the state is
        // consistent: no waiter is counted, and the slots are empty. An event may be calling one of
        // these wakers right now, so they go to `retired`.
        let polling = Readiness::of_directions(state.flags.get());
        state.clear_flag(polling.bits());
        inner.waiting.set(inner.waiting.get() - polling.bits().count_ones() as usize);
        let polled = [state.readers.empty(), state.writers.empty()];
        match state.others.get() {
            None => {
                state.delete(inner);
                polled.into_iter().for_each(|waker| inner.retired.add(waker));
            }
            Some(others) => state.delete_with_others(inner, others, polled),
        }
        drop(removed);
    }
}

impl<T> Source<T> {
    pub(crate) fn new(registered: Registered, io: T) -> Source<T> {
        Source { registered, io }
    }

    fn state(&self) -> &State {
        &self.registered.state
    }

    /// Adds the source to a ready list: from now on, each event puts `token` into `list`.
    ///
    /// This also puts the token there at once, so that the owner tries its operations. Tasks may
    /// still wait for the source. On a platform without edges, a direction is watched once an
    /// operation there would have blocked. [`Reactor::waiting`](crate::Reactor::waiting) counts the
    /// source from now on.
    ///
    /// # Panics
    /// If the source is already in a list.
    ///
    /// ```
    /// use picot_reactor::{Reactor, ReadyList};
    ///
    /// let (reactor, list) = (Reactor::new()?, ReadyList::new());
    /// let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// source.list_in(&list, 7);
    /// assert_eq!(reactor.waiting(), 1);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn list_in(&self, list: &ReadyList, token: usize) {
        let Registered { inner, state } = &self.registered;
        let is_new = state.join_list(inner, list.list(), token);
        assert!(
            is_new,
            "the source is already in a ready list; for another one, take its object out and register it again"
        );
        state.enqueue();
    }

    /// Puts the source's token into its list, as an event would.
    ///
    /// For work that is left over, or that does not come from I/O. Does nothing if the token is
    /// already there, or if the source has no list.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use std::task::{Context, Waker};
    /// use picot_reactor::{Reactor, ReadyList};
    ///
    /// let (reactor, list) = (Reactor::new()?, ReadyList::new());
    /// let (stream, _peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// source.list_in(&list, 7);
    /// let mut tokens = Vec::new();
    /// let mut cx = Context::from_waker(Waker::noop());
    /// assert!(list.poll_take(&mut cx, &mut tokens).is_ready());
    /// source.acknowledge();
    /// // Half of the work is done. The rest is for the next turn.
    /// source.enqueue();
    /// source.enqueue();
    /// assert!(list.poll_take(&mut cx, &mut tokens).is_ready());
    /// assert_eq!(tokens, [7, 7]);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn enqueue(&self) {
        self.state().enqueue();
    }

    /// Acknowledges the events so far, and returns the [readiness](Source::known) of the source.
    ///
    /// The owner of the source's list calls this after it has taken the token. The next event then
    /// puts the token into the list again.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use std::task::{Context, Waker};
    /// use picot_reactor::{Reactor, ReadyList};
    ///
    /// let (reactor, list) = (Reactor::new()?, ReadyList::new());
    /// let source = reactor.register(UnixStream::pair()?.0)?;
    /// source.list_in(&list, 7);
    /// let mut cx = Context::from_waker(Waker::noop());
    /// let mut tokens = Vec::new();
    /// assert!(list.poll_take(&mut cx, &mut tokens).is_ready());
    /// // The peer has closed. Because of this call, the next wait lists that event.
    /// source.acknowledge();
    /// reactor.wait(None)?;
    /// assert!(list.poll_take(&mut cx, &mut tokens).is_ready());
    /// assert!(source.acknowledge().contains(picot_reactor::Readiness::HUNG_UP));
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    #[inline]
    pub fn acknowledge(&self) -> Readiness {
        // Also for a source without a list: an event then finds no list, and adds no token.
        self.state().set_flag(ACKNOWLEDGED);
        // A listed source has no assumed directions: they count as ready.
        self.state().readiness.get().public_bits()
    }

    /// The I/O object. Operations on it directly do not update the readiness.
    ///
    /// ```
    /// let reactor = picot_reactor::Reactor::new()?;
    /// let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// println!("bound to {}", source.get_ref().local_addr()?);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Whether this process was forked from the one that registered the source.
    ///
    /// Both processes share the object then. So a destructor in the child must not change it in a
    /// way that the parent sees, such as by shutting a socket down.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let source = reactor.register(UnixStream::pair()?.0)?;
    /// assert!(!source.is_forked());
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn is_forked(&self) -> bool {
        self.registered.inner.fork_detector.is_forked()
    }

    /// Deregisters the I/O object and returns it.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::Reactor;
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// assert_eq!(reactor.sources(), 1);
    /// let stream = source.into_inner();
    /// assert_eq!(reactor.sources(), 0);
    /// // It is still open, and may be registered again, here or elsewhere.
    /// let _source = reactor.register(stream)?;
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn into_inner(self) -> T {
        let Source { registered, io } = self;
        drop(registered);
        io
    }

    /// Declares whether a short transfer proves that the kernel has no more data, or no more room.
    ///
    /// A short transfer moves at least one byte, but less than asked for. If it is trusted,
    /// [`poll_transfer`](Source::poll_transfer) and [`try_transfer`](Source::try_transfer) clear
    /// the readiness after one. This saves the system call that would only return "would block".
    ///
    /// A short transfer is no proof in general, so a source starts without this trust. Kernels end
    /// a receive early, with more to read and no further edge, at Unix messages that carry
    /// descriptors, between Unix writers with different credentials, at Unix out-of-band data, at
    /// records of kernel TLS, between the lines of a terminal, and in message-based protocols.
    /// **Only a plain TCP socket can be trusted**: its protocol is known to be `IPPROTO_TCP` (not
    /// MPTCP), without an upper-layer protocol such as kernel TLS, and outside of a BPF socket map.
    /// For a descriptor from another part of the program, this is rarely known.
    ///
    /// TCP also stops at urgent data. There the reactor itself withdraws the trust, because the
    /// driver reports the urgent mark as an event. So call this right after the registration, and
    /// again with `false` before the socket gets another protocol. If the driver [does not support
    /// it](crate::driver::Driver::trusts_partial_transfers), the call has no effect.
    ///
    /// ```
    /// use std::net::{TcpListener, TcpStream};
    /// use picot_reactor::Reactor;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let reactor = Reactor::new()?;
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?)?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// // Made above by `TcpStream::connect`, so it is plain TCP.
    /// source.trust_short_transfers(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trust_short_transfers(&self, is_trusted: bool) {
        let Registered { inner, state } = &self.registered;
        state.trust(inner, is_trusted);
    }

    /// Lets operations try a direction without an event, until one would block.
    ///
    /// For objects that are probably ready: an accepted connection soon has its first data, and a
    /// connected one can be written to. It is a guess, so [`ready`](Source::ready) and
    /// [`poll_ready`](Source::poll_ready) still wait for the event.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::io::{ErrorKind, Write};
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, _peer) = UnixStream::pair()?;
    /// stream.set_nonblocking(true)?;
    /// let source = reactor.register(stream)?;
    /// let write = || source.try_io(Direction::Write, |mut stream| stream.write(b"hello"));
    /// assert_eq!(write().unwrap_err().kind(), ErrorKind::WouldBlock, "no event has arrived yet");
    /// source.assume_ready(Direction::Write);
    /// assert_eq!(write()?, 5);
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn assume_ready(&self, direction: Direction) {
        let Registered { inner, state } = &self.registered;
        if inner.is_closed() {
            return;
        }
        // The owner of a list tries without waiting first, so for it an assumption is readiness.
        let is_listed = state.list.get().is_some();
        let bit = if is_listed { Readiness::of(direction) } else { Readiness::assumed(direction) };
        state.readiness.set(state.readiness.get() | bit);
        state.update_assumed();
        let arming = state.arming.get();
        state.arming.set(arming.with_tried(arming.tried().without(Readiness::of(direction))));
    }

    /// The readiness of the source, from events and operations so far.
    ///
    /// Directions that are [assumed](Source::assume_ready) to be ready are included: an operation
    /// would try them.
    ///
    /// ```
    /// use picot_reactor::{Direction, Reactor, Readiness};
    ///
    /// let reactor = Reactor::new()?;
    /// let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// assert_eq!(source.known(), Readiness::NONE);
    /// source.assume_ready(Direction::Write);
    /// assert_eq!(source.known(), Readiness::WRITABLE);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn known(&self) -> Readiness {
        self.state().readiness.get().with_assumed_as_known().public_bits()
    }

    /// Whether an event has reported that the peer closed its side or the connection, or an error.
    ///
    /// Once true, it stays true. [`known`](Source::known) says which it was.
    ///
    /// ```
    /// # #[cfg(unix)]
    /// # fn main() -> std::io::Result<()> {
    /// use std::os::unix::net::UnixStream;
    /// use picot_reactor::{Direction, Reactor};
    ///
    /// let reactor = Reactor::new()?;
    /// let (stream, peer) = UnixStream::pair()?;
    /// let source = reactor.register(stream)?;
    /// assert!(!source.is_hung_up());
    /// drop(peer);
    /// // A one-shot driver has to be asked for the event: here, by trying an operation.
    /// let _ = source.try_io(Direction::Read, |_| Ok(()));
    /// reactor.wait(None)?;
    /// # #[cfg(target_os = "linux")]
    /// assert!(source.is_hung_up());
    /// # Ok(())
    /// # }
    /// # #[cfg(not(unix))]
    /// # fn main() {}
    /// ```
    pub fn is_hung_up(&self) -> bool {
        self.known().is_hangup()
    }
}

/// Converts stream sockets of every family to one type. The descriptor stays registered.
#[cfg(unix)]
macro_rules! into_owned {
    ($($type:ty),+) => {
        $(
            impl From<Source<$type>> for Source<std::os::fd::OwnedFd> {
                fn from(source: Source<$type>) -> Self {
                    let Source { registered, io } = source;
                    Source { registered, io: io.into() }
                }
            }
        )+
    };
}

#[cfg(unix)]
into_owned!(std::net::TcpStream, std::os::unix::net::UnixStream);

impl<T: Pollable> AsRef<T> for Source<T> {
    fn as_ref(&self) -> &T {
        &self.io
    }
}

impl<T: fmt::Debug> fmt::Debug for Source<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("io", &self.io).finish_non_exhaustive()
    }
}
