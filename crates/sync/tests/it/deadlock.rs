//! A circle of locks is reported when the last lock closes it, and nothing else is.

use std::rc::Rc;

use picot_context::{Cause, LockWait, ManualHost, Report};
use picot_sync::{Condvar, Mutex};

use crate::hands::{Hand, Tasks, Trace, now, yield_now};

/// The members of the only circle that was reported.
fn circle(host: &ManualHost) -> (String, Vec<LockWait>) {
    let mut reports = host.take_reports();
    assert_eq!(reports.len(), 1, "{reports:?}");
    let report: Report = reports.remove(0);
    let text = report.to_string();
    match report.cause {
        Cause::Deadlock(circle) => (text, circle),
        other => panic!("{other:?}"),
    }
}

fn names(circle: &[LockWait]) -> Vec<&str> {
    circle.iter().map(|wait| wait.task.as_ref().and_then(|task| task.given_name()).unwrap_or("no task")).collect()
}

#[test]
fn two_tasks_that_wait_for_each_other_are_named_while_the_rest_continues() {
    let (host, _guard) = ManualHost::installed();
    let (forks, spoons) = (Mutex::new(()), Mutex::new(()));
    let made = line!() - 1;
    let trace = Trace::default();
    let mut tasks = Tasks::default();
    tasks.spawn("ada", async {
        let _fork = forks.lock().await;
        yield_now().await;
        let _spoon = spoons.lock().await;
    });
    tasks.spawn("grace", async {
        let _spoon = spoons.lock().await;
        yield_now().await;
        let _fork = forks.lock().await;
    });
    let last = line!() - 2;
    tasks.spawn("lively", async {
        for n in 0..3 {
            trace.add(format!("{n}: {}", host.take_reports().len()));
            yield_now().await;
        }
    });
    (0..5).for_each(|_| assert!(tasks.step()));
    let (text, circle) = circle(&host);
    assert_eq!(names(&circle), ["grace", "ada"]);
    assert_eq!((circle[0].place.line(), circle[1].place.line()), (last, last - 5));
    assert_eq!((circle[0].held_since.line(), circle[1].held_since.line()), (last - 7, last - 2));
    assert!(circle.iter().all(|wait| wait.lock.line() == made));
    assert!(text.starts_with("grace (task 2, spawned at "), "{text}");
    let lines: Vec<_> = text.lines().collect();
    assert!(
        lines[0].ends_with("has closed a circle of locks, in which no task continues unless one unlocks:"),
        "{text}"
    );
    assert!(lines[1].starts_with("  grace (task 2, spawned at ") && lines[1].ends_with(", by the next"), "{text}");
    assert!(lines[2].starts_with("  ada (task 1, spawned at ") && lines[2].ends_with(", by the first"), "{text}");
    assert!(lines[3].starts_with("  take the locks in the same order everywhere"), "{text}");
    assert_eq!(lines.len(), 5, "{text}");

    tasks.run();
    assert_eq!(trace.take(), ["0: 0", "1: 0", "2: 0"], "it was reported once, before the lively one ran again");
    assert_eq!(tasks.left(), ["ada", "grace"]);
    tasks.cancel(0);
    tasks.run();
    assert!(tasks.left().is_empty(), "cancelling one of them ends the circle");
}

/// Both branches in one task, as `join!` polls them.
async fn both(one: impl Future<Output = ()>, two: impl Future<Output = ()>) {
    let (mut one, mut two) = (Some(Box::pin(one)), Some(Box::pin(two)));
    std::future::poll_fn(|cx| {
        if one.as_mut().is_some_and(|one| one.as_mut().poll(cx).is_ready()) {
            one = None;
        }
        if two.as_mut().is_some_and(|two| two.as_mut().poll(cx).is_ready()) {
            two = None;
        }
        if one.is_none() && two.is_none() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[test]
fn branches_of_one_task_that_wait_for_each_others_locks_are_not_a_circle() {
    let (host, _guard) = ManualHost::installed();
    let (one, two, three) = (Mutex::new(0), Mutex::new(0), Mutex::new(0));
    let holds = |first, second| async move {
        let (mut first, _second): (picot_sync::MutexGuard<'_, i32>, Option<_>) = (first, second);
        yield_now().await;
        *first += 1;
    };
    let mut tasks = Tasks::default();
    // A lock that is free, one taken without waiting, and one taken while a second lock is held, so
    // that circles are searched.
    tasks.spawn("branches", async {
        both(async { holds(one.lock().await, None).await }, async { *one.lock().await += 1 }).await;
        both(async { holds(one.try_lock().unwrap(), None).await }, async { *one.lock().await += 1 }).await;
        let branch = async { holds(one.lock().await, Some(two.lock().await)).await };
        both(branch, async { *one.lock().await += 1 }).await;
        // Another task in between: the branch that waits is not the one that holds.
        let branch = async { holds(one.lock().await, Some(three.lock().await)).await };
        both(branch, async { *two.lock().await += 1 }).await;
    });
    tasks.run();
    assert!(tasks.left().is_empty());
    assert!(host.take_reports().is_empty());
    assert_eq!((*now(one.lock()), *now(two.lock())), (7, 1));
}

#[test]
fn a_lock_taken_without_waiting_is_part_of_the_circle() {
    let (host, _guard) = ManualHost::installed();
    let (one, two) = (Mutex::new(()), Mutex::new(()));
    let mut tasks = Tasks::default();
    for (name, first, second) in [("there", &one, &two), ("back", &two, &one)] {
        tasks.spawn(name, async move {
            let _first = first.try_lock().unwrap();
            yield_now().await;
            let _second = second.lock().await;
        });
    }
    tasks.run();
    assert_eq!(names(&circle(&host).1), ["back", "there"]);
}

/// Each task holds a lock and waits for its predecessor's. A search that followed the chain to its
/// end would be quadratic.
#[test]
fn a_long_chain_of_locks_is_not_searched_to_its_end() {
    let (host, _guard) = ManualHost::installed();
    const LENGTH: usize = 20_000;
    let locks: Vec<_> = (0..LENGTH).map(|_| Mutex::new(())).collect();
    let mut tasks = Tasks::default();
    for index in 0..LENGTH {
        let (own, previous) = (&locks[index], index.checked_sub(1).map(|index| &locks[index]));
        tasks.spawn("in the chain", async move {
            let _own = own.lock().await;
            match previous {
                Some(previous) => drop(previous.lock().await),
                None => yield_now().await,
            }
        });
    }
    tasks.run();
    assert!(tasks.left().is_empty());
    assert!(host.take_reports().is_empty());
}

#[test]
fn a_long_circle_is_reported_in_its_order_when_it_closes() {
    let (host, _guard) = ManualHost::installed();
    let locks: Vec<_> = (0..5).map(|_| Mutex::new(())).collect();
    let mut tasks = Tasks::default();
    for (index, name) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let locks = &locks;
        tasks.spawn(name, async move {
            let _own = locks[index].lock().await;
            yield_now().await;
            let _next = locks[(index + 1) % 5].lock().await;
        });
    }
    (0..9).for_each(|_| assert!(tasks.step()));
    assert!(host.take_reports().is_empty());
    assert!(tasks.step());
    assert_eq!(names(&circle(&host).1), ["e", "a", "b", "c", "d"]);
}

#[test]
fn the_holder_is_the_task_that_the_lock_was_handed_to() {
    let (host, _guard) = ManualHost::installed();
    let (one, two) = (Mutex::new(()), Mutex::new(()));
    let mut tasks = Tasks::default();
    let first = tasks.spawn("first", async {
        let _one = one.lock().await;
        std::future::pending::<()>().await;
    });
    tasks.spawn("second", async {
        let _one = one.lock().await;
        let _two = two.lock().await;
    });
    tasks.spawn("third", async {
        let _two = two.lock().await;
        let _one = one.lock().await;
    });
    tasks.run();
    assert!(host.take_reports().is_empty(), "the first holds one and waits for none");
    tasks.cancel(first);
    tasks.run();
    assert_eq!(names(&circle(&host).1), ["second", "third"]);
}

#[test]
fn waiting_in_a_moving_line_is_not_a_circle() {
    let (host, _guard) = ManualHost::installed();
    let locks = [Mutex::new(()), Mutex::new(()), Mutex::new(())];
    let mut tasks = Tasks::default();
    for _ in 0..4 {
        tasks.spawn("in order", async {
            for _ in 0..3 {
                let (_a, _b) = (locks[0].lock().await, locks[1].lock().await);
                yield_now().await;
                let _c = locks[2].lock().await;
                yield_now().await;
            }
        });
    }
    tasks.spawn("one at a time", async {
        for _ in 0..10 {
            drop(locks[2].lock().await);
            drop(locks[0].lock().await);
        }
    });
    tasks.run();
    assert!(tasks.left().is_empty());
    assert!(host.take_reports().is_empty());
}

#[test]
fn a_dropped_or_ended_wait_is_not_part_of_a_circle() {
    let (host, _guard) = ManualHost::installed();
    let (one, two) = (Mutex::new(()), Mutex::new(()));
    let mut tasks = Tasks::default();
    tasks.spawn("gives up", async {
        let _one = one.lock().await;
        let mut wait = Box::pin(two.lock());
        std::future::poll_fn(|cx| {
            assert!(wait.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        drop(wait);
        std::future::pending::<()>().await;
    });
    let holder = now(two.lock());
    tasks.step();
    drop(holder);
    tasks.spawn("waits", async {
        let _two = two.lock().await;
        let _one = one.lock().await;
    });
    tasks.run();
    assert_eq!(tasks.left(), ["gives up", "waits"]);
    assert!(host.take_reports().is_empty());
}

#[test]
fn a_condition_that_releases_its_lock_is_not_a_circle_and_taking_it_again_can_be_one() {
    let (host, _guard) = ManualHost::installed();
    let (mutex, other, condvar) = (Mutex::new(()), Mutex::new(()), Condvar::new());
    let mut tasks = Tasks::default();
    tasks.spawn("waits", async {
        let _other = other.lock().await;
        let _guard = condvar.wait(mutex.lock().await).await;
    });
    tasks.run();
    tasks.spawn("notifies", async {
        let _guard = mutex.lock().await;
        condvar.notify_one();
        let _other = other.lock().await;
    });
    assert!(tasks.step());
    assert!(host.take_reports().is_empty());
    assert!(tasks.step());
    assert_eq!(names(&circle(&host).1), ["waits", "notifies"]);
}

#[test]
fn without_a_known_running_task_tasks_are_identified_by_their_wakers() {
    let (host, _guard) = ManualHost::installed();
    let (one, two) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
    let both = |first: &Rc<Mutex<()>>, second: &Rc<Mutex<()>>| {
        let (first, second) = (first.clone(), second.clone());
        async move {
            let _first = first.lock().await;
            yield_now().await;
            let _second = second.lock().await;
        }
    };
    let (mut a, mut b) = (Hand::pending(both(&one, &two)), Hand::pending(both(&two, &one)));
    assert!(a.poll().is_pending());
    assert!(host.take_reports().is_empty());
    assert!(b.poll().is_pending());
    let (text, circle) = circle(&host);
    assert_eq!(names(&circle), ["no task", "no task"]);
    assert!(text.contains("a task waits at "), "{text}");
}
