//! Millions of random operations with random drops: no task stays blocked, and nothing leaks.
//!
//! The suite runs some; `PICOT_SYNC_OPERATIONS=10000000 cargo test --release -p picot-sync random`
//! runs ten million.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use picot_sync::{
    Barrier, Condvar, Event, LifoQueue, Mutex, Permit, PriorityQueue, Queue, Semaphore, oneshot, waiting, watch,
};

/// A random number generator of a few lines (Marsaglia's xorshift), so that a run can be repeated.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

const PERMITS: usize = 3;

/// The value of a completed operation, which is held for a while.
enum Held<'a> {
    Nothing,
    Lock(#[expect(dead_code, reason = "held, not used")] picot_sync::MutexGuard<'a, u64>),
    Permits(#[expect(dead_code, reason = "held, not used")] Permit<'a>),
    Lease(#[expect(dead_code, reason = "held, not used")] picot_sync::Lease<'a, Item>),
    Sender(oneshot::Sender<Item>),
}

type Operation<'a> = Pin<Box<dyn Future<Output = Held<'a>> + 'a>>;

/// Counts its live values.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Item(Rc<()>);

struct World {
    mutexes: [Mutex<u64>; 2],
    condvar: Condvar,
    semaphore: Semaphore,
    event: Event,
    barrier: Barrier,
    queue: Queue<Item>,
    priority: PriorityQueue<Item>,
    lifo: LifoQueue<Item>,
    watch: watch::Sender<u64>,
    item: Item,
}

impl World {
    fn new() -> World {
        World {
            mutexes: [Mutex::new(0), Mutex::new(0)],
            condvar: Condvar::new(),
            semaphore: Semaphore::bounded(PERMITS),
            event: Event::new(),
            barrier: Barrier::new(3),
            queue: Queue::new(2),
            priority: PriorityQueue::new(2),
            lifo: LifoQueue::new(2),
            watch: watch::channel(0).0,
            item: Item(Rc::new(())),
        }
    }

    fn operation(&self, random: &mut Random) -> Operation<'_> {
        match random.below(13) {
            0 => Box::pin(async { Held::Lock(self.mutexes[0].lock().await) }),
            1 => Box::pin(async { Held::Lock(self.mutexes[1].lock().await) }),
            2 => Box::pin(async {
                let guard = self.mutexes[0].lock().await;
                let seen = *guard;
                Held::Lock(self.condvar.wait_while(guard, |now| *now == seen).await)
            }),
            3 => {
                let count = random.below(PERMITS + 1);
                Box::pin(async move { Held::Permits(self.semaphore.acquire_many(count).await) })
            }
            4 => Box::pin(async {
                self.event.wait().await;
                Held::Nothing
            }),
            5 => Box::pin(async {
                let _ = self.barrier.wait().await;
                Held::Nothing
            }),
            6 => Box::pin(async {
                let _ = self.queue.put(self.item.clone()).await;
                Held::Nothing
            }),
            7 => Box::pin(async { self.queue.lease().await.map_or(Held::Nothing, Held::Lease) }),
            8 => Box::pin(async {
                let _ = self.priority.put(self.item.clone()).await;
                let _ = self.lifo.get().await;
                Held::Nothing
            }),
            9 => Box::pin(async {
                let _ = self.lifo.put(self.item.clone()).await;
                let _ = self.priority.get().await;
                Held::Nothing
            }),
            10 => Box::pin(async {
                let _ = self.watch.subscribe().changed().await;
                Held::Nothing
            }),
            11 => {
                let (sender, receiver) = oneshot::channel();
                let mut sender = Some(sender);
                // Two operations in one: the first poll moves the sender out of a future that never
                // gets it back.
                if random.below(2) == 0 {
                    let sender = sender.take().expect("it is there");
                    return Box::pin(async move {
                        drop(receiver);
                        sender.closed().await;
                        Held::Sender(sender)
                    });
                }
                drop(sender);
                Box::pin(async move {
                    let _ = receiver.await;
                    Held::Nothing
                })
            }
            _ => Box::pin(async {
                self.queue.join().await;
                Held::Nothing
            }),
        }
    }

    /// An action that does not wait.
    fn act(&self, random: &mut Random) {
        match random.below(10) {
            0 => self.condvar.notify_one(),
            1 => self.condvar.notify_all(),
            2 => self.event.set(),
            3 => self.event.clear(),
            4 => drop(self.queue.try_get()),
            5 => drop(self.queue.try_put(self.item.clone())),
            6 => drop(self.watch.send(1)),
            7 if random.below(20) == 0 => self.barrier.reset(),
            8 => drop(self.semaphore.try_acquire()),
            _ => {
                if let Some(mut value) = self.mutexes[0].try_lock() {
                    *value += 1;
                }
            }
        }
    }

    /// Lets all operations continue, in as many rounds as necessary; then none may be left.
    fn wind_up(&self, operations: &mut Vec<Operation<'_>>) {
        // In line like the others, because the lock is never free between them.
        let change = || {
            Box::pin(async {
                *self.mutexes[0].lock().await += 1;
                Held::Nothing
            })
        };
        let mut changing: Operation<'_> = change();
        for _ in 0..4 * operations.len() + 20 {
            self.event.set();
            self.barrier.break_up();
            if poll(&mut changing).is_some() {
                changing = change();
            }
            self.condvar.notify_all();
            self.watch.send(2);
            drop((self.queue.close_now(), self.priority.close_now(), self.lifo.close_now()));
            operations.retain_mut(|operation| poll(operation).is_none());
        }
        assert_eq!(operations.len(), 0, "stuck: {:#?}", waiting());
    }
}

fn poll<'a>(operation: &mut Operation<'a>) -> Option<Held<'a>> {
    match operation.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(held) => Some(held),
        Poll::Pending => None,
    }
}

#[test]
fn random_operations_with_random_drops_block_no_task_and_leave_nothing() {
    let count = std::env::var("PICOT_SYNC_OPERATIONS").map_or(100_000, |count| count.parse().expect("a number"));
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let mut done = 0;
    let mut completed = 0;
    while done < count {
        let world = World::new();
        let mut operations: Vec<Operation<'_>> = Vec::new();
        let mut held = Vec::new();
        for _ in 0..2_000 {
            done += 1;
            match random.below(8) {
                0 | 1 if operations.len() < 40 => operations.push(world.operation(&mut random)),
                2..=4 if !operations.is_empty() => {
                    let index = random.below(operations.len());
                    if let Some(got) = poll(&mut operations[index]) {
                        completed += 1;
                        drop(operations.swap_remove(index));
                        if !matches!(&got, Held::Sender(sender) if sender.is_closed()) {
                            held.push(got);
                        }
                    }
                }
                5 if !operations.is_empty() => drop(operations.swap_remove(random.below(operations.len()))),
                6 if !held.is_empty() => drop(held.swap_remove(random.below(held.len()))),
                _ => world.act(&mut random),
            }
        }
        held.clear();
        world.wind_up(&mut operations);
        assert!(waiting().is_empty(), "{:?}", waiting());
        assert!(world.mutexes.iter().all(|mutex| mutex.try_lock().is_some()));
        assert_eq!(world.semaphore.available(), PERMITS);
        assert_eq!((world.queue.unfinished(), Rc::strong_count(&world.item.0)), (0, 1));
    }
    assert!(completed > count / 20, "too few of {count} have completed: {completed}");
}
