//! A loop in a forked child: using it is an error, and the parent's loop is unaffected.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use picot_loop::{EventLoop, LoopError, LoopHandle, RunError};

use crate::trace::Trace;

thread_local! {
    static LOOP: RefCell<Option<Rc<EventLoop>>> = const { RefCell::new(None) };
}

#[test]
fn a_forked_child_has_no_loop_until_it_builds_one() {
    let event_loop = Rc::new(EventLoop::new().unwrap());
    // The only handle, so that the child can close what it has inherited.
    LOOP.set(Some(event_loop));
    let mut command = Command::new("true");
    let check = || {
        let inherited = LOOP.take()?;
        let is_refused = matches!(LoopHandle::try_current(), Err(LoopError::Forked))
            && inherited.run_until_complete(async {}) == Err(RunError::Forked)
            && inherited.run_forever() == Err(RunError::Forked)
            && inherited.turn(None) == Err(RunError::Forked);
        let own = EventLoop::new().ok()?;
        let runs = own.run_until_complete(async { picot_loop::spawn(async { 7 }).await.unwrap() }) == Ok(7);
        // Dropping the inherited loop leaves the child's own loop and its host in place.
        drop(inherited);
        let has_host = picot_context::host().is_some() && LoopHandle::try_current().is_ok();
        let runs_on = own.run_until_complete(async { picot_loop::spawn(async { 8 }).await.unwrap() }) == Ok(8);
        drop(own);
        let is_clean = picot_context::host().is_none() && LoopHandle::try_current().is_err();
        (is_refused && runs && has_host && runs_on && is_clean).then_some(())
    };
    // SAFETY: The closure uses its own memory, system calls, and the allocator, which libc keeps
    // usable across a fork.
    unsafe { command.pre_exec(move || check().ok_or(io::ErrorKind::Other.into())) };
    assert!(command.status().unwrap().success());

    let event_loop = LOOP.take().unwrap();
    let trace = Trace::default();
    event_loop.handle().call_soon(trace.adds("the parent's callback"));
    assert_eq!(event_loop.turn(None), Ok(1));
    assert_eq!(trace.take(), ["the parent's callback"]);
}

#[test]
fn a_child_that_forks_within_a_run_gets_an_error_from_that_run() {
    let event_loop = EventLoop::new().unwrap();
    let child = Rc::new(Cell::new(-1));
    let later = Rc::new(Cell::new(false));
    let (forked, ran, handle) = (child.clone(), later.clone(), event_loop.handle());
    event_loop.handle().call_soon(move || {
        // SAFETY: The child uses its own memory and system calls until it exits; see above for the
        // allocator.
        forked.set(unsafe { libc::fork() });
        handle.call_soon({
            let handle = handle.clone();
            move || {
                ran.set(true);
                handle.stop();
            }
        });
    });
    let result = event_loop.run_forever();
    if child.get() == 0 {
        // SAFETY: Ends the child at once, without the test harness.
        unsafe { libc::_exit(if result == Err(RunError::Forked) && !later.get() { 0 } else { 1 }) };
    }
    assert_eq!((result, later.get()), (Ok(()), true), "the parent's run goes on");
    let mut status = -1;
    // SAFETY: The status is written to a local variable.
    assert_eq!(unsafe { libc::waitpid(child.get(), &mut status, 0) }, child.get());
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child's run has ended with the error");
}

#[test]
fn a_forked_child_closes_its_copy_without_waiting_for_the_parents_threads() {
    let builder = EventLoop::builder().blocking_threads(1).watchdog(Duration::from_millis(1), |_| ());
    let event_loop = builder.build().unwrap();
    let (handle, trace) = (event_loop.handle(), Trace::default());
    let timer = handle.call_later(Duration::from_millis(20), trace.adds("timer"));
    let sleeper = handle.spawn(picot_loop::sleep(Duration::from_millis(30)));
    let ((begins, begun), (release, released)) = (mpsc::channel(), mpsc::channel::<()>());
    let running = handle.spawn_blocking(move || {
        begins.send(()).unwrap();
        released.recv().unwrap();
        1
    });
    let queued = handle.spawn_blocking(|| 2);
    crate::trace::one_turn(&event_loop);
    begun.recv().unwrap();
    let everything = (event_loop, handle, timer, sleeper, running, queued);
    // SAFETY: The child uses memory of its own and system calls until it exits; see above of the
    // allocator.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: Kills the child if it waits for a thread that does not exist there.
        unsafe { libc::alarm(20) };
        let (event_loop, ..) = &everything;
        let is_closed = event_loop.close_within(Duration::from_secs(3600)).is_ok();
        drop(everything);
        // SAFETY: Ends the child at once, without the test harness.
        unsafe { libc::_exit(if is_closed { 0 } else { 1 }) };
    }
    let mut status = -1;
    // SAFETY: The status is written to a local variable.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child has waited: {status}");

    let (event_loop, _handle, _timer, sleeper, running, queued) = everything;
    release.send(()).unwrap();
    let sum = event_loop.run_until_complete(async {
        sleeper.await.unwrap();
        running.await.unwrap() + queued.await.unwrap()
    });
    assert_eq!((sum, trace.take()), (Ok(3), vec!["timer".to_string()]));
}
