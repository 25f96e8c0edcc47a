//! The loop on which this crate spawns tasks: that of this thread, while it is open.

use std::io;

use picot_loop::{Closed, LoopHandle};

/// Returns this thread's loop. An error if there is none or if it is closed.
pub fn open_loop() -> io::Result<LoopHandle> {
    let handle = LoopHandle::try_current()?;
    if handle.is_closed() { Err(io::Error::other(Closed::new())) } else { Ok(handle) }
}
