//! hyper's executor: tasks on this thread's loop.

use hyper::rt::Executor;
use picot_loop::LoopHandle;

/// Spawns what hyper runs beside a connection, as a task of this thread's loop: each request of an
/// HTTP/2 server, and each connection of an HTTP/2 client.
///
/// The futures need no `Send`. A task has the source location of the task in which hyper spawned
/// it. For a server that is where `serve` was called.
///
/// ```
/// use hyper::server::conn::http2;
/// use picot_hyper::LoopExecutor;
///
/// let _builder = http2::Builder::new(LoopExecutor);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopExecutor;

impl<F: Future + 'static> Executor<F> for LoopExecutor {
    #[track_caller]
    fn execute(&self, future: F) {
        let handle = LoopHandle::current();
        let builder = handle.build_task();
        let builder = match picot_context::running() {
            Some(step) => builder.at(step.place()),
            None => builder,
        };
        drop(builder.spawn(future));
    }
}
