//! The workloads of locks and queues, written once for every family of primitives. All run on
//! picot's executor, so that what differs is the primitive and nothing else.

use std::cell::Cell;
use std::rc::Rc;

use crate::picot::Picot;
use crate::scheduler::{Scheduler, yield_now};
use crate::{Table, measure};

/// Something that one task at a time may hold, or so many.
pub trait Permits: Copy + 'static {
    /// The name in the table.
    const NAME: &'static str;
    /// A semaphore.
    type Semaphore: 'static;
    /// A semaphore with so many permits.
    fn semaphore(permits: usize) -> Self::Semaphore;
    /// Holds a permit while `inside` runs.
    fn with_permit(semaphore: &Self::Semaphore, inside: impl Future<Output = ()>) -> impl Future<Output = ()>;
}

/// A lock around a number.
pub trait Locks: Copy + 'static {
    /// The name in the table.
    const NAME: &'static str;
    /// A lock.
    type Mutex: 'static;
    /// A lock around 0.
    fn mutex() -> Self::Mutex;
    /// Adds 1 under the lock, and holds it while `inside` runs.
    fn with_lock(mutex: &Self::Mutex, inside: impl Future<Output = ()>) -> impl Future<Output = ()>;
}

/// A bounded queue.
pub trait Queues: Copy + 'static {
    /// The name in the table.
    const NAME: &'static str;
    /// Both ends of a queue.
    type Queue: 'static;
    /// A queue for so many.
    fn queue(capacity: usize) -> Self::Queue;
    /// Puts a number in.
    fn put(queue: &Self::Queue, item: usize) -> impl Future<Output = ()>;
    /// Takes one out.
    fn get(queue: &Self::Queue) -> impl Future<Output = usize>;
}

/// Something that wakes everybody who waits.
pub trait Broadcasts: Copy + 'static {
    /// The name in the table.
    const NAME: &'static str;
    /// An event.
    type Event: 'static;
    /// An event without waiters.
    fn event() -> Self::Event;
    /// Waits for the next time.
    fn wait(event: &Self::Event) -> impl Future<Output = ()>;
    /// Wakes everybody who waits now.
    fn wake_all(event: &Self::Event);
}

const ALONE: usize = 1_000_000;
const TOGETHER: usize = 200_000;
const TASKS: usize = 10;
const CROWD: usize = 1_000;
const ROUNDS: usize = 200;

fn row(table: &mut Table, filter: &str, name: &'static str, who: &'static str, operations: usize, run: impl Fn()) {
    if format!("{name}: {who}").contains(filter) {
        table.add(name, who, measure(operations, run));
    }
}

/// Runs `count` futures as tasks, until all have ended.
async fn all<F: Future<Output = ()> + 'static>(count: usize, task: impl Fn() -> F) {
    let tasks: Vec<_> = (0..count).map(|_| Picot.spawn(task())).collect();
    for task in tasks {
        task.await;
    }
}

/// A lock: uncontended, and with ten tasks that wait.
pub fn locks<L: Locks>(table: &mut Table, _: L, filter: &str) {
    row(table, filter, "lock, uncontended", L::NAME, ALONE, || {
        Picot.run(async {
            let mutex = Rc::new(L::mutex());
            all(1, || {
                let mutex = mutex.clone();
                async move {
                    for _ in 0..ALONE {
                        L::with_lock(&mutex, async {}).await;
                    }
                }
            })
            .await;
        });
    });
    row(table, filter, "lock, 10 tasks", L::NAME, TOGETHER, || {
        Picot.run(async {
            let mutex = Rc::new(L::mutex());
            all(TASKS, || {
                let mutex = mutex.clone();
                async move {
                    for _ in 0..TOGETHER / TASKS {
                        L::with_lock(&mutex, yield_now()).await;
                    }
                }
            })
            .await;
        });
    });
}

/// A semaphore: uncontended, and three permits for ten tasks.
pub fn permits<P: Permits>(table: &mut Table, _: P, filter: &str) {
    row(table, filter, "semaphore, uncontended", P::NAME, ALONE, || {
        Picot.run(async {
            let semaphore = Rc::new(P::semaphore(3));
            all(1, || {
                let semaphore = semaphore.clone();
                async move {
                    for _ in 0..ALONE {
                        P::with_permit(&semaphore, async {}).await;
                    }
                }
            })
            .await;
        });
    });
    row(table, filter, "semaphore, 3 for 10 tasks", P::NAME, TOGETHER, || {
        Picot.run(async {
            let semaphore = Rc::new(P::semaphore(3));
            all(TASKS, || {
                let semaphore = semaphore.clone();
                async move {
                    for _ in 0..TOGETHER / TASKS {
                        P::with_permit(&semaphore, yield_now()).await;
                    }
                }
            })
            .await;
        });
    });
}

/// A queue that is never full or empty when it matters, and one between two tasks that wait for
/// each other.
pub fn queues<Q: Queues>(table: &mut Table, _: Q, filter: &str) {
    row(table, filter, "queue, put and get", Q::NAME, ALONE, || {
        Picot.run(async {
            let queue = Rc::new(Q::queue(16));
            all(1, || {
                let queue = queue.clone();
                async move {
                    for n in 0..ALONE {
                        Q::put(&queue, n).await;
                        assert_eq!(Q::get(&queue).await, n);
                    }
                }
            })
            .await;
        });
    });
    for (name, capacity) in [("queue of 1, two tasks", 1), ("queue of 64, two tasks", 64)] {
        row(table, filter, name, Q::NAME, TOGETHER, || {
            Picot.run(async {
                let queue = Rc::new(Q::queue(capacity));
                let puts = Cell::new(true);
                all(2, || {
                    let (queue, puts) = (queue.clone(), puts.replace(false));
                    async move {
                        for n in 0..TOGETHER {
                            if puts {
                                Q::put(&queue, n).await;
                            } else {
                                assert_eq!(Q::get(&queue).await, n);
                            }
                        }
                    }
                })
                .await;
            });
        });
    }
}

/// A thousand tasks that wait for the same, again and again; the figure is that of one wake and
/// wait.
pub fn broadcasts<B: Broadcasts>(table: &mut Table, _: B, filter: &str) {
    row(table, filter, "broadcast to 1000", B::NAME, CROWD * ROUNDS, || {
        Picot.run(async {
            let event = Rc::new(B::event());
            let woken = Rc::new(Cell::new(0));
            let (waited, counted) = (event.clone(), woken.clone());
            let waits = all(CROWD, move || {
                let (event, woken) = (waited.clone(), counted.clone());
                async move {
                    for _ in 0..ROUNDS {
                        B::wait(&event).await;
                        woken.set(woken.get() + 1);
                    }
                }
            });
            let waits = Picot.spawn(waits);
            yield_now().await;
            for round in 0..ROUNDS {
                yield_now().await;
                assert_eq!(woken.get(), round * CROWD);
                B::wake_all(&event);
            }
            waits.await;
        });
    });
}

/// picot's primitives.
#[derive(Clone, Copy, Debug)]
pub struct PicotSync;

impl Locks for PicotSync {
    const NAME: &'static str = "picot-sync";
    type Mutex = picot_sync::Mutex<usize>;

    fn mutex() -> Self::Mutex {
        picot_sync::Mutex::new(0)
    }

    async fn with_lock(mutex: &Self::Mutex, inside: impl Future<Output = ()>) {
        let mut guard = mutex.lock().await;
        *guard += 1;
        inside.await;
    }
}

impl Permits for PicotSync {
    const NAME: &'static str = "picot-sync";
    type Semaphore = picot_sync::Semaphore;

    fn semaphore(permits: usize) -> Self::Semaphore {
        picot_sync::Semaphore::new(permits)
    }

    async fn with_permit(semaphore: &Self::Semaphore, inside: impl Future<Output = ()>) {
        let _permit = semaphore.acquire().await;
        inside.await;
    }
}

impl Queues for PicotSync {
    const NAME: &'static str = "picot-sync";
    type Queue = picot_sync::Queue<usize>;

    fn queue(capacity: usize) -> Self::Queue {
        picot_sync::Queue::new(capacity)
    }

    async fn put(queue: &Self::Queue, item: usize) {
        queue.put(item).await.expect("it is open");
    }

    async fn get(queue: &Self::Queue) -> usize {
        queue.get().await.expect("it is open")
    }
}

impl Broadcasts for PicotSync {
    const NAME: &'static str = "picot-sync";
    type Event = picot_sync::Event;

    fn event() -> Self::Event {
        picot_sync::Event::new()
    }

    async fn wait(event: &Self::Event) {
        event.wait().await;
    }

    fn wake_all(event: &Self::Event) {
        event.set();
        event.clear();
    }
}
