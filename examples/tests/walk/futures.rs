//! The list of all public futures: how each is awaited again and again where it can complete at
//! once, or why it cannot.
//!
//! An entry names everything that its case awaits: `crate::Type::function`, `crate::function`, and
//! the types of futures.

use std::convert::Infallible;
use std::fs::File;
use std::future::{pending, ready};
use std::io::Write as _;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use picot::event_loop::{LoopHandle, exclusive};
use picot::net::{
    ConnectOptions, Connections, ListenOptions, Protocol, Reader, Server, TcpListener, TcpStream, Transport,
    UdpOptions, UdpSocket, UnixDatagram, UnixListener, UnixStream, Writer, connect_protocol, duplex, lookup,
    open_connection, open_unix_connection, start_server,
};
use picot::process::{Command, SubprocessProtocol, SubprocessTransport, pipe, stdin, stdout};
use picot::sync::{Barrier, Condvar, Event, Mutex, OnceCell, Queue, Semaphore, broadcast, mpsc, oneshot, watch};
use picot::task::{
    JoinSet, Local, as_completed, as_completed_bounded, gather, gather_bounded, gather_settled, race, race_staggered,
    scope, shield, supervised,
};
use picot::task::{Scope, Supervisor};
use picot::time::{Instant, move_on_after, move_on_at, timeout_at};
use picot::{CancelScope, Deferred, Promise, deferred, sleep, spawn, spawn_blocking, timeout, yield_now};
use picot_testkit::Folder;

use crate::starve::Beat;

/// Something of the list.
pub(crate) struct Entry {
    /// What the case awaits, with spaces in between.
    pub(crate) names: &'static str,
    pub(crate) case: Case,
}

/// How it is tried.
pub(crate) enum Case {
    /// Awaits it for as long as the beat goes on; each time it completes at once.
    AtOnce(fn(Beat) -> Pin<Box<dyn Future<Output = ()>>>),
    /// Why it cannot complete at once twice.
    Waits(&'static str),
}

/// So many finished things a case makes before it awaits them one after the other.
const MANY: usize = 1_000;

macro_rules! at_once {
    ($names:literal, |$beat:ident| $body:block) => {
        Entry { names: $names, case: Case::AtOnce(|$beat| Box::pin(async move { $body })) }
    };
}

fn waits(names: &'static str, reason: &'static str) -> Entry {
    Entry { names, case: Case::Waits(reason) }
}

/// Lets everything that was started end.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

struct Silent;
impl Protocol for Silent {
    fn data(&mut self, _: &Transport, _: &[u8]) {}
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

/// A socket whose peer has sent more than a case reads.
async fn full_pair() -> (TcpStream, TcpStream) {
    let (near, far) = pair().await;
    let fill = async { while far.write_all(&[b'\n'; 65_536]).await.is_ok() {} };
    let _ = timeout(Duration::from_millis(50), fill).await;
    (near, far)
}

fn settled() -> Promise<u8, u8> {
    Promise::settled(Ok(1))
}

pub(crate) fn list() -> Vec<Entry> {
    let mut list = of_sync();
    list.extend(of_loop());
    list.extend(of_tasks());
    list.extend(of_deferred());
    list.extend(of_net());
    list.extend(of_process());
    list
}

fn of_sync() -> Vec<Entry> {
    vec![
        at_once!("sync::Mutex::lock sync::Lock", |beat| {
            let mutex = Mutex::new(());
            while beat.goes_on() {
                _ = mutex.lock().await;
            }
        }),
        at_once!("sync::Event::wait sync::WaitEvent", |beat| {
            let event = Event::new();
            event.set();
            while beat.goes_on() {
                event.wait().await;
            }
        }),
        at_once!("sync::Semaphore::acquire sync::Acquire", |beat| {
            let semaphore = Semaphore::new(1);
            while beat.goes_on() {
                _ = semaphore.acquire().await;
            }
        }),
        at_once!("sync::Semaphore::acquire_many", |beat| {
            let semaphore = Semaphore::new(2);
            while beat.goes_on() {
                _ = semaphore.acquire_many(2).await;
            }
        }),
        at_once!("sync::Semaphore::acquire_owned", |beat| {
            let semaphore = Rc::new(Semaphore::new(1));
            while beat.goes_on() {
                _ = semaphore.acquire_owned().await;
            }
        }),
        at_once!("sync::Semaphore::acquire_many_owned", |beat| {
            let semaphore = Rc::new(Semaphore::new(2));
            while beat.goes_on() {
                _ = semaphore.acquire_many_owned(2).await;
            }
        }),
        at_once!("sync::Acquire::or_closed sync::AcquireOrClosed", |beat| {
            let (semaphore, closed) = (Semaphore::new(1), Semaphore::new(1));
            closed.close();
            while beat.goes_on() {
                drop(semaphore.acquire().or_closed().await.unwrap());
                _ = closed.acquire().or_closed().await;
            }
        }),
        at_once!("sync::OnceCell::get_or_init", |beat| {
            let cell = OnceCell::new();
            while beat.goes_on() {
                cell.get_or_init(async || 1).await;
            }
        }),
        at_once!("sync::OnceCell::get_or_try_init", |beat| {
            let cell = OnceCell::<u8>::new();
            while beat.goes_on() {
                _ = cell.get_or_try_init(async || Err("never made")).await;
            }
        }),
        at_once!("sync::Sender::send sync::SendItem sync::unbounded", |beat| {
            let (sender, mut receiver) = mpsc::unbounded();
            let closed = mpsc::channel(1).0;
            while beat.goes_on() {
                sender.send(1).await.unwrap();
                receiver.try_recv().unwrap();
                _ = closed.send(1).await;
            }
        }),
        at_once!("sync::Sender::reserve sync::Reserve", |beat| {
            let (sender, _receiver) = mpsc::channel::<u8>(1);
            let closed = mpsc::channel::<u8>(1).0;
            while beat.goes_on() {
                drop(sender.reserve().await.unwrap());
                _ = closed.reserve().await;
            }
        }),
        at_once!("sync::WaitReceiver", |beat| {
            let closed = mpsc::channel::<u8>(1).0;
            while beat.goes_on() {
                closed.closed().await;
            }
        }),
        at_once!("sync::Receiver::recv sync::Recv", |beat| {
            let (sender, mut receiver) = mpsc::unbounded();
            let mut ended = mpsc::channel::<u8>(1).1;
            while beat.goes_on() {
                sender.try_send(1).unwrap();
                receiver.recv().await.unwrap();
                _ = ended.recv().await;
            }
        }),
        at_once!("sync::RecvMessage", |beat| {
            let (sender, mut receiver) = broadcast::channel(1);
            let mut ended = broadcast::channel::<u8>(1).1;
            while beat.goes_on() {
                sender.send(1).unwrap();
                receiver.recv().await.unwrap();
                sender.send(1).unwrap();
                sender.send(1).unwrap();
                assert!(receiver.recv().await.is_err(), "it has missed one");
                receiver.recv().await.unwrap();
                _ = ended.recv().await;
            }
        }),
        at_once!("sync::Barrier::wait sync::WaitBarrier", |beat| {
            let (alone, broken) = (Barrier::new(1), Barrier::new(2));
            broken.break_up();
            while beat.goes_on() {
                _ = alone.wait().await;
                _ = broken.wait().await;
            }
        }),
        at_once!("sync::Condvar::wait_while sync::WaitWhile", |beat| {
            let (mutex, condvar) = (Mutex::new(()), Condvar::new());
            let mut guard = mutex.lock().await;
            while beat.goes_on() {
                guard = condvar.wait_while(guard, |()| false).await;
            }
        }),
        waits("sync::Condvar::wait sync::WaitCondvar", "it waits for a notification that comes later"),
        at_once!("sync::Queue::put sync::Put", |beat| {
            let (queue, closed) = (Queue::unbounded(), Queue::new(1));
            closed.close();
            while beat.goes_on() {
                queue.put(1).await.unwrap();
                _ = closed.put(1).await;
            }
        }),
        at_once!("sync::Queue::get sync::Get", |beat| {
            let (queue, closed) = (Queue::unbounded(), Queue::<u8>::new(1));
            closed.close();
            while beat.goes_on() {
                queue.try_put(1).unwrap();
                queue.get().await.unwrap();
                _ = closed.get().await;
            }
        }),
        at_once!("sync::Queue::lease sync::GetLease", |beat| {
            let (queue, closed) = (Queue::unbounded(), Queue::<u8>::new(1));
            closed.close();
            while beat.goes_on() {
                queue.try_put(1).unwrap();
                _ = queue.lease().await;
                _ = closed.lease().await;
            }
        }),
        at_once!("sync::Queue::join sync::JoinQueue", |beat| {
            let queue = Queue::<u8>::unbounded();
            while beat.goes_on() {
                queue.join().await;
            }
        }),
        at_once!("sync::channel sync::Receiver", |beat| {
            while beat.goes_on() {
                let (sender, receiver) = oneshot::channel();
                sender.send(1).unwrap();
                receiver.await.unwrap();
                let (sender, receiver) = oneshot::channel::<u8>();
                drop(sender);
                assert!(receiver.await.is_err());
            }
        }),
        at_once!("sync::Sender::closed sync::WaitClosed", |beat| {
            let (sender, receiver) = oneshot::channel::<u8>();
            drop(receiver);
            while beat.goes_on() {
                sender.closed().await;
            }
        }),
        at_once!("sync::Receiver::changed sync::Changed sync::Sender::subscribe", |beat| {
            let (sender, mut seen) = watch::channel(0);
            let (ended, mut without_sender) = watch::channel(0);
            drop(ended);
            let mut subscribed = sender.subscribe();
            while beat.goes_on() {
                sender.send(1);
                seen.changed().await.unwrap();
                subscribed.changed().await.unwrap();
                _ = without_sender.changed().await;
            }
        }),
        at_once!("sync::Receiver::wait_for sync::WaitFor", |beat| {
            let (_sender, mut seen) = watch::channel(0);
            let (ended, mut without_sender) = watch::channel(0);
            drop(ended);
            while beat.goes_on() {
                _ = seen.wait_for(|value| *value == 0).await;
                _ = without_sender.wait_for(|_| false).await;
            }
        }),
    ]
}

fn of_loop() -> Vec<Entry> {
    vec![
        waits("loop::sleep loop::sleep_until loop::Sleep", "it ends in a later turn, also if its time has passed"),
        waits("loop::yield_now loop::YieldNow", "it lets the others run, that is what it is for"),
        waits("loop::Interval::tick", "each tick is a sleep, which ends in a later turn"),
        at_once!("loop::exclusive executor::Spawner::exclusive executor::Exclusive", |beat| {
            while beat.goes_on() {
                _ = exclusive().await;
            }
        }),
        at_once!(
            "loop::spawn loop::LoopHandle::spawn loop::spawn_named loop::LoopHandle::spawn_named executor::Task executor::Join executor::Task::ignore_errors",
            |beat| {
                let tasks: Vec<_> = (0..MANY).map(|_| spawn(async {})).collect();
                settle().await;
                for task in tasks {
                    if beat.goes_on() {
                        task.await.unwrap();
                    }
                }
            }
        ),
        at_once!("executor::Local executor::Local::new executor::Local::try_into_inner", |beat| {
            let tasks: Vec<_> = (0..MANY).map(|_| Local::new(spawn(async {}).cancel_on_drop())).collect();
            settle().await;
            for task in tasks {
                if beat.goes_on() {
                    task.await.unwrap();
                }
            }
        }),
        at_once!("executor::Task::cancel_on_drop", |beat| {
            let tasks: Vec<_> = (0..MANY).map(|_| spawn(async {})).collect();
            settle().await;
            for task in tasks {
                if beat.goes_on() {
                    task.cancel_on_drop().await.unwrap();
                }
            }
        }),
        at_once!("executor::Task::cancel_and_wait executor::CancelAndWait", |beat| {
            let tasks: Vec<_> = (0..MANY).map(|_| spawn(async {})).collect();
            settle().await;
            for task in tasks {
                if beat.goes_on() {
                    _ = task.cancel_and_wait("walked").await;
                }
            }
        }),
        at_once!("executor::TaskBuilder::spawn", |beat| {
            while beat.goes_on() {
                LoopHandle::current().build_task().eager().spawn(async {}).await.unwrap();
            }
        }),
        waits(
            "executor::Executor::spawn executor::Executor::spawn_named executor::Spawner::spawn \
             executor::Spawner::spawn_named executor::Spawner::spawn_at",
            "the task is the same as that of the loop, which has an entry",
        ),
        at_once!(
            "loop::RemoteHandle::spawn loop::RemoteHandle::dump executor::Remote::spawn executor::RemoteTask executor::RemoteTask::ignore_errors executor::RemoteJoin",
            |beat| {
                let remote = LoopHandle::current().remote();
                let tasks: Vec<_> = (0..MANY).map(|_| remote.spawn(|| async {}).unwrap()).collect();
                settle().await;
                for task in tasks {
                    if beat.goes_on() {
                        task.await.unwrap();
                    }
                }
            }
        ),
        at_once!(
            "loop::spawn_blocking loop::LoopHandle::spawn_blocking loop::LoopHandle::try_spawn_blocking",
            |beat| {
                let jobs: Vec<_> = (0..MANY).map(|_| spawn_blocking(|| ())).collect();
                while jobs.iter().any(|job| !job.is_finished()) {
                    sleep(Duration::from_millis(1)).await;
                }
                for job in jobs {
                    if beat.goes_on() {
                        job.await.unwrap();
                    }
                }
            }
        ),
        waits("loop::LoopHandle::spawn_lookup", "its task is that of a blocking job, which has an entry"),
        at_once!("blocking::Lane::submit blocking::Lane::submit_at blocking::Job", |beat| {
            let lane = picot_blocking::Lane::new("walk", 1);
            let ended = Arc::<AtomicUsize>::default();
            let job = || {
                let ended = ended.clone();
                move || _ = ended.fetch_add(1, Ordering::Relaxed)
            };
            let jobs: Vec<_> = (0..MANY).map(|_| lane.submit(job()).unwrap()).collect();
            while ended.load(Ordering::Relaxed) < MANY {
                sleep(Duration::from_millis(1)).await;
            }
            for job in jobs {
                if beat.goes_on() {
                    job.await.unwrap();
                }
            }
        }),
        at_once!(
            "reactor::Source::ready reactor::Source::readable reactor::Source::writable reactor::Ready \
                  reactor::Source::ready_owned reactor::ReadyOwned",
            |beat| {
                let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
                near.set_nonblocking(true).unwrap();
                far.write_all(b"!").unwrap();
                let source = Rc::new(LoopHandle::current().register(near).unwrap());
                while beat.goes_on() {
                    source.ready_owned(picot::event_loop::Direction::Read).await.unwrap();
                    source.writable().await.unwrap();
                    source.readable().await.unwrap();
                    source.ready(picot::event_loop::Direction::Read).await.unwrap();
                }
            }
        ),
    ]
}

fn of_tasks() -> Vec<Entry> {
    vec![
        at_once!("tasks::CancelScope::run tasks::Run", |beat| {
            while beat.goes_on() {
                _ = CancelScope::new().run(ready(1)).await;
            }
        }),
        at_once!("tasks::CancelToken::cancelled tasks::TokenCancelled", |beat| {
            let scope = CancelScope::new();
            let token = scope.token();
            scope.cancel("for ever");
            while beat.goes_on() {
                token.cancelled().await;
            }
        }),
        at_once!("tasks::timeout tasks::Timeout", |beat| {
            while beat.goes_on() {
                timeout(Duration::from_secs(1), ready(1)).await.unwrap();
            }
        }),
        at_once!("tasks::timeout_at", |beat| {
            while beat.goes_on() {
                _ = timeout_at(Instant::now(), ready(1)).await;
            }
        }),
        at_once!("tasks::move_on_after tasks::MoveOn", |beat| {
            while beat.goes_on() {
                _ = move_on_after(Duration::from_secs(1), ready(1)).await;
            }
        }),
        at_once!("tasks::move_on_at", |beat| {
            while beat.goes_on() {
                _ = move_on_at(Instant::now(), ready(1)).await;
            }
        }),
        at_once!("tasks::gather", |beat| {
            while beat.goes_on() {
                _ = gather((ready(Ok::<_, Infallible>(1)), ready(Ok(2)))).await;
                _ = gather(Vec::<std::future::Ready<Result<u8, u8>>>::new()).await;
            }
        }),
        at_once!("tasks::gather_settled", |beat| {
            while beat.goes_on() {
                _ = gather_settled((ready(1), ready(2))).await;
                _ = gather_settled(Vec::<std::future::Ready<u8>>::new()).await;
            }
        }),
        at_once!("tasks::race", |beat| {
            while beat.goes_on() {
                race((ready(1), pending())).await;
            }
        }),
        at_once!("tasks::race_staggered tasks::Staggered", |beat| {
            while beat.goes_on() {
                _ = race_staggered([ready(Ok::<_, u8>(1))], Duration::from_secs(1)).await;
            }
        }),
        at_once!("tasks::gather_bounded", |beat| {
            while beat.goes_on() {
                _ = gather_bounded(1, [ready(Ok::<_, Infallible>(1)), ready(Ok(2))]).await;
                _ = gather_bounded(1, Vec::<std::future::Ready<Result<u8, u8>>>::new()).await;
            }
        }),
        at_once!("tasks::AsCompletedBounded::next", |beat| {
            let mut all = as_completed_bounded(2, (0..MANY).map(|_| ready(1)));
            while beat.goes_on() {
                _ = all.next().await;
            }
        }),
        at_once!("tasks::AsCompleted::next", |beat| {
            let mut all = as_completed((0..MANY).map(|_| ready(1)));
            while beat.goes_on() {
                _ = all.next().await;
            }
        }),
        at_once!("tasks::JoinSet::next", |beat| {
            let mut set = JoinSet::new();
            for _ in 0..MANY {
                set.spawn(async {});
            }
            settle().await;
            while beat.goes_on() {
                _ = set.next().await;
            }
        }),
        at_once!("tasks::JoinSet::cancel_and_wait", |beat| {
            while beat.goes_on() {
                JoinSet::<()>::new().cancel_and_wait("the end").await;
            }
        }),
        at_once!(
            "tasks::JoinSet::wait_first tasks::JoinSet::wait_first_error tasks::JoinSet::wait_all tasks::Wait",
            |beat| {
                let mut set = JoinSet::new();
                for _ in 0..MANY {
                    set.spawn(async {});
                }
                settle().await;
                while beat.goes_on() {
                    _ = set.wait_first().await;
                }
            }
        ),
        at_once!("tasks::scope tasks::ScopeRun", |beat| {
            while beat.goes_on() {
                scope(async |_: Scope<'_, Infallible>| Ok(())).await.unwrap();
            }
        }),
        at_once!(
            "tasks::Scope::spawn tasks::Scope::spawn_named tasks::Scope::try_spawn tasks::Scope::shield tasks::Child tasks::Child::ignore_errors \
             tasks::ChildJoin",
            |beat| {
                scope(async |s: Scope<'_, Infallible>| {
                    let mut children: Vec<_> = (0..MANY).map(|_| s.spawn(async {})).collect();
                    children.push(s.spawn_named("named", async {}));
                    children.push(s.try_spawn(async {}).unwrap());
                    children.push(s.shield(async {}));
                    settle().await;
                    for child in children {
                        if beat.goes_on() {
                            _ = child.await;
                        }
                    }
                    Ok(())
                })
                .await
                .unwrap();
            }
        ),
        waits("tasks::Scope::start tasks::Start", "the child that it starts runs in a later step"),
        at_once!("tasks::supervised tasks::Supervised", |beat| {
            while beat.goes_on() {
                supervised(async |_: Supervisor<'_>| ()).await;
            }
        }),
        at_once!("tasks::Supervisor::spawn tasks::Supervisor::spawn_named tasks::Supervisor::try_spawn", |beat| {
            let body = supervised(async |s: Supervisor<'_>| {
                let mut children: Vec<_> = (0..MANY).map(|_| s.spawn(async {})).collect();
                children.push(s.spawn_named("named", async {}));
                children.push(s.try_spawn(async {}).unwrap());
                settle().await;
                for child in children {
                    if beat.goes_on() {
                        _ = child.await;
                    }
                }
            });
            body.await;
        }),
        at_once!("tasks::shield tasks::Shield", |beat| {
            let shields: Vec<_> = (0..MANY).map(|_| shield(async {})).collect();
            settle().await;
            for (number, shield) in shields.into_iter().enumerate() {
                if beat.goes_on() {
                    if number % 2 == 0 {
                        _ = shield.await;
                    } else {
                        _ = shield.into_task().await;
                    }
                }
            }
        }),
    ]
}

fn of_deferred() -> Vec<Entry> {
    vec![
        at_once!("deferred::Deferred::promise deferred::Promise deferred::Settled", |beat| {
            let deferred = Deferred::<u8, u8>::new();
            deferred.resolve(1);
            while beat.goes_on() {
                _ = deferred.promise().await;
            }
        }),
        at_once!("deferred::Promise::settled", |beat| {
            while beat.goes_on() {
                _ = settled().await;
            }
        }),
        at_once!(
            "deferred::when deferred::when_all deferred::when_settled deferred::when_any deferred::when_race",
            |beat| {
                while beat.goes_on() {
                    _ = deferred::when((settled(), settled())).await;
                    _ = deferred::when_all([settled()]).await;
                    _ = deferred::when_settled([settled()]).await;
                    _ = deferred::when_any([settled()]).await;
                    _ = deferred::when_race([settled()]).await;
                }
            }
        ),
        waits(
            "deferred::Promise::then deferred::Promise::catch deferred::Promise::finally",
            "a handler runs in a later step, never in that which attaches it",
        ),
        waits("deferred::Promise::spawn", "its task runs in a later step; what it settles is a promise as the others"),
    ]
}

fn of_net() -> Vec<Entry> {
    vec![
        at_once!("net::TcpListener::bind", |beat| {
            while beat.goes_on() {
                drop(TcpListener::bind("127.0.0.1:0").await.unwrap());
            }
        }),
        at_once!("net::ListenOptions::bind", |beat| {
            while beat.goes_on() {
                drop(ListenOptions::new().bind("127.0.0.1:0").await.unwrap());
            }
        }),
        at_once!("net::UdpSocket::bind net::UdpOptions::bind", |beat| {
            while beat.goes_on() {
                drop(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                drop(UdpOptions::new().bind("127.0.0.1:0").await.unwrap());
            }
        }),
        at_once!("net::TcpListener::accept net::TcpStream::connect net::ConnectOptions::connect", |beat| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            while beat.goes_on() {
                let near = TcpStream::connect(address).await.unwrap();
                drop((near, listener.accept().await.unwrap()));
                let near = ConnectOptions::new().connect(address).await.unwrap();
                drop((near, listener.accept().await.unwrap()));
            }
        }),
        at_once!("net::open_connection", |beat| {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            while beat.goes_on() {
                let near = open_connection(address).await.unwrap();
                drop((near, listener.accept().await.unwrap()));
            }
        }),
        at_once!(
            "net::UnixStream::connect net::UnixStream::connect_addr net::open_unix_connection net::UnixListener::accept",
            |beat| {
                let folder = Folder::new("walk-unix");
                let path = folder.join("socket");
                let listener = UnixListener::bind(&path).unwrap();
                while beat.goes_on() {
                    let near = UnixStream::connect(&path).await.unwrap();
                    drop((near, listener.accept().await.unwrap()));
                    let near = open_unix_connection(&path).await.unwrap();
                    drop((near, listener.accept().await.unwrap()));
                    let near = UnixStream::connect_addr(&listener.local_addr().unwrap()).await.unwrap();
                    drop((near, listener.accept().await.unwrap()));
                }
            }
        ),
        at_once!("net::lookup", |beat| {
            while beat.goes_on() {
                drop(lookup("127.0.0.1:80").await.unwrap());
            }
        }),
        at_once!("net::TcpStream::peek", |beat| {
            let (near, _far) = full_pair().await;
            while beat.goes_on() {
                near.peek(&mut [0]).await.unwrap();
            }
        }),
        at_once!("net::read net::Read net::Read::new net::ReadHalf::read", |beat| {
            let (near, _far) = full_pair().await;
            let (mut read, _write) = UnixStream::pair().unwrap().0.split();
            while beat.goes_on() {
                near.read(&mut [0]).await.unwrap();
                _ = read.read(&mut [0]).await;
            }
        }),
        at_once!("net::write_all net::WriteAll net::WriteAll::new net::WriteHalf::write_all", |beat| {
            let (near, far) = UnixStream::pair().unwrap();
            let (_read, mut write) = near.split();
            while beat.goes_on() {
                write.write_all(b"!").await.unwrap();
                far.read(&mut [0]).await.unwrap();
                write.write_all(b"").await.unwrap();
            }
        }),
        at_once!(
            "net::Reader::read net::Reader::read_exact net::Reader::read_until net::Reader::read_until_any",
            |beat| {
                let (near, _far) = full_pair().await;
                let mut reader = Reader::new(near);
                while beat.goes_on() {
                    reader.read(&mut [0]).await.unwrap();
                    reader.read_exact(1).await.unwrap();
                    reader.read_exact(0).await.unwrap();
                    reader.read_until(b"\n").await.unwrap();
                    reader.read_until_any(&[b"\n"]).await.unwrap();
                }
            }
        ),
        at_once!("net::Reader::read_line", |beat| {
            let (near, _far) = full_pair().await;
            let mut reader = Reader::new(near);
            while beat.goes_on() {
                reader.read_line().await.unwrap();
            }
        }),
        at_once!("net::Reader::read_to_end", |beat| {
            let (near, far) = duplex(16);
            drop(far);
            let mut reader = Reader::new(near);
            while beat.goes_on() {
                reader.read_to_end().await.unwrap();
                assert_eq!(reader.read_line().await.unwrap(), None);
            }
        }),
        at_once!("net::Lines::next", |beat| {
            let (near, _far) = full_pair().await;
            let mut lines = Reader::new(near).lines();
            while beat.goes_on() {
                lines.next().await.unwrap().unwrap();
            }
        }),
        at_once!("net::Writer::write_all net::Writer::write_line net::Writer::flush", |beat| {
            let (near, far) = UnixStream::pair().unwrap();
            let mut writer = Writer::new(near);
            while beat.goes_on() {
                writer.write_all(b"!").await.unwrap();
                writer.write_line("").await.unwrap();
                writer.flush().await.unwrap();
                far.read(&mut [0; 2]).await.unwrap();
            }
        }),
        at_once!("net::Writer::close", |beat| {
            let (near, _far) = duplex(16);
            let mut writer = Writer::new(near);
            while beat.goes_on() {
                _ = writer.close().await;
            }
        }),
        at_once!("net::TcpStream::send_file", |beat| {
            let folder = Folder::new("walk-file");
            let file = File::open(folder.file("file", "!")).unwrap();
            let (near, far) = pair().await;
            while beat.goes_on() {
                near.send_file(&file, 0..1).await.unwrap();
                far.read(&mut [0]).await.unwrap();
                near.send_file(&file, 0..0).await.unwrap();
            }
        }),
        at_once!(
            "net::UdpSocket::connect net::UdpSocket::send net::UdpSocket::send_to net::UdpSocket::recv \
             net::UdpSocket::recv_from net::UdpSocket::peek_from net::UdpSocket::peek",
            |beat| {
                let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
                let address = socket.local_addr().unwrap();
                while beat.goes_on() {
                    socket.connect(address).await.unwrap();
                    socket.send(b"!").await.unwrap();
                    socket.peek_from(&mut [0]).await.unwrap();
                    socket.peek(&mut [0]).await.unwrap();
                    socket.recv(&mut [0]).await.unwrap();
                    socket.send_to(b"!", address).await.unwrap();
                    socket.recv_from(&mut [0]).await.unwrap();
                }
            }
        ),
        at_once!(
            "net::UnixDatagram::send net::UnixDatagram::send_to net::UnixDatagram::send_to_addr net::UnixDatagram::recv \
             net::UnixDatagram::recv_from",
            |beat| {
                let folder = Folder::new("walk-datagram");
                let path = folder.join("socket");
                let bound = UnixDatagram::bind(&path).unwrap();
                let (near, far) = UnixDatagram::pair().unwrap();
                while beat.goes_on() {
                    near.send(b"!").await.unwrap();
                    far.recv(&mut [0]).await.unwrap();
                    near.send(b"!").await.unwrap();
                    far.recv_from(&mut [0]).await.unwrap();
                    let unbound = UnixDatagram::unbound().unwrap();
                    unbound.send_to(b"!", &path).await.unwrap();
                    bound.recv(&mut [0]).await.unwrap();
                    unbound.send_to_addr(b"!", &bound.local_addr().unwrap()).await.unwrap();
                    bound.recv(&mut [0]).await.unwrap();
                }
            }
        ),
        at_once!(
            "net::Connections::connect net::Connections::wait_empty net::Condition::until net::Condition::until_about net::connect_protocol net::Transport::closed",
            |beat| {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let empty = Connections::new().unwrap();
                let connections = Connections::new().unwrap();
                let closed = connections.connect(address, Silent).await.unwrap();
                drop(listener.accept().await.unwrap());
                let alone = connect_protocol(address, Silent).await.unwrap();
                drop(listener.accept().await.unwrap());
                alone.abort();
                closed.abort();
                closed.closed().await;
                while beat.goes_on() {
                    empty.wait_empty().await;
                    closed.closed().await;
                }
            }
        ),
        at_once!(
            "net::start_server net::ServerBuilder::bind net::Server::wait_closed net::Server::serve_forever \
             net::Server::shutdown",
            |beat| {
                let server = start_server("127.0.0.1:0", |_, _| async { Ok(()) }).await.unwrap();
                server.close();
                server.wait_closed().await;
                while beat.goes_on() {
                    drop(Server::builder().bind("127.0.0.1:0").await.unwrap());
                    server.wait_closed().await;
                    _ = server.serve_forever().await;
                    server.shutdown(Duration::ZERO).await;
                }
            }
        ),
        waits(
            "net::TlsConnector::new net::TlsConnector::connect net::TlsAcceptor::accept net::TlsStream::close",
            "TLS is a feature that the workspace's tests do not turn on; it reads and writes by streams that have entries",
        ),
    ]
}

fn of_process() -> Vec<Entry> {
    vec![
        waits(
            "process::Signals::recv process::ctrl_c",
            "a task of the loop passes a signal on, so that it comes in a later turn",
        ),
        at_once!("process::PipeWriter::closed", |beat| {
            let (reader, writer) = pipe().unwrap();
            drop(reader);
            while beat.goes_on() {
                writer.closed().await.unwrap();
            }
        }),
        // What the standard input is depends on where the tests run; without bytes, that is all the
        // same.
        at_once!("process::Stdin::read", |beat| {
            let mut stdin = stdin().unwrap();
            while beat.goes_on() {
                stdin.read(&mut []).await.unwrap();
            }
        }),
        at_once!("process::write_all", |beat| {
            let mut stdout = stdout().unwrap();
            while beat.goes_on() {
                stdout.write_all(b"").await.unwrap();
            }
        }),
        at_once!("process::Child::wait", |beat| {
            let child = Command::new("true").spawn().unwrap();
            while beat.goes_on() {
                assert!(child.wait().await.unwrap().success());
            }
        }),
        at_once!("process::SubprocessTransport::closed", |beat| {
            struct Quiet;
            impl SubprocessProtocol for Quiet {
                fn pipe_data(&mut self, _: &SubprocessTransport, _: i32, _: &[u8]) {}
            }
            let transport = Command::new("true").spawn_protocol(Quiet).unwrap();
            while beat.goes_on() {
                transport.closed().await;
            }
        }),
        waits(
            "process::Command::status process::Command::output process::Child::wait_with_output \
             process::Child::communicate",
            "each waits for the end of a child of its own",
        ),
    ]
}
