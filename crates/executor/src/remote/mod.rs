//! Access from other threads: the inbox, its handle, and tasks that other threads have spawned.

pub(crate) mod handle;
pub(crate) mod inbox;
pub(crate) mod item;
pub(crate) mod task;
