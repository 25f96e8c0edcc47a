//! The items of the inbox.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use picot_context::{Details, Place, TaskInfo};

use crate::error::CancelReason;
use crate::shared::Shared;
use crate::task::meta::Ready;

type RemoteCall = Box<dyn FnOnce() + Send>;

/// An item of the inbox.
pub(crate) enum RemoteItem {
    Task(Ready),
    Call(Place, RemoteCall),
    Deliver(Arc<dyn Delivery>),
    Spawn(Box<dyn Start>),
    /// Makes a report of a value that a handle has dropped.
    Report(RemoteCall),
}

/// An object that acts on the executor's thread when the inbox delivers it: a root that was woken,
/// or a task that is to be cancelled.
pub(crate) trait Delivery: Send + Sync {
    fn arrive(self: Arc<Self>);
}

/// A request for a task, of any type.
pub(crate) trait Start: Send {
    /// Makes the task and queues it, on the executor's thread. It is cancelled at once if there is
    /// a reason. A request from another thread has no details, because no task spawned it.
    fn start(
        self: Box<Self>,
        shared: &Arc<Shared>,
        details: Option<Rc<Details>>,
        cancel: Option<CancelReason>,
    ) -> TaskInfo;

    /// The closure, to be returned to the caller.
    fn into_make(self: Box<Self>) -> Box<dyn Any>;
}
