//! Running: the queue, batches of it, the current step, callbacks and the root.

pub(crate) mod batch;
pub(crate) mod call;
pub(crate) mod current;
pub(crate) mod queue;
pub(crate) mod root;
pub(crate) mod root_slot;
