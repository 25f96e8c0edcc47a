//! The watchdog tells of a step while it runs.

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
fn a_step_that_is_stuck_is_told_of_once_by_its_place_and_while_it_runs() {
    let (event_loop, told) = watched();
    let line = line!() + 1;
    event_loop.handle().call_soon(move || {
        // It ends only when it was told of.
        let stuck = told.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!((stuck.place.line(), stuck.task, stuck.limit), (line, None, LIMIT));
        let text = stuck.to_string();
        assert!(text.contains(&format!("watchdog.rs:{line}:")) && text.contains("does so still"), "{text}");
        assert!(told.recv_timeout(4 * LIMIT).is_err(), "once a step");
    });
    assert_eq!(event_loop.turn(None), Ok(1));
}

#[test]
fn it_looks_away_from_deliberate_blocking_and_from_waits() {
    let (event_loop, told) = watched();
    event_loop.run_until_complete(picot_loop::sleep(4 * LIMIT)).unwrap();
    event_loop.handle().call_soon(move || {
        blocking_section(|| assert!(told.recv_timeout(4 * LIMIT).is_err()));
        assert!(told.recv_timeout(Duration::from_secs(60)).is_ok(), "after the section it looks again");
    });
    assert_eq!(event_loop.turn(None), Ok(1));
}

#[test]
fn hooks_of_the_program_are_called_beside_it() {
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
#[should_panic(expected = "a watchdog needs a limit")]
fn a_watchdog_without_a_limit_is_refused() {
    let _ = EventLoop::builder().watchdog(Duration::ZERO, |_| ());
}

#[test]
fn it_looks_away_from_an_exclusive_section_also_within_one_step() {
    let (event_loop, told) = watched();
    let result = event_loop.run_until_complete(async {
        let alone = picot_loop::exclusive().await;
        assert!(told.recv_timeout(4 * LIMIT).is_err(), "in the step that enters");
        picot_loop::yield_now().await;
        assert!(told.recv_timeout(4 * LIMIT).is_err(), "in the next one");
        drop(alone);
        assert!(told.recv_timeout(Duration::from_secs(60)).is_ok(), "after the section it looks again");
    });
    assert_eq!(result, Ok(()));
}

#[test]
fn a_step_in_which_a_task_was_spawned_eagerly_is_watched_to_its_end() {
    let (event_loop, told) = watched();
    let (handle, line) = (event_loop.handle(), line!() + 1);
    event_loop.handle().call_soon(move || {
        drop(handle.build_task().eager().spawn(async {}));
        assert_eq!(told.recv_timeout(Duration::from_secs(60)).unwrap().place.line(), line);
    });
    assert_eq!(event_loop.turn(None), Ok(1));
}

#[test]
fn a_watchdog_whose_hook_panics_watches_on() {
    let (sender, told) = mpsc::channel();
    let event_loop = EventLoop::builder()
        .slow_step_limit(Duration::MAX)
        .watchdog(LIMIT, move |_| {
            sender.send(()).unwrap();
            crate::trace::quiet_panic("in the watchdog's hook")
        })
        .build()
        .unwrap();
    for _ in 0..2 {
        let told = &told;
        event_loop.run_until_complete(async { told.recv_timeout(Duration::from_secs(60)).unwrap() }).unwrap();
    }
}
