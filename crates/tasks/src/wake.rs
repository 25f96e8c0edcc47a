//! Which members of a crowd are ready: their wakers, and what these push to.
//!
//! A wake on the crowd's own thread finds the crowd's list in a thread-local, pushes to it without a lock and without an
//! atomic read-modify-write, and wakes whoever polls the crowd, once for all that is pushed before the next poll. A wake on
//! another thread does the same under a lock that is held for one push. Wakers may outlive the crowd; then they do nothing.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};
use std::thread::{self, ThreadId};

use slab::Slab;

/// Names a member: where it is kept, and which of those that were ever kept there it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

thread_local! {
    /// This thread's id once it has had a crowd.
    static HERE: Cell<Option<ThreadId>> = const { Cell::new(None) };
    static LISTS: RefCell<Slab<Rc<List>>> = const { RefCell::new(Slab::new()) };
    static LAST_NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// What is ready, as the crowd's own thread keeps it.
struct List {
    /// Tells this list from one that had the same place before.
    number: u64,
    ready: RefCell<VecDeque<Key>>,
    /// Whoever polls the crowd.
    parent: Cell<Option<Waker>>,
    /// Whether the parent has been woken since it last polled.
    is_woken: Cell<bool>,
}

impl List {
    fn wake_parent(&self) {
        if self.is_woken.replace(true) {
            return;
        }
        // Out of the cell while it is woken: it may be anybody's code.
        if let Some(parent) = self.parent.take() {
            parent.wake_by_ref();
            let newer = self.parent.take();
            self.parent.set(newer.or(Some(parent)));
        }
    }
}

/// What wakers know of their crowd.
struct Shared {
    owner: ThreadId,
    slot: usize,
    number: u64,
    /// Whether the other threads' half holds anything, or has used up its waker.
    is_touched: AtomicBool,
    others: Mutex<Others>,
}

/// The half of the other threads.
#[derive(Default)]
struct Others {
    ready: Vec<Key>,
    parent: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn list(&self) -> Option<Rc<List>> {
        let find = |lists: &RefCell<Slab<Rc<List>>>| lists.borrow().get(self.slot).cloned();
        LISTS.try_with(find).ok().flatten().filter(|list| list.number == self.number)
    }
}

/// What a member's waker is made of.
pub(crate) struct Entry {
    shared: Arc<Shared>,
    key: Key,
    /// Whether the own thread has queued the member. Read and written there only.
    is_queued: AtomicBool,
    /// Whether another thread has.
    is_sent: AtomicBool,
}

impl Entry {
    /// The member is about to be polled: what wakes it from here on queues it again.
    #[inline]
    pub(crate) fn clear(&self) {
        self.is_queued.store(false, Ordering::Relaxed);
        if self.is_sent.load(Ordering::Relaxed) {
            // Takes over what the waking threads have written, also those that found the mark and did not push.
            self.is_sent.swap(false, Ordering::AcqRel);
        }
    }
}

impl Wake for Entry {
    fn wake(self: Arc<Entry>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Entry>) {
        let shared = &self.shared;
        if HERE.get() == Some(shared.owner) {
            if self.is_queued.load(Ordering::Relaxed) {
                return;
            }
            if let Some(list) = shared.list() {
                self.is_queued.store(true, Ordering::Relaxed);
                list.ready.borrow_mut().push_back(self.key);
                list.wake_parent();
            }
        } else if !self.is_sent.swap(true, Ordering::AcqRel) {
            let mut others = shared.lock();
            others.ready.push(self.key);
            let parent = others.parent.take();
            shared.is_touched.store(true, Ordering::Release);
            drop(others);
            if let Some(parent) = parent {
                parent.wake();
            }
        }
    }
}

/// The list of one crowd, as the crowd holds it.
pub(crate) struct Ready {
    shared: Arc<Shared>,
    list: Rc<List>,
}

impl Ready {
    pub(crate) fn new() -> Ready {
        let owner = HERE.get().unwrap_or_else(|| thread::current().id());
        HERE.set(Some(owner));
        let number = LAST_NUMBER.get() + 1;
        LAST_NUMBER.set(number);
        let list =
            Rc::new(List { number, ready: RefCell::default(), parent: Cell::new(None), is_woken: Cell::new(false) });
        let slot = LISTS.with(|lists| lists.borrow_mut().insert(list.clone()));
        let (is_touched, others) = (AtomicBool::new(false), Mutex::default());
        Ready { shared: Arc::new(Shared { owner, slot, number, is_touched, others }), list }
    }

    /// A new member's entry. The member is queued.
    #[inline]
    pub(crate) fn entry(&self, key: Key) -> Arc<Entry> {
        let (is_queued, is_sent) = (AtomicBool::new(true), AtomicBool::new(false));
        self.list.ready.borrow_mut().push_back(key);
        Arc::new(Entry { shared: self.shared.clone(), key, is_queued, is_sent })
    }

    /// The crowd is polled by the task of `parent`, which is woken from here on, and what came from other threads is taken.
    /// Returns how many are ready.
    pub(crate) fn begin(&self, parent: &Waker) -> usize {
        self.list.is_woken.set(false);
        let known = self.list.parent.take();
        let is_known = known.as_ref().is_some_and(|known| known.will_wake(parent));
        self.list.parent.set(if is_known { known } else { Some(parent.clone()) });
        if !is_known || self.shared.is_touched.load(Ordering::Acquire) {
            self.exchange(parent.clone());
        }
        self.len()
    }

    #[cold]
    fn exchange(&self, parent: Waker) {
        let mut others = self.shared.lock();
        self.shared.is_touched.store(false, Ordering::Relaxed);
        let ready = std::mem::take(&mut others.ready);
        let old = others.parent.replace(parent);
        drop(others);
        drop(old);
        self.list.ready.borrow_mut().extend(ready);
    }

    pub(crate) fn len(&self) -> usize {
        self.list.ready.borrow().len()
    }

    #[inline]
    pub(crate) fn pop(&self) -> Option<Key> {
        self.list.ready.borrow_mut().pop_front()
    }

    /// Has whoever polls the crowd poll it again, if there is something ready.
    pub(crate) fn end(&self) {
        if self.len() > 0 {
            self.list.wake_parent();
        }
    }
}

impl Drop for Ready {
    fn drop(&mut self) {
        // What it holds is dropped when nothing is borrowed any more.
        let list = LISTS.try_with(|lists| lists.borrow_mut().try_remove(self.shared.slot));
        drop(list);
        let parent = self.list.parent.take();
        drop(parent);
        let others = std::mem::take(&mut *self.shared.lock());
        drop(others);
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

    /// A list with two members that are not queued, its parent, and the members' entries.
    fn two() -> (Ready, Arc<Count>, [Arc<Entry>; 2]) {
        let (ready, count) = (Ready::new(), Arc::new(Count::default()));
        let entries = KEYS.map(|key| ready.entry(key));
        assert_eq!(ready.begin(&Waker::from(count.clone())), 2, "new members are queued");
        for entry in &entries {
            ready.pop();
            entry.clear();
        }
        (ready, count, entries)
    }

    #[test]
    fn many_wakes_queue_a_member_once_and_wake_the_parent_once() {
        let (ready, count, entries) = two();
        for entry in entries.iter().rev().chain(&entries) {
            entry.wake_by_ref();
        }
        assert_eq!(count.take(), 1);
        assert_eq!([ready.pop(), ready.pop(), ready.pop()], [Some(KEYS[1]), Some(KEYS[0]), None]);
    }

    #[test]
    fn a_wake_from_another_thread_wakes_the_parent_and_arrives_at_the_next_poll() {
        let (ready, count, own) = two();
        for _ in 0..3 {
            let entries = own.clone();
            thread::spawn(move || entries.iter().chain(&entries).for_each(Wake::wake_by_ref)).join().unwrap();
            assert_eq!((count.take(), ready.len()), (1, 0));
            assert_eq!(ready.begin(&Waker::from(count.clone())), 2, "each once");
            while ready.pop().is_some() {}
            own.iter().for_each(|entry| entry.clear());
        }
    }

    #[test]
    fn wakers_outlive_the_list_and_do_not_reach_the_next_one() {
        let (ready, count, entries) = two();
        drop(ready);
        let (next, next_count, _entries) = two();
        entries[0].wake_by_ref();
        let other = entries[1].clone();
        thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!((count.take(), next_count.take(), next.len()), (0, 0, 0));
    }

    #[test]
    fn a_new_parent_is_the_one_that_is_woken() {
        let (ready, old, entries) = two();
        let new = Arc::new(Count::default());
        ready.begin(&Waker::from(new.clone()));
        entries[0].wake_by_ref();
        let other = entries[1].clone();
        thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!((old.take(), new.take()), (0, 2));
    }
}
