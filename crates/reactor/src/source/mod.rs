//! Sources: I/O objects that are registered with a reactor.
//!
//! This file registers an object, deregisters it, and has what concerns a source as a whole.
//! [`state`] holds what the reactor knows of it, [`waiters`] the tasks that wait for it,
//! [`operation`] tries operations on the object, and [`arming`] asks for events where the driver
//! has no edges.
//!
//! The invariants: readiness is set by events and by `assume_ready`, and cleared only after an
//! operation has said "would block" (or has moved less than it could, where the owner vouches that
//! this means the same); every waiter of a direction is woken when it becomes ready; dropping a
//! source takes it out of the table and the kernel's set before its object is closed.

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
use state::{ASKS, SEEN, State};
pub use waiters::Ready;

/// An I/O object that is registered with a reactor.
///
/// Operations that move data go through [`try_io`](Source::try_io) or [`poll_io`](Source::poll_io), which keep the
/// readiness up to date.
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
    // In this order: it is deregistered first, and closed second.
    registered: Registered,
    io: T,
}

/// A registration. Dropping it undoes it, whatever of it was done.
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
        // In the table first: the driver is foreign code, and may register something itself, which
        // must not get this slot.
        let state = inner.table.insert(state);
        let state = state.ok_or_else(|| io::Error::other("the reactor has no room for more sources"))?;
        // From here on it is undone if the driver refuses or panics.
        let registered = Registered { inner: inner.clone(), state };
        let state = &registered.state;
        if is_edge {
            state.add(inner, Readiness::EVERY_DIRECTION)?;
        } else {
            // It is armed when a waiter asks.
            state.raise(ASKS);
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
        state.lower(SEEN);
        if state.list.get().is_some() {
            inner.waiting.set(inner.waiting.get() - 1);
        }
        // There are no waiters any more, the slots are empty and the count is right before foreign
        // code runs: the driver's, and what a waker drops with it. An event may be calling one of
        // these wakers just now, so they go to `retired`.
        let polling = Readiness::of_directions(state.flags.get());
        state.lower(polling.bits());
        inner.waiting.set(inner.waiting.get() - polling.bits().count_ones() as usize);
        let polled = [state.readers.empty(), state.writers.empty()];
        match state.crowd.get() {
            None => {
                state.delete(inner);
                polled.into_iter().for_each(|waker| inner.retired.add(waker));
            }
            Some(crowd) => state.delete_crowded(inner, crowd, polled),
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

    /// Lets all events of the source put `token` into `list` from now on.
    ///
    /// The token is put there at once, so that the list's owner tries what it wants to do. Tasks may
    /// wait for the source as before.
    ///
    /// Where the platform has no edges, a direction is watched from when an operation there has said that it would block.
    /// [`Reactor::waiting`](crate::Reactor::waiting) counts the source as waited for from now on.
    ///
    /// # Panics
    /// If the source is in a list already.
    pub fn list_in(&self, list: &ReadyList, token: usize) {
        let Registered { inner, state } = &self.registered;
        let is_new = state.enter(inner, list.list(), token);
        assert!(
            is_new,
            "the source is in a ready list already; for another one, take its object out and register it again"
        );
        state.enqueue();
    }

    /// Puts the source into its list, as an event would: for work that is left, or that has come by another way than I/O.
    /// One that is there already, or that has no list, stays as it is.
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
    /// // Half of the work is done. The rest is for the next time.
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

    /// Acknowledges the events so far and returns what is [known](Source::known) of the object.
    ///
    /// For the owner of the source's list, after it has taken the token: the next event puts the
    /// token into the list again.
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
    /// // The peer is gone, which the next wait reports. It is listed because of this call.
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
        // Of one that is in no list, it is found out when something happens.
        self.state().raise(SEEN);
        // Of a listed source nothing is assumed: it counts as known.
        self.state().readiness.get().shown()
    }

    /// The I/O object. What is done with it directly does not bring the readiness up to date.
    pub fn get_ref(&self) -> &T {
        &self.io
    }

    /// Whether this process was forked from the one that has registered the source. The object is then shared with that one,
    /// so a destructor in this process must do nothing to it that the other would notice, such as shutting a socket down.
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
        self.registered.inner.mark.is_forked()
    }

    /// Deregisters the I/O object and gives it back.
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
    /// // It is open still, and may be registered again, here or elsewhere.
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

    /// Declares whether a short transfer (more than nothing, but less than asked for) proves that
    /// the kernel has no more data, or no more room. If so,
    /// [`poll_transfer`](Source::poll_transfer) and [`try_transfer`](Source::try_transfer) clear
    /// the readiness after one, which saves the call that would only return "would block".
    ///
    /// It is no proof in general, so a source starts without this trust, and then only "would
    /// block" clears its readiness. Kernels end a receive early, with more to read and no further
    /// edge, at Unix messages that carry descriptors, between Unix writers with different
    /// credentials, at Unix out-of-band data, at records of kernel TLS, between the lines of a
    /// terminal, and wherever the protocol has messages. **Only a plain TCP socket keeps the
    /// promise**: one whose protocol is known to be `IPPROTO_TCP` (not MPTCP), with no upper-layer
    /// protocol such as kernel TLS on it, and outside of a BPF socket map. Who hands in a
    /// descriptor from elsewhere rarely knows that.
    ///
    /// TCP stops at urgent data, too, and there the reactor itself takes the trust back: the driver
    /// reports the urgent mark as an event. So call this right after the registration, and again,
    /// with `false`, before the socket is given another protocol. Where the driver cannot vouch for
    /// it ([`Driver::trusts_partial_transfers`](crate::driver::Driver)), the call has no effect.
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
    /// // We made it ourselves, so it is plain TCP.
    /// source.trust_short_transfers(true);
    /// # Ok(())
    /// # }
    /// ```
    pub fn trust_short_transfers(&self, is_trusted: bool) {
        let Registered { inner, state } = &self.registered;
        state.trust(inner, is_trusted);
    }

    /// Lets operations try a direction before an event has told that it is ready, until one finds
    /// that it is not. For objects that probably are: an accepted connection has its first data
    /// soon, a connected one can be written to.
    ///
    /// It is a guess, so those who wait ([`ready`](Source::ready),
    /// [`poll_ready`](Source::poll_ready)) still wait for the event.
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
    /// assert_eq!(write().unwrap_err().kind(), ErrorKind::WouldBlock, "nothing is known yet");
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
        // Their owner tries; it does not wait first.
        let is_listed = state.list.get().is_some();
        let bit = if is_listed { Readiness::of(direction) } else { Readiness::assumed(direction) };
        state.readiness.set(state.readiness.get() | bit);
        state.note_assumed();
        let asked = state.asked.get();
        state.asked.set(asked.with_tried(asked.tried().without(Readiness::of(direction))));
    }

    /// What is known of the object, as far as events and operations have told, and the directions that are
    /// [assumed](Source::assume_ready) to be ready: what an operation would try.
    pub fn known(&self) -> Readiness {
        self.state().readiness.get().with_assumed_as_known().shown()
    }

    /// Whether the peer has closed its side or the connection, or there was an error, as far as events have told. Once
    /// true it stays; [`known`](Source::known) says which.
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
    /// // It is asked for where there are no edges: here, by a try.
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

/// Stream sockets of every family as one type. The descriptor stays the same, and registered.
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
