//! Signals: streams and handlers, what they restore, and what they refuse.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Waker};
use std::thread;
use std::time::Duration;

use futures_lite::StreamExt;
use picot_loop::{EventLoop, LoopHandle, sleep, spawn, yield_now};
use picot_process::{Signal, SignalHandlers, Signals, ctrl_c, dump_on, signal, signals};
use rustix::process::{Signal as Raw, getpid, kill_process};

use crate::program::{alone, say, start, start_after};

/// Sends a signal to this thread. Its handler has run when this returns.
fn raise(signal: Raw) {
    signal_hook::low_level::raise(signal.as_raw()).unwrap();
}

/// Waits for the signal that ends the process.
fn wait_for_the_end() -> ! {
    say("ready");
    loop {
        thread::park();
    }
}

fn is_pending(signals: &mut Signals) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    std::pin::pin!(signals.recv()).poll(&mut cx).is_pending()
}

fn descriptors() -> usize {
    std::fs::read_dir("/dev/fd").unwrap().count()
}

#[test]
fn a_signal_wakes_a_blocked_loop_and_runs_its_handler_once() {
    alone(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        let (calls, (sender, waits)) = (Rc::new(Cell::new(0)), mpsc::channel());
        let count = calls.clone();
        handle.add_signal_handler(Signal::USR1, move || count.set(count.get() + 1)).unwrap();
        handle.on_prepare(move || _ = sender.send(()));
        let thread = thread::spawn(move || {
            // Not before the loop waits, or is about to.
            waits.recv().unwrap();
            raise(Raw::USR1);
        });
        let seen = calls.clone();
        let run = async move {
            while seen.get() == 0 {
                picot_loop::spawn_blocking(|| ()).await.unwrap();
            }
        };
        event_loop.run_until_complete(run).unwrap();
        thread.join().unwrap();
        event_loop.run_until_complete(sleep(Duration::from_millis(20))).unwrap();
        assert_eq!(calls.get(), 1);
    });
}

#[test]
fn nothing_but_a_signal_ends_a_wait_for_one() {
    let mut program = start(|| {
        picot_loop::run(async {
            let mut stream = signal(Signal::HUP).unwrap();
            say("ready");
            assert_eq!(stream.recv().await, Some(Signal::HUP));
        });
    });
    program.expect("ready");
    program.signal(Raw::HUP);
    assert!(program.end().0.success());
}

#[test]
fn removing_a_handler_restores_the_default_and_removing_it_again_is_false() {
    let mut program = start(|| {
        let event_loop = EventLoop::new().unwrap();
        let handle = event_loop.handle();
        handle.add_signal_handler(Signal::USR1, || ()).unwrap();
        raise(Raw::USR1);
        assert!(handle.remove_signal_handler(Signal::USR1));
        assert!(!handle.remove_signal_handler(Signal::USR1));
        wait_for_the_end();
    });
    program.expect("ready");
    program.signal(Raw::USR1);
    assert_eq!(program.killed_by(), Some(Raw::USR1.as_raw()));
}

#[test]
fn the_default_returns_with_the_last_listener_of_all_loops_and_not_before() {
    let mut program = start(|| {
        let other = Arc::new(Barrier::new(2));
        let barrier = other.clone();
        let thread = thread::spawn(move || {
            picot_loop::run(async {
                let mut stream = signal(Signal::TERM).unwrap();
                barrier.wait();
                assert_eq!(stream.recv().await, Some(Signal::TERM));
            });
        });
        other.wait(); // it listens
        picot_loop::run(async {
            let (one, two) = (signal(Signal::TERM).unwrap(), signal(Signal::TERM).unwrap());
            drop(one);
            drop(two);
        });
        raise(Raw::TERM);
        thread.join().unwrap();
        wait_for_the_end();
    });
    program.expect("ready");
    program.signal(Raw::TERM);
    assert_eq!(program.killed_by(), Some(Raw::TERM.as_raw()));
}

#[test]
fn listening_again_takes_the_default_away_again() {
    let mut program = start(|| {
        picot_loop::run(async {
            for _ in 0..3 {
                let mut stream = signal(Signal::INT).unwrap();
                raise(Raw::INT);
                assert_eq!(stream.recv().await, Some(Signal::INT));
            }
            raise(Raw::USR2);
            unreachable!("the default of SIGUSR2 is in force, as there was never a listener");
        });
    });
    assert_eq!(program.killed_by(), Some(Raw::USR2.as_raw()));
}

#[test]
fn after_ctrl_c_was_awaited_a_second_one_ends_the_process() {
    let mut program = start(|| {
        picot_loop::run(async {
            let wait = spawn(ctrl_c());
            yield_now().await; // it listens from its first poll on
            say("ready");
            wait.await.unwrap().unwrap();
        });
        wait_for_the_end();
    });
    program.expect("ready");
    program.signal(Raw::INT);
    program.expect("ready");
    program.signal(Raw::INT);
    assert_eq!(program.killed_by(), Some(Raw::INT.as_raw()));
}

#[test]
fn what_was_ignored_before_is_ignored_after() {
    let mut program = start_after("trap '' HUP", || {
        picot_loop::run(async {
            let mut stream = signal(Signal::HUP).unwrap();
            raise(Raw::HUP);
            assert_eq!(stream.recv().await, Some(Signal::HUP));
        });
        raise(Raw::HUP);
        say("alive");
    });
    program.expect("alive");
    assert!(program.end().0.success());
}

#[test]
fn a_handler_that_was_there_before_is_called_all_the_time() {
    alone(|| {
        let is_called = Arc::new(AtomicBool::new(false));
        signal_hook::flag::register(Raw::USR1.as_raw(), is_called.clone()).unwrap();
        picot_loop::run(async {
            let mut stream = signal(Signal::USR1).unwrap();
            raise(Raw::USR1);
            assert_eq!(stream.recv().await, Some(Signal::USR1));
        });
        assert!(is_called.swap(false, Ordering::SeqCst));
        raise(Raw::USR1);
        while !is_called.load(Ordering::SeqCst) {
            thread::yield_now();
        }
    });
}

#[test]
fn a_real_time_signal_is_heard_and_ends_the_process_after() {
    let mut program = start(|| {
        let number = Signal::from_raw(40);
        picot_loop::run(async {
            let mut stream = signal(number).unwrap();
            Command::new("kill").args(["-40", &std::process::id().to_string()]).status().unwrap();
            assert_eq!(stream.recv().await, Some(number));
        });
        wait_for_the_end();
    });
    program.expect("ready");
    let pid = program.child.id().to_string();
    assert!(Command::new("kill").args(["-40", &pid]).status().unwrap().success());
    assert_eq!(program.end().0.code(), Some(128 + 40));
}

#[test]
fn what_cannot_be_listened_to_is_an_error_that_names_it() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    let before = descriptors();
    for (refused, name) in [
        (Signal::KILL, "SIGKILL: the kernel lets no process catch it"),
        (Signal::STOP, "SIGSTOP: the kernel lets no process catch it"),
        (Signal::SEGV, "SIGSEGV: it reports a fault of the code that runs"),
        (Signal::ILL, "SIGILL: it reports a fault"),
        (Signal::FPE, "SIGFPE: it reports a fault"),
        (Signal::from_raw(0), "signal 0: signals have numbers from 1 on"),
        (Signal::from_raw(-1), "signal -1: signals have numbers from 1 on"),
        (Signal::from_raw(99), "signal 99: Invalid argument"),
        (Signal::from_raw(i32::MAX), "signal 2147483647: Invalid argument"),
        (Signal::from_raw(i32::MIN), "signal -2147483648: signals"),
    ] {
        for error in [
            signal(refused).unwrap_err(),
            // One that would work comes first; it must not stay.
            signals([Signal::WINCH, refused]).unwrap_err(),
            handle.add_signal_handler(refused, || ()).unwrap_err(),
        ] {
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().starts_with(&format!("cannot listen to {name}")), "{error}");
        }
        assert!(!handle.remove_signal_handler(refused));
    }
    event_loop.run_until_complete(yield_now()).unwrap();
    assert!(event_loop.handle().tasks().is_empty());
    // Other tests of this program open descriptors, too, so only a leak of each error would show.
    assert!(descriptors() < before + 15);
}

#[test]
fn without_a_loop_listening_is_an_error() {
    let error = signal(Signal::WINCH).unwrap_err();
    assert!(error.to_string().starts_with("this thread has no event loop"), "{error}");
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    event_loop.close().unwrap();
    let error = handle.add_signal_handler(Signal::WINCH, || ()).unwrap_err();
    assert!(error.to_string().contains("closed"), "{error}");
    assert!(!handle.remove_signal_handler(Signal::WINCH));
}

#[test]
fn each_listener_of_each_loop_gets_a_signal_once() {
    alone(|| {
        const LOOPS: usize = 3;
        let (listening, all_heard) = (Arc::new(Barrier::new(LOOPS + 1)), Arc::new(Barrier::new(LOOPS + 1)));
        let threads: Vec<_> = (0..LOOPS)
            .map(|_| {
                let (listening, all_heard) = (listening.clone(), all_heard.clone());
                thread::spawn(move || {
                    picot_loop::run(async {
                        let mut streams = [signal(Signal::USR1).unwrap(), signal(Signal::USR1).unwrap()];
                        let calls = Rc::new(Cell::new(0));
                        let count = calls.clone();
                        let handle = LoopHandle::current();
                        handle.add_signal_handler(Signal::USR1, move || count.set(count.get() + 1)).unwrap();
                        listening.wait();
                        for stream in &mut streams {
                            assert_eq!(stream.recv().await, Some(Signal::USR1));
                        }
                        all_heard.wait();
                        for _ in 0..5 {
                            yield_now().await;
                        }
                        assert_eq!(calls.get(), 1);
                        assert!(streams.iter_mut().all(is_pending), "each gets it once");
                    });
                })
            })
            .collect();
        listening.wait();
        raise(Raw::USR1);
        all_heard.wait();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn arrivals_coalesce_and_the_next_one_is_another() {
    alone(|| {
        picot_loop::run(async {
            let mut stream = signals([Signal::USR2, Signal::USR1, Signal::WINCH]).unwrap();
            let calls = Rc::new(Cell::new(0));
            let count = calls.clone();
            LoopHandle::current().add_signal_handler(Signal::USR1, move || count.set(count.get() + 1)).unwrap();
            for round in 1..=3 {
                for _ in 0..100 {
                    raise(Raw::WINCH);
                    raise(Raw::USR2);
                    raise(Raw::USR1);
                }
                // Of several, the lowest number comes first.
                assert_eq!(stream.next().await, Some(Signal::USR1));
                assert_eq!(stream.next().await, Some(Signal::USR2));
                assert_eq!(stream.next().await, Some(Signal::WINCH));
                assert!(is_pending(&mut stream));
                yield_now().await;
                assert_eq!(calls.get(), round);
            }
        });
    });
}

#[test]
fn a_listener_gets_what_arrives_after_it_was_made() {
    alone(|| {
        picot_loop::run(async {
            let mut early = signal(Signal::USR1).unwrap();
            raise(Raw::USR1); // it has not been passed on yet
            let mut late = signal(Signal::USR1).unwrap();
            assert_eq!(early.recv().await, Some(Signal::USR1));
            assert!(is_pending(&mut late));
            raise(Raw::USR1);
            assert_eq!(late.recv().await, Some(Signal::USR1));
            assert_eq!(early.recv().await, Some(Signal::USR1));
        });
    });
}

#[test]
fn a_wait_that_is_dropped_loses_no_arrival() {
    alone(|| {
        picot_loop::run(async {
            let mut stream = signal(Signal::USR1).unwrap();
            assert!(is_pending(&mut stream));
            raise(Raw::USR1);
            for _ in 0..5 {
                yield_now().await;
            }
            assert_eq!(stream.recv().await, Some(Signal::USR1));
        });
    });
}

#[test]
fn a_handler_may_replace_and_remove_itself_and_its_panic_is_reported() {
    alone(|| {
        let event_loop = EventLoop::new().unwrap();
        let (handle, trace) = (event_loop.handle(), Rc::new(RefCell::new(Vec::new())));
        let reports = trace.clone();
        handle.set_error_hook(move |report| reports.borrow_mut().push(report.to_string()));
        let line = Cell::new(0);
        let add = {
            let (handle, trace) = (handle.clone(), trace.clone());
            let line = &line;
            move || {
                line.set(line!() + 1);
                handle.add_signal_handler(Signal::USR1, {
                    let (handle, trace) = (handle.clone(), trace.clone());
                    move || {
                        trace.borrow_mut().push("first".into());
                        handle
                            .add_signal_handler(Signal::USR1, {
                                let (handle, trace) = (handle.clone(), trace.clone());
                                move || {
                                    trace.borrow_mut().push("second".into());
                                    handle.remove_signal_handler(Signal::USR1);
                                }
                            })
                            .unwrap();
                        panic!("boom");
                    }
                })
            }
        };
        add().unwrap();
        // Keeps the signal from ending the process at the end.
        let run = async {
            let mut stream = signal(Signal::USR1).unwrap();
            for _ in 0..3 {
                raise(Raw::USR1);
                stream.recv().await;
                yield_now().await;
                yield_now().await;
            }
        };
        event_loop.run_until_complete(run).unwrap();
        let trace = trace.take();
        assert_eq!((trace.len(), &*trace[0], &*trace[2]), (3, "first", "second"), "{trace:?}");
        assert!(trace[1].contains(&format!("signals.rs:{}:", line.get())) && trace[1].contains("boom"), "{trace:?}");
    });
}

#[test]
fn reports_of_a_handler_name_the_place_where_it_was_added() {
    alone(|| {
        let event_loop = EventLoop::builder().slow_step_limit(Duration::from_millis(20)).build().unwrap();
        let (handle, reports) = (event_loop.handle(), Rc::new(RefCell::new(Vec::new())));
        let inside = reports.clone();
        handle.set_error_hook(move |report| inside.borrow_mut().push((report.origin.place, report.to_string())));
        let panics = Cell::new(false);
        let call = move || {
            if panics.replace(true) {
                panic!("boom");
            }
            #[expect(clippy::disallowed_methods, reason = "this blocks the loop")]
            thread::sleep(Duration::from_millis(50));
        };
        let line = line!() + 1;
        handle.add_signal_handler(Signal::USR1, call).unwrap();
        let run = async {
            let mut stream = signal(Signal::USR1).unwrap();
            for _ in 0..2 {
                raise(Raw::USR1);
                stream.recv().await;
                yield_now().await;
            }
        };
        event_loop.run_until_complete(run).unwrap();
        let reports = reports.take();
        let texts: Vec<_> = reports.iter().map(|(_, text)| text).collect();
        assert_eq!(reports.len(), 2, "{texts:?}");
        assert!(texts[0].contains("kept the loop from everything else") && texts[1].contains("boom"), "{texts:?}");
        for (place, text) in &reports {
            let place = place.unwrap();
            assert_eq!((place.file(), place.line()), (file!(), line), "{text}");
        }
    });
}

#[test]
fn listeners_of_a_signal_are_woken_in_the_order_in_which_they_were_made() {
    alone(|| {
        picot_loop::run(async {
            let trace = Rc::new(RefCell::new(Vec::new()));
            let mut streams: Vec<_> = (0..4).map(|_| Some(signal(Signal::USR1).unwrap())).collect();
            // Polled in another order.
            let tasks = [2, 0, 3, 1].map(|index| {
                let (mut stream, trace) = (streams[index].take().unwrap(), trace.clone());
                spawn(async move {
                    stream.recv().await;
                    trace.borrow_mut().push(index);
                })
            });
            yield_now().await;
            raise(Raw::USR1);
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(trace.take(), [0, 1, 2, 3]);
        });
    });
}

#[test]
fn a_handler_that_is_removed_while_its_call_waits_is_not_called() {
    let mut program = start(|| {
        picot_loop::run(async {
            let mut stream = signal(Signal::USR1).unwrap();
            let handle = LoopHandle::current();
            handle.add_signal_handler(Signal::USR1, || say("called")).unwrap();
            raise(Raw::USR1);
            // In the turn in which the stream is woken, the callback is queued behind its task.
            stream.recv().await;
            handle.remove_signal_handler(Signal::USR1);
            yield_now().await;
            yield_now().await;
        });
    });
    assert_eq!(program.end().1, Vec::<String>::new());
}

#[test]
fn the_end_of_the_loop_ends_its_streams_and_the_next_loop_listens_anew() {
    alone(|| {
        let mut streams = Vec::new();
        for _ in 0..2 {
            let event_loop = EventLoop::new().unwrap();
            event_loop.handle().add_signal_handler(Signal::USR1, || ()).unwrap();
            let listen = async {
                let mut stream = signal(Signal::USR1).unwrap();
                raise(Raw::USR1);
                assert_eq!(stream.recv().await, Some(Signal::USR1));
                let _ = spawn(async { signal(Signal::USR2).unwrap().recv().await });
                yield_now().await;
                stream
            };
            streams.push(event_loop.run_until_complete(listen).unwrap());
            assert!(is_pending(streams.last_mut().unwrap()));
            let report = event_loop.close().unwrap();
            assert_eq!(report.sources, 0);
            for stream in &mut streams {
                assert_eq!(futures_lite::future::block_on(stream.recv()), None);
            }
        }
        // A fresh listener, so that the signals above did not end the process by luck.
        drop(streams);
    });
}

#[test]
fn closing_the_loop_restores_the_default_although_a_handler_is_left() {
    let mut program = start(|| {
        let event_loop = EventLoop::new().unwrap();
        event_loop.handle().add_signal_handler(Signal::USR1, || ()).unwrap();
        drop(event_loop);
        wait_for_the_end();
    });
    program.expect("ready");
    program.signal(Raw::USR1);
    assert_eq!(program.killed_by(), Some(Raw::USR1.as_raw()));
}

#[test]
fn descriptors_return_to_the_start() {
    alone(|| {
        let event_loop = EventLoop::new().unwrap();
        let before = descriptors();
        for _ in 0..50 {
            let run = async {
                let mut stream = signals([Signal::USR1, Signal::USR2, Signal::HUP]).unwrap();
                raise(Raw::USR2);
                assert_eq!(stream.recv().await, Some(Signal::USR2));
                drop(stream);
                yield_now().await; // the pump ends
            };
            event_loop.run_until_complete(run).unwrap();
        }
        assert_eq!(descriptors(), before);
        assert!(event_loop.handle().tasks().is_empty());
    });
}

#[test]
fn a_signal_to_a_forked_child_reaches_no_listener_of_the_parent() {
    alone(|| {
        picot_loop::run(async {
            let mut stream = signal(Signal::USR1).unwrap();
            let mut command = Command::new("true");
            // SAFETY: The closure makes system calls and nothing else.
            unsafe {
                command.pre_exec(|| {
                    // The handler of the parent runs here, in the child, as there is one thread.
                    kill_process(getpid(), Raw::USR1)?;
                    Ok(())
                });
            }
            assert!(command.status().unwrap().success());
            for _ in 0..5 {
                yield_now().await;
            }
            sleep(Duration::from_millis(1)).await;
            assert!(is_pending(&mut stream), "the child's flags are its own");
            raise(Raw::USR1);
            assert_eq!(stream.recv().await, Some(Signal::USR1));
        });
    });
}

#[test]
fn a_storm_of_signals_loses_no_last_one_and_lets_the_loop_go_on() {
    alone(|| {
        picot_loop::run(async {
            let mut stream = signals([Signal::USR1, Signal::USR2]).unwrap();
            let storm = thread::spawn(|| {
                for _ in 0..20_000 {
                    raise(Raw::USR1);
                }
                raise(Raw::USR2);
            });
            let ticks = Rc::new(Cell::new(0));
            let count = ticks.clone();
            let ticker = spawn(async move {
                loop {
                    sleep(Duration::from_millis(1)).await;
                    count.set(count.get() + 1);
                }
            });
            let mut heard = 0;
            while stream.recv().await == Some(Signal::USR1) {
                heard += 1;
            }
            assert!((1..=20_000).contains(&heard), "{heard}");
            assert!(ticks.get() > 0);
            ticker.cancel("the storm is over");
            storm.join().unwrap();
        });
    });
}

#[test]
fn a_stream_spends_the_budget_of_its_task() {
    alone(|| {
        picot_loop::run(async {
            let mut stream = signal(Signal::USR1).unwrap();
            let turns = Rc::new(Cell::new(0));
            let count = turns.clone();
            let other = spawn(async move {
                loop {
                    count.set(count.get() + 1);
                    yield_now().await;
                }
            });
            for _ in 0..1_000 {
                raise(Raw::USR1);
                assert_eq!(stream.recv().await, Some(Signal::USR1));
            }
            assert!(turns.get() > 0);
            other.cancel("done");
        });
    });
}

#[test]
fn signals_are_named() {
    let shown = [Signal::INT, Signal::CHLD, Signal::from_raw(64)].map(|signal| format!("{signal} {signal:?}"));
    assert_eq!(shown, ["SIGINT Signal(SIGINT)", "SIGCHLD Signal(SIGCHLD)", "signal 64 Signal(signal 64)"]);
    assert_eq!(Signal::from_raw(Signal::WINCH.as_raw()), Signal::WINCH);
    let event_loop = EventLoop::new().unwrap();
    let listen = async { format!("{:?}", signal(Signal::WINCH).unwrap()) };
    let shown = event_loop.run_until_complete(listen).unwrap();
    assert!(shown.starts_with("Signals { signals: [Signal(SIGWINCH)]"), "{shown}");
}

#[test]
fn a_signal_dumps_all_tasks_until_the_listener_is_cancelled() {
    alone(|| {
        let event_loop = EventLoop::new().unwrap();
        let dumps = Rc::new(RefCell::new(Vec::new()));
        let seen = dumps.clone();
        event_loop
            .run_until_complete(async move {
                let _reader = picot_loop::spawn_named("sleeper", sleep(Duration::from_secs(60)));
                let kept = seen.clone();
                let listener = dump_on(Signal::USR1, move |dump| kept.borrow_mut().push(dump.clone())).unwrap();
                for expected in 1..=2 {
                    yield_now().await;
                    raise(Raw::USR1);
                    while seen.borrow().len() < expected {
                        yield_now().await;
                    }
                }
                assert!(listener.cancel_and_wait("enough").await.is_none(), "it was cancelled");
            })
            .unwrap();
        let dumps = dumps.take();
        assert_eq!(dumps.len(), 2);
        for dump in dumps {
            let names: Vec<_> = dump.tasks.iter().filter_map(|task| task.task.given_name()).collect();
            assert!(["main", "sleeper", "dump"].iter().all(|name| names.contains(name)), "{dump}");
        }
    });
}
