//! Every task of every scenario is dropped before every step, and nothing is lost.
//!
//! A scenario is a few tasks on one primitive that all end if none is dropped. The harness runs it
//! repeatedly: for each task and each step it drops that task before that step, whether it is
//! waiting, or has been notified and not been polled since, or has not begun. Then all others must
//! end, no waiter may be left in any line, and the scenario checks that everything was returned.

use std::cell::Cell;
use std::rc::Rc;

use picot_sync::{
    Barrier, Condvar, Event, LifoQueue, Mutex, OnceCell, PriorityQueue, Queue, Semaphore, broadcast, mpsc, oneshot,
    waiting, watch,
};

use crate::hands::{Tasks, yield_now};

/// Checks the state after all but the dropped task have ended; it gets the index of the dropped
/// one.
type Check = Box<dyn Fn(usize)>;

fn drop_everywhere(scenario: impl Fn(&mut Tasks<'static>) -> Check) -> usize {
    let mut drops = 0;
    let mut tasks = Tasks::default();
    let check = scenario(&mut tasks);
    let (count, steps) = (tasks.len(), tasks.run());
    assert_eq!(tasks.left(), [""; 0], "without a drop, all end");
    check(usize::MAX);
    for victim in 0..count {
        for step in 0..steps {
            let mut tasks = Tasks::default();
            let check = scenario(&mut tasks);
            (0..step).for_each(|_| assert!(tasks.step()));
            if !tasks.cancel(victim) {
                break;
            }
            drops += 1;
            tasks.run();
            assert_eq!(tasks.left(), [""; 0], "stuck after task {victim} was dropped before step {step}");
            assert!(waiting().is_empty(), "{:?} after task {victim} was dropped before step {step}", waiting());
            check(victim);
        }
    }
    drops
}

#[test]
fn mutex() {
    let drops = drop_everywhere(|tasks| {
        let mutex = Rc::new(Mutex::new(0));
        for _ in 0..4 {
            let mutex = mutex.clone();
            tasks.spawn("locks", async move {
                for _ in 0..2 {
                    let mut value = mutex.lock().await;
                    *value += 1;
                    yield_now().await;
                }
            });
        }
        Box::new(move |_| assert!(*mutex.try_lock().expect("it is free") >= 6))
    });
    assert!(drops > 40, "{drops}");
}

#[test]
fn semaphore() {
    drop_everywhere(|tasks| {
        let semaphore = Rc::new(Semaphore::bounded(3));
        for count in [1, 3, 2, 1, 2] {
            let semaphore = semaphore.clone();
            tasks.spawn("acquires", async move {
                for _ in 0..2 {
                    let _permits = semaphore.acquire_many(count).await;
                    yield_now().await;
                }
            });
        }
        Box::new(move |_| assert_eq!(semaphore.available(), 3))
    });
}

#[test]
fn event() {
    drop_everywhere(|tasks| {
        let event = Rc::new(Event::new());
        for _ in 0..3 {
            let event = event.clone();
            tasks.spawn("waits", async move { event.wait().await });
        }
        // Two tasks that set it, of which one may be dropped.
        for _ in 0..2 {
            let event = event.clone();
            tasks.spawn("sets", async move {
                yield_now().await;
                event.set();
            });
        }
        Box::new(|_| {})
    });
}

#[test]
fn condvar_notified_one_by_one() {
    drop_everywhere(|tasks| {
        let shared = Rc::new((Mutex::new(0), Condvar::new()));
        for _ in 0..3 {
            let shared = shared.clone();
            tasks.spawn("takes", async move {
                let (mutex, condvar) = &*shared;
                let mut tokens = condvar.wait_while(mutex.lock().await, |tokens| *tokens == 0).await;
                *tokens -= 1;
                yield_now().await;
            });
        }
        // One notification for each token: each must reach a waiter. The spare task replaces a
        // dropped one.
        for _ in 0..4 {
            let shared = shared.clone();
            tasks.spawn("gives", async move {
                let (mutex, condvar) = &*shared;
                let mut tokens = mutex.lock().await;
                yield_now().await;
                *tokens += 1;
                condvar.notify_one();
            });
        }
        Box::new(|_| {})
    });
}

#[test]
fn condvar_notified_all_at_once() {
    drop_everywhere(|tasks| {
        let shared = Rc::new((Mutex::new(false), Condvar::new()));
        for _ in 0..3 {
            let shared = shared.clone();
            tasks.spawn("waits", async move {
                let (mutex, condvar) = &*shared;
                drop(condvar.wait_while(mutex.lock().await, |ready| !*ready).await);
            });
        }
        for _ in 0..2 {
            let shared = shared.clone();
            tasks.spawn("notifies", async move {
                *shared.0.lock().await = true;
                yield_now().await;
                shared.1.notify_all();
            });
        }
        Box::new(|_| {})
    });
}

#[test]
fn barrier() {
    drop_everywhere(|tasks| {
        let barrier = Rc::new(Barrier::new(2));
        let met = Rc::new(Cell::new(0));
        for _ in 0..5 {
            let (barrier, met) = (barrier.clone(), met.clone());
            tasks.spawn("meets", async move {
                for _ in 0..2 {
                    if barrier.wait().await.is_ok() {
                        met.set(met.get() + 1);
                    }
                }
            });
        }
        // Releases a task that is left without a partner.
        tasks.spawn("closes", {
            let barrier = barrier.clone();
            async move {
                for _ in 0..20 {
                    yield_now().await;
                }
                barrier.break_up();
            }
        });
        tasks.spawn("closes, too", async move {
            for _ in 0..20 {
                yield_now().await;
            }
            barrier.break_up();
        });
        Box::new(move |victim| assert!(met.get() >= if victim == usize::MAX { 10 } else { 7 }, "{}", met.get()))
    });
}

/// The same scenario for the queue of each order.
macro_rules! queue_scenario {
    ($name:ident, $new:expr) => {
        #[test]
        fn $name() {
            drop_everywhere(|tasks| {
                let queue = Rc::new($new);
                let (put, got) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
                for _ in 0..3 {
                    let (queue, put) = (queue.clone(), put.clone());
                    tasks.spawn("puts", async move {
                        for n in 0..3 {
                            queue.put(n).await.expect("it is not closed before all has been put");
                            put.set(put.get() + 1);
                            yield_now().await;
                        }
                    });
                }
                for leases in [false, true, false] {
                    let (queue, got) = (queue.clone(), got.clone());
                    tasks.spawn("gets", async move {
                        loop {
                            if leases {
                                let Some(_lease) = queue.lease().await else { break };
                                got.set(got.get() + 1);
                                yield_now().await;
                            } else if queue.get().await.is_some() {
                                got.set(got.get() + 1);
                            } else {
                                break;
                            }
                        }
                    });
                }
                for _ in 0..2 {
                    let queue = queue.clone();
                    tasks.spawn("closes", async move {
                        // Long enough for all items to be put and taken.
                        for _ in 0..40 {
                            yield_now().await;
                        }
                        queue.join().await;
                        queue.close();
                    });
                }
                Box::new(move |_| {
                    // An item that a dropped task had taken counts as taken.
                    assert_eq!((put.get(), queue.len(), queue.unfinished()), (got.get(), 0, 0));
                })
            });
        }
    };
}

queue_scenario!(queue, Queue::new(2));
queue_scenario!(priority_queue, PriorityQueue::new(2));
queue_scenario!(lifo_queue, LifoQueue::new(2));
queue_scenario!(unbounded_queue, Queue::unbounded());

#[test]
fn oneshot_channel() {
    drop_everywhere(|tasks| {
        let (sender, receiver) = oneshot::channel();
        let value = Rc::new(());
        let sent = value.clone();
        tasks.spawn("receives", async move { drop(receiver.await) });
        tasks.spawn("sends", async move {
            yield_now().await;
            drop(sender.send(sent));
        });
        Box::new(move |_| assert_eq!(Rc::strong_count(&value), 1))
    });
    drop_everywhere(|tasks| {
        let (sender, receiver) = oneshot::channel::<()>();
        tasks.spawn("checks whether the receiver still waits", async move { sender.closed().await });
        tasks.spawn("leaves", async move {
            yield_now().await;
            drop(receiver);
        });
        Box::new(|_| {})
    });
}

#[test]
fn watch_channel() {
    drop_everywhere(|tasks| {
        let (sender, receiver) = watch::channel(0);
        for _ in 0..2 {
            let mut receiver = receiver.clone();
            tasks.spawn("watches", async move {
                let mut last = 0;
                while let Ok(value) = receiver.changed().await {
                    assert!(*value > last);
                    last = *value;
                }
            });
        }
        let mut receiver = receiver;
        tasks.spawn("waits for three", async move { drop(receiver.wait_for(|value| *value == 3).await) });
        tasks.spawn("sends", async move {
            for value in 1..=3 {
                sender.send(value);
                yield_now().await;
            }
        });
        Box::new(|_| {})
    });
}

#[test]
fn semaphore_that_closes() {
    drop_everywhere(|tasks| {
        let semaphore = Rc::new(Semaphore::bounded(2));
        for count in [1, 2, 1, 2] {
            let semaphore = semaphore.clone();
            tasks.spawn("acquires until the close", async move {
                while let Ok(_permits) = semaphore.acquire_many(count).or_closed().await {
                    yield_now().await;
                }
            });
        }
        for _ in 0..2 {
            let semaphore = semaphore.clone();
            tasks.spawn("closes", async move {
                for _ in 0..5 {
                    yield_now().await;
                }
                semaphore.close();
            });
        }
        Box::new(move |_| assert_eq!(semaphore.available(), 2))
    });
}

#[test]
fn mpsc_channel_whose_receiver_outlives_its_senders() {
    drop_everywhere(|tasks| {
        let (sender, mut receiver) = mpsc::channel(2);
        let (sent, received) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(0)));
        for reserves in [false, true, false] {
            let (sender, sent) = (sender.clone(), sent.clone());
            tasks.spawn("sends", async move {
                for n in 0..3 {
                    let result = if reserves {
                        let permit = sender.reserve().await;
                        yield_now().await;
                        permit.is_ok_and(|permit| permit.send(n).is_ok())
                    } else {
                        sender.send(n).await.is_ok()
                    };
                    sent.set(sent.get() + u32::from(result));
                }
            });
        }
        let count = received.clone();
        tasks.spawn("receives", async move {
            while receiver.recv().await.is_some() {
                count.set(count.get() + 1);
            }
        });
        // The senders of the tasks are the only ones.
        drop(sender);
        Box::new(move |victim| {
            if victim == 3 {
                assert!(received.get() <= sent.get(), "a receiver that is dropped ends the sends");
            } else {
                assert_eq!(received.get(), sent.get());
            }
        })
    });
}

#[test]
fn mpsc_channel_whose_sender_notices_the_end_of_its_receiver() {
    drop_everywhere(|tasks| {
        let (sender, mut receiver) = mpsc::channel(1);
        let other = sender.clone();
        tasks.spawn("sends", async move { while sender.send(1).await.is_ok() {} });
        tasks.spawn("waits for the end", async move { other.closed().await });
        tasks.spawn("receives some", async move {
            for _ in 0..3 {
                _ = receiver.try_recv();
                yield_now().await;
            }
        });
        Box::new(|_| {})
    });
}

#[test]
fn broadcast_channel() {
    drop_everywhere(|tasks| {
        let (sender, receiver) = broadcast::channel::<(i32, Rc<()>)>(2);
        let token = Rc::new(());
        for slowness in [0, 1, 3] {
            let mut receiver = receiver.clone();
            tasks.spawn("receives", async move {
                let mut numbers = Vec::new();
                loop {
                    match receiver.recv().await {
                        Ok(message) => numbers.push(message.0),
                        Err(broadcast::RecvError::Lagged { missed }) => assert!(missed > 0),
                        Err(_) => break,
                    }
                    for _ in 0..slowness {
                        yield_now().await;
                    }
                }
                assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
            });
        }
        drop(receiver);
        let sent = token.clone();
        tasks.spawn("sends", async move {
            for n in 0..6 {
                if sender.send((n, sent.clone())).is_err() {
                    break;
                }
                yield_now().await;
            }
        });
        Box::new(move |_| assert_eq!(Rc::strong_count(&token), 1, "no message is left"))
    });
}

#[test]
fn once_cell() {
    drop_everywhere(|tasks| {
        let cell = Rc::new(OnceCell::new());
        for n in 0..4 {
            let cell = cell.clone();
            tasks.spawn("gets or makes", async move {
                let init = async || {
                    yield_now().await;
                    if n == 0 { Err("the first one fails") } else { Ok(n) }
                };
                if cell.get_or_try_init(init).await.is_ok() {
                    assert!(cell.get().is_some());
                }
            });
        }
        Box::new(move |_| assert!(cell.get().is_some_and(|n| *n > 0)))
    });
}
