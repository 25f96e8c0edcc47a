//! Builds both, runs a main future on them, and ends both in order.

use picot_loop::EventLoop;
use tokio::runtime::{Builder, Handle, LocalOptions, LocalRuntime};

use crate::guest::run_guest;

/// Builds an event loop and a tokio runtime on this thread, runs both until `main` is done, and
/// ends both: `picot::run` in which libraries of tokio work.
///
/// `main` runs as a picot task with the name `main`, and may borrow. In it, and in all tasks of
/// both, `picot::spawn`, `tokio::spawn` and `tokio::task::spawn_local` work.
///
/// At the end, the loop is closed inside of the runtime, and then the runtime is shut down. Tasks
/// of both that are left are dropped. Blocking jobs that run are not waited for.
///
/// To choose options, build both and await [`run_guest`]:
///
/// ```
/// use picot_loop::EventLoop;
/// use tokio::runtime::{Builder, LocalOptions};
///
/// let event_loop = EventLoop::builder().blocking_threads(2).build()?;
/// let options = LocalOptions::default();
/// let runtime = Builder::new_current_thread().enable_all().build_local(options)?;
/// let answer = runtime.block_on(picot_tokio::run_guest(&event_loop, async { 42 }))?;
/// assert_eq!(answer, 42);
/// let _context = runtime.enter(); // for destructors that use tokio
/// event_loop.close()?; // before the runtime
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Panics
/// With the panic of `main`. Also if this thread has a loop or runs a tokio runtime, if building
/// one fails, if the loop is stopped before `main` is done, or on Windows, whose loop has no
/// descriptor.
///
/// ```
/// use std::time::Duration;
///
/// let text = picot_tokio::run(async {
///     // A task of tokio's that waits for one of picot's, on the same thread.
///     let task = picot_loop::spawn(async {
///         picot_loop::sleep(Duration::from_millis(1)).await;
///         "from picot"
///     });
///     tokio::task::spawn_local(task.into_future()).await.unwrap().unwrap()
/// });
/// assert_eq!(text, "from picot");
/// ```
#[track_caller]
pub fn run<F: IntoFuture>(main: F) -> F::Output {
    if Handle::try_current().is_ok() {
        panic!(
            "`picot_tokio::run` starts a tokio runtime, and this thread runs one already: build an `EventLoop` and \
             await `picot_tokio::run_guest(&event_loop, main)` in it"
        );
    }
    let event_loop = match EventLoop::new() {
        Ok(event_loop) => event_loop,
        Err(error) => panic!("{error}"),
    };
    let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
        Ok(runtime) => runtime,
        Err(error) => panic!("the operating system refused a resource that a tokio runtime needs: {error}"),
    };
    let both = Both { event_loop, runtime: Some(runtime) };
    match both.runtime().block_on(run_guest(&both.event_loop, main)) {
        Ok(output) => output,
        Err(error) => panic!("{error}"),
    }
}

/// Ends both in order when dropped, also by unwinding.
struct Both {
    event_loop: EventLoop,
    /// Present until the drop.
    runtime: Option<LocalRuntime>,
}

impl Both {
    fn runtime(&self) -> &LocalRuntime {
        self.runtime.as_ref().expect("present until the drop")
    }
}

impl Drop for Both {
    fn drop(&mut self) {
        // The loop first, and inside of the runtime: destructors of picot's tasks may use tokio.
        let context = self.runtime().enter();
        // Fails only during a run, and that is over.
        let _ = self.event_loop.close();
        drop(context);
        // As the loop does, and unlike the runtime's own drop: a blocking job that hangs does not
        // keep the program from ending.
        self.runtime.take().expect("present until the drop").shutdown_background();
    }
}
