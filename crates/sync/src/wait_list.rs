//! The list of waiters that all primitives share.
//!
//! All waiters of a thread lie in one arena, and each primitive has a list through it, by indices.
//! So a wait allocates nothing once the arena has grown, and all waiters of the thread can be
//! listed.
//!
//! The invariants, which every primitive inherits:
//! - **First in, first out.** A waiter is in line from its first poll on, even if its step's budget
//!   is spent, and is notified after all waiters before it. A primitive must not complete a
//!   newcomer at once while waiters are in line: the `at_once` of [`WaitList::poll_with`] checks
//!   that where it matters.
//! - **A notification is collected once.** A notified waiter has left the line, but keeps its slot
//!   until its future is polled or dropped. If it is dropped, [`WaitList::leave`] returns what it
//!   was given, and the primitive passes that on.
//! - **No borrow is live when a waker is woken, cloned or dropped**, and a panic of a wake or a
//!   drop goes no further. Notifying returns the waker, and the caller wakes it last.
//! - **After each clone of a waker, check again.** Cloning is foreign code and may fulfil what is
//!   awaited while the waiter is not in line yet and cannot be notified.

use std::cell::{Cell, OnceCell, RefCell, RefMut};
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use picot_context::{Place, Running, TaskId, WaitInfo, Waits, budget};

use crate::deadlock::Seen;
use crate::dump::Waiter;
use crate::wake::{discard, wake};

/// The end of a list.
const NONE: u32 = u32::MAX;

/// The arena keeps memory for this many waiters when the last one leaves, and frees a larger one.
///
/// At about 100 bytes a slot that is 100 KiB a thread, enough for most programs never to allocate
/// again.
const KEPT: usize = 1024;

struct Node {
    prev: u32,
    /// The next node in line, or the next free node.
    next: u32,
    /// `None` once notified: the node is in no list then.
    waker: Option<Waker>,
    /// What the waiter asks for; once notified, what it was given.
    amount: usize,
    /// Grows with each wait, so that waiters can be listed by age; 0 in a free node.
    age: u64,
    running: Running,
    place: Place,
    origin: Origin,
    /// The lock that it waits for, to find the holder.
    lock: Option<Seen>,
}

/// The primitive that a list belongs to, for reports.
#[derive(Clone, Copy)]
struct Origin {
    what: &'static str,
    made: Place,
}

/// Nodes are written and read in place, field by field. They are large: moving one costs more than
/// the rest of a wait.
struct Arena {
    nodes: Vec<Node>,
    /// The first free node.
    free: u32,
    used: u32,
    last_age: u64,
}

impl Default for Arena {
    fn default() -> Arena {
        Arena { nodes: Vec::new(), free: NONE, used: 0, last_age: 0 }
    }
}

impl Arena {
    #[inline]
    fn node(&mut self, key: u32) -> &mut Node {
        &mut self.nodes[key as usize]
    }

    /// Fills a free node as the last of `list`, and returns its key.
    #[inline(always)]
    fn insert(&mut self, list: &WaitList, place: Place, asked: usize, waker: Waker) -> u32 {
        self.used += 1;
        self.last_age += 1;
        let (key, age, prev) = (self.free, self.last_age, list.tail.get());
        let Some(node) = self.nodes.get_mut(key as usize) else {
            let (running, origin) = (Running::now(), list.origin);
            return self.grow(Node {
                prev,
                next: NONE,
                waker: Some(waker),
                amount: asked,
                age,
                running,
                place,
                origin,
                lock: None,
            });
        };
        self.free = node.next;
        node.prev = prev;
        node.next = NONE;
        // A free node has neither a waker nor details, so nothing is dropped here.
        node.waker = Some(waker);
        node.amount = asked;
        node.age = age;
        node.place = place;
        node.origin = list.origin;
        node.running = Running::now();
        key
    }

    #[cold]
    fn grow(&mut self, new: Node) -> u32 {
        let key = u32::try_from(self.nodes.len()).ok().filter(|key| *key != NONE);
        self.nodes.push(new);
        key.expect("fewer than 2^32 - 1 waiters on a thread")
    }

    /// Takes a node out of `list`; the node is not free yet.
    #[inline]
    fn unlink(&mut self, list: &WaitList, prev: u32, next: u32) {
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

    /// Frees a node that is in no list and has no waker. The caller drops the result with no borrow
    /// live.
    #[inline(always)]
    fn release(&mut self, key: u32) -> Running {
        self.used -= 1;
        // Only with no waiter left, because the nodes of waiters cannot move.
        if self.nodes.capacity() > KEPT && self.used == 0 {
            return self.release_last(key);
        }
        let free = self.free;
        let node = self.node(key);
        node.lock = None;
        node.next = free;
        node.age = 0;
        let running = std::mem::take(&mut node.running);
        self.free = key;
        running
    }

    #[cold]
    fn release_last(&mut self, key: u32) -> Running {
        let running = std::mem::take(&mut self.node(key).running);
        self.nodes = Vec::new();
        self.free = NONE;
        running
    }
}

thread_local! {
    static ARENA: Shared = Shared::default();
}

/// The arena of a thread. Each primitive keeps it from its first waiter on, to look it up once
/// only.
type Shared = Rc<RefCell<Arena>>;

/// Out of line, because each primitive calls it once. When the thread's arena is gone already, at
/// the end of the thread, the primitive gets an arena of its own.
#[cold]
fn thread_arena() -> Shared {
    list_waiters();
    ARENA.try_with(Rc::clone).unwrap_or_default()
}

thread_local! {
    /// Whether reports know the waiters of this thread.
    static IS_LISTED: Cell<bool> = const { Cell::new(false) };
}

/// Lets reports list the waiters of this thread.
fn list_waiters() {
    if !IS_LISTED.replace(true) {
        picot_context::list_waits_with(|waits| _ = ARENA.try_with(|arena| add_waits(&arena.borrow(), waits)));
    }
}

fn add_waits(arena: &Arena, waits: &mut Waits) {
    for node in arena.nodes.iter().filter(|node| node.age != 0) {
        let (kind, what) = crate::dump::describe(node.origin.what);
        let mut wait = WaitInfo::new(kind, what).made(node.origin.made).at(node.place);
        if let Some(holder) = node.lock.as_ref().and_then(|lock| lock.get()) {
            wait.held_since = Some(holder.place);
            wait.on.extend(holder.who.task);
        }
        // A notified waiter does not wait any more.
        if node.waker.is_some() {
            waits.add(node.running.task_id(), wait);
        }
    }
}

/// Lists all waiters of this thread, longest wait first.
pub(crate) fn all() -> Vec<Waiter> {
    let mut nodes: Vec<_> = ARENA.with(|arena| {
        arena.borrow().nodes.iter().filter(|node| node.age != 0).map(|node| (node.age, describe(node))).collect()
    });
    nodes.sort_by_key(|(age, _)| *age);
    nodes.into_iter().map(|(_, waiting)| waiting).collect()
}

fn describe(node: &Node) -> Waiter {
    let Origin { what, made } = node.origin;
    Waiter { what, made, task: node.running.task(), place: node.place, is_notified: node.waker.is_none() }
}

/// The waiters of one primitive, in order.
pub(crate) struct WaitList {
    head: Cell<u32>,
    tail: Cell<u32>,
    len: Cell<usize>,
    origin: Origin,
    /// Set with the first waiter.
    arena: OnceCell<Shared>,
}

/// A future's place in line, or the place that it has not taken yet.
pub(crate) struct Ticket {
    key: u32,
    pub(crate) place: Place,
}

impl Ticket {
    #[track_caller]
    pub(crate) fn new() -> Ticket {
        Ticket { key: NONE, place: Location::caller() }
    }

    pub(crate) fn at(place: Place) -> Ticket {
        Ticket { key: NONE, place }
    }

    /// Whether it is in line, or was notified and not polled since.
    pub(crate) fn is_in_line(&self) -> bool {
        self.key != NONE
    }

    /// A number that identifies this waiter on its thread while it is in line.
    pub(crate) fn key(&self) -> u32 {
        self.key
    }
}

/// The state of a future when it was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// Not in line.
    Outside,
    /// In line, not notified.
    Waiting,
    /// Notified, with this, and not polled since.
    Notified(usize),
}

/// A waiter that was just notified. The caller wakes it once no borrow is live.
#[must_use = "a notified waiter must be woken"]
pub(crate) struct Notified {
    pub(crate) waker: Waker,
    pub(crate) asked: usize,
    pub(crate) place: Place,
    pub(crate) task: Option<TaskId>,
}

impl WaitList {
    /// `what` names the operation for reports, such as `"Mutex::lock"`; `made` is the primitive's
    /// place.
    pub(crate) const fn new(what: &'static str, made: Place) -> WaitList {
        let (head, tail) = (Cell::new(NONE), Cell::new(NONE));
        WaitList { head, tail, len: Cell::new(0), origin: Origin { what, made }, arena: OnceCell::new() }
    }

    #[inline]
    fn arena(&self) -> RefMut<'_, Arena> {
        self.arena.get_or_init(thread_arena).borrow_mut()
    }

    /// Whether no waiter is in line. Notified waiters are not in line any more.
    pub(crate) fn is_empty(&self) -> bool {
        self.head.get() == NONE
    }

    pub(crate) fn len(&self) -> usize {
        self.len.get()
    }

    pub(crate) fn made(&self) -> Place {
        self.origin.made
    }

    /// Whether it was notified and not polled since.
    pub(crate) fn is_notified(&self, waiter: &Ticket) -> bool {
        waiter.is_in_line() && self.arena().node(waiter.key).waker.is_none()
    }

    /// Records which lock a waiter waits for. Returns false if it was notified already.
    pub(crate) fn set_lock(&self, waiter: &Ticket, lock: &Seen) -> bool {
        let mut arena = self.arena();
        let node = arena.node(waiter.key);
        node.lock = Some(lock.clone());
        node.waker.is_some()
    }

    /// Lists the waiters in line, first come first.
    pub(crate) fn list(&self) -> Vec<Waiter> {
        let mut arena = self.arena();
        let mut list = Vec::with_capacity(self.len());
        let mut at = self.head.get();
        while at != NONE {
            let node = arena.node(at);
            list.push(describe(node));
            at = node.next;
        }
        list
    }

    /// Polls a leaf operation that asks for `asked` units.
    ///
    /// Ready with what `at_once` returns, or, once notified, with what the notifier gave. It spends
    /// the step's budget whenever it is ready; a primitive has no other way to complete.
    #[inline]
    pub(crate) fn poll_with(
        &self,
        waiter: &mut Ticket,
        asked: usize,
        cx: &mut Context<'_>,
        at_once: impl FnMut() -> Option<usize>,
    ) -> Poll<usize> {
        if waiter.is_in_line() {
            return self.collect(waiter, cx);
        }
        self.poll_first(waiter, asked, cx, at_once, || ())
    }

    /// The first poll of [`poll_with`](WaitList::poll_with), for a primitive that counts its
    /// waiters.
    ///
    /// Calls `entered` when the waiter has joined the line.
    #[inline]
    pub(crate) fn poll_first(
        &self,
        waiter: &mut Ticket,
        asked: usize,
        cx: &mut Context<'_>,
        mut at_once: impl FnMut() -> Option<usize>,
        entered: impl FnOnce(),
    ) -> Poll<usize> {
        // Without budget the waiter still joins the line, so that its turn does not depend on the
        // step.
        let may_complete = budget::poll_left(cx).is_ready();
        if may_complete {
            if let Some(given) = at_once() {
                budget::spend();
                return Poll::Ready(given);
            }
        }
        self.wait(waiter, asked, cx, may_complete, at_once, entered)
    }

    /// Joins the line on a first poll. Out of line, so that the common path stays small.
    #[inline(never)]
    fn wait(
        &self,
        waiter: &mut Ticket,
        asked: usize,
        cx: &mut Context<'_>,
        may_complete: bool,
        mut at_once: impl FnMut() -> Option<usize>,
        entered: impl FnOnce(),
    ) -> Poll<usize> {
        // Cloning is foreign code and may have returned what was missing a moment ago.
        let waker = cx.waker().clone();
        let given = at_once();
        if let (Some(given), true) = (given, may_complete) {
            discard(waker);
            budget::spend();
            return Poll::Ready(given);
        }
        // The line is joined after the clone and the second check, so no notification was missed.
        self.enter(waiter, asked, waker);
        if let Some(given) = given {
            // It has its turn now, and completes in the next step; `poll_left` has woken it.
            let waker = self.take_out(&mut self.arena(), waiter.key, given);
            discard(waker);
        }
        entered();
        Poll::Pending
    }

    /// Joins the line without trying to complete, as a condition's waiter does.
    ///
    /// The waiter is in line before its waker is cloned, so a notification by the clone reaches it.
    pub(crate) fn enter_first(&self, waiter: &mut Ticket, asked: usize, cx: &mut Context<'_>) {
        if !waiter.is_in_line() {
            self.enter(waiter, asked, Waker::noop().clone());
        }
        self.change_waker(waiter.key, cx.waker().clone());
    }

    /// Joins the line.
    #[inline(always)]
    fn enter(&self, waiter: &mut Ticket, asked: usize, waker: Waker) {
        let mut arena = self.arena();
        let prev = self.tail.get();
        let key = arena.insert(self, waiter.place, asked, waker);
        self.tail.set(key);
        match prev {
            NONE => self.head.set(key),
            prev => arena.node(prev).next = key,
        }
        self.len.set(self.len.get() + 1);
        waiter.key = key;
    }

    /// Polls a waiter in line. Once notified, frees its slot and is ready with what it was given.
    pub(crate) fn collect(&self, waiter: &mut Ticket, cx: &mut Context<'_>) -> Poll<usize> {
        if budget::poll_left(cx).is_pending() {
            return Poll::Pending;
        }
        let mut arena = self.arena();
        let node = arena.node(waiter.key);
        if let Some(waker) = &node.waker {
            let is_same = waker.will_wake(cx.waker());
            // The borrow ends before the clone below, which is foreign code.
            drop(arena);
            if !is_same {
                self.change_waker(waiter.key, cx.waker().clone());
            }
            return Poll::Pending;
        }
        let amount = node.amount;
        let running = arena.release(waiter.key);
        drop(arena);
        waiter.key = NONE;
        // Dropped after the borrow: it may be the last reference to task-locals, which are user
        // values.
        drop(running);
        budget::spend();
        Poll::Ready(amount)
    }

    #[cold]
    fn change_waker(&self, key: u32, new: Waker) {
        // Cloning the new one is foreign code, and may have notified this waiter: then the wake
        // went to the old one.
        let mut arena = self.arena();
        match &mut arena.node(key).waker {
            Some(waker) => {
                let old = std::mem::replace(waker, new);
                drop(arena);
                discard(old);
            }
            None => {
                drop(arena);
                wake(new);
            }
        }
    }

    /// Notifies the first waiter, if `suits` returns true for what it asks.
    #[inline]
    pub(crate) fn notify_first_if(&self, suits: impl FnOnce(usize) -> bool) -> Option<Notified> {
        let key = self.head.get();
        if key == NONE {
            return None;
        }
        let mut arena = self.arena();
        let node = arena.node(key);
        let (asked, place, task) = (node.amount, node.place, node.running.task_id());
        if !suits(asked) {
            return None;
        }
        let waker = self.take_first(&mut arena, key, asked)?;
        Some(Notified { waker, asked, place, task })
    }

    /// Notifies the first waiter, and gives it `given`.
    pub(crate) fn notify_first(&self, given: usize) -> Option<Waker> {
        let key = self.head.get();
        if key == NONE { None } else { self.take_first(&mut self.arena(), key, given) }
    }

    /// Notifies all present waiters. Waits that begin while the caller wakes them are not notified.
    pub(crate) fn notify_all(&self, given: usize) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.len());
        if !self.is_empty() {
            let mut arena = self.arena();
            // The whole line is taken at once, so a wait that begins while the caller wakes these
            // joins a new line.
            let mut at = self.head.replace(NONE);
            self.tail.set(NONE);
            self.len.set(0);
            while at != NONE {
                let node = arena.node(at);
                node.amount = given;
                at = node.next;
                if let Some(waker) = node.waker.take() {
                    wakers.push(waker);
                }
            }
        }
        wakers
    }

    /// Takes the first waiter, `key`, out of the line as notified.
    #[inline]
    fn take_first(&self, arena: &mut Arena, key: u32, given: usize) -> Option<Waker> {
        let node = arena.node(key);
        let next = node.next;
        node.amount = given;
        let waker = node.waker.take();
        self.head.set(next);
        match next {
            NONE => self.tail.set(NONE),
            next => arena.node(next).prev = NONE,
        }
        self.len.set(self.len.get() - 1);
        waker
    }

    /// Takes a waiter out of the line as notified.
    fn take_out(&self, arena: &mut Arena, key: u32, given: usize) -> Option<Waker> {
        let node = arena.node(key);
        let (prev, next) = (node.prev, node.next);
        node.amount = given;
        let waker = node.waker.take();
        arena.unlink(self, prev, next);
        waker
    }

    /// Removes a waiter whose future is dropped. The caller passes on what it was given.
    #[inline]
    pub(crate) fn leave(&self, waiter: &mut Ticket) -> Left {
        if waiter.is_in_line() { self.leave_line(waiter) } else { Left::Outside }
    }

    #[cold]
    fn leave_line(&self, waiter: &mut Ticket) -> Left {
        let key = std::mem::replace(&mut waiter.key, NONE);
        let mut arena = self.arena();
        let node = arena.node(key);
        // A notified node is in no list; one that waits must be unlinked.
        let (left, waker) = match node.waker {
            None => (Left::Notified(node.amount), None),
            Some(_) => (Left::Waiting, self.take_out(&mut arena, key, 0)),
        };
        let running = arena.release(key);
        // Both are foreign values, so no borrow is live while they are dropped.
        drop(arena);
        discard(waker);
        drop(running);
        left
    }
}

impl fmt::Debug for WaitList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list()).finish()
    }
}
