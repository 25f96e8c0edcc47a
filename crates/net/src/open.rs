//! The loop that tasks of this crate are spawned on: this thread's, as long as it is open.

use std::io;

use picot_loop::{Closed, LoopHandle};

/// This thread's loop. An error if there is none, or if it is closed, which would make spawning panic.
pub(crate) fn open_loop() -> io::Result<LoopHandle> {
    let handle = LoopHandle::try_current()?;
    if handle.is_closed() { Err(io::Error::other(Closed::new())) } else { Ok(handle) }
}
