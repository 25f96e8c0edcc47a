//! Ready lists: an owner of many sources gets events as numbers, without a waker for each source.
//!
//! The invariants:
//! - A source with an unacknowledged event is in its list, exactly once.
//! - If the list is not empty, its owner was woken since it last took tokens.
//!
//! It works as epoll's own ready list, one level higher.

use std::cell::Cell;
use std::fmt;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use picot_context::{Step, TaskId, WaitInfo, WaitKind, Waits, budget, running};

use crate::foreign::{contain_wake, drop_contained};
use crate::growing::Growing;

/// The sources of one owner that have had events, by tokens that the owner chooses.
///
/// A task that serves many sources needs no waker for each of them. It adds them to a list
/// ([`Source::list_in`](crate::Source::list_in)), and takes the tokens of those that had events
/// ([`poll_take`](ReadyList::poll_take)). For each token it
/// [acknowledges](crate::Source::acknowledge) the event and tries its operations, by
/// [`try_io`](crate::Source::try_io) or [`try_transfer`](crate::Source::try_transfer). An event
/// then costs a number in a vector, and an idle source costs no waker.
///
/// After an owner has dropped its list, its sources still work, and tasks can wait for them.
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
///             let read = source.try_io(Direction::Read, |mut stream| stream.read(&mut buffer));
///             if let Ok(read) = read {
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
    /// The waker of the owner. Kept after a wake, because the owner is likely to poll again.
    owner: Cell<Option<Waker>>,
    /// The task that stored the owner's waker, for reports.
    task: Cell<Option<TaskId>>,
    /// Whether the owner has dropped the list. Sources may still be in it.
    is_dropped: Cell<bool>,
}

impl ReadyList {
    /// Makes an empty list, for sources of any reactor of this thread.
    ///
    /// ```
    /// let list = picot_reactor::ReadyList::new();
    /// # let _ = list;
    /// ```
    pub fn new() -> ReadyList {
        let list = List {
            tokens: Growing::default(),
            owner: Cell::new(None),
            task: Cell::new(None),
            is_dropped: Cell::new(false),
        };
        ReadyList { list: Rc::new(list) }
    }

    /// Moves the tokens of the list to the end of `tokens`, in the order of the events.
    ///
    /// Pending if there are none. In either case the task of `cx` becomes the owner, and is woken
    /// when further tokens arrive; a list has one owner. Taking tokens spends the task's [budget].
    ///
    /// The source of a token may have been dropped meanwhile. If another source has that token now,
    /// the owner checks it in vain, which is harmless.
    ///
    /// ```
    /// use std::task::{Context, Waker};
    /// use picot_reactor::{Reactor, ReadyList};
    ///
    /// let (reactor, list) = (Reactor::new()?, ReadyList::new());
    /// let source = reactor.register(std::net::UdpSocket::bind("127.0.0.1:0")?)?;
    /// source.list_in(&list, 7);
    /// let mut tokens = Vec::new();
    /// assert!(list.poll_take(&mut Context::from_waker(Waker::noop()), &mut tokens).is_ready());
    /// assert_eq!(tokens, [7]);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn poll_take(&self, cx: &mut Context<'_>, tokens: &mut Vec<usize>) -> Poll<()> {
        ready!(budget::poll_left(cx));
        let List { tokens: listed, owner, .. } = &*self.list;
        let known = owner.take();
        let is_known = known.as_ref().is_some_and(|known| known.will_wake(cx.waker()));
        owner.set(known);
        if !is_known {
            // Foreign code: cloning and dropping wakers. It may add tokens, so the list is read
            // below.
            let old = owner.replace(Some(cx.waker().clone()));
            self.list.task.set(running().as_ref().and_then(Step::task_id));
            old.into_iter().for_each(drop_contained);
        }
        if listed.is_empty() {
            return Poll::Pending;
        }
        if tokens.is_empty() {
            // SAFETY: The closure only moves two vectors.
            unsafe { listed.with(|listed| mem::swap(listed, tokens)) };
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

    /// Wakes the owner of the list, for a reason other than an event.
    ///
    /// ```
    /// picot_reactor::ReadyList::new().wake(); // without an owner, this does nothing
    /// ```
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
    /// Adds the wait of the owner, which has `sources` sources.
    pub(crate) fn add_wait(&self, sources: usize, waits: &mut Waits) {
        if self.tokens.is_empty() {
            let what = format!("an event of one of {sources} sources");
            waits.add(self.task.get(), WaitInfo::new(WaitKind::Read, what));
        }
    }

    /// Adds a token if there is room. Returns whether the list was empty.
    #[inline]
    pub(crate) fn add_within_capacity(&self, token: usize) -> Option<bool> {
        self.tokens.push_within_capacity(token).map(|len| len == 1)
    }

    /// Adds a token. Returns whether the list was empty: then the caller has to wake the owner.
    #[inline]
    pub(crate) fn add(&self, token: usize) -> bool {
        self.tokens.push(token) == 1
    }

    /// Wakes the owner.
    pub(crate) fn wake(&self) {
        let Some(owner) = self.owner.take() else { return };
        // Foreign code: the owner's waker is out of its cell, so the call may poll or drop the
        // list.
        contain_wake(|| owner.wake_by_ref());
        // Kept for the next event, unless the call has set another owner or dropped the list.
        match self.owner.take() {
            None if !self.is_dropped.get() => self.owner.set(Some(owner)),
            newer => {
                self.owner.set(newer);
                drop_contained(owner);
            }
        }
    }
}
