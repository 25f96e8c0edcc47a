//! What the inbox carries.

use std::any::Any;
use std::rc::Rc;
use std::sync::Arc;

use picot_context::{Details, Place, TaskInfo};

use crate::error::CancelReason;
use crate::shared::Shared;
use crate::task::meta::Ready;

type RemoteCall = Box<dyn FnOnce() + Send>;

/// What the inbox holds.
pub(crate) enum RemoteItem {
    Task(Ready),
    Call(Place, RemoteCall),
    Deliver(Arc<dyn Delivery>),
    Spawn(Box<dyn Start>),
    /// Makes a report of what a handle has dropped.
    Report(RemoteCall),
}

/// Something that acts on the executor's thread once the inbox has carried it there: a root that was
/// woken, or a task that is to be cancelled.
pub(crate) trait Delivery: Send + Sync {
    fn arrive(self: Arc<Self>);
}

/// A request of whatever type.
pub(crate) trait Start: Send {
    /// Makes the task and queues it, cancelled already if there is a reason. On the executor's thread. What comes from another
    /// has no details: it was not spawned by whatever runs here.
    fn start(
        self: Box<Self>,
        shared: &Arc<Shared>,
        details: Option<Rc<Details>>,
        cancel: Option<CancelReason>,
    ) -> TaskInfo;

    /// The closure, to be given back.
    fn into_make(self: Box<Self>) -> Box<dyn Any>;
}
