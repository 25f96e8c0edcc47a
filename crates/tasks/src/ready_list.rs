//! The list of ready members, and the wakers that push to it.
//!
//! A wake on the list's own thread finds the local half in a thread-local, pushes to it without a
//! lock and without an atomic read-modify-write, and wakes the task that polls the list, once for
//! all pushes before its next poll. A wake on another thread pushes to the remote half under a
//! lock. Wakers may outlive the list; they do nothing then.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

use slab::Slab;

use crate::visits::visit;

/// Identifies a member: the index of its slot, and its generation, which tells it from earlier
/// members in that slot. Generations start at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

thread_local! {
    /// This thread's id, once it has had a list. Reading it costs less than `thread::current`.
    static THREAD: Cell<Option<ThreadId>> = const { Cell::new(None) };
    static LISTS: RefCell<Slab<Rc<LocalHalf>>> = const { RefCell::new(Slab::new()) };
    static LAST_NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// The half of the list that only its own thread reaches.
struct LocalHalf {
    /// Tells this list from an earlier one in the same slot of `LISTS`.
    number: u64,
    queue: RefCell<LocalQueue>,
    /// Wakes the task that polls the list.
    parent: Cell<Option<Waker>>,
    /// Whether the parent was woken since its last poll.
    is_woken: Cell<bool>,
}

/// The queue. While it is borrowed, only code of this file runs.
#[derive(Default)]
struct LocalQueue {
    ready: VecDeque<Key>,
    /// By index: the generation of the member in the slot, and whether it is queued.
    slots: Vec<(u32, bool)>,
}

impl LocalQueue {
    /// Queues a member unless it is queued or gone.
    #[inline]
    fn push(&mut self, key: Key) {
        visit();
        let (generation, is_queued) = &mut self.slots[key.index as usize];
        // Otherwise the member has ended, or is already in the queue.
        if *generation == key.generation && !std::mem::replace(is_queued, true) {
            self.ready.push_back(key);
        }
    }
}

impl LocalHalf {
    fn wake_parent(&self) {
        // One wake is enough until the next `begin`.
        if self.is_woken.replace(true) {
            return;
        }
        // Taken out of the cell during the wake, which may run user code and poll the list.
        if let Some(parent) = self.parent.take() {
            parent.wake_by_ref();
            // A poll inside the wake may have set another parent, which is newer.
            let newer = self.parent.take();
            self.parent.set(newer.or(Some(parent)));
        }
    }
}

/// The part of the list that its wakers share, on all threads.
struct Shared {
    owner: ThreadId,
    slot: usize,
    number: u64,
    /// Whether the remote half holds a key, or has used up its waker.
    has_remote: AtomicBool,
    remote: Mutex<RemoteHalf>,
}

/// The half of the list that other threads push to.
#[derive(Default)]
struct RemoteHalf {
    ready: Vec<Key>,
    /// By index: the generation that is in `ready`, or 0 for none.
    sent: Vec<u32>,
    parent: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, RemoteHalf> {
        self.remote.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Handles a wake on the list's own thread.
    fn wake_local(&self, key: Key) {
        let push = |lists: &RefCell<Slab<Rc<LocalHalf>>>| {
            let lists = lists.borrow();
            let list = lists.get(self.slot).filter(|list| list.number == self.number)?;
            list.queue.borrow_mut().push(key);
            (!list.is_woken.get()).then(|| list.clone())
        };
        // The borrow of `LISTS` has ended: the parent's wake may run user code that makes a list.
        // Without the thread-local, the thread is ending, and nothing there can poll the list.
        if let Ok(Some(list)) = LISTS.try_with(push) {
            list.wake_parent();
        }
    }

    /// Handles a wake on another thread.
    fn wake_remote(&self, key: Key) {
        let mut remote = self.lock();
        let index = key.index as usize;
        if remote.sent.len() <= index {
            remote.sent.resize(index + 1, 0);
        }
        // Sent since the last exchange: its parent was already woken for it.
        if std::mem::replace(&mut remote.sent[index], key.generation) == key.generation {
            return;
        }
        remote.ready.push(key);
        // Taken: one wake is enough until the owner polls, which puts it back.
        let parent = remote.parent.take();
        // Release pairs with the Acquire load in `begin`. The lock orders the data; this mark only
        // says that there is some.
        self.has_remote.store(true, Ordering::Release);
        drop(remote);
        // User code may run here; the lock is released.
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

/// The waker of a member.
struct MemberWaker {
    shared: Arc<Shared>,
    key: Key,
}

impl Wake for MemberWaker {
    fn wake(self: Arc<MemberWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<MemberWaker>) {
        // An id, not a pointer to the list: ids of threads are never reused.
        if THREAD.get() == Some(self.shared.owner) {
            self.shared.wake_local(self.key);
        } else {
            self.shared.wake_remote(self.key);
        }
    }
}

/// The owner's handle of a ready list.
pub(crate) struct ReadyList {
    shared: Arc<Shared>,
    list: Rc<LocalHalf>,
}

impl ReadyList {
    pub(crate) fn new() -> ReadyList {
        // `thread::current` clones an `Arc`, so its id is kept for the wakers.
        let owner = THREAD.get().unwrap_or_else(|| thread::current().id());
        THREAD.set(Some(owner));
        // Slots of the slab are reused. The number tells a waker whether its list is still there.
        let number = LAST_NUMBER.get() + 1;
        LAST_NUMBER.set(number);
        let list = Rc::new(LocalHalf {
            number,
            queue: RefCell::default(),
            parent: Cell::new(None),
            is_woken: Cell::new(false),
        });
        let slot = LISTS.with(|lists| lists.borrow_mut().insert(list.clone()));
        let (has_remote, remote) = (AtomicBool::new(false), Mutex::default());
        ReadyList { shared: Arc::new(Shared { owner, slot, number, has_remote, remote }), list }
    }

    /// Adds a member and returns its waker. The member is queued if `is_ready`, and otherwise once
    /// it is woken.
    #[inline]
    pub(crate) fn add(&self, key: Key, is_ready: bool) -> Waker {
        let mut queue = self.list.queue.borrow_mut();
        let index = key.index as usize;
        if queue.slots.len() <= index {
            queue.slots.resize(index + 1, (0, false));
        }
        queue.slots[index] = (key.generation, is_ready);
        if is_ready {
            queue.ready.push_back(key);
        }
        Waker::from(Arc::new(MemberWaker { shared: self.shared.clone(), key }))
    }

    /// Removes a member: its wakers do nothing from now on.
    #[inline]
    pub(crate) fn remove(&self, key: Key) {
        self.list.queue.borrow_mut().slots[key.index as usize] = (0, false);
    }

    /// Starts a poll by the task of `parent`, which later wakes then wake. Takes in what other
    /// threads have pushed. Returns the number of ready members.
    pub(crate) fn begin(&self, parent: &Waker) -> usize {
        let known = self.list.parent.take();
        let is_known = known.as_ref().is_some_and(|known| known.will_wake(parent));
        // The clone comes before `is_woken` is reset: if the waker's clone wakes a member, that
        // must not find the flag reset and no parent to wake, as the member would be queued without
        // a wake.
        let (new, old) = if is_known { (known, None) } else { (Some(parent.clone()), known) };
        self.list.parent.set(new);
        self.list.is_woken.set(false);
        // The lock is only needed for a new parent, which remote wakes must use, and for keys that
        // remote wakes have sent. Acquire pairs with the Release store in `wake_remote`. A mark
        // that is set later is not lost: its wake uses the parent that is already there.
        if !is_known || self.shared.has_remote.load(Ordering::Acquire) {
            self.exchange(parent.clone());
        }
        // A waker's drop is user code: only now, when the list is consistent.
        drop(old);
        self.len()
    }

    /// Drops the parent's waker: nothing waits for the list until the next poll.
    pub(crate) fn forget_parent(&self) {
        let here = self.list.parent.take();
        let elsewhere = self.shared.lock().parent.take();
        // The lock is released: a waker's drop is user code.
        drop((here, elsewhere));
    }

    #[cold]
    fn exchange(&self, parent: Waker) {
        let mut remote = self.shared.lock();
        // Relaxed: stored under the lock, as every store of this mark is.
        self.shared.has_remote.store(false, Ordering::Relaxed);
        let ready = std::mem::take(&mut remote.ready);
        remote.sent.clear();
        let old = remote.parent.replace(parent);
        // In this order: the waker's drop may run user code, which must not find the lock held.
        drop(remote);
        drop(old);
        let mut queue = self.list.queue.borrow_mut();
        ready.into_iter().for_each(|key| queue.push(key));
    }

    pub(crate) fn len(&self) -> usize {
        self.list.queue.borrow().ready.len()
    }

    /// Takes the next ready member. A later wake queues it again.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Key> {
        let mut queue = self.list.queue.borrow_mut();
        loop {
            let key = queue.ready.pop_front()?;
            let (generation, is_queued) = &mut queue.slots[key.index as usize];
            // A member may end after it was queued; then another generation, or none, is in its
            // slot.
            if *generation == key.generation {
                *is_queued = false;
                return Some(key);
            }
        }
    }

    /// Wakes the polling task if members are still ready.
    pub(crate) fn end(&self) {
        if self.len() > 0 {
            self.list.wake_parent();
        }
    }
}

impl Drop for ReadyList {
    fn drop(&mut self) {
        // The thread-local must not be borrowed while wakers are dropped, as that may run user
        // code.
        let list = LISTS.try_with(|lists| lists.borrow_mut().try_remove(self.shared.slot));
        drop(list);
        let parent = self.list.parent.take();
        drop(parent);
        let remote = std::mem::take(&mut *self.shared.lock());
        drop(remote);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Count {
        fn take(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    impl Wake for Count {
        fn wake(self: Arc<Count>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    const KEYS: [Key; 2] = [Key { index: 0, generation: 1 }, Key { index: 1, generation: 2 }];

    /// Makes a list with two members that are not queued, its parent, and the members' wakers.
    fn two() -> (ReadyList, Arc<Count>, [Waker; 2]) {
        let (ready, count) = (ReadyList::new(), Arc::new(Count::default()));
        let wakers = KEYS.map(|key| ready.add(key, true));
        assert_eq!(ready.begin(&Waker::from(count.clone())), 2, "new members are queued");
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(KEYS[0]), Some(KEYS[1]), None]);
        (ready, count, wakers)
    }

    #[test]
    fn many_wakes_queue_a_member_once_and_wake_the_parent_once() {
        let (ready, count, wakers) = two();
        for waker in wakers.iter().rev().chain(&wakers) {
            waker.wake_by_ref();
        }
        assert_eq!(count.take(), 1);
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(KEYS[1]), Some(KEYS[0]), None]);
    }

    #[test]
    fn a_wake_from_another_thread_wakes_the_parent_and_arrives_at_the_next_poll() {
        let (ready, count, own) = two();
        for _ in 0..3 {
            let wakers = own.clone();
            thread::spawn(move || wakers.iter().chain(&wakers).for_each(Waker::wake_by_ref)).join().unwrap();
            assert_eq!((count.take(), ready.len()), (1, 0));
            assert_eq!(ready.begin(&Waker::from(count.clone())), 2, "each once");
            while ready.pop().is_some() {}
        }
    }

    #[test]
    fn wakers_outlive_the_list_and_do_not_reach_the_next_one() {
        let (ready, count, wakers) = two();
        drop(ready);
        let (next, next_count, _wakers) = two();
        wakers[0].wake_by_ref();
        let other = wakers[1].clone();
        thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!((count.take(), next_count.take(), next.len()), (0, 0, 0));
    }

    #[test]
    fn wakes_reach_the_parent_of_the_last_poll() {
        let (ready, old, wakers) = two();
        let new = Arc::new(Count::default());
        ready.begin(&Waker::from(new.clone()));
        wakers[0].wake_by_ref();
        let other = wakers[1].clone();
        thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!((old.take(), new.take()), (0, 2));
    }

    #[test]
    fn a_removed_member_is_not_woken_and_does_not_hide_the_next_one_in_its_slot() {
        let (ready, count, wakers) = two();
        wakers[0].wake_by_ref();
        ready.remove(KEYS[0]);
        let next = Key { index: 0, generation: 3 };
        let waker = ready.add(next, true);
        let old = wakers[0].clone();
        thread::spawn(move || old.wake()).join().unwrap();
        ready.begin(&Waker::from(count.clone()));
        assert_eq!([ready.pop(), ready.pop()], [Some(next), None]);
        count.take();
        wakers[0].wake_by_ref();
        assert_eq!((count.take(), ready.pop()), (1, None));
        ready.begin(&Waker::from(count.clone()));
        thread::spawn(move || waker.wake()).join().unwrap();
        ready.begin(&Waker::from(count.clone()));
        assert_eq!((count.take(), ready.pop()), (1, Some(next)));
    }
}
