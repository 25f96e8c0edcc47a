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

/// Names a member: where it is kept, and which of those that were ever kept there it is. Generations begin at 1.
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
    members: RefCell<Members>,
    /// Whoever polls the crowd.
    parent: Cell<Option<Waker>>,
    /// Whether the parent has been woken since it last polled.
    is_woken: Cell<bool>,
}

/// No code but that of this file runs while it is borrowed.
#[derive(Default)]
struct Members {
    ready: VecDeque<Key>,
    /// By index: which member is there, and whether it is queued.
    slots: Vec<(u32, bool)>,
}

impl Members {
    /// Queues a member, unless it is queued or gone.
    #[inline]
    fn push(&mut self, key: Key) {
        let (generation, is_queued) = &mut self.slots[key.index as usize];
        if *generation == key.generation && !std::mem::replace(is_queued, true) {
            self.ready.push_back(key);
        }
    }
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
    /// By index: the generation that is in `ready`; 0, which none has, if none is.
    sent: Vec<u32>,
    parent: Option<Waker>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Others> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A wake on the crowd's own thread.
    fn wake_here(&self, key: Key) {
        let push = |lists: &RefCell<Slab<Rc<List>>>| {
            let lists = lists.borrow();
            let list = lists.get(self.slot).filter(|list| list.number == self.number)?;
            list.members.borrow_mut().push(key);
            (!list.is_woken.get()).then(|| list.clone())
        };
        // If the thread-local is gone, so is the thread, and with it whoever could poll.
        if let Ok(Some(list)) = LISTS.try_with(push) {
            list.wake_parent();
        }
    }

    /// A wake on another thread.
    fn wake_elsewhere(&self, key: Key) {
        let mut others = self.lock();
        let index = key.index as usize;
        if others.sent.len() <= index {
            others.sent.resize(index + 1, 0);
        }
        if std::mem::replace(&mut others.sent[index], key.generation) == key.generation {
            return;
        }
        others.ready.push(key);
        let parent = others.parent.take();
        self.is_touched.store(true, Ordering::Release);
        drop(others);
        if let Some(parent) = parent {
            parent.wake();
        }
    }
}

/// What a member's waker is made of.
struct Entry {
    shared: Arc<Shared>,
    key: Key,
}

impl Wake for Entry {
    fn wake(self: Arc<Entry>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Entry>) {
        if HERE.get() == Some(self.shared.owner) {
            self.shared.wake_here(self.key);
        } else {
            self.shared.wake_elsewhere(self.key);
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
            Rc::new(List { number, members: RefCell::default(), parent: Cell::new(None), is_woken: Cell::new(false) });
        let slot = LISTS.with(|lists| lists.borrow_mut().insert(list.clone()));
        let (is_touched, others) = (AtomicBool::new(false), Mutex::default());
        Ready { shared: Arc::new(Shared { owner, slot, number, is_touched, others }), list }
    }

    /// Adds a member, and gives its waker. It is ready if `is_ready`, and otherwise once it is woken.
    #[inline]
    pub(crate) fn add(&self, key: Key, is_ready: bool) -> Waker {
        let mut members = self.list.members.borrow_mut();
        let index = key.index as usize;
        if members.slots.len() <= index {
            members.slots.resize(index + 1, (0, false));
        }
        members.slots[index] = (key.generation, is_ready);
        if is_ready {
            members.ready.push_back(key);
        }
        Waker::from(Arc::new(Entry { shared: self.shared.clone(), key }))
    }

    /// Forgets a member: its wakers do nothing from here on.
    #[inline]
    pub(crate) fn remove(&self, key: Key) {
        self.list.members.borrow_mut().slots[key.index as usize] = (0, false);
    }

    /// The crowd is polled by the task of `parent`, which is woken from here on, and what came from other threads is taken.
    /// Returns how many are ready.
    pub(crate) fn begin(&self, parent: &Waker) -> usize {
        let known = self.list.parent.take();
        let is_known = known.as_ref().is_some_and(|known| known.will_wake(parent));
        // Cloned before the list says that nothing was woken: a waker is foreign code, and if its clone wakes a member, that
        // finds no parent to wake.
        let (new, old) = if is_known { (known, None) } else { (Some(parent.clone()), known) };
        self.list.parent.set(new);
        self.list.is_woken.set(false);
        if !is_known || self.shared.is_touched.load(Ordering::Acquire) {
            self.exchange(parent.clone());
        }
        drop(old);
        self.len()
    }

    /// Lets go of the parent: nothing waits for the crowd until the next poll.
    pub(crate) fn forget_parent(&self) {
        let here = self.list.parent.take();
        let elsewhere = self.shared.lock().parent.take();
        drop((here, elsewhere));
    }

    #[cold]
    fn exchange(&self, parent: Waker) {
        let mut others = self.shared.lock();
        self.shared.is_touched.store(false, Ordering::Relaxed);
        let ready = std::mem::take(&mut others.ready);
        others.sent.clear();
        let old = others.parent.replace(parent);
        drop(others);
        drop(old);
        let mut members = self.list.members.borrow_mut();
        ready.into_iter().for_each(|key| members.push(key));
    }

    pub(crate) fn len(&self) -> usize {
        self.list.members.borrow().ready.len()
    }

    /// Takes the next member that is ready. What wakes it from here on queues it again.
    #[inline]
    pub(crate) fn pop(&self) -> Option<Key> {
        let mut members = self.list.members.borrow_mut();
        loop {
            let key = members.ready.pop_front()?;
            let (generation, is_queued) = &mut members.slots[key.index as usize];
            // One that has ended after it was woken is gone.
            if *generation == key.generation {
                *is_queued = false;
                return Some(key);
            }
        }
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

    /// A list with two members that are not queued, its parent, and the members' wakers.
    fn two() -> (Ready, Arc<Count>, [Waker; 2]) {
        let (ready, count) = (Ready::new(), Arc::new(Count::default()));
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
    fn a_new_parent_is_the_one_that_is_woken() {
        let (ready, old, wakers) = two();
        let new = Arc::new(Count::default());
        ready.begin(&Waker::from(new.clone()));
        wakers[0].wake_by_ref();
        let other = wakers[1].clone();
        thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!((old.take(), new.take()), (0, 2));
    }

    #[test]
    fn a_member_that_is_gone_is_not_woken_and_hides_nobody_who_has_its_place() {
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
