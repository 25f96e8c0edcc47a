//! What a task waits for: the dump names each kind of wait, and so does the report of a dead end if
//! such a wait can be part of one.

use std::cell::RefCell;
use std::future::{Future, pending};
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use picot::event_loop::{Activity, Cause, Dump, RunError, TaskDump, WaitKind};
use picot::io::{AsyncReadExt as _, AsyncWriteExt as _};
use picot::net::{ListenOptions, TcpListener, TcpStream, UdpSocket, duplex};
use picot::sync::{Barrier, Condvar, Event, Mutex, Queue, Semaphore, oneshot, watch};
use picot::{CancelScope, Deferred, EventLoop, spawn_named};

type Body = Pin<Box<dyn Future<Output = ()>>>;

/// A task that waits for ever.
struct Case {
    kind: WaitKind,
    /// How the description begins.
    what: &'static str,
    /// Whether the wait has a place, which is a line of this file.
    has_place: bool,
    /// Whether the loop can go on: it has a timer, a source or a job.
    is_alive: bool,
    body: fn() -> Body,
}

macro_rules! case {
    ($kind:ident, $what:literal, $place:ident, $alive:ident, $body:block) => {
        Case {
            kind: WaitKind::$kind,
            what: $what,
            has_place: stringify!($place) == "here",
            is_alive: stringify!($alive) == "alive",
            body: || Box::pin(async move { $body }),
        }
    };
}

async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    (near, listener.accept().await.unwrap().0)
}

fn cases() -> Vec<Case> {
    vec![
        case!(Sleep, "a timer that is due in ", nowhere, alive, {
            picot::sleep(Duration::from_secs(3600)).await;
        }),
        case!(Read, "data from 127.0.0.1:", nowhere, alive, {
            let (near, _far) = pair().await;
            near.read(&mut [0; 8]).await.unwrap();
        }),
        case!(Write, "room to send to 127.0.0.1:", nowhere, alive, {
            let (near, _far) = pair().await;
            while near.write_all(&[0; 65_536]).await.is_ok() {}
        }),
        case!(Accept, "a client of 127.0.0.1:", nowhere, alive, {
            TcpListener::bind("127.0.0.1:0").await.unwrap().accept().await.unwrap();
        }),
        case!(Read, "data from a peer of 127.0.0.1:", nowhere, alive, {
            UdpSocket::bind("127.0.0.1:0").await.unwrap().recv_from(&mut [0; 8]).await.unwrap();
        }),
        case!(Read, "data from a stream in memory", nowhere, stuck, {
            let (mut near, _far) = duplex(8);
            near.read(&mut [0; 8]).await.unwrap();
        }),
        case!(Write, "room in a stream in memory", nowhere, stuck, {
            let (mut near, _far) = duplex(8);
            near.write_all(&[0; 16]).await.unwrap();
        }),
        case!(Task, "task ", nowhere, stuck, {
            spawn_named("joined", pending::<()>()).await.unwrap();
        }),
        case!(Task, "task ", nowhere, stuck, {
            let mut set = picot::JoinSet::new();
            set.spawn(pending::<()>());
            _ = set.next().await;
        }),
        case!(Task, "a task of another thread", nowhere, alive, {
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::spawn(move || {
                picot::run(async {
                    sender.send(picot::LoopHandle::current().remote()).unwrap();
                    picot::sleep(Duration::from_secs(3600)).await;
                });
            });
            let remote = receiver.recv().unwrap();
            let waits_too = picot::sleep(Duration::from_secs(3600));
            picot::race((async { _ = remote.spawn(pending::<()>).unwrap().await }, waits_too)).await;
        }),
        case!(Children, "the children of the scope", nowhere, stuck, {
            _ = picot::scope(async |scope: picot::task::Scope<'_, ()>| {
                drop(scope.spawn(pending::<()>()));
                Ok(())
            })
            .await;
        }),
        case!(Task, "task ", nowhere, stuck, {
            _ = picot::scope(async |scope: picot::task::Scope<'_, ()>| {
                _ = scope.spawn(pending::<()>()).await;
                Ok(())
            })
            .await;
        }),
        case!(Lock, "the lock", here, stuck, {
            let lock = Mutex::new(());
            let _held = lock.lock().await;
            drop(lock.lock().await);
        }),
        case!(Semaphore, "permits of the semaphore", here, stuck, {
            drop(Semaphore::new(0).acquire().await);
        }),
        case!(Queue, "an item of the queue", here, stuck, {
            _ = Queue::<u8>::new(1).get().await;
        }),
        case!(Queue, "room in the queue", here, stuck, {
            let queue = Queue::new(1);
            for n in 0..2 {
                queue.put(n).await.unwrap();
            }
        }),
        case!(Queue, "the last item to be done of the queue", here, stuck, {
            let queue = Queue::new(1);
            queue.try_put(1).unwrap();
            queue.join().await;
        }),
        case!(Condition, "a notification of the condition", here, stuck, {
            let lock = Mutex::new(());
            let guard = lock.lock().await;
            drop(Condvar::new().wait(guard).await);
        }),
        case!(Event, "the event", here, stuck, {
            Event::new().wait().await;
        }),
        case!(Barrier, "the other tasks of the barrier", here, stuck, {
            _ = Barrier::new(2).wait().await;
        }),
        case!(Channel, "the value of the one-shot channel", here, stuck, {
            let (_sender, receiver) = oneshot::channel::<()>();
            _ = receiver.await;
        }),
        case!(Channel, "the end of the receiver", here, stuck, {
            let (sender, _receiver) = oneshot::channel::<()>();
            sender.closed().await;
        }),
        case!(Watch, "a change of the watched value", here, stuck, {
            let (_sender, mut receiver) = watch::channel(0);
            _ = receiver.changed().await;
        }),
        case!(Promise, "the promise", here, stuck, {
            let deferred: Deferred<u8, u8> = Deferred::new();
            _ = deferred.promise().await;
        }),
        case!(Cancellation, "a request to cancel", here, stuck, {
            let scope = CancelScope::new();
            scope.token().cancelled().await;
        }),
        case!(Server, "the end of the connections", nowhere, alive, {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let connections = picot::net::Connections::new().unwrap();
            struct Silent;
            impl picot::net::Protocol for Silent {
                fn data(&mut self, _: &picot::net::Transport, _: &[u8]) {}
            }
            connections.connect(listener.local_addr().unwrap(), Silent).await.unwrap();
            connections.wait_empty().await;
        }),
    ]
}

/// Runs the case until it waits. Returns the dump, and the loop with the case in it.
fn dump(case: &Case) -> (EventLoop, Dump) {
    let event_loop = EventLoop::builder().error_on_deadlock().deadlock_delay(Duration::ZERO).build().unwrap();
    drop(event_loop.handle().spawn_named("case", (case.body)()));
    // A step that waits for an event of the kernel, such as a connection, needs a further turn.
    for _ in 0..50 {
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let dump = event_loop.handle().dump();
    (event_loop, dump)
}

fn case_task(dump: &Dump) -> &TaskDump {
    dump.tasks.iter().find(|task| task.task.given_name() == Some("case")).unwrap()
}

#[test]
fn each_kind_of_wait_is_named_by_the_dump() {
    for case in cases() {
        let (_event_loop, dump) = dump(&case);
        let task = case_task(&dump);
        assert_eq!(task.activity, Activity::Waiting, "{}", case.what);
        let wait = task.waits.iter().find(|wait| wait.kind == case.kind && wait.to_string().starts_with(case.what));
        let wait = wait.unwrap_or_else(|| panic!("{}: {dump}", case.what));
        let place = wait.place.map(|place| place.file());
        assert_eq!(place, case.has_place.then_some(file!()), "{wait}");
        assert!(dump.to_string().contains(&format!("\n  waits for {wait}\n")), "{dump}");
    }
}

#[test]
fn each_kind_of_wait_is_named_by_the_report_of_a_dead_end() {
    for case in cases().iter().filter(|case| !case.is_alive) {
        let (event_loop, _) = dump(case);
        let reports = Rc::new(RefCell::new(Vec::new()));
        let hook = reports.clone();
        event_loop.handle().set_error_hook(move |report| match &report.cause {
            Cause::DeadEnd(tasks) => hook.borrow_mut().push((tasks.clone(), report.to_string())),
            other => panic!("{other}"),
        });
        assert_eq!(event_loop.run_until_complete(pending::<()>()), Err(RunError::DeadEnd));
        let (tasks, text) = reports.borrow_mut().remove(0);
        let task = tasks.iter().find(|task| task.task.given_name() == Some("case")).unwrap();
        assert!(task.waits.iter().any(|wait| wait.kind == case.kind), "{}: {text}", case.what);
        let line = text.lines().find(|line| line.starts_with("  case (task ")).unwrap();
        assert!(line.contains(&format!(" for {}", case.what)), "{text}");
        let main = text.lines().last().unwrap();
        assert!(main.ends_with("waits in a future that picot does not know (its waker is kept elsewhere)"), "{text}");
    }
}

#[test]
fn every_kind_has_a_case_here_or_a_test_of_its_own() {
    // Connecting and signals, processes and jobs need more than one future, and are below.
    let elsewhere = [WaitKind::Connect, WaitKind::Job, WaitKind::Process, WaitKind::Signal];
    let cases = cases();
    for kind in WaitKind::ALL {
        let is_here = cases.iter().any(|case| case.kind == *kind);
        assert!(is_here != elsewhere.contains(kind), "{kind}");
    }
}

/// What the tasks of a loop wait for, after 50 turns.
fn waits_of(future: impl Future<Output = ()> + 'static) -> (EventLoop, Vec<(WaitKind, String)>) {
    let event_loop = EventLoop::new().unwrap();
    drop(event_loop.handle().spawn(future));
    for _ in 0..50 {
        event_loop.turn(Some(Duration::from_millis(1))).unwrap();
    }
    let tasks = event_loop.handle().dump().tasks.into_iter();
    let waits = tasks.flat_map(|task| task.waits).map(|wait| (wait.kind, wait.to_string())).collect();
    (event_loop, waits)
}

#[test]
fn a_blocking_job_is_named_by_its_place() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let line = line!() + 2;
    let (_event_loop, waits) = waits_of(async move {
        picot::spawn_blocking(move || _ = released.recv()).await.unwrap();
    });
    let job = waits.iter().find(|(kind, _)| *kind == WaitKind::Job).unwrap();
    assert!(job.1.starts_with(&format!("the blocking job made at {}:{line}:", file!())), "{waits:?}");
    drop(release);
}

#[cfg(all(unix, feature = "process"))]
#[test]
fn a_child_process_and_a_signal_are_named() {
    let (_event_loop, waits) = waits_of(async {
        let child = picot::process::Command::new("sleep").arg("60").spawn().unwrap();
        _ = picot::race((child.wait(), async {
            picot::process::ctrl_c().await?;
            child.wait().await
        }))
        .await;
    });
    assert!(waits.contains(&(WaitKind::Signal, "the signal SIGINT".into())), "{waits:?}");
    if cfg!(target_os = "linux") {
        let process = waits.iter().find(|(kind, _)| *kind == WaitKind::Process).expect("there is a pidfd");
        assert!(process.1.starts_with("the end of the child process "), "{waits:?}");
        process.1.rsplit(' ').next().unwrap().parse::<u32>().unwrap();
    }
}

#[test]
fn a_connection_that_is_being_made_is_named() {
    let (_event_loop, waits) = waits_of(async {
        // A full backlog: further connections wait for room.
        let listener = ListenOptions::new().backlog(1).bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut set = picot::JoinSet::new();
        for _ in 0..8 {
            set.spawn(TcpStream::connect(address));
        }
        pending::<()>().await;
    });
    let connects = waits.iter().filter(|(kind, _)| *kind == WaitKind::Connect).count();
    assert!(connects != 0, "{waits:?}");
}

#[test]
fn branches_and_scopes_show_all_that_a_task_waits_for() {
    let (event_loop, waits) = waits_of(async {
        let queue = Queue::<u8>::new(1);
        let branches = (picot::sleep(Duration::from_secs(60)), async { _ = queue.get().await });
        picot::race(branches).await;
    });
    let kinds: Vec<_> = waits.iter().map(|(kind, _)| *kind).collect();
    assert!(kinds.contains(&WaitKind::Sleep) && kinds.contains(&WaitKind::Queue), "{waits:?}");
    drop(event_loop);

    let event_loop = EventLoop::new().unwrap();
    drop(event_loop.handle().spawn_named("parent", async {
        _ = picot::scope(async |scope: picot::task::Scope<'_, ()>| {
            drop(scope.spawn_named("sleeps", picot::sleep(Duration::from_secs(60))));
            drop(scope.spawn_named("nests", async {
                picot::scope(async |scope: picot::task::Scope<'_, ()>| {
                    drop(scope.spawn_named("deep", async { Event::new().wait().await }));
                    Ok(())
                })
                .await
                .map_err(drop)
            }));
            Ok(())
        })
        .await;
    }));
    for _ in 0..5 {
        event_loop.turn(Some(Duration::ZERO)).unwrap();
    }
    let dump = event_loop.handle().dump();
    let of = |name: &str| dump.tasks.iter().find(|task| task.task.given_name() == Some(name)).unwrap();
    assert_eq!(of("parent").waits[0].on, [of("sleeps").task.id(), of("nests").task.id()]);
    assert_eq!((of("sleeps").parent, of("deep").parent), (Some(of("parent").task.id()), Some(of("nests").task.id())));
    assert_eq!((of("sleeps").waits[0].kind, of("deep").waits[0].kind), (WaitKind::Sleep, WaitKind::Event));
    let text = dump.to_string();
    let lines: Vec<_> = text.lines().map(|line| line.split(" (task").next().unwrap()).collect();
    let starts = ["parent", "  sleeps", "  nests", "    deep"];
    let places: Vec<_> = starts.iter().map(|start| lines.iter().position(|line| line == start)).collect();
    assert!(places.iter().all(Option::is_some) && places.is_sorted(), "{text}");
}

#[test]
fn a_circle_of_waits_is_shown_as_one() {
    let (event_loop, _) = waits_of(async {
        let (one, two) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
        picot::LoopHandle::current().set_error_hook(|_| ());
        for (name, first, second) in [("there", &one, &two), ("back", &two, &one)] {
            let (first, second) = (first.clone(), second.clone());
            drop(spawn_named(name, async move {
                let _first = first.lock().await;
                picot::yield_now().await;
                let _second = second.lock().await;
            }));
        }
    });
    let text = event_loop.handle().dump().to_string();
    let graph = text.split("which task waits for which:\n").nth(1).unwrap();
    let expected = "  there (task 2)\n    back (task 3)\n      there (task 2): a circle, none of these tasks continues \
                    unless another event ends one of the waits\n";
    assert_eq!(graph, expected);
}

#[test]
fn what_has_ended_or_was_dropped_is_not_listed() {
    let (_event_loop, waits) = waits_of(async {
        let deferred: Deferred<u8, u8> = Deferred::new();
        let promise = deferred.promise();
        _ = picot::timeout(Duration::from_millis(1), promise.clone()).await;
        deferred.resolve(1);
        assert_eq!(promise.await.unwrap(), 1);
        let (lock, scope) = (Mutex::new(()), CancelScope::new());
        _ = picot::timeout(Duration::from_millis(1), scope.token().cancelled()).await;
        let held = lock.lock().await;
        _ = picot::timeout(Duration::from_millis(1), lock.lock()).await;
        drop(held);
        drop(lock.lock().await);
        _ = picot::scope(async |scope: picot::task::Scope<'_, ()>| {
            drop(scope.spawn(picot::sleep(Duration::from_millis(1))));
            Ok(())
        })
        .await;
        pending::<()>().await;
    });
    assert!(waits.is_empty(), "{waits:?}");
}
