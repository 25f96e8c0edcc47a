//! What picot does, section by section, in a few seconds. It ends with status 1 if any section does
//! not hold.
//!
//! Usage: `tour`, without arguments.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::error::Error;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use picot::deferred::when_all;
use picot::event_loop::{Cause, Place, exclusive};
use picot::net::{TcpListener, TcpStream};
use picot::time::Instant;
use picot::{EventLoop, Promise, sleep, spawn};
use picot_examples::{echo, pseudo_random, round_trip, sort};

/// What a section has found, or why it does not hold.
type Section = Result<String, Box<dyn Error>>;
type SectionFn = fn(&EventLoop) -> Section;

fn main() -> ExitCode {
    let event_loop = match EventLoop::builder().slow_step_limit(Duration::from_millis(20)).build() {
        Ok(event_loop) => event_loop,
        Err(error) => {
            eprintln!("tour: {error}");
            return ExitCode::FAILURE;
        }
    };
    let sections: [(&str, SectionFn); 7] = [
        ("callbacks run in order", callbacks_in_order),
        ("the essay's sort, with `when`", sort_with_when),
        ("the essay's sort, with `run_until_complete`", sort_with_run_until_complete),
        ("ten thousand sleepers wake in the order of their deadlines", sleepers),
        ("64 clients of an echo server, over loopback TCP", echo_clients),
        ("who blocks the loop is known by its place", blocked_loop),
        ("if need be, one task has the entire loop to itself", exclusive_section),
    ];
    let mut holds = true;
    for (title, section) in sections {
        match section(&event_loop) {
            Ok(found) => println!("ok      {title}: {found}"),
            Err(error) => {
                holds = false;
                println!("FAILED  {title}: {error}");
            }
        }
    }
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ensure(condition: bool, otherwise: impl FnOnce() -> String) -> Result<(), Box<dyn Error>> {
    if condition { Ok(()) } else { Err(otherwise().into()) }
}

fn callbacks_in_order(event_loop: &EventLoop) -> Section {
    let handle = event_loop.handle();
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |name: &'static str| {
        let order = order.clone();
        move || order.borrow_mut().push(name)
    };
    handle.call_later(Duration::from_millis(20), note("after 20 ms"));
    handle.call_later(Duration::from_millis(10), note("after 10 ms"));
    handle.call_soon(note("soon"));
    handle.call_soon(note("soon, second"));
    handle.call_later(Duration::from_millis(15), note("never")).cancel();
    event_loop.run_until_complete(sleep(Duration::from_millis(30)))?;
    let order = order.take();
    ensure(order == ["soon", "soon, second", "after 10 ms", "after 20 ms"], || format!("{order:?}"))?;
    Ok(order.join(", "))
}

const CHUNKS: u64 = 8;
const CHUNK: usize = 100_000;

fn chunks() -> impl Iterator<Item = Vec<i64>> {
    (0..CHUNKS).map(|seed| pseudo_random(seed, CHUNK))
}

fn check_sorted(sorted: &[Vec<i64>]) -> Result<(), Box<dyn Error>> {
    let expected = chunks().map(|mut chunk| {
        chunk.sort_unstable();
        chunk
    });
    ensure(expected.eq(sorted.iter().cloned()), || "the chunks are not sorted, or not these".into())
}

fn sort_with_when(event_loop: &EventLoop) -> Section {
    let start = event_loop.handle().now();
    let sorted = Rc::new(RefCell::new(Vec::new()));
    let (collected, handle) = (sorted.clone(), event_loop.handle());
    let sorting = chunks().map(|chunk| Promise::spawn(async { Ok::<_, Infallible>(sort(chunk).await) }));
    when_all(sorting).done(move |chunks| {
        collected.borrow_mut().clone_from(chunks);
        handle.stop();
    });
    event_loop.run_forever()?;
    let took = event_loop.handle().now() - start;
    check_sorted(&sorted.borrow())?;
    Ok(format!("{CHUNKS} chunks of {CHUNK} integers in {took:.1?}"))
}

fn sort_with_run_until_complete(event_loop: &EventLoop) -> Section {
    let start = event_loop.handle().now();
    let sorted = event_loop.run_until_complete(async {
        let tasks: Vec<_> = chunks().map(|chunk| spawn(sort(chunk))).collect();
        let mut sorted = Vec::new();
        for task in tasks {
            sorted.push(task.await?);
        }
        Ok::<_, Box<dyn Error>>(sorted)
    })??;
    let took = event_loop.handle().now() - start;
    check_sorted(&sorted)?;
    Ok(format!("{CHUNKS} chunks of {CHUNK} integers in {took:.1?}"))
}

const SLEEPERS: u64 = 10_000;
const LONGEST: Duration = Duration::from_secs(1);

fn sleepers(event_loop: &EventLoop) -> Section {
    event_loop.run_until_complete(async {
        let start = Instant::now();
        let order = Rc::new(RefCell::new(Vec::new()));
        let tasks: Vec<_> = (0..SLEEPERS)
            .map(|n| {
                // Deadlines all over the second, no two of them equal.
                let nth = n * 7_919 % SLEEPERS;
                let (order, deadline) = (order.clone(), start + LONGEST * (nth as u32 + 1) / SLEEPERS as u32);
                spawn(async move {
                    picot::sleep_until(deadline).await;
                    order.borrow_mut().push(deadline);
                })
            })
            .collect();
        for task in tasks {
            task.await?;
        }
        let took = start.elapsed();
        ensure(order.borrow().len() == SLEEPERS as usize, || format!("only {} woke", order.borrow().len()))?;
        ensure(order.borrow().is_sorted(), || "they woke in another order".into())?;
        ensure(took < LONGEST + Duration::from_millis(50), || format!("the last woke after {took:?}"))?;
        Ok(format!("the last after {took:.1?}, {:.1?} after its deadline", took - LONGEST))
    })?
}

const CLIENTS: usize = 64;
const ROUND_TRIPS: usize = 200;

fn echo_clients(event_loop: &EventLoop) -> Section {
    event_loop.run_until_complete(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                drop(spawn(echo(stream)));
            }
        });
        let start = Instant::now();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                spawn(async move {
                    let mut stream = TcpStream::connect(address).await?;
                    let (message, mut answer) = ([n as u8; 64], [0; 64]);
                    for _ in 0..ROUND_TRIPS {
                        round_trip(&mut stream, &message, &mut answer).await?;
                    }
                    std::io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await??;
        }
        let took = start.elapsed();
        server.cancel("the clients are done");
        Ok(format!("{} round trips in {took:.1?}", CLIENTS * ROUND_TRIPS))
    })?
}

fn blocked_loop(event_loop: &EventLoop) -> Section {
    let handle = event_loop.handle();
    let reported: Rc<Cell<Option<(Place, Duration)>>> = Rc::default();
    let noted = reported.clone();
    handle.set_error_hook(move |report| {
        if let (Cause::SlowStep(time), Some(place)) = (&report.cause, report.origin.place) {
            noted.set(Some((place, time.took)));
        }
    });
    let line = line!() + 1;
    handle.call_soon(|| {
        #[expect(clippy::disallowed_methods, reason = "this is the call that blocks the loop")]
        std::thread::sleep(Duration::from_millis(50));
    });
    event_loop.run_until_complete(sleep(Duration::from_millis(1)))?;
    handle.reset_error_hook();
    let (place, took) = reported.get().ok_or("nothing was reported")?;
    ensure(place.line() == line && place.file() == file!(), || format!("{place} was reported"))?;
    Ok(format!("the callback from {place} took {took:.0?}"))
}

fn exclusive_section(event_loop: &EventLoop) -> Section {
    let order = Rc::new(RefCell::new(Vec::new()));
    let note = |name: &'static str| {
        let order = order.clone();
        move || order.borrow_mut().push(name)
    };
    event_loop.run_until_complete(async {
        let handle = picot::LoopHandle::current();
        handle.call_later(Duration::from_millis(1), note("a timer"));
        let run = note("another task");
        drop(spawn(async move { run() }));

        let alone = exclusive().await;
        sleep(Duration::from_millis(5)).await;
        handle.call_soon(note("a callback"));
        note("the section")();
        drop(alone);
        sleep(Duration::from_millis(1)).await;
    })?;
    let order = order.take();
    ensure(order == ["the section", "another task", "a timer", "a callback"], || format!("{order:?}"))?;
    Ok(format!("{}, although it slept for 5 ms", order.join(", ")))
}
