//! Making a task: the one `spawn_unchecked`.

use std::rc::Rc;
use std::sync::Arc;

use picot_context::{Details, Place};

use crate::extras::extra;
use crate::flag_guard::FlagGuard;
use crate::shared::{Local, Shared};
use crate::task::body::Body;
use crate::task::handle::Task;
use crate::task::meta::{Meta, Owner, Ready, schedule};
use crate::task::state::TaskState;

/// Makes a task, which the caller then queues. `shared` must be the executor of `local`.
#[inline]
pub(crate) fn make_task<F>(
    shared: &Arc<Shared>,
    local: &Local,
    place: Place,
    details: Option<Rc<Details>>,
    future: F,
) -> (Ready, Task<F::Output>)
where
    F: Future + 'static,
{
    let mut table = local.table.borrow_mut();
    let id = local.next_id();
    let slot = table.vacant_slot();
    let meta = Meta::new(Owner::new(shared, local), TaskState::new(place, id, slot, details.is_some()));
    // SAFETY: The contract of `spawn_unchecked`, clause by clause.
    // - The future is not `Send`, so its runnable must be used and dropped on this thread.
    //   `schedule` pushes it to the local queue on this thread, and to the inbox elsewhere; only
    //   the executor takes from the inbox, on this thread. A runnable that the closed inbox refuses
    //   is leaked, not dropped.
    // - The future is `'static`, and borrows nothing of the metadata.
    // - `schedule` is a plain function: `Send`, `Sync` and `'static`, so wakers may be used and
    // dropped anywhere.
    let (runnable, handle) =
        unsafe { async_task::Builder::new().metadata(meta).spawn_unchecked(|_| Body::new(future), schedule) };
    let ready = Ready::new(runnable);
    table.insert(ready.meta(), details);
    drop(table);
    if local.uses(extra::HOOKS) {
        // The task is in no queue yet, so a close inside the hook would wait for it in vain. The
        // flag forbids that.
        let _running = FlagGuard::new(&local.running);
        local.hook(|hooks| hooks.spawned(&ready.meta().info()));
    }
    (ready, Task::new(handle))
}
