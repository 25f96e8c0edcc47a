//! Waiting until a locked value has changed.

use picot_sync::{Condvar, Mutex};

use crate::hands::{Hand, Tasks, Trace, now};

#[test]
fn the_lock_is_released_while_it_waits_and_held_when_it_returns() {
    let (mutex, condvar) = (Mutex::new(0), Condvar::new());
    let mut wait = Hand::pending(condvar.wait(now(mutex.lock())));
    *now(mutex.lock()) = 1;
    condvar.notify_one();
    let guard = wait.ready();
    assert_eq!(*guard, 1);
    assert!(mutex.try_lock().is_none());
}

#[test]
fn notify_wakes_n_waiters_in_order_each_after_it_has_the_lock_again() {
    let (mutex, condvar, trace) = (Mutex::new(()), Condvar::new(), Trace::default());
    let mut tasks = Tasks::default();
    for name in ["a", "b", "c", "d"] {
        let (mutex, condvar, trace) = (&mutex, &condvar, trace.clone());
        tasks.spawn(name, async move {
            let guard = condvar.wait(mutex.lock().await).await;
            trace.add(name);
            crate::hands::yield_now().await;
            trace.add(format!("{name} unlocks"));
            drop(guard);
        });
    }
    tasks.run();
    assert_eq!(condvar.waiters().len(), 4);
    {
        let _guard = mutex.try_lock().unwrap();
        condvar.notify(2);
        tasks.run();
        assert_eq!((trace.take(), condvar.waiters().len(), mutex.waiters().len()), (vec![], 2, 2));
    }
    tasks.run();
    assert_eq!(trace.take(), ["a", "a unlocks", "b", "b unlocks"]);
    condvar.notify_all();
    tasks.run();
    assert_eq!(trace.take(), ["c", "c unlocks", "d", "d unlocks"]);
    assert!(tasks.left().is_empty());
}

#[test]
fn a_notification_without_a_waiter_is_not_kept() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    condvar.notify_one();
    condvar.notify_all();
    let wait = Hand::pending(condvar.wait(now(mutex.lock())));
    assert_eq!(wait.wakes(), 0);
}

#[test]
fn a_notified_waiter_that_is_dropped_before_it_runs_passes_the_notification_on() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let first = Hand::pending(condvar.wait(now(mutex.lock())));
    let mut second = Hand::pending(condvar.wait(now(mutex.lock())));
    condvar.notify_one();
    assert_eq!((first.wakes(), second.wakes()), (1, 0));
    drop(first);
    assert_eq!(second.wakes(), 1);
    drop(second.ready());
}

#[test]
fn a_notified_waiter_that_is_dropped_while_it_waits_for_the_lock_passes_the_notification_on() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let mut first = Hand::pending(condvar.wait(now(mutex.lock())));
    let mut second = Hand::pending(condvar.wait(now(mutex.lock())));
    let guard = now(mutex.lock());
    condvar.notify_one();
    assert!(first.poll().is_pending(), "it waits for the lock");
    assert_eq!(second.wakes(), 0);
    drop(first);
    assert_eq!(second.wakes(), 1);
    assert!(second.poll().is_pending());
    drop(guard);
    drop(second.ready());
}

#[test]
fn a_waiter_dropped_after_notify_all_wakes_no_later_waiter() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    let first = Hand::pending(condvar.wait(now(mutex.lock())));
    condvar.notify_all();
    let late = Hand::pending(condvar.wait(now(mutex.lock())));
    drop(first);
    assert_eq!(late.wakes(), 0);
}

#[test]
fn a_wait_that_is_dropped_unpolled_unlocks() {
    let (mutex, condvar) = (Mutex::new(()), Condvar::new());
    drop(condvar.wait(now(mutex.lock())));
    assert!(!mutex.is_locked());
}

#[test]
fn wait_while_checks_again_after_each_notification() {
    let (mutex, condvar) = (Mutex::new(0), Condvar::new());
    let mut wait = Hand::pending(condvar.wait_while(now(mutex.lock()), |value| *value < 2));
    for value in [1, 2] {
        *now(mutex.lock()) = value;
        condvar.notify_one();
        match (value, wait.poll()) {
            (1, poll) => assert!(poll.is_pending()),
            (_, poll) => assert!(poll.is_ready()),
        }
    }
    assert_eq!(*now(condvar.wait_while(now(mutex.lock()), |value| *value < 2)), 2, "it does not suspend needlessly");
}
