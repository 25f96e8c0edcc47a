//! Ready lists: for owners of many sources, who are told of events by number, and not by a waker for each source.
//!
//! The invariants: a source that something has happened to is in its list until its owner has looked at it, and it is there
//! once; a list that is not empty has woken its owner since that took from it last. It is epoll's own ready list, one floor
//! higher.

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::budget;

use crate::foreign::{contain_wake, drop_contained};
use crate::growing::Growing;

/// The sources of one owner to which something has happened, by the tokens that it has given to them.
///
/// A task that serves many sources needs no waker for each of them. It puts them into a list
/// ([`Source::list_in`](crate::Source::list_in)), takes the tokens of those that had events ([`poll_take`](ReadyList::poll_take)), and for each
/// [acknowledges](crate::Source::acknowledge) at the source and tries what it wants to do, by [`try_io`](crate::Source::try_io) or
/// [`try_transfer`](crate::Source::try_transfer). An event then costs a number in a vector, and an idle source no waker.
///
/// An owner that drops its list is told nothing more; its sources work as before, and can be waited for.
///
/// ```
/// use std::future::poll_fn;
/// use std::io::{Read, Write};
/// use std::net::{TcpListener, TcpStream};
/// use std::task::Poll;
/// use picot_reactor::{Direction, Reactor, ReadyList};
///
/// # fn main() -> std::io::Result<()> {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut peers = Vec::new();
/// let (reactor, list) = (Reactor::new()?, ReadyList::new());
/// let mut sources = Vec::new();
/// for token in 0..3 {
///     peers.push(TcpStream::connect(listener.local_addr()?)?);
///     let (stream, _) = listener.accept()?;
///     stream.set_nonblocking(true)?;
///     let source = reactor.register(stream)?;
///     source.list_in(&list, token);
///     sources.push(source);
/// }
/// peers[1].write_all(b"hello")?;
///
/// let (mut tokens, mut received) = (Vec::new(), Vec::new());
/// let mut serve = Box::pin(poll_fn(|cx| {
///     while list.poll_take(cx, &mut tokens).is_ready() {
///         for token in tokens.drain(..) {
///             let source = &sources[token];
///             source.acknowledge();
///             let mut buffer = [0; 16];
///             if let Ok(read) = source.try_io(Direction::Read, |mut stream| stream.read(&mut buffer)) {
///                 received.push((token, buffer[..read].to_vec()));
///             }
///         }
///     }
///     if received.is_empty() { Poll::Pending } else { Poll::Ready(()) }
/// }));
/// # let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
/// while serve.as_mut().poll(&mut cx).is_pending() {
///     reactor.wait(None)?;
/// }
/// drop(serve);
/// assert_eq!(received, [(1, b"hello".to_vec())]);
/// # Ok(())
/// # }
/// ```
pub struct ReadyList {
    list: Rc<List>,
}

pub(crate) struct List {
    tokens: Growing<usize>,
    /// Who takes from the list. Kept when it has been woken, because it is likely to take again.
    owner: Cell<Option<Waker>>,
    /// The owner has dropped the list; sources may still be in it.
    is_dropped: Cell<bool>,
}

impl ReadyList {
    /// A list without sources. It is for sources of any reactor of this thread.
    pub fn new() -> ReadyList {
        let list = List { tokens: Growing::default(), owner: Cell::new(None), is_dropped: Cell::new(false) };
        ReadyList { list: Rc::new(list) }
    }

    /// Moves the tokens of the list to the end of `tokens`, in the order in which their sources had
    /// events. Whether there were any or not, the task of `cx` is woken, instead of whichever has
    /// polled before, as soon as there are more: a list has one owner. Taking tokens spends the
    /// task's [budget].
    ///
    /// The source of a token may have been dropped meanwhile. If its token was given to another one, that is looked at in
    /// vain, which is harmless.
    pub fn poll_take(&self, cx: &mut Context<'_>, tokens: &mut Vec<usize>) -> Poll<()> {
        ready!(budget::poll_left(cx));
        let List { tokens: listed, owner, .. } = &*self.list;
        let known = owner.take();
        let is_known = known.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        owner.set(known);
        if !is_known {
            // Cloning and dropping wakers may be foreign code. What it lists is taken below.
            let old = owner.replace(Some(cx.waker().clone()));
            old.into_iter().for_each(drop_contained);
        }
        if listed.is_empty() {
            return Poll::Pending;
        }
        if tokens.is_empty() {
            // SAFETY: The closure moves two vectors and no more.
            unsafe { listed.change(|listed| mem::swap(listed, tokens)) };
        } else {
            let taken = listed.take();
            tokens.extend_from_slice(&taken);
        }
        budget::spend();
        Poll::Ready(())
    }

    pub(crate) fn list(&self) -> Rc<List> {
        self.list.clone()
    }

    /// Wakes the task that polls the list, for something that no source has to do with.
    pub fn wake(&self) {
        self.list.wake();
    }
}

impl Default for ReadyList {
    fn default() -> ReadyList {
        ReadyList::new()
    }
}

impl Drop for ReadyList {
    fn drop(&mut self) {
        self.list.is_dropped.set(true);
        let owner = self.list.owner.take();
        owner.into_iter().for_each(drop_contained);
    }
}

impl fmt::Debug for ReadyList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReadyList").field("len", &self.list.tokens.len()).finish_non_exhaustive()
    }
}

impl List {
    /// Adds a token if the list has room for it, and returns whether the list was empty.
    #[inline]
    pub(crate) fn add_within_capacity(&self, token: usize) -> Option<bool> {
        self.tokens.push_within_capacity(token).map(|len| len == 1)
    }

    /// Adds a token. Returns whether the list was empty: then its owner is to be woken.
    #[inline]
    pub(crate) fn add(&self, token: usize) -> bool {
        self.tokens.push(token) == 1
    }

    /// Its owner is to take from it.
    pub(crate) fn wake(&self) {
        let Some(owner) = self.owner.take() else { return };
        contain_wake(|| owner.wake_by_ref());
        // Kept, unless the woken code has put another one there or is done with the list.
        match self.owner.take() {
            None if !self.is_dropped.get() => self.owner.set(Some(owner)),
            newer => {
                self.owner.set(newer);
                drop_contained(owner);
            }
        }
    }
}
