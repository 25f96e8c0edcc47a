//! The recorded trace: valid JSON with balanced slices, and arrows from each wake to its step.

use std::collections::HashMap;
use std::time::Duration;

use picot_loop::{EventLoop, LoopHandle, Trace, VirtualClock, sleep, spawn_named, yield_now};
use serde_json::Value;

use crate::trace::virtual_loop;

fn json(trace: &Trace) -> Vec<Value> {
    let mut bytes = Vec::new();
    trace.write_json(&mut bytes).unwrap();
    let json: Value = serde_json::from_slice(&bytes).unwrap();
    json["traceEvents"].as_array().unwrap().clone()
}

fn text<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or("")
}

/// Checks the order of times, the balance of slices, and that each arrow begins inside of a slice
/// and ends at the begin of one. Returns the arrows: the names of the slices at their two ends.
fn arrows(events: &[Value]) -> Vec<(String, String)> {
    let (mut open, mut begun, mut arrows) = (Vec::new(), HashMap::new(), Vec::new());
    let mut last = 0.0;
    let mut began_now: Option<String> = None;
    for event in events.iter().filter(|event| text(event, "ph") != "M") {
        let at = event["ts"].as_f64().unwrap();
        assert!(at >= last, "{event}");
        last = at;
        let began = began_now.take();
        match text(event, "ph") {
            "B" => {
                open.push(text(event, "name").to_string());
                began_now = open.last().cloned();
            }
            "E" => _ = open.pop().expect("a slice that ends has begun"),
            "s" => {
                let from = open.last().expect("an arrow begins in a slice").clone();
                assert!(begun.insert(event["id"].as_u64().unwrap(), (from, event["args"]["task"].clone())).is_none());
            }
            "f" => {
                let (from, _) = begun.remove(&event["id"].as_u64().unwrap()).expect("an arrow that ends has begun");
                arrows.push((from, began.expect("an arrow ends at the begin of a slice")));
            }
            "i" | "b" | "e" => {}
            other => panic!("{other}: {event}"),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    arrows
}

fn named(from: &str, to: &str) -> (String, String) {
    (from.to_string(), to.to_string())
}

#[test]
fn arrows_lead_from_each_wake_to_its_step() {
    let (event_loop, _, _clock) = virtual_loop();
    event_loop.handle().begin_trace(1_000);
    event_loop
        .run_until_complete(async {
            let sleeper = spawn_named("sleeper", sleep(Duration::from_secs(1)));
            let joiner = spawn_named("joiner", async move { sleeper.await.unwrap() });
            let _yields = spawn_named("yields", async { yield_now().await });
            joiner.await.unwrap();
        })
        .unwrap();
    let events = json(&event_loop.handle().end_trace().unwrap());
    let expected = [
        named("main", "sleeper"),
        named("main", "joiner"),
        named("main", "yields"),
        named("yields", "yields"),
        named("turn", "sleeper"),
        named("sleeper", "joiner"),
        named("joiner", "main"),
    ];
    let arrows = arrows(&events);
    // The root was queued before the recording saw anything.
    assert_eq!(arrows, expected, "{events:#?}");
    let instants: Vec<_> =
        events.iter().filter(|event| text(event, "ph") == "i").map(|event| text(event, "name")).collect();
    assert!(instants.contains(&"timers due: 1"), "{instants:?}");
    assert!(
        instants.iter().any(|name| name.starts_with("joiner (task ") && name.ends_with(" returned")),
        "{instants:?}"
    );
    let waits = events.iter().filter(|event| text(event, "name") == "wait").count();
    assert!(waits >= 1);
}

#[test]
fn io_other_threads_and_jobs_are_part_of_the_trace() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    handle.begin_trace(10_000);
    let remote = handle.remote();
    event_loop
        .run_until_complete(async {
            let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            near.set_nonblocking(true).unwrap();
            let source = LoopHandle::current().register(near).unwrap();
            let reads = spawn_named("reads", async move { source.readable().await.unwrap() });
            yield_now().await;
            std::io::Write::write_all(&mut &far, b"!").unwrap();
            reads.await.unwrap();
            let (sender, receiver) = std::sync::mpsc::channel();
            std::thread::spawn(move || sender.send(remote.spawn(|| async {}).unwrap()).unwrap()).join().unwrap();
            receiver.recv().unwrap().await.unwrap();
            picot_loop::spawn_blocking(|| ()).await.unwrap();
        })
        .unwrap();
    let events = json(&handle.end_trace().unwrap());
    let arrows = arrows(&events);
    assert!(arrows.contains(&named("wait", "reads")), "{arrows:?}");
    assert!(arrows.iter().any(|(from, to)| from == "turn" && to.starts_with("task ")), "{arrows:?}");
    for phase in ["b", "e"] {
        let jobs = events.iter().filter(|event| text(event, "ph") == phase);
        let names: Vec<_> = jobs.map(|event| text(event, "name")).collect();
        assert!(names.len() == 1 && names[0].starts_with(&format!("blocking job from {}:", file!())), "{names:?}");
    }
}

#[test]
fn a_full_ring_keeps_the_last_events_and_stays_balanced() {
    for capacity in 1..40 {
        let event_loop = EventLoop::builder().clock(&VirtualClock::new()).build().unwrap();
        event_loop.handle().begin_trace(capacity);
        let body = async {
            for n in 0..5 {
                drop(spawn_named(&format!("task \"{n}\"\n\\"), yield_now()));
                yield_now().await;
            }
        };
        event_loop.run_until_complete(body).unwrap();
        let trace = event_loop.handle().end_trace().unwrap();
        let events = json(&trace);
        arrows(&events);
        assert!(trace.lost() != 0 && events.len() <= 3 * capacity + 2, "{capacity}: {}", events.len());
    }
}

#[test]
fn a_recording_may_begin_and_end_inside_of_a_step_and_ends_with_the_loop() {
    let event_loop = EventLoop::new().unwrap();
    let handle = event_loop.handle();
    event_loop
        .run_until_complete(async {
            let inside = LoopHandle::current();
            inside.begin_trace(100);
            yield_now().await;
            yield_now().await;
            arrows(&json(&inside.end_trace().unwrap()));
            inside.begin_trace(100);
        })
        .unwrap();
    drop(event_loop);
    assert!(handle.end_trace().is_none(), "closing has dropped it");
}

#[test]
#[should_panic(expected = "a trace of no events records nothing")]
fn a_trace_of_no_events_is_refused() {
    EventLoop::new().unwrap().handle().begin_trace(0);
}
