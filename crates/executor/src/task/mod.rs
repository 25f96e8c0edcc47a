//! Tasks: the handle, the metadata, the future that runs, and the table of all tasks.

pub(crate) mod body;
pub(crate) mod cancel_handle;
pub(crate) mod handle;
pub(crate) mod make;
pub(crate) mod meta;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod wake_key;
