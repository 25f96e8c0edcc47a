//! A loop in a forked child: an error, not its parent's loop.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::rc::Rc;

use picot_loop::{EventLoop, LoopError, LoopHandle, RunError};

use crate::trace::Trace;

thread_local! {
    static LOOP: RefCell<Option<Rc<EventLoop>>> = const { RefCell::new(None) };
}

#[test]
fn a_child_has_no_loop_until_it_builds_one_and_the_parents_goes_on() {
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
        // The end of the inherited loop does not touch its successor, nor what it has installed on the thread.
        drop(inherited);
        let has_host = picot_context::host().is_some() && LoopHandle::try_current().is_ok();
        let runs_on = own.run_until_complete(async { picot_loop::spawn(async { 8 }).await.unwrap() }) == Ok(8);
        drop(own);
        let is_clean = picot_context::host().is_none() && LoopHandle::try_current().is_err();
        (is_refused && runs && has_host && runs_on && is_clean).then_some(())
    };
    // SAFETY: The closure uses memory of its own, system calls, and the allocator, which this process's other threads do not
    // leave locked across a fork.
    unsafe { command.pre_exec(move || check().ok_or(io::ErrorKind::Other.into())) };
    assert!(command.status().unwrap().success());

    let event_loop = LOOP.take().unwrap();
    let trace = Trace::default();
    event_loop.handle().call_soon(trace.adds("the parent's callback"));
    assert_eq!(event_loop.turn(None), Ok(1));
    assert_eq!(trace.take(), ["the parent's callback"]);
}

#[test]
fn a_child_that_comes_back_into_its_parents_run_is_stopped_there() {
    let event_loop = EventLoop::new().unwrap();
    let child = Rc::new(Cell::new(-1));
    let (forked, handle) = (child.clone(), event_loop.handle());
    event_loop.handle().call_soon(move || {
        // SAFETY: The child uses memory of its own and system calls until it exits; see above of the allocator.
        forked.set(unsafe { libc::fork() });
        handle.call_soon({
            let handle = handle.clone();
            move || handle.stop()
        });
    });
    let result = event_loop.run_forever();
    if child.get() == 0 {
        // SAFETY: Ends the child at once, without what would otherwise be done at the end of a test.
        unsafe { libc::_exit(if result == Err(RunError::Forked) { 0 } else { 1 }) };
    }
    assert_eq!(result, Ok(()), "the parent goes on");
    let mut status = -1;
    // SAFETY: The status is written to a variable of ours.
    assert_eq!(unsafe { libc::waitpid(child.get(), &mut status, 0) }, child.get());
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "the child's run has ended with the error");
}
