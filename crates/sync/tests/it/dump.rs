//! The list of waiters has their names and source locations.

use picot_sync::{Barrier, Condvar, Event, Mutex, Queue, Semaphore, oneshot, waiting, watch};

use crate::hands::{Hand, Tasks, now};

#[test]
fn every_waiter_is_listed_with_task_and_place() {
    let mutex = Mutex::new(());
    let made = line!() - 1;
    let _guard = mutex.try_lock().unwrap();
    let mut tasks = Tasks::default();
    tasks.spawn("fetch", async {
        drop(mutex.lock().await);
    });
    let asked = line!() - 2;
    tasks.run();
    let waiting = waiting();
    assert_eq!(waiting.len(), 1);
    let fetch = &waiting[0];
    assert_eq!(
        (fetch.what, fetch.made.line(), fetch.place.line(), fetch.is_notified),
        ("Mutex::lock", made, asked, false)
    );
    assert_eq!(fetch.task.as_ref().unwrap().given_name(), Some("fetch"));
    assert_eq!(mutex.holder().unwrap().1.file(), file!());
    let text = fetch.to_string();
    assert!(text.starts_with("fetch (task 1, spawned at ") && text.contains("in Mutex::lock, made at "), "{text}");
}

#[test]
fn every_kind_of_wait_has_a_name_and_the_longest_wait_is_first() {
    let (mutex, condvar, event, barrier) = (Mutex::new(()), Condvar::new(), Event::new(), Barrier::new(2));
    let (semaphore, full, empty) = (Semaphore::new(0), Queue::new(1), Queue::<()>::new(1));
    let (sender, receiver) = oneshot::channel::<()>();
    let (watched, mut watcher) = watch::channel(());
    full.try_put(()).unwrap();
    let on_condvar = Hand::pending(condvar.wait(now(mutex.lock())));
    let guard = now(mutex.lock());
    let waits = [on_condvar, Hand::pending(mutex.lock())];
    let others = (
        Hand::pending(event.wait()),
        Hand::pending(barrier.wait()),
        Hand::pending(semaphore.acquire()),
        Hand::pending(full.put(())),
        Hand::pending(empty.get()),
        Hand::pending(full.join()),
        Hand::pending(receiver),
        Hand::pending(sender.closed()),
        Hand::pending(watcher.changed()),
    );
    let names: Vec<_> = waiting().iter().map(|waiting| waiting.what).collect();
    assert_eq!(
        names,
        [
            "Condvar::wait",
            "Mutex::lock",
            "Event::wait",
            "Barrier::wait",
            "Semaphore::acquire",
            "Queue::put",
            "Queue::get",
            "Queue::join",
            "oneshot::Receiver",
            "oneshot::Sender::closed",
            "watch::Receiver::changed",
        ]
    );
    assert!(waiting().iter().all(|waiting| waiting.place.file() == file!() && waiting.made.file() == file!()));
    event.set();
    assert!(waiting()[2].is_notified && waiting()[2].to_string().contains(" continues at "));
    drop((waits, others, guard, watched));
    assert!(waiting().is_empty());
}
