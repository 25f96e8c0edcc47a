//! Prints what the guide page "When something goes wrong" shows: a kind of trouble per argument.
//!
//! Usage: `trouble KIND`, where KIND is one of those in `main`.

use std::future::{pending, poll_fn};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use picot::event_loop::RunError;
use picot::{Deferred, EventLoop, LoopHandle, sleep, spawn, yield_now};

fn main() -> ExitCode {
    // Only picot's own lines are shown here, not those of std's panic hook.
    std::panic::set_hook(Box::new(|_| ()));
    let kind = std::env::args().nth(1).unwrap_or_default();
    let event_loop = EventLoop::builder().slow_step_limit(Duration::from_millis(50)).build().unwrap();
    let result = match &*kind {
        "stall" => event_loop.run_until_complete(stall()),
        "dead-end" => event_loop.run_until_complete(dead_end()),
        "task" => event_loop.run_until_complete(task()),
        "awaited" => event_loop.run_until_complete(awaited()),
        "callback" => event_loop.run_until_complete(callback()),
        "timer" => event_loop.run_until_complete(timer()),
        "promise" => event_loop.run_until_complete(promise()),
        "waker" => event_loop.run_until_complete(waker()),
        "hook" => event_loop.run_until_complete(hook()),
        "drop" => event_loop.run_until_complete(drops()),
        "main" => event_loop.run_until_complete(async { panic!("in main") }),
        _ => {
            eprintln!("usage: trouble stall|dead-end|task|awaited|callback|timer|promise|waker|hook|drop|main");
            return ExitCode::FAILURE;
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if error == RunError::DeadEnd {
                eprintln!("the run ended: {error}");
            }
            ExitCode::FAILURE
        }
    }
}

/// A callback that blocks.
async fn stall() {
    LoopHandle::current().call_soon(|| {
        #[expect(clippy::disallowed_methods, reason = "this is what blocks the loop")]
        std::thread::sleep(Duration::from_millis(120));
    });
    settle().await;
}

/// Two tasks: one awaits the other, which waits for an event that never comes.
async fn dead_end() {
    let answer = LoopHandle::current().spawn_named("answer", pending::<()>());
    answer.await.unwrap();
}

async fn task() {
    drop(LoopHandle::current().spawn_named("fetch", async { panic!("no such page") }));
    settle().await;
}

/// The joiner of the task gets the panic; the error hook does not.
async fn awaited() {
    let error = spawn(async { panic!("no such page") }).await.unwrap_err();
    let _ = writeln!(std::io::stderr(), "the joiner: {error}");
}

async fn callback() {
    LoopHandle::current().call_soon(|| panic!("in a callback"));
    settle().await;
}

async fn timer() {
    LoopHandle::current().call_later(Duration::from_millis(1), || panic!("in a timer"));
    sleep(Duration::from_millis(2)).await;
    settle().await;
}

async fn promise() {
    let deferred = Deferred::<u32, ()>::new();
    deferred.promise().done(|_| panic!("in a callback of a promise"));
    deferred.resolve(7);
    settle().await;
}

/// A waker of another library's that panics.
async fn waker() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let mut sleeper = Box::pin(sleep(Duration::from_millis(1)));
    let _ = sleeper.as_mut().poll(&mut std::task::Context::from_waker(&Waker::from(Arc::new(Bomb))));
    sleep(Duration::from_millis(2)).await;
    settle().await;
}

async fn hook() {
    LoopHandle::current().set_error_hook(|_| panic!("in the error hook"));
    LoopHandle::current().call_soon(|| panic!("in a callback"));
    settle().await;
}

/// A future whose destructor panics.
async fn drops() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let task = LoopHandle::current().spawn_named("holder", async {
        let _bomb = Bomb;
        poll_fn(|_| Poll::<()>::Pending).await;
    });
    let task = task;
    yield_now().await;
    task.cancel_and_wait("the example has ended").await;
    settle().await;
}

/// Lets the loop come to the end of the turn, where reports are told, and to that of the next.
async fn settle() {
    yield_now().await;
    yield_now().await;
}
