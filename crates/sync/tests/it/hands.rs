//! Helpers of the tests: single futures that are polled by hand, and a small executor that counts
//! its steps.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::panic::Location;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use picot_context::{Place, Step, TaskId, enter, inherited};
pub(crate) use picot_testkit::{Trace, yield_now};
use picot_testkit::{WakeCount, poll_once};

/// A future that the test polls.
pub(crate) struct Hand<'a, T> {
    future: Pin<Box<dyn Future<Output = T> + 'a>>,
    count: WakeCount,
    waker: Waker,
}

impl<'a, T> Hand<'a, T> {
    pub(crate) fn new(future: impl Future<Output = T> + 'a) -> Hand<'a, T> {
        let count = WakeCount::default();
        Hand { future: Box::pin(future), waker: count.waker(), count }
    }

    /// A future that has been polled once, and is pending.
    pub(crate) fn pending(future: impl Future<Output = T> + 'a) -> Hand<'a, T> {
        let mut hand = Hand::new(future);
        assert!(hand.poll().is_pending());
        hand
    }

    pub(crate) fn poll(&mut self) -> Poll<T> {
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }

    /// The output of a future that must be ready.
    pub(crate) fn ready(&mut self) -> T {
        match self.poll() {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("it is pending"),
        }
    }

    /// How often it was woken.
    pub(crate) fn wakes(&self) -> usize {
        self.count.get()
    }
}

/// The output of a future that is ready at its first poll.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let Poll::Ready(value) = poll_once(std::pin::pin!(future)) else { panic!("it is pending") };
    value
}

type Queue = Arc<Mutex<VecDeque<usize>>>;

struct Slot<'a> {
    name: &'static str,
    future: Option<Pin<Box<dyn Future<Output = ()> + 'a>>>,
    enqueue: Arc<Enqueue>,
    waker: Waker,
}

struct Enqueue {
    queue: Queue,
    index: usize,
    is_queued: AtomicBool,
}

impl Wake for Enqueue {
    fn wake(self: Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::Relaxed) {
            self.queue.lock().unwrap().push_back(self.index);
        }
    }
}

/// Tasks in one FIFO, each with an id, a name and a budget, as in picot's executor. Their futures
/// may borrow.
#[derive(Default)]
pub(crate) struct Tasks<'a> {
    slots: Vec<Slot<'a>>,
    queue: Queue,
}

impl<'a> Tasks<'a> {
    #[track_caller]
    pub(crate) fn spawn(&mut self, name: &'static str, future: impl Future<Output = ()> + 'a) -> usize {
        let index = self.slots.len();
        let enqueue = Arc::new(Enqueue { queue: self.queue.clone(), index, is_queued: AtomicBool::new(false) });
        let waker = Waker::from(enqueue.clone());
        waker.wake_by_ref();
        self.slots.push(Slot { name, future: Some(Box::pin(future)), enqueue, waker });
        index
    }

    /// Polls the first woken task. Returns whether there was one.
    pub(crate) fn step(&mut self) -> bool {
        let next = self.queue.lock().unwrap().pop_front();
        let Some(index) = next else { return false };
        self.in_task(index, |slot| {
            slot.enqueue.is_queued.store(false, Ordering::Relaxed);
            let Some(future) = &mut slot.future else { return };
            if future.as_mut().poll(&mut Context::from_waker(&slot.waker)).is_ready() {
                slot.future = None;
            }
        });
        true
    }

    fn in_task(&mut self, index: usize, f: impl FnOnce(&mut Slot<'a>)) {
        let slot = &mut self.slots[index];
        let place: Place = Location::caller();
        let id = TaskId::new(NonZeroU64::new(index as u64 + 1).unwrap());
        let _entered = enter(Step::task(id, place), inherited(Some(slot.name)));
        f(slot);
    }

    /// Steps until no task is woken. Returns the number of steps.
    pub(crate) fn run(&mut self) -> usize {
        std::iter::from_fn(|| self.step().then_some(())).count()
    }

    /// Drops a task's future, as cancelling does. Returns whether it had not ended.
    pub(crate) fn cancel(&mut self, index: usize) -> bool {
        let had_not_ended = self.slots[index].future.is_some();
        self.in_task(index, |slot| slot.future = None);
        had_not_ended
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The names of the tasks that have not ended.
    pub(crate) fn left(&self) -> Vec<&'static str> {
        self.slots.iter().filter(|slot| slot.future.is_some()).map(|slot| slot.name).collect()
    }
}
