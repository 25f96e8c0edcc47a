//! Which types may leave their thread, and which may be shared by several: a table, so that a field
//! which changes it is noticed. Other runtimes had an unsound `Send` or `Sync` on just such types.

use picot_testkit::implements;

/// Whether a type is `Send`, and whether it is `Sync`.
macro_rules! threads {
    ($type:ty) => {
        (implements!($type: Send), implements!($type: Sync))
    };
}

/// Fails for each type of the list that is not as expected, by name.
macro_rules! assert_threads {
    ($expected:expr, $($type:ty),+ $(,)?) => {
        $(assert_eq!(threads!($type), $expected, "(Send, Sync) of {}", stringify!($type));)+
    };
}

/// Something that may go anywhere, so that only the type around it decides.
type Free = u8;
/// Something that may go nowhere.
type Bound = std::rc::Rc<u8>;

const FOR_ITS_THREAD: (bool, bool) = (false, false);
const FOR_EVERY_THREAD: (bool, bool) = (true, true);

#[test]
fn the_table_can_tell() {
    assert_threads!(FOR_EVERY_THREAD, Free);
    assert_threads!(FOR_ITS_THREAD, Bound);
    assert_threads!((true, false), std::cell::Cell<u8>);
    assert_threads!((false, true), std::sync::MutexGuard<'static, u8>);
}

#[test]
fn the_loop_and_what_belongs_to_it_stay_on_their_thread() {
    use picot::event_loop::{EventLoop, LoopHandle, Source, TurnHook};
    use picot::task::{Exclusive, ExclusiveGuard, Join, Task, TaskBuilder};
    use picot::time::{Interval, Sleep};
    assert_threads!(FOR_ITS_THREAD, EventLoop, LoopHandle, Source<std::net::TcpStream>, TurnHook);
    assert_threads!(FOR_ITS_THREAD, Task<Free>, Join<Free>, TaskBuilder<'static>, Exclusive, ExclusiveGuard);
    assert_threads!(FOR_ITS_THREAD, Sleep, Interval, picot::CallHandle, picot::TimerHandle);
}

#[test]
fn promises_connections_and_locks_stay_on_their_thread() {
    use picot::net::{Connections, Server, TcpListener, TcpStream, Transport, UdpSocket};
    use picot::sync::{Event, Mutex, MutexGuard, Permit, Queue, Semaphore};
    use picot::task::{CancelScope, CancelToken, JoinSet, Scope};
    assert_threads!(FOR_ITS_THREAD, picot::Deferred<Free, Free>, picot::Promise<Free, Free>);
    assert_threads!(FOR_ITS_THREAD, TcpListener, TcpStream, UdpSocket, Server, Transport, Connections);
    assert_threads!(FOR_ITS_THREAD, Mutex<Free>, MutexGuard<'static, Free>, Semaphore, Permit<'static>);
    assert_threads!(FOR_ITS_THREAD, Event, Queue<Free>);
    assert_threads!(FOR_ITS_THREAD, CancelScope, CancelToken, JoinSet<Free>, Scope<'static, Free>);
}

#[test]
fn what_is_meant_for_other_threads_may_go_there() {
    use picot::deferred::Resolver;
    use picot::event_loop::{LoopError, Metrics, RunError, Snapshot};
    use picot::task::{CancelReason, JoinError, TaskId, TaskInfo};
    assert_threads!(FOR_EVERY_THREAD, picot::RemoteHandle, Metrics, Snapshot, std::task::Waker);
    assert_threads!(FOR_EVERY_THREAD, TaskId, TaskInfo, CancelReason, LoopError, RunError, picot::time::Instant);
    assert_threads!(FOR_EVERY_THREAD, JoinError, Resolver<Free, Free>);
    // A value that cannot be sent makes its way there impossible.
    assert_threads!(FOR_ITS_THREAD, Resolver<Bound, Free>);
    assert_threads!(FOR_ITS_THREAD, picot::task::RemoteTask<Bound>);
    assert!(threads!(picot::task::RemoteTask<Free>).0);
}
