//! One holder at a time, in the order of the requests.

use picot_context::{ManualHost, Step, TaskId, budget, enter};
use picot_sync::Mutex;

use crate::hands::{Hand, Tasks, Trace, now, yield_now};

#[test]
fn the_lock_goes_to_the_first_request() {
    let (mutex, trace) = (Mutex::new(0), Trace::default());
    let mut tasks = Tasks::default();
    for name in ["a", "b", "c"] {
        let (mutex, trace) = (&mutex, trace.clone());
        tasks.spawn(name, async move {
            for _ in 0..2 {
                let mut value = mutex.lock().await;
                *value += 1;
                trace.add(format!("{name}{value}"));
                yield_now().await;
            }
        });
    }
    tasks.run();
    assert_eq!(tasks.left(), [""; 0]);
    assert_eq!(trace.take(), ["a1", "b2", "c3", "a4", "b5", "c6"]);
}

#[test]
fn no_task_gets_the_lock_between_an_unlock_and_the_first_in_line() {
    let mutex = Mutex::new(());
    let guard = mutex.try_lock().unwrap();
    let mut first = Hand::pending(mutex.lock());
    drop(guard);
    assert_eq!(first.wakes(), 1);
    assert!(mutex.is_locked() && mutex.try_lock().is_none());
    let mut second = Hand::pending(mutex.lock());
    let guard = first.ready();
    assert!(second.poll().is_pending());
    drop(guard);
    drop(second.ready());
    assert!(!mutex.is_locked());
}

#[test]
fn a_dropped_waiter_leaves_the_line_and_passes_its_lock_on() {
    let mutex = Mutex::new(());
    let guard = mutex.try_lock().unwrap();
    let (first, second, mut third) =
        (Hand::pending(mutex.lock()), Hand::pending(mutex.lock()), Hand::pending(mutex.lock()));
    drop(second);
    assert_eq!(mutex.waiters().len(), 2);
    drop(guard);
    assert_eq!((first.wakes(), third.wakes()), (1, 0));
    drop(first);
    assert_eq!(third.wakes(), 1);
    drop(third.ready());
    assert!(mutex.try_lock().is_some());
}

#[test]
fn a_guard_that_is_dropped_by_a_panic_unlocks() {
    let mutex = Mutex::new(1);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = mutex.try_lock().unwrap();
        std::panic::resume_unwind(Box::new(()));
    }));
    assert!(caught.is_err());
    assert_eq!(*now(mutex.lock()), 1);
}

#[test]
fn the_owner_of_the_mutex_can_reach_the_value() {
    let mut mutex = Mutex::from(vec![1]);
    mutex.get_mut().push(2);
    assert_eq!(format!("{mutex:?}"), "Mutex { value: [1, 2], waiting: 0 }");
    let guard = mutex.try_lock().unwrap();
    assert_eq!(
        (format!("{mutex:?}"), format!("{guard:?}")),
        ("Mutex { value: <locked>, waiting: 0 }".into(), "[1, 2]".into())
    );
    drop(guard);
    assert_eq!(mutex.into_inner(), [1, 2]);
}

#[test]
fn a_mutex_can_hold_an_unsized_value() {
    let mutex: Box<Mutex<dyn std::fmt::Debug>> = Box::new(Mutex::new(7));
    assert_eq!(format!("{:?}", now(mutex.lock())), "7");
}

#[test]
fn a_task_that_locks_repeatedly_stops_when_its_budget_is_spent_and_keeps_its_place() {
    let (host, _guard) = ManualHost::installed();
    let mutex = Mutex::new(());
    let id = TaskId::new(1.try_into().unwrap());
    let entered = enter(Step::task(id, std::panic::Location::caller()), None);
    for _ in 0..budget::PER_STEP {
        drop(now(mutex.lock()));
    }
    let mut poor = Hand::pending(mutex.lock());
    assert!(poor.wakes() >= 1, "a task that the budget stops is woken to continue");
    assert!(mutex.is_locked(), "it was its turn");
    drop(entered);
    let late = Hand::pending(mutex.lock());
    drop(poor.ready());
    assert_eq!(late.wakes(), 1);
    assert!(host.take_reports().is_empty(), "it does not wait for itself");
}

#[test]
fn a_value_that_locks_its_own_mutex_in_its_debug_is_fine() {
    struct Curious(std::cell::Cell<Option<&'static Mutex<Curious>>>);
    impl std::fmt::Debug for Curious {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let own = self.0.get().expect("it knows its lock");
            write!(f, "locked: {}", own.try_lock().is_none())
        }
    }
    let mutex: &'static Mutex<Curious> = Box::leak(Box::new(Mutex::new(Curious(std::cell::Cell::new(None)))));
    mutex.try_lock().unwrap().0.set(Some(mutex));
    assert!(format!("{mutex:?}").contains("value: locked: true"));
    assert!(!mutex.is_locked());
}
