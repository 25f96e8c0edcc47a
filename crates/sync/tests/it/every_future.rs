//! Properties of every future of this crate, checked over one list.
//!
//! Each entry makes a future that waits, with an action that ends the wait, and one that never
//! waits. A new future must be added to the list: the last test reads the sources and fails
//! otherwise.

use std::cell::{Cell, RefCell};
use std::fs;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Waker};

use picot_context::{Kind, ManualHost, Step, TaskId, Waits, budget, enter};
use picot_sync::{
    Barrier, Condvar, Event, Mutex, OnceCell, Queue, Semaphore, broadcast, mpsc, oneshot, waiting, watch,
};

use crate::hands::{Hand, Tasks, yield_now};

type Anything = Pin<Box<dyn Future<Output = ()>>>;
type Fulfil = Rc<dyn Fn()>;

struct Entry {
    /// The type that implements `Future`, and after a colon the case.
    name: &'static str,
    /// A future that waits, and the action that ends the wait. A second action has no effect.
    waits: fn() -> (Anything, Fulfil),
    /// Awaits, for ever, an operation that completes at once; it calls [`count`] each time.
    hogs: fn() -> Anything,
}

/// An entry: a value that both halves share, the wait on it, and the end of that wait; then a value
/// on which waiting completes at once, and the wait on that.
macro_rules! entry {
    ($name:expr, $state:expr, |$s:ident| $wait:expr, |$t:ident| $fulfil:expr, $ready:expr, |$r:ident| $at_once:expr) => {
        Entry {
            name: $name,
            waits: || {
                let $s = Rc::new($state);
                let $t = $s.clone();
                let wait = async move {
                    let _ = $wait;
                };
                let fulfil = move || {
                    let _ = $fulfil;
                };
                (Box::pin(wait), Rc::new(fulfil))
            },
            hogs: || {
                let $r = Rc::new($ready);
                Box::pin(async move {
                    loop {
                        let _ = $at_once;
                        count();
                    }
                })
            },
        }
    };
}

type Guard = Cell<Option<picot_sync::MutexGuard<'static, i32>>>;

/// A lock, and the guard that holds it until it is taken out. The lock is leaked, because a guard
/// borrows it.
fn held() -> (&'static Mutex<i32>, Guard) {
    let mutex: &'static Mutex<i32> = Box::leak(Box::new(Mutex::new(0)));
    (mutex, Cell::new(mutex.try_lock()))
}

fn full() -> Queue<i32> {
    let queue = Queue::new(1);
    queue.try_put(0).unwrap();
    queue
}

fn closed() -> Queue<i32> {
    let queue = Queue::new(1);
    queue.close();
    queue
}

fn broken() -> Barrier {
    let barrier = Barrier::new(2);
    barrier.break_up();
    barrier
}

fn set() -> Event {
    let event = Event::new();
    event.set();
    event
}

/// A receiver of a value that does not change any more.
fn ended() -> RefCell<watch::Receiver<i32>> {
    RefCell::new(watch::channel(0).1)
}

type Slot<T> = RefCell<Option<T>>;

fn waits_for_sender() -> (Slot<oneshot::Sender<i32>>, Slot<oneshot::Receiver<i32>>) {
    let (sender, receiver) = oneshot::channel();
    (RefCell::new(Some(sender)), RefCell::new(Some(receiver)))
}

type Channel = (Slot<mpsc::Sender<i32>>, Slot<mpsc::Receiver<i32>>);

/// A channel of one item; the ends are slots, so that an action can take or drop one of them.
fn empty_channel() -> Channel {
    let (sender, receiver) = mpsc::channel(1);
    (RefCell::new(Some(sender)), RefCell::new(Some(receiver)))
}

fn full_channel() -> (mpsc::Sender<i32>, Slot<mpsc::Receiver<i32>>) {
    let (sender, receiver) = mpsc::channel(1);
    sender.try_send(0).unwrap();
    (sender, RefCell::new(Some(receiver)))
}

/// Receives an item. The slot is not borrowed meanwhile, because the wakes of senders may call
/// this.
fn receive(receiver: &Slot<mpsc::Receiver<i32>>) {
    if let Some(mut taken) = receiver.take() {
        _ = taken.try_recv();
        receiver.replace(Some(taken));
    }
}

/// A cell whose value a task makes until it is taken out. The cell is leaked, because the task
/// borrows it.
fn being_made() -> (&'static OnceCell<i32>, Slot<Hand<'static, &'static i32>>) {
    let cell: &'static OnceCell<i32> = Box::leak(Box::default());
    (cell, RefCell::new(Some(Hand::pending(cell.get_or_init(std::future::pending)))))
}

fn closed_semaphore() -> Semaphore {
    let semaphore = Semaphore::new(1);
    semaphore.close();
    semaphore
}

#[expect(clippy::await_holding_refcell_ref, reason = "the cell only lends its value to one future")]
fn all() -> Vec<Entry> {
    vec![
        entry!("Lock", held(), |s| s.0.lock().await, |t| t.1.take(), Mutex::new(0), |r| r.lock().await),
        entry!(
            "Acquire",
            Semaphore::new(0),
            |s| s.acquire().await,
            |t| t.add_permits(1).unwrap(),
            Semaphore::new(1),
            |r| r.acquire().await
        ),
        entry!(
            "Acquire: none",
            Semaphore::new(0),
            |s| s.acquire_many_owned(2).await,
            |t| t.add_permits(2).unwrap(),
            Semaphore::new(0),
            |r| r.acquire_many(0).await
        ),
        entry!(
            "AcquireOrClosed",
            Semaphore::new(0),
            |s| s.acquire().or_closed().await,
            |t| t.close(),
            closed_semaphore(),
            |r| r.acquire().or_closed().await
        ),
        entry!("WaitEvent", Event::new(), |s| s.wait().await, |t| t.set(), set(), |r| r.wait().await),
        entry!(
            "WaitCondvar",
            (Mutex::new(0), Condvar::new()),
            |s| s.1.wait(s.0.try_lock().unwrap()).await,
            |t| t.1.notify_one(),
            // A wait always suspends, so this entry is about taking the lock again.
            (Mutex::new(0), Condvar::new()),
            |r| {
                let mut wait = std::pin::pin!(r.1.wait(r.0.lock().await));
                assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
                r.1.notify_one();
                wait.await
            }
        ),
        entry!(
            "WaitWhile",
            (Mutex::new(0), Condvar::new(), Cell::new(false)),
            |s| s.1.wait_while(s.0.try_lock().unwrap(), |_| !s.2.get()).await,
            |t| {
                t.2.set(true);
                t.1.notify_one();
            },
            (Mutex::new(0), Condvar::new()),
            |r| r.1.wait_while(r.0.try_lock().unwrap(), |_| false).await
        ),
        entry!("WaitBarrier", Barrier::new(2), |s| s.wait().await, |t| t.break_up(), broken(), |r| r.wait().await),
        entry!("WaitBarrier: of one", Barrier::new(2), |s| s.wait().await, |t| t.break_up(), Barrier::new(1), |r| r
            .wait()
            .await),
        entry!("Put", full(), |s| s.put(1).await, |t| t.try_get(), Queue::unbounded(), |r| {
            r.put(1).await.unwrap();
            r.try_get()
        }),
        entry!("Put: closed", full(), |s| s.put(1).await, |t| t.close(), closed(), |r| r.put(1).await),
        entry!("Get", Queue::new(1), |s| s.get().await, |t| t.try_put(1), Queue::new(1), |r| {
            r.try_put(1).unwrap();
            r.get().await
        }),
        entry!("Get: closed", Queue::<i32>::new(1), |s| s.get().await, |t| t.close(), closed(), |r| r.get().await),
        entry!("GetLease", Queue::new(1), |s| s.lease().await.map(drop), |t| t.try_put(1), closed(), |r| r
            .lease()
            .await
            .map(drop)),
        entry!("JoinQueue", full(), |s| s.join().await, |t| t.try_get(), closed(), |r| r.join().await),
        entry!(
            "Receiver",
            waits_for_sender(),
            |s| {
                let receiver = s.1.take().unwrap();
                receiver.await
            },
            |t| t.0.take().map(|sender| sender.send(1)),
            7,
            |r| {
                let (sender, receiver) = oneshot::channel();
                sender.send(*r).unwrap();
                receiver.await
            }
        ),
        entry!(
            "WaitClosed",
            waits_for_sender(),
            |s| {
                let sender = s.0.take().unwrap();
                sender.closed().await
            },
            |t| t.1.take(),
            oneshot::channel::<()>().0,
            |r| r.closed().await
        ),
        entry!("SendItem", full_channel(), |s| s.0.send(1).await, |t| receive(&t.1), mpsc::unbounded(), |r| r
            .0
            .send(1)
            .await
            .unwrap()),
        entry!("SendItem: closed", full_channel(), |s| s.0.send(1).await, |t| t.1.take(), mpsc::channel(1).0, |r| r
            .send(1)
            .await),
        entry!(
            "Reserve",
            full_channel(),
            |s| s.0.reserve().await.map(drop),
            |t| receive(&t.1),
            mpsc::channel::<i32>(1),
            |r| r.0.reserve().await.map(drop)
        ),
        entry!(
            "Reserve: closed",
            full_channel(),
            |s| s.0.reserve().await.map(drop),
            |t| t.1.take(),
            mpsc::channel::<i32>(1).0,
            |r| r.reserve().await.map(drop)
        ),
        entry!(
            "WaitReceiver",
            full_channel(),
            |s| s.0.closed().await,
            |t| t.1.take(),
            mpsc::channel::<i32>(1).0,
            |r| r.closed().await
        ),
        entry!(
            "Recv",
            empty_channel(),
            |s| s.1.borrow_mut().as_mut().unwrap().recv().await,
            |t| t.0.take().map(|sender| sender.try_send(1)),
            empty_channel(),
            |r| {
                r.0.borrow().as_ref().unwrap().try_send(1).unwrap();
                r.1.borrow_mut().as_mut().unwrap().recv().await
            }
        ),
        entry!(
            "Recv: ended",
            empty_channel(),
            |s| s.1.borrow_mut().as_mut().unwrap().recv().await,
            |t| t.0.take(),
            RefCell::new(mpsc::channel::<i32>(1).1),
            |r| r.borrow_mut().recv().await
        ),
        entry!(
            "RecvMessage",
            (broadcast::channel(1).0, RefCell::new(None)),
            |s| {
                let mut receiver = s.0.subscribe();
                s.1.replace(Some(receiver.clone()));
                receiver.recv().await
            },
            |t| t.0.send(1),
            broadcast::channel(1),
            |r| {
                r.0.send(1).unwrap();
                r.1.clone().recv().await
            }
        ),
        entry!(
            "RecvMessage: ended",
            (RefCell::new(Some(broadcast::channel::<i32>(1).0)), ()),
            |s| {
                let mut receiver = s.0.borrow().as_ref().unwrap().subscribe();
                receiver.recv().await
            },
            |t| t.0.take(),
            RefCell::new(broadcast::channel::<i32>(1).1),
            |r| r.borrow_mut().recv().await
        ),
        entry!("Turn", being_made(), |s| s.0.get_or_init(async || 1).await, |t| t.1.take(), OnceCell::from(1), |r| r
            .get_or_init(async || 2)
            .await),
        entry!("Changed", watch::channel(0), |s| s.1.clone().changed().await, |t| t.0.send(1), ended(), |r| r
            .borrow_mut()
            .changed()
            .await),
        entry!(
            "WaitFor",
            watch::channel(0),
            |s| s.1.clone().wait_for(|value| *value == 1).await,
            |t| t.0.send(1),
            ended(),
            |r| r.borrow_mut().wait_for(|_| true).await
        ),
        entry!(
            "WaitFor: never",
            watch::channel(0),
            |s| s.1.clone().wait_for(|value| *value == 1).await,
            |t| t.0.send(1),
            ended(),
            |r| r.borrow_mut().wait_for(|_| false).await
        ),
    ]
}

thread_local! {
    static COUNT: Cell<u32> = const { Cell::new(0) };
}

/// Counts completions since the last heartbeat. A task that occupies its thread would never end, so
/// it panics.
fn count() {
    COUNT.set(COUNT.get() + 1);
    assert!(COUNT.get() <= budget::PER_STEP, "more operations have completed in a step than its budget has");
}

#[test]
fn an_operation_that_completes_at_once_lets_other_tasks_run() {
    for entry in all() {
        let beats = Rc::new(Cell::new(0));
        let mut tasks = Tasks::default();
        let (name, hog) = (entry.name, (entry.hogs)());
        tasks.spawn("hogs", hog);
        let counted = beats.clone();
        tasks.spawn("heartbeat", async move {
            loop {
                assert!(counted.get() == 0 || COUNT.get() > 10, "{name}: it completes, too");
                counted.set(counted.get() + 1);
                COUNT.set(0);
                yield_now().await;
            }
        });
        COUNT.set(0);
        for _ in 0..20 {
            assert!(tasks.step(), "{name}: it was woken when its budget was spent");
        }
        assert_eq!(beats.get(), 10, "{name}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Clone,
    Wake,
    Drop,
}

/// The actions of a waker, by moment.
#[derive(Default)]
struct Hooks {
    hooks: RefCell<Vec<(Moment, Fulfil)>>,
    called: Cell<u32>,
    wakes: Cell<u32>,
}

impl Hooks {
    fn set(&self, moment: Moment, hook: Fulfil) {
        self.hooks.borrow_mut().push((moment, hook));
    }

    /// Calls the hook, at most once.
    fn call(&self, moment: Moment) {
        let mut hooks = self.hooks.borrow_mut();
        let hook = hooks.iter().position(|(at, _)| *at == moment).map(|index| hooks.remove(index));
        drop(hooks);
        if let Some((_, hook)) = hook {
            self.called.set(self.called.get() + 1);
            hook();
        }
    }
}

thread_local! {
    static HOOKS: RefCell<Rc<Hooks>> = RefCell::default();
}

fn hooks() -> Rc<Hooks> {
    HOOKS.with_borrow(Rc::clone)
}

/// Wakers of one thread that call its hooks. The pointer only distinguishes two of them and is
/// never dereferenced.
static HOOKED: RawWakerVTable = RawWakerVTable::new(
    |pointer| {
        hooks().call(Moment::Clone);
        RawWaker::new(pointer, &HOOKED)
    },
    |_| {
        let hooks = hooks();
        hooks.wakes.set(hooks.wakes.get() + 1);
        hooks.call(Moment::Wake);
    },
    |_| {
        let hooks = hooks();
        hooks.wakes.set(hooks.wakes.get() + 1);
        hooks.call(Moment::Wake);
    },
    |_| hooks().call(Moment::Drop),
);

fn hooked(number: usize) -> Waker {
    let pointer = std::ptr::without_provenance(number);
    // SAFETY: The functions dereference no pointer, and the test uses the waker on one thread.
    unsafe { Waker::from_raw(RawWaker::new(pointer, &HOOKED)) }
}

fn poll(future: &mut Anything, waker: usize) -> Poll<()> {
    let waker = std::mem::ManuallyDrop::new(hooked(waker));
    future.as_mut().poll(&mut Context::from_waker(&waker))
}

/// Polls as long as it was woken since the previous poll. Returns whether it has ended then.
fn ends(future: &mut Anything, hooks: &Hooks, mut polled_at: u32) -> bool {
    while hooks.wakes.get() > polled_at {
        polled_at = hooks.wakes.get();
        if poll(future, 1).is_ready() {
            return true;
        }
    }
    false
}

#[test]
fn an_event_that_a_waker_causes_in_its_clone_wake_or_drop_is_not_missed() {
    for entry in all() {
        for moment in [Moment::Clone, Moment::Wake, Moment::Drop] {
            let hooks = Rc::new(Hooks::default());
            HOOKS.set(hooks.clone());
            let (mut future, fulfil) = (entry.waits)();
            hooks.set(moment, fulfil.clone());
            let mut has_ended = poll(&mut future, 1).is_ready();
            if moment == Moment::Wake {
                assert!(!has_ended);
                fulfil();
            }
            if !has_ended && moment == Moment::Drop {
                // Another waker replaces the first, which is dropped.
                let before = hooks.wakes.get();
                has_ended = poll(&mut future, 2).is_ready() || ends(&mut future, &hooks, before);
            }
            has_ended = has_ended || ends(&mut future, &hooks, 0);
            assert_eq!(hooks.called.get(), 1, "{} at {moment:?}", entry.name);
            assert!(has_ended, "{} waits for what has happened at {moment:?}", entry.name);
            drop(future);
            assert!(waiting().is_empty(), "{}", entry.name);
        }
        // The clone of the next poll, while the waiter is in line already.
        let hooks = Rc::new(Hooks::default());
        HOOKS.set(hooks.clone());
        let (mut future, fulfil) = (entry.waits)();
        assert!(poll(&mut future, 1).is_pending());
        hooks.set(Moment::Clone, fulfil);
        let before = hooks.wakes.get();
        assert!(poll(&mut future, 2).is_ready() || ends(&mut future, &hooks, before), "{}", entry.name);
    }
}

#[test]
fn a_panic_in_a_waker_reaches_no_waiter_and_loses_nothing() {
    let (host, _guard) = ManualHost::installed();
    for entry in all() {
        for moment in [Moment::Wake, Moment::Drop] {
            let hooks = Rc::new(Hooks::default());
            HOOKS.set(hooks.clone());
            let (mut future, fulfil) = (entry.waits)();
            assert!(poll(&mut future, 1).is_pending());
            hooks.set(moment, Rc::new(|| resume_unwind(Box::new("in a waker"))));
            if moment == Moment::Drop {
                assert!(poll(&mut future, 2).is_pending());
            }
            fulfil();
            assert!(ends(&mut future, &hooks, 0), "{} at {moment:?}", entry.name);
            let reports = host.take_reports();
            assert_eq!(reports.len(), 1, "{} at {moment:?}", entry.name);
            assert_eq!(reports[0].origin.kind, Kind::Waker);
        }
        // Dropped while it waits, with a waker that panics: also while another panic unwinds, which
        // would abort.
        let (mut future, _fulfil) = (entry.waits)();
        assert!(poll(&mut future, 1).is_pending());
        hooks().set(Moment::Drop, Rc::new(|| resume_unwind(Box::new("in a waker"))));
        let unwound = catch_unwind(AssertUnwindSafe(move || {
            let _future = future;
            resume_unwind(Box::new("outside"));
        }));
        assert_eq!(unwound.unwrap_err().downcast_ref(), Some(&"outside"), "{}", entry.name);
        assert_eq!(host.take_reports().len(), 1, "{}", entry.name);

        // A clone that fulfils the wait is not needed, and its drop panics. With the budget spent,
        // the wait is already in the queue and ends at a later poll.
        for is_spent in [false, true] {
            let hooks = Rc::new(Hooks::default());
            HOOKS.set(hooks.clone());
            let (mut future, fulfil) = (entry.waits)();
            hooks.set(Moment::Clone, fulfil.clone());
            hooks.set(Moment::Drop, Rc::new(|| resume_unwind(Box::new("in a waker"))));
            let step = Step::task(TaskId::new(NonZeroU64::MIN), Location::caller());
            let entered = enter(step, None);
            (0..if is_spent { budget::PER_STEP } else { 0 }).for_each(|_| budget::spend());
            let has_ended = poll(&mut future, 1).is_ready();
            drop(entered);
            assert!(has_ended || ends(&mut future, &hooks, 0), "{}", entry.name);
            drop(future);
            let reports = host.take_reports();
            assert!(reports.iter().all(|report| report.origin.kind == Kind::Waker), "{}", entry.name);
        }

        // A panic of a clone is a panic of the poll; the next poll finds the state unchanged.
        let hooks = Rc::new(Hooks::default());
        HOOKS.set(hooks.clone());
        let (mut future, fulfil) = (entry.waits)();
        hooks.set(Moment::Clone, Rc::new(|| resume_unwind(Box::new("in a clone"))));
        assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut future, 1))).is_err(), "{}", entry.name);
        drop(future);
        assert!(waiting().is_empty(), "{}", entry.name);
        fulfil();
    }
}

/// A wait that ends by its value, or is dropped unpolled, in line, or notified, leaves its list as
/// it was before.
#[test]
fn a_wait_leaves_nothing_behind_however_it_ends() {
    for entry in all() {
        let (future, fulfil) = (entry.waits)();
        drop(future);
        fulfil();
        for polls in 1..3 {
            let (future, _fulfil) = (entry.waits)();
            let mut hand = Hand::pending(future);
            (1..polls).for_each(|_| assert!(hand.poll().is_pending()));
            assert_eq!(waiting().len(), 1, "{}", entry.name);
            drop(hand);
            assert!(waiting().is_empty(), "{}", entry.name);
        }
        for takes in [false, true] {
            let (future, fulfil) = (entry.waits)();
            let mut hand = Hand::pending(future);
            fulfil();
            if takes {
                hand.ready();
            }
            drop(hand);
            assert!(waiting().is_empty(), "{}", entry.name);
        }
    }
}

#[test]
fn a_report_names_what_each_wait_waits_for() {
    for entry in all() {
        let (mut future, _fulfil) = (entry.waits)();
        let task = TaskId::new(NonZeroU64::MIN);
        let entered = enter(Step::task(task, Location::caller()), None);
        assert!(future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop(entered);
        let waits = Waits::of_thread().take(task);
        assert_eq!(waits.len(), 1, "{}", entry.name);
        assert!(!waits[0].what.is_empty(), "{}", entry.name);
    }
}

/// 100 000 waits on one primitive, dropped in three orders. If a line were searched, this would
/// take hours.
#[test]
fn dropping_any_number_of_waits_in_any_order_is_linear() {
    const WAITS: usize = if cfg!(miri) { 100 } else { 100_000 };
    let (mutex, semaphore, event, barrier) = (Mutex::new(0), Semaphore::new(0), Event::new(), Barrier::new(2 * WAITS));
    let (empty, full, condvar, watch) = (Queue::<i32>::new(1), full(), Condvar::new(), watch::channel(0));
    let (shared, once) = (Mutex::new(0), OnceCell::<i32>::new());
    let (sends, broadcast) = (full_channel(), broadcast::channel::<i32>(1));
    let (_guard, _makes) = (mutex.try_lock(), Hand::pending(once.get_or_init(std::future::pending)));
    type Make<'a> = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + 'a>> + 'a>;
    let makes: Vec<Make<'_>> = vec![
        Box::new(|| Box::pin(async { drop(mutex.lock().await) })),
        Box::new(|| Box::pin(async { drop(semaphore.acquire().await) })),
        Box::new(|| Box::pin(async { event.wait().await })),
        Box::new(|| Box::pin(async { _ = barrier.wait().await })),
        Box::new(|| Box::pin(async { _ = empty.get().await })),
        Box::new(|| Box::pin(async { _ = full.put(1).await })),
        Box::new(|| Box::pin(async { full.join().await })),
        Box::new(|| Box::pin(async { drop(condvar.wait(shared.lock().await).await) })),
        Box::new(|| Box::pin(async { drop(watch.1.clone().changed().await) })),
        Box::new(|| Box::pin(async { _ = sends.0.send(1).await })),
        Box::new(|| Box::pin(async { drop(sends.0.reserve().await) })),
        Box::new(|| Box::pin(async { drop(broadcast.1.clone().recv().await) })),
        Box::new(|| Box::pin(async { _ = once.get_or_init(async || 1).await })),
    ];
    let mut cx = Context::from_waker(Waker::noop());
    for make in makes {
        for step in [1, WAITS - 1, 7919] {
            let mut waits: Vec<_> = (0..WAITS).map(|_| Some(make())).collect();
            for wait in waits.iter_mut().flatten() {
                assert!(wait.as_mut().poll(&mut cx).is_pending());
            }
            // A step that is coprime to the number visits each once: forward, in reverse, or
            // scattered.
            let mut at = 0;
            for _ in 0..WAITS {
                assert!(waits[at].take().is_some());
                at = (at + step) % WAITS;
            }
            assert!(waiting().is_empty());
        }
    }
}

#[test]
fn the_list_has_every_future_of_the_crate() {
    let mut there: Vec<String> = Vec::new();
    for file in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).unwrap() {
        let text = fs::read_to_string(file.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| line.starts_with("impl")) {
            if let Some((_, name)) = line.split_once(" Future for ") {
                there.push(name.chars().take_while(|c| c.is_alphanumeric()).collect());
            }
        }
    }
    there.sort();
    let mut listed: Vec<_> = all().iter().map(|entry| entry.name.split(':').next().unwrap().to_string()).collect();
    listed.sort();
    listed.dedup();
    assert_eq!(listed, there);
}
