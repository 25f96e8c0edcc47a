//! The watchdog reports a step while it still runs.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use picot_loop::{EventLoop, Hooks, Step, Stuck, blocking_section};

const LIMIT: Duration = Duration::from_millis(5);

fn watched() -> (EventLoop, mpsc::Receiver<Stuck>) {
    let (sender, receiver) = mpsc::channel();
    let event_loop = EventLoop::builder()
        .slow_step_limit(Duration::MAX)
        .watchdog(LIMIT, move |stuck| _ = sender.send(stuck.clone()))
        .build()
        .unwrap();
    (event_loop, receiver)
}

#[test]
fn a_stuck_step_is_reported_once_with_its_place_while_it_runs() {
    let (event_loop, reports) = watched();
    let line = line!() + 1;
    event_loop.handle().call_soon(move || {
        // The step ends only after it was reported.
        let stuck = reports.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((stuck.place.line(), stuck.task, stuck.limit), (line, None, LIMIT));
        let text = stuck.to_string();
        assert!(text.contains(&format!("watchdog.rs:{line}:")) && text.contains("still runs"), "{text}");
        assert!(reports.recv_timeout(4 * LIMIT).is_err(), "reported twice");
    });
    assert_eq!(event_loop.turn(None), Ok(1));
}

#[test]
fn blocking_sections_and_waits_are_not_watched() {
    let (event_loop, reports) = watched();
    event_loop.run_until_complete(picot_loop::sleep(4 * LIMIT)).unwrap();
    event_loop.handle().call_soon(move || {
        blocking_section(|| assert!(reports.recv_timeout(4 * LIMIT).is_err()));
        assert!(reports.recv_timeout(Duration::from_secs(60)).is_ok(), "a stuck step after the section is reported");
    });
    assert_eq!(event_loop.turn(None), Ok(1));
}

#[test]
fn hooks_of_the_program_are_called_beside_the_watchdog() {
    struct Steps(RefCell<Vec<u32>>);
    impl Hooks for Steps {
        fn before_step(&self, step: Step) {
            self.0.borrow_mut().push(step.place().line());
        }
    }
    let (event_loop, _told) = watched();
    let steps = Rc::new(Steps(RefCell::default()));
    event_loop.handle().set_hooks(steps.clone());
    let line = line!() + 1;
    event_loop.handle().call_soon(|| ());
    event_loop.turn(None).unwrap();
    event_loop.handle().reset_hooks();
    event_loop.handle().call_soon(|| ());
    event_loop.turn(None).unwrap();
    assert_eq!(steps.0.take(), [line]);
}

#[test]
#[should_panic(expected = "the watchdog's limit is zero")]
fn a_watchdog_without_a_limit_is_refused() {
    let _ = EventLoop::builder().watchdog(Duration::ZERO, |_| ());
}

#[test]
fn exclusive_sections_are_not_watched() {
    let (event_loop, reports) = watched();
    let result = event_loop.run_until_complete(async {
        let alone = picot_loop::exclusive().await;
        assert!(reports.recv_timeout(4 * LIMIT).is_err(), "reported in the step that enters the section");
        picot_loop::yield_now().await;
        assert!(reports.recv_timeout(4 * LIMIT).is_err(), "reported in a step within the section");
        drop(alone);
        assert!(reports.recv_timeout(Duration::from_secs(60)).is_ok(), "a stuck step after the section is reported");
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_step_in_which_a_task_was_spawned_eagerly_is_watched_to_its_end() {
    let (event_loop, reports) = watched();
    let (handle, line) = (event_loop.handle(), line!() + 1);
    event_loop.handle().call_soon(move || {
        drop(handle.build_task().eager().spawn(async {}));
        assert_eq!(reports.recv_timeout(Duration::from_secs(60)).unwrap().place.line(), line);
    });
    assert_eq!(event_loop.turn(None), Ok(1));
}

#[test]
fn a_panicking_hook_does_not_stop_the_watchdog() {
    let (sender, reports) = mpsc::channel();
    let event_loop = EventLoop::builder()
        .slow_step_limit(Duration::MAX)
        .watchdog(LIMIT, move |_| {
            sender.send(()).unwrap();
            crate::trace::quiet_panic("in the watchdog's hook")
        })
        .build()
        .unwrap();
    for _ in 0..2 {
        let reports = &reports;
        event_loop.run_until_complete(async { reports.recv_timeout(Duration::from_secs(60)).unwrap() }).unwrap();
    }
}
