//! A dump of the loop's tasks on a signal.

use std::io;

use picot_loop::{Dump, LoopHandle, Task};

use super::{Signal, signal};

/// Calls `print` with a [dump](picot_loop::dump()) of all tasks each time `signal` arrives.
///
/// A task with the name `dump` listens, and is part of the dump. Cancel it to end that; dropping it
/// detaches it. While it listens, the signal no longer ends the process, and the loop is at no dead
/// end, because a signal may arrive.
///
/// # Errors
/// As for [`signal()`].
///
/// ```
/// use picot_process::{Signal, dump_on};
///
/// # #[cfg(unix)]
/// picot_loop::run(async {
///     let dumps = dump_on(Signal::QUIT, |dump| eprint!("{dump}"))?;
///     // … the service …
///     dumps.cancel("the service ends");
///     std::io::Result::Ok(())
/// })
/// .unwrap();
/// ```
#[track_caller]
pub fn dump_on(on: Signal, print: impl Fn(&Dump) + 'static) -> io::Result<Task<()>> {
    let mut arrivals = signal(on)?;
    let handle = LoopHandle::try_current()?;
    Ok(handle.clone().spawn_named("dump", async move {
        while arrivals.recv().await.is_some() {
            print(&handle.dump());
        }
    }))
}
