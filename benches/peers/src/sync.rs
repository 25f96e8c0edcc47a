//! Other locks and queues, as the workloads of `picot_benches::sync` see them. All of them work on
//! any executor.

use std::cell::RefCell;

use picot_benches::sync::{Broadcasts, Locks, Permits, Queues};

/// tokio's `sync`: for tasks of any thread.
#[derive(Clone, Copy, Debug)]
pub struct TokioSync;

/// smol's `async-lock`, `async-channel` and `event-listener`: for tasks of any thread.
#[derive(Clone, Copy, Debug)]
pub struct SmolSync;

/// `local-sync`: for tasks of one thread, as ours.
#[derive(Clone, Copy, Debug)]
pub struct LocalSync;

impl Locks for TokioSync {
    const NAME: &'static str = "tokio::sync";
    type Mutex = tokio::sync::Mutex<usize>;

    fn mutex() -> Self::Mutex {
        tokio::sync::Mutex::new(0)
    }

    async fn with_lock(mutex: &Self::Mutex, inside: impl Future<Output = ()>) {
        let mut guard = mutex.lock().await;
        *guard += 1;
        inside.await;
    }
}

impl Locks for SmolSync {
    const NAME: &'static str = "async-lock etc.";
    type Mutex = async_lock::Mutex<usize>;

    fn mutex() -> Self::Mutex {
        async_lock::Mutex::new(0)
    }

    async fn with_lock(mutex: &Self::Mutex, inside: impl Future<Output = ()>) {
        let mut guard = mutex.lock().await;
        *guard += 1;
        inside.await;
    }
}

impl Permits for TokioSync {
    const NAME: &'static str = "tokio::sync";
    type Semaphore = tokio::sync::Semaphore;

    fn semaphore(permits: usize) -> Self::Semaphore {
        tokio::sync::Semaphore::new(permits)
    }

    async fn with_permit(semaphore: &Self::Semaphore, inside: impl Future<Output = ()>) {
        let _permit = semaphore.acquire().await.unwrap();
        inside.await;
    }
}

impl Permits for SmolSync {
    const NAME: &'static str = "async-lock etc.";
    type Semaphore = async_lock::Semaphore;

    fn semaphore(permits: usize) -> Self::Semaphore {
        async_lock::Semaphore::new(permits)
    }

    async fn with_permit(semaphore: &Self::Semaphore, inside: impl Future<Output = ()>) {
        let _permit = semaphore.acquire().await;
        inside.await;
    }
}

impl Permits for LocalSync {
    const NAME: &'static str = "local-sync";
    type Semaphore = local_sync::semaphore::Semaphore;

    fn semaphore(permits: usize) -> Self::Semaphore {
        local_sync::semaphore::Semaphore::new(permits)
    }

    async fn with_permit(semaphore: &Self::Semaphore, inside: impl Future<Output = ()>) {
        let _permit = semaphore.acquire().await.unwrap();
        inside.await;
    }
}

// A receiver of tokio's and of local-sync's is for one task; the workloads have one, so its borrow
// meets no other.
impl Queues for TokioSync {
    const NAME: &'static str = "tokio::sync";
    type Queue = (tokio::sync::mpsc::Sender<usize>, RefCell<tokio::sync::mpsc::Receiver<usize>>);

    fn queue(capacity: usize) -> Self::Queue {
        let (sender, receiver) = tokio::sync::mpsc::channel(capacity);
        (sender, RefCell::new(receiver))
    }

    async fn put(queue: &Self::Queue, item: usize) {
        queue.0.send(item).await.unwrap();
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "only one task receives")]
    async fn get(queue: &Self::Queue) -> usize {
        queue.1.borrow_mut().recv().await.unwrap()
    }
}

impl Queues for SmolSync {
    const NAME: &'static str = "async-lock etc.";
    type Queue = (async_channel::Sender<usize>, async_channel::Receiver<usize>);

    fn queue(capacity: usize) -> Self::Queue {
        async_channel::bounded(capacity)
    }

    async fn put(queue: &Self::Queue, item: usize) {
        queue.0.send(item).await.unwrap();
    }

    async fn get(queue: &Self::Queue) -> usize {
        queue.1.recv().await.unwrap()
    }
}

impl Queues for LocalSync {
    const NAME: &'static str = "local-sync";
    type Queue = (local_sync::mpsc::bounded::Tx<usize>, RefCell<local_sync::mpsc::bounded::Rx<usize>>);

    fn queue(capacity: usize) -> Self::Queue {
        let (sender, receiver) = local_sync::mpsc::bounded::channel(capacity);
        (sender, RefCell::new(receiver))
    }

    async fn put(queue: &Self::Queue, item: usize) {
        assert!(queue.0.send(item).await.is_ok());
    }

    #[expect(clippy::await_holding_refcell_ref, reason = "only one task receives")]
    async fn get(queue: &Self::Queue) -> usize {
        queue.1.borrow_mut().recv().await.unwrap()
    }
}

impl Broadcasts for TokioSync {
    const NAME: &'static str = "tokio::sync";
    type Event = tokio::sync::Notify;

    fn event() -> Self::Event {
        tokio::sync::Notify::new()
    }

    async fn wait(event: &Self::Event) {
        event.notified().await;
    }

    fn wake_all(event: &Self::Event) {
        event.notify_waiters();
    }
}

impl Broadcasts for SmolSync {
    const NAME: &'static str = "async-lock etc.";
    type Event = event_listener::Event;

    fn event() -> Self::Event {
        event_listener::Event::new()
    }

    async fn wait(event: &Self::Event) {
        event.listen().await;
    }

    fn wake_all(event: &Self::Event) {
        event.notify(usize::MAX);
    }
}
