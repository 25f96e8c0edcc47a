//! Who waits: the one list that all primitives share.
//!
//! All waiters of a thread lie in one slab; each primitive has a list through it, by indices. So a wait allocates
//! nothing once the slab has grown, and everybody who waits on the thread can be listed.
//!
//! The invariants, which every primitive inherits:
//! - **First in, first out.** A waiter is in line from its first poll on, whatever is left of its step's budget, and is
//!   notified when everybody before it has been. Nobody takes at once what somebody in line waits for: `at_once` of
//!   [`Waiters::poll_with`] has to look at [`Waiters::is_empty`] where that matters.
//! - **A notification is collected once.** A notified waiter has left the line, but keeps its slot until its future is
//!   polled or dropped. If it is dropped, [`Waiters::leave`] hands back what it was given, for the primitive to pass on.
//! - **No borrow is live when a waker is woken, cloned or dropped.** Whoever notifies gets the waker, and wakes last.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::Location;
use std::task::{Context, Poll, Waker};

use picot_context::{Place, TaskInfo, budget};
use slab::Slab;

use crate::dump::Waiting;

/// The end of a list.
const NONE: u32 = u32::MAX;

/// A slab that is empty again gives back its memory if it has room for more waiters than this.
const KEPT: usize = 1024;

struct Node {
    prev: u32,
    next: u32,
    /// `None` once notified: the node is in no list then.
    waker: Option<Waker>,
    /// What it asks for; once notified, what it was given.
    amount: usize,
    /// Grows from wait to wait, so that they can be listed by age.
    age: u64,
    task: Option<TaskInfo>,
    place: Place,
    origin: Origin,
}

/// Which primitive a list belongs to, for whoever lists the waiters.
#[derive(Clone, Copy)]
struct Origin {
    what: &'static str,
    made: Place,
}

struct Arena {
    nodes: Slab<Node>,
    last_age: u64,
}

impl Arena {
    fn node(&mut self, key: u32) -> &mut Node {
        &mut self.nodes[key as usize]
    }

    /// Takes `node` out of `list`, not out of the slab.
    fn unlink(&mut self, list: &Waiters, prev: u32, next: u32) {
        match prev {
            NONE => list.head.set(next),
            prev => self.node(prev).next = next,
        }
        match next {
            NONE => list.tail.set(prev),
            next => self.node(next).prev = prev,
        }
        list.len.set(list.len.get() - 1);
    }

    fn remove(&mut self, key: u32) -> Node {
        let node = self.nodes.remove(key as usize);
        if self.nodes.is_empty() && self.nodes.capacity() > KEPT {
            self.nodes = Slab::new();
        }
        node
    }
}

thread_local! {
    static ARENA: RefCell<Arena> = const { RefCell::new(Arena { nodes: Slab::new(), last_age: 0 }) };
}

fn with<R>(f: impl FnOnce(&mut Arena) -> R) -> R {
    ARENA.with_borrow_mut(f)
}

/// Everybody who waits on this thread, the longest first.
pub(crate) fn everybody() -> Vec<Waiting> {
    let mut nodes = with(|arena| arena.nodes.iter().map(|(_, node)| (node.age, describe(node))).collect::<Vec<_>>());
    nodes.sort_by_key(|(age, _)| *age);
    nodes.into_iter().map(|(_, waiting)| waiting).collect()
}

fn describe(node: &Node) -> Waiting {
    let Origin { what, made } = node.origin;
    Waiting { what, made, task: node.task.clone(), place: node.place, is_notified: node.waker.is_none() }
}

/// The waiters of one primitive, in order.
pub(crate) struct Waiters {
    head: Cell<u32>,
    tail: Cell<u32>,
    len: Cell<usize>,
    origin: Origin,
}

/// A future's place in line, or the place that it has not taken yet.
pub(crate) struct Waiter {
    key: u32,
    pub(crate) place: Place,
}

impl Waiter {
    #[track_caller]
    pub(crate) fn new() -> Waiter {
        Waiter { key: NONE, place: Location::caller() }
    }

    pub(crate) fn at(place: Place) -> Waiter {
        Waiter { key: NONE, place }
    }

    /// Whether it is in line, or notified and not polled since.
    pub(crate) fn is_in_line(&self) -> bool {
        self.key != NONE
    }

    /// A number that no other waiter of the thread has while this one is in line.
    pub(crate) fn key(&self) -> u32 {
        self.key
    }
}

/// Where a future was when it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Not in line.
    Outside,
    /// In line, not notified.
    Waiting,
    /// Notified, with this, and not polled since.
    Notified(usize),
}

/// Somebody who was just notified, to be woken once no borrow is live.
#[must_use = "who is notified has to be woken"]
pub(crate) struct Notified {
    pub(crate) waker: Waker,
    pub(crate) asked: usize,
    pub(crate) place: Place,
    pub(crate) task: Option<picot_context::TaskId>,
}

impl Waiters {
    /// `what` is how a list of waiters calls it, such as `"Mutex::lock"`; `made` is where the primitive was made.
    pub(crate) const fn new(what: &'static str, made: Place) -> Waiters {
        Waiters { head: Cell::new(NONE), tail: Cell::new(NONE), len: Cell::new(0), origin: Origin { what, made } }
    }

    /// Whether nobody waits. Those who are notified do not wait any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == NONE
    }

    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    pub(crate) fn made(&self) -> Place {
        self.origin.made
    }

    /// Those in line, the first first.
    pub(crate) fn list(&self) -> Vec<Waiting> {
        with(|arena| {
            let mut list = Vec::with_capacity(self.len());
            let mut at = self.head.get();
            while at != NONE {
                let node = arena.node(at);
                list.push(describe(node));
                at = node.next;
            }
            list
        })
    }

    /// One poll of a leaf operation that takes `asked` of something: at once if `at_once` manages to take it, else once
    /// it is notified. Ready with what was given, which is `asked` if it was taken at once.
    #[inline]
    pub(crate) fn poll_with(
        &self,
        waiter: &mut Waiter,
        asked: usize,
        cx: &mut Context<'_>,
        mut at_once: impl FnMut() -> bool,
    ) -> Poll<usize> {
        let may_complete = budget::poll_left(cx).is_ready();
        if waiter.is_in_line() {
            return if may_complete { self.collect(waiter, cx) } else { Poll::Pending };
        }
        if !at_once() {
            // Cloning is anybody's code, and may have given back what was missing a moment ago.
            let waker = cx.waker().clone();
            if !at_once() {
                self.enter(waiter, asked, waker);
                return Poll::Pending;
            }
        }
        if may_complete {
            budget::spend();
            return Poll::Ready(asked);
        }
        // It has its turn now, and completes in the next step; `poll_left` has woken it.
        self.enter(waiter, asked, cx.waker().clone());
        let waker = with(|arena| self.take_out(arena, waiter.key, asked));
        drop(waker);
        Poll::Pending
    }

    /// Joins the line.
    pub(crate) fn enter(&self, waiter: &mut Waiter, asked: usize, waker: Waker) {
        let task = picot_context::current();
        let place = waiter.place;
        waiter.key = with(|arena| {
            arena.last_age += 1;
            let prev = self.tail.get();
            let node = Node {
                prev,
                next: NONE,
                waker: Some(waker),
                amount: asked,
                age: arena.last_age,
                task,
                place,
                origin: self.origin,
            };
            let key = u32::try_from(arena.nodes.insert(node)).expect("fewer than 2^32 waiters on a thread");
            match prev {
                NONE => self.head.set(key),
                prev => arena.node(prev).next = key,
            }
            self.tail.set(key);
            self.len.set(self.len.get() + 1);
            key
        });
    }

    /// Ready with what was given, once notified; the slot is free then.
    fn collect(&self, waiter: &mut Waiter, cx: &mut Context<'_>) -> Poll<usize> {
        let given = with(|arena| match &arena.node(waiter.key).waker {
            None => Ok(arena.remove(waiter.key).amount),
            Some(waker) => Err(waker.will_wake(cx.waker())),
        });
        match given {
            Ok(amount) => {
                waiter.key = NONE;
                budget::spend();
                Poll::Ready(amount)
            }
            Err(true) => Poll::Pending,
            Err(false) => {
                let new = cx.waker().clone();
                // Cloning is anybody's code and may have notified this waiter; then the wake went to the old waker.
                let (old, late) = with(|arena| match &mut arena.node(waiter.key).waker {
                    Some(waker) => (Some(std::mem::replace(waker, new)), None),
                    None => (None, Some(new)),
                });
                drop(old);
                if let Some(waker) = late {
                    waker.wake();
                }
                Poll::Pending
            }
        }
    }

    /// Notifies the first in line, if what it asks for suits.
    #[inline]
    pub(crate) fn notify_first_if(&self, suits: impl FnOnce(usize) -> bool) -> Option<Notified> {
        let key = self.head.get();
        if key == NONE {
            return None;
        }
        with(|arena| {
            let node = arena.node(key);
            let (asked, place) = (node.amount, node.place);
            if !suits(asked) {
                return None;
            }
            let task = node.task.as_ref().map(TaskInfo::id);
            let waker = self.take_out(arena, key, asked)?;
            Some(Notified { waker, asked, place, task })
        })
    }

    /// Notifies the first in line, and gives it `given`.
    pub(crate) fn notify_first(&self, given: usize) -> Option<Waker> {
        let key = self.head.get();
        if key == NONE { None } else { with(|arena| self.take_out(arena, key, given)) }
    }

    /// Notifies everybody who is in line now. Those who come while the others are woken are not meant.
    pub(crate) fn notify_all(&self, given: usize) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.len());
        if !self.is_empty() {
            with(|arena| {
                while self.head.get() != NONE {
                    wakers.extend(self.take_out(arena, self.head.get(), given));
                }
            });
        }
        wakers
    }

    /// Takes a waiter out of the line, as one who is notified.
    #[inline]
    fn take_out(&self, arena: &mut Arena, key: u32, given: usize) -> Option<Waker> {
        let node = arena.node(key);
        let (prev, next) = (node.prev, node.next);
        node.amount = given;
        let waker = node.waker.take();
        arena.unlink(self, prev, next);
        waker
    }

    /// Forgets a waiter whose future is dropped. The caller passes on what it was given.
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut Waiter) -> Left {
        if waiter.is_in_line() { self.leave_line(waiter) } else { Left::Outside }
    }

    #[cold]
    fn leave_line(&self, waiter: &mut Waiter) -> Left {
        let key = std::mem::replace(&mut waiter.key, NONE);
        // A future that outlives the thread's slab ends with its thread, and so does everybody it could pass something to.
        let node = ARENA.try_with(|arena| {
            let mut arena = arena.borrow_mut();
            let node = arena.remove(key);
            if node.waker.is_some() {
                arena.unlink(self, node.prev, node.next);
            }
            node
        });
        match node {
            Ok(Node { waker: None, amount, .. }) => Left::Notified(amount),
            Ok(_) => Left::Waiting,
            Err(_) => Left::Outside,
        }
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
