//! The source location of a spawn or a schedule is the line of the caller, through every entry.

use std::panic::Location;
use std::rc::Rc;

use picot_executor::{CallHandle, Executor, Place, Step};

/// The source locations of the queued steps, by line, and whether each is a task's.
fn lines(executor: &Executor) -> Vec<(u32, bool)> {
    let mut lines = Vec::new();
    let note = |step: Step| {
        assert_eq!(step.place().file(), file!());
        lines.push((step.place().line(), step.task_id().is_some()));
    };
    executor.take_remote();
    executor.run_batch_with(usize::MAX, None, note);
    lines
}

#[test]
fn every_spawn_and_schedule_records_the_line_of_its_caller() {
    let executor = Executor::new();
    let (spawner, remote, line) = (executor.spawner().clone(), executor.remote(), line!());
    drop(executor.spawn(async {}));
    drop(spawner.spawn(async {}));
    drop(spawner.spawn_named("named", async {}));
    drop(remote.spawn(|| async {}).unwrap());
    executor.call_soon(|| ());
    spawner.call_soon(|| ()).unwrap();
    spawner.schedule(CallHandle::new(|| ())).unwrap();
    remote.call_soon(|| ()).unwrap();
    let tasks = (1..=4).map(|n| (line + n, true));
    let calls = (5..=8).map(|n| (line + n, false));
    assert_eq!(lines(&executor), tasks.chain(calls).collect::<Vec<_>>());
}

#[test]
fn a_spawn_from_another_thread_records_the_line_there() {
    let executor = Executor::new();
    let remote = executor.remote();
    let thread = std::thread::spawn(move || {
        let line = line!();
        drop(remote.spawn(|| async {}).unwrap());
        remote.call_soon(|| ()).unwrap();
        line
    });
    let line = thread.join().unwrap();
    assert_eq!(lines(&executor), [(line + 1, true), (line + 2, false)]);
}

#[test]
fn handles_and_errors_of_eager_tasks_and_the_root_have_their_lines() {
    let executor = Rc::new(Executor::new());
    let spawner = executor.spawner().clone();
    let here = || picot_context::running().unwrap().place().line();
    let line = line!() + 1;
    let (root, eager, task) = executor.block_on(async move {
        let mut eager = spawner.build_task().eager().spawn(async move { here() });
        let task = spawner.spawn(std::future::pending::<()>());
        task.cancel("to have an error");
        assert_eq!((eager.place().line(), task.place().line()), (line + 1, line + 2));
        (here(), (&mut eager).await.unwrap(), task.await.unwrap_err())
    });
    assert_eq!((root, eager, task.place().line()), (line, line + 1, line + 2));
}

#[test]
fn an_explicit_place_replaces_the_callers() {
    #[track_caller]
    fn on_behalf(run: impl FnOnce(Place)) -> u32 {
        run(Location::caller());
        Location::caller().line()
    }
    let executor = Executor::new();
    let spawner = executor.spawner();
    let expected = [
        on_behalf(|place| drop(spawner.build_task().at(place).spawn(async {}))),
        on_behalf(|place| drop(spawner.spawn_at(place, Some("name"), async {}))),
        on_behalf(|place| spawner.schedule(CallHandle::new_at(place, || ())).unwrap()),
    ];
    assert_eq!(expected[0] + 1, expected[1]);
    let found: Vec<_> = lines(&executor).into_iter().map(|(line, _)| line).collect();
    assert_eq!(found, expected);
}

/// Each public function that panics for a mistake of its caller.
#[test]
fn every_panic_is_at_the_line_of_its_caller() {
    use std::cell::{Cell, RefCell};
    use std::pin::pin;
    use std::task::Waker;
    thread_local! {
        static PLACE: Cell<Option<(&'static str, u32)>> = const { Cell::new(None) };
    }
    // The panic hook belongs to the process: this thread has a place to record, and the panics of
    // all other threads go to the previous hook.
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| match PLACE.get() {
        Some(_) => {
            PLACE.set(info.location().map(|place| (if place.file() == file!() { file!() } else { "" }, place.line())))
        }
        None => before(info),
    }));
    let place_of = |f: &dyn Fn()| {
        PLACE.set(Some(("", 0)));
        assert!(picot_context::catch(f).is_err());
        PLACE.take().unwrap()
    };
    let executor = Executor::new();
    executor.close();
    let driven = Executor::with_interrupt(Waker::noop().clone());
    let running = Rc::new(Executor::new());
    let taken = || {
        let mut task = running.spawn(async {});
        running.run_until_stalled();
        running.block_on(async { (&mut task).await.unwrap() });
        task
    };
    let rooted = Executor::new();
    let _root = pin!(rooted.root(Location::caller(), async {}));
    let mut remote = running.remote().spawn(|| async {}).unwrap();
    running.run_until_stalled();
    remote.wait(None).unwrap();
    let remote = RefCell::new(remote);
    // Inside of one of its own steps.
    let step: Rc<RefCell<Vec<(&str, u32)>>> = Rc::default();
    let (inside, places) = (running.clone(), step.clone());
    let first_step = line!() + 2;
    running.call_soon(move || {
        let place = |f: &dyn Fn()| places.borrow_mut().push(place_of(f));
        place(&|| _ = inside.step());
        place(&|| _ = inside.run_batch(1));
        place(&|| _ = inside.run_batch_with(1, None, |_| ()));
        place(&|| _ = inside.run_until_stalled());
        place(&|| inside.block_on(async {}));
        place(&|| drop(inside.root(Location::caller(), async {})));
        place(&|| _ = inside.close());
    });
    running.run_until_stalled();
    let lines = (first_step + 1..=first_step + 7).map(|line| (file!(), line));
    assert_eq!(*step.borrow(), lines.collect::<Vec<_>>());

    let line = line!() + 1;
    let places = [
        place_of(&|| drop(executor.call_soon(|| ()))),
        place_of(&|| executor.block_on(async {})),
        place_of(&|| drop(executor.root(Location::caller(), async {}))),
        place_of(&|| driven.block_on(async {})),
        place_of(&|| _ = rooted.step()),
        place_of(&|| rooted.block_on(async {})),
        place_of(&|| _ = taken().id()),
        place_of(&|| _ = taken().place()),
        place_of(&|| drop(taken().ignore_errors())),
        place_of(&|| _ = remote.borrow_mut().wait(None)),
    ];
    let expected = (line + 1..).take(places.len()).map(|line| (file!(), line));
    assert_eq!(places.to_vec(), expected.collect::<Vec<_>>());
}
