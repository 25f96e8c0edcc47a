//! The inbox: items from other threads, and the protocol that wakes the owner for them.
//!
//! The state is one of three. AWAKE: the owner runs and has checked the queue. NOTIFIED: an item
//! was pushed since. ASLEEP: the owner sleeps, or is about to.
//!
//! - A pusher pushes first, and swaps NOTIFIED in second. If it replaced ASLEEP, it interrupts the
//!   sleep; otherwise the owner will check before it sleeps, or another pusher has interrupted it.
//! - The owner goes to sleep by exchanging AWAKE for ASLEEP. If it finds NOTIFIED instead, it does
//!   not sleep.
//! - The owner swaps AWAKE in *before* it takes from the queue, so a later push notifies again.
//!
//! All three are read-modify-write operations on one variable, so they have one order, and each
//! sees the writes before it: either the owner finds NOTIFIED and the item is visible to it, or the
//! pusher finds ASLEEP and interrupts. With a separate load and store in place of any of them, both
//! could miss each other. The model at the end of this file checks that.

use concurrent_queue::{ConcurrentQueue, PushError};
use crossbeam_utils::CachePadded;

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, AtomicU8, Ordering};
#[cfg(loom)]
use loom::thread::yield_now;
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
#[cfg(not(loom))]
use std::thread::yield_now;

const AWAKE: u8 = 0;
const NOTIFIED: u8 = 1;
const ASLEEP: u8 = 2;

pub(crate) struct Inbox<T> {
    queue: ConcurrentQueue<T>,
    /// On a cache line of its own: other threads write it, the owner reads it every turn.
    state: CachePadded<AtomicU8>,
}

impl<T> Inbox<T> {
    pub(crate) fn new() -> Inbox<T> {
        Inbox { queue: ConcurrentQueue::unbounded(), state: CachePadded::new(AtomicU8::new(AWAKE)) }
    }

    /// Pushes an item. Returns whether the owner sleeps and must be interrupted.
    ///
    /// # Errors
    /// The item, if the inbox is closed.
    pub(crate) fn push(&self, item: T) -> Result<bool, T> {
        match self.queue.push(item) {
            // Release publishes the pushed item to the owner. Acquire orders the interrupt after
            // all that the owner did before it fell asleep.
            Ok(()) => Ok(self.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP),
            Err(PushError::Closed(item)) => Err(item),
            Err(PushError::Full(_)) => unreachable!("the inbox is unbounded"),
        }
    }

    /// Whether an item was pushed that the owner has not checked. A relaxed load is enough, because
    /// the owner asks in every turn and `take` synchronizes.
    #[inline]
    pub(crate) fn is_notified(&self) -> bool {
        self.state.load(Ordering::Relaxed) == NOTIFIED
    }

    /// The number of items in it.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Takes the present items, at most `max`, so that a flood of pushes cannot occupy the owner.
    /// If more are left, the inbox stays notified.
    pub(crate) fn take(&self, max: usize, mut each: impl FnMut(T)) -> usize {
        self.state.swap(AWAKE, Ordering::AcqRel);
        let mut count = self.queue.len();
        if count > max {
            // The owner notifies itself, before it takes. A swap, not a store: a store would end
            // the release sequence of a push that notified in between, and the next `take` might
            // not see that push's item. (The model cannot tell: the queue's own accesses are
            // sequentially consistent today.)
            self.state.swap(NOTIFIED, Ordering::AcqRel);
            count = max;
        }
        let mut taken = 0;
        while taken < count {
            let Ok(item) = self.queue.pop() else { break };
            taken += 1;
            each(item);
        }
        taken
    }

    /// Goes to sleep, or stays asleep. Returns whether the owner may wait now; `false` means that
    /// there is something to take.
    pub(crate) fn fall_asleep(&self) -> bool {
        // Stronger orders than needed: the `take` that follows synchronizes with the pushers. They
        // cost nothing beside the exchange, which happens once a sleep.
        let result = self.state.compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire);
        matches!(result, Ok(_) | Err(ASLEEP))
    }

    /// Wakes up after a wait, however it ended.
    pub(crate) fn wake_up(&self) {
        // If a pusher has notified, that state stays.
        let _ = self.state.compare_exchange(ASLEEP, AWAKE, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Refuses pushes from now on. Items that are inside can still be taken.
    fn close(&self) {
        // Pushes in progress may still succeed; `drain` takes once more afterwards.
        self.queue.close();
    }

    /// Takes and runs items until no push is in progress, then closes. Waits up to `yields` thread
    /// yields for a push in progress; later pushes fail.
    pub(crate) fn drain(&self, yields: usize, owner: &mut impl Drain<T>) {
        for left in (0..=yields).rev() {
            self.take(usize::MAX, |item| owner.accept(item));
            if owner.run() || left == 0 {
                break;
            }
            yield_now();
        }
        self.close();
        // A push between the last take and the close was accepted. This takes it.
        self.take(usize::MAX, |item| owner.accept(item));
        owner.run();
    }
}

/// The owner's side of [`Inbox::drain`].
pub(crate) trait Drain<T> {
    fn accept(&mut self, item: T);

    /// Runs the accepted items. Returns whether no push is in progress any more.
    fn run(&mut self) -> bool;
}

/// Keeps an item that may be pushed often in the inbox at most once. A second push is skipped. The
/// owner [clears](Sent::clear) the mark before it acts on the first push, so it also sees the
/// writes before the second.
pub(crate) struct Sent(AtomicBool);

impl Sent {
    pub(crate) fn new() -> Sent {
        Sent(AtomicBool::new(false))
    }

    /// Marks the item as pushed. Returns whether the caller has to push it.
    pub(crate) fn mark(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }

    /// Clears the mark when the item has been taken, so that the next mark pushes again. A swap,
    /// not a store: it acquires the writes of threads whose push was skipped.
    pub(crate) fn clear(&self) {
        self.0.swap(false, Ordering::AcqRel);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn items_pushed_during_a_take_wait_for_the_next_one() {
        let inbox = Inbox::new();
        assert!((0..3).all(|n| inbox.push(n) == Ok(false)));
        let take = || {
            let mut got = Vec::new();
            let taken = inbox.take(usize::MAX, |n| {
                got.push(n);
                assert_eq!(inbox.push(n + 10), Ok(false));
            });
            assert_eq!((taken, inbox.len(), inbox.is_notified()), (3, 3, true));
            got
        };
        assert_eq!(take(), [0, 1, 2]);
        assert_eq!(take(), [10, 11, 12]);
    }

    #[test]
    fn items_left_behind_a_bound_keep_the_inbox_notified() {
        let inbox = Inbox::new();
        assert!((0..7).all(|n| inbox.push(n) == Ok(false)));
        let mut got = Vec::new();
        for (taken, notified) in [(3, true), (3, true), (1, false), (0, false)] {
            assert_eq!((inbox.take(3, |n| got.push(n)), inbox.is_notified()), (taken, notified));
        }
        assert!(got.into_iter().eq(0..7) && inbox.fall_asleep());
    }
}

#[cfg(all(test, loom))]
mod model {
    use std::cell::Cell;

    use loom::sync::{Arc, Condvar, Mutex};
    use loom::thread;

    use super::*;

    /// Stands for the wake-up fd or the parker, and remembers one ring. Loom fails a model in which
    /// a waiter is never woken.
    #[derive(Default)]
    struct Alarm {
        rung: Mutex<bool>,
        changed: Condvar,
    }

    impl Alarm {
        fn ring(&self) {
            *self.rung.lock().unwrap() = true;
            self.changed.notify_one();
        }

        fn wait(&self) {
            let mut rung = self.rung.lock().unwrap();
            while !std::mem::replace(&mut *rung, false) {
                rung = self.changed.wait(rung).unwrap();
            }
        }
    }

    /// Stands for an eventfd that is registered for edges and never read, as the reactor's is:
    /// nothing in it orders memory, so the state alone must.
    #[derive(Default)]
    struct SilentAlarm(AtomicBool);

    impl SilentAlarm {
        fn ring(&self) {
            self.0.store(true, Ordering::Relaxed);
        }

        fn wait(&self) {
            while !self.0.load(Ordering::Relaxed) {
                thread::yield_now();
            }
            self.0.store(false, Ordering::Relaxed);
        }
    }

    /// The owner sleeps, wakes up by an alarm that orders nothing, and finds the item that was
    /// pushed before it rang.
    #[test]
    fn no_wake_is_lost_by_an_alarm_that_is_no_barrier() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::new());
            let alarm = Arc::new(SilentAlarm::default());
            let pusher = thread::spawn({
                let (inbox, alarm) = (inbox.clone(), alarm.clone());
                move || {
                    if inbox.push(7).unwrap() {
                        alarm.ring();
                    }
                }
            });
            if inbox.fall_asleep() {
                alarm.wait();
                inbox.wake_up();
            }
            assert!(inbox.is_notified(), "an owner that does not sleep, or was woken, has an item to take");
            let mut got = None;
            assert_eq!(inbox.take(usize::MAX, |item| got = Some(item)), 1);
            assert_eq!(got, Some(7));
            pusher.join().unwrap();
        });
    }

    /// The owner works and sleeps as the loop does, until `is_done`. `work` gets the inbox when
    /// there is something to take.
    fn work_and_sleep<T>(inbox: &Inbox<T>, alarm: &Alarm, is_done: impl Fn() -> bool, mut work: impl FnMut(&Inbox<T>)) {
        while !is_done() {
            if inbox.is_notified() {
                work(inbox);
            } else if inbox.fall_asleep() {
                alarm.wait();
                inbox.wake_up();
            }
        }
    }

    /// Each thread pushes an item. The owner must never sleep while an item is there and no pusher
    /// will ring.
    fn owner_gets_everything(pushers: usize, max: usize) {
        let inbox = Arc::new(Inbox::new());
        let alarm = Arc::new(Alarm::default());
        let threads: Vec<_> = (0..pushers)
            .map(|n| {
                let (inbox, alarm) = (inbox.clone(), alarm.clone());
                thread::spawn(move || {
                    if inbox.push(n).unwrap() {
                        alarm.ring();
                    }
                })
            })
            .collect();

        let got = Cell::new(0);
        let mut max = max;
        work_and_sleep(
            &inbox,
            &alarm,
            || got.get() == pushers,
            |inbox| {
                got.set(got.get() + inbox.take(std::mem::replace(&mut max, usize::MAX), |_| ()));
            },
        );
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn no_wake_is_lost_with_one_pusher() {
        loom::model(|| owner_gets_everything(1, usize::MAX));
    }

    #[test]
    fn no_wake_is_lost_with_two_pushers() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| owner_gets_everything(2, usize::MAX));
    }

    /// One item is left behind the bound, and another push happens while the owner notifies itself
    /// of that.
    #[test]
    fn no_wake_is_lost_behind_a_bound() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| owner_gets_everything(2, 0));
    }

    #[test]
    fn a_push_at_close_is_taken_or_returned() {
        loom::model(|| {
            let inbox = Arc::new(Inbox::new());
            let pusher = thread::spawn({
                let inbox = inbox.clone();
                move || inbox.push(()).is_ok()
            });
            inbox.close();
            let mut taken = inbox.take(usize::MAX, |()| ());
            let pushed = pusher.join().unwrap();
            taken += inbox.take(usize::MAX, |()| ());
            assert_eq!(taken, usize::from(pushed));
        });
    }

    /// A task as `async-task` keeps it, as far as waking goes: it is idle, or marked as queued or
    /// about to be, or has ended. The waker that sets the mark is the one that pushes; see
    /// `schedule`.
    #[derive(Default)]
    struct Task(AtomicU8);

    impl Task {
        const IDLE: u8 = 0;
        const MARKED: u8 = 1;
        const ENDED: u8 = 2;

        /// Returns whether the caller has to push.
        fn mark(&self) -> bool {
            self.0.compare_exchange(Task::IDLE, Task::MARKED, Ordering::AcqRel, Ordering::Acquire).is_ok()
        }

        /// The owner runs it: its future is dropped.
        fn end(&self) {
            assert_eq!(
                self.0.swap(Task::ENDED, Ordering::AcqRel),
                Task::MARKED,
                "a task is run once a push, and ends once"
            );
        }
    }

    /// The owner that closes: one task, and the queue that holds it.
    struct Closing {
        queue: Vec<Arc<Task>>,
        left: usize,
    }

    impl Drain<Arc<Task>> for Closing {
        fn accept(&mut self, task: Arc<Task>) {
            self.queue.push(task);
        }

        fn run(&mut self) -> bool {
            for task in self.queue.drain(..) {
                task.end();
                self.left -= 1;
            }
            self.left == 0
        }
    }

    /// Threads wake a task while its executor closes, with a bound of `yields`. The future is
    /// dropped once and by the owner, or it is leaked and counted; a push is refused only then, and
    /// taken otherwise. Returns how many were leaked.
    fn close_under_fire(wakers: usize, yields: usize) -> usize {
        let inbox = Arc::new(Inbox::new());
        let task = Arc::new(Task::default());
        let threads: Vec<_> = (0..wakers)
            .map(|_| {
                let (inbox, task) = (inbox.clone(), task.clone());
                thread::spawn(move || task.mark() && inbox.push(task.clone()).is_err())
            })
            .collect();

        let queue = task.mark().then(|| task.clone()).into_iter().collect();
        let mut closing = Closing { queue, left: 1 };
        inbox.drain(yields, &mut closing);

        let refused = threads.into_iter().filter_map(|thread| thread.join().unwrap().then_some(())).count();
        assert_eq!(refused, closing.left, "what was leaked is what was refused");
        assert_eq!(inbox.take(usize::MAX, |_| ()), 0, "nothing was accepted that is never taken");
        closing.left
    }

    #[test]
    fn a_task_that_is_woken_while_it_closes_is_dropped_at_home_or_leaked_with_one_waker() {
        for yields in 0..3 {
            loom::model(move || _ = close_under_fire(1, yields));
        }
    }

    #[test]
    fn close_that_waits_long_enough_leaks_nothing() {
        loom::model(|| assert_eq!(close_under_fire(1, usize::MAX), 0));
    }

    #[test]
    fn a_task_that_is_woken_while_it_closes_is_dropped_at_home_or_leaked_with_two_wakers() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| _ = close_under_fire(2, 1));
    }

    /// Threads wake one root, each after it has written the value that the root waits for. The root
    /// is polled until it has seen all values, by an owner that sleeps in between; the inbox never
    /// holds it twice.
    fn root_is_polled_after_every_wake(wakers: usize) {
        let inbox = Arc::new(Inbox::new());
        let alarm = Arc::new(Alarm::default());
        let sent = Arc::new(Sent::new());
        let written: Vec<_> = (0..wakers).map(|_| Arc::new(AtomicBool::new(false))).collect();
        let threads: Vec<_> = written
            .iter()
            .map(|written| {
                let (inbox, alarm, sent, written) = (inbox.clone(), alarm.clone(), sent.clone(), written.clone());
                thread::spawn(move || {
                    written.store(true, Ordering::Relaxed);
                    if sent.mark() && inbox.push(()).unwrap() {
                        alarm.ring();
                    }
                })
            })
            .collect();

        let is_done = || written.iter().all(|written| written.load(Ordering::Relaxed));
        work_and_sleep(&inbox, &alarm, is_done, |inbox| {
            let taken = inbox.take(usize::MAX, |()| sent.clear());
            assert!(taken <= 1, "it stands there once");
        });
        for thread in threads {
            thread.join().unwrap();
        }
    }

    #[test]
    fn a_root_is_polled_after_the_last_of_two_wakes() {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(3);
        model.check(|| root_is_polled_after_every_wake(2));
    }
}
