//! What is served about known programs.

use std::future::pending;
use std::rc::Rc;
use std::time::Duration;

use picot_loop::{EventLoop, Instant, run, spawn_named, yield_now};
use picot_net::LoopGroup;
use picot_sync::Mutex;
use serde_json::{Value, json};

use crate::client::{get, json};

fn named<'a>(view: &'a Value, name: &str) -> &'a Value {
    let tasks = view["tasks"].as_array().unwrap();
    tasks.iter().find(|task| task["name"] == name).unwrap_or_else(|| panic!("{name}: {view}"))
}

/// Two tasks that have locked each other out.
pub(crate) fn deadlock() {
    let (one, two) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
    for (name, first, second) in [("left", one.clone(), two.clone()), ("right", two, one)] {
        drop(spawn_named(name, async move {
            let _first = first.lock().await;
            yield_now().await;
            let _second = second.lock().await;
        }));
    }
}

#[test]
fn tasks_are_shown_with_what_they_wait_for() {
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        let odd = "quo\"te \\ line\n<b>\u{2028}ü";
        let sleeper = spawn_named(odd, picot_loop::sleep(Duration::from_secs(60)));
        drop(spawn_named("joiner", async { drop(sleeper.await) }));
        drop(spawn_named("stranger", pending::<()>()));
        yield_now().await;
        let view = json(inspector.local_addr(), "/tasks.json").await;
        let sleeper = named(&view, odd);
        assert_eq!((&sleeper["activity"], &sleeper["waits"][0]["kind"]), (&json!("waiting"), &json!("sleep")));
        assert!(sleeper["place"].as_str().unwrap().contains("shown.rs:"));
        assert_eq!(sleeper["steps"]["count"], 1);
        let joiner = named(&view, "joiner");
        assert_eq!(joiner["waits"][0]["on"], json!([sleeper["id"]]));
        assert_eq!(named(&view, "stranger")["waits"], json!([]));
        let edge = json!({ "from": joiner["id"], "to": sleeper["id"], "kind": "task", "in_cycle": false });
        assert_eq!(view["graph"]["edges"], json!([edge]));
        assert_eq!((&view["loops"], &view["counts"]["waits"]["sleep"]), (&json!(["main"]), &json!(1)));
        assert_eq!(view["metrics"]["tasks"], view["counts"]["tasks"]);
        assert!(view["metrics"]["step_times"].as_array().unwrap().len() == 32);
    });
}

#[test]
fn the_own_tasks_are_left_out_and_marked() {
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        let address = inspector.local_addr();
        let view = json(address, "/tasks.json").await;
        let names = |view: &Value| view["tasks"].as_array().unwrap().len();
        assert_eq!((names(&view), &view["counts"]["own"]), (1, &json!(2)), "the connection and the acceptor: {view}");
        let view = json(address, "/tasks.json?own=1").await;
        let own = view["tasks"].as_array().unwrap().iter().filter(|task| task["own"] == true).count();
        assert_eq!((names(&view) > own, view["counts"]["own"].as_u64().unwrap()), (true, own as u64));
    });
}

#[test]
fn a_deadlock_is_a_cycle() {
    let event_loop = EventLoop::new().unwrap();
    event_loop.handle().set_error_hook(|_| ());
    event_loop
        .run_until_complete(async {
            let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
            deadlock();
            yield_now().await;
            yield_now().await;
            let view = json(inspector.local_addr(), "/tasks.json").await;
            let (left, right) = (&named(&view, "left")["id"], &named(&view, "right")["id"]);
            assert_eq!(view["graph"]["cycles"], json!([[left, right]]));
            let edges = view["graph"]["edges"].as_array().unwrap();
            assert!(edges.iter().filter(|edge| edge["in_cycle"] == true).count() == 2, "{view}");
        })
        .unwrap();
}

#[test]
fn many_tasks_are_sorted_filtered_and_cut() {
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        for number in 0..10_000 {
            drop(spawn_named(&format!("task {number:05}"), pending::<()>()));
        }
        let address = inspector.local_addr();
        let ask = async |query: &str| {
            let view = json(address, &format!("/tasks.json?{query}")).await;
            let names = view["tasks"].as_array().unwrap().iter().map(|task| task["name"].as_str().unwrap().to_string());
            (names.collect::<Vec<_>>(), view["counts"].clone())
        };
        let (names, counts) = ask("sort=name&descending=1&limit=2&filter=task+0").await;
        assert_eq!(names, ["task 09999", "task 09998"]);
        assert_eq!((&counts["matching"], &counts["shown"]), (&json!(10_000), &json!(2)));
        let (names, counts) = ask("filter=task%2000077&limit=9").await;
        assert_eq!((names, &counts["matching"]), (vec!["task 00077".to_string()], &json!(1)));
        let (names, counts) = ask("limit=0").await;
        assert_eq!((names.len(), &counts["shown"]), (0, &json!(0)));
    });
}

#[test]
fn slow_steps_are_shown() {
    let event_loop = EventLoop::builder().slow_step_limit(Duration::from_millis(20)).build().unwrap();
    event_loop.handle().set_error_hook(|_| ());
    event_loop
        .run_until_complete(async {
            let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
            let slow = spawn_named("cruncher", async {
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_millis(60) {}
            });
            slow.await.unwrap();
            let view = json(inspector.local_addr(), "/tasks.json").await;
            let step = &view["slow_steps"][0];
            assert_eq!(
                (&step["name"], &step["number"], &step["kind"]),
                (&json!("cruncher"), &json!(1), &json!("task"))
            );
            assert!(step["took"].as_f64().unwrap() > 0.02, "{step}");
        })
        .unwrap();
}

#[test]
fn each_loop_of_a_group_is_shown_and_a_stuck_one_is_named() {
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(Some(released));
    let group = LoopGroup::start(2, move |index| {
        let released = released.lock().unwrap().take_if(|_| index == 1);
        async move {
            match released {
                None => spawn_named("of worker 0", pending::<()>()).await.unwrap(),
                // Blocks the loop until the test ends.
                Some(released) => _ = picot_loop::blocking_section(|| released.recv()),
            }
        }
    })
    .unwrap();
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        for index in 0..group.len() {
            inspector.add_loop(&format!("worker {index}"), group.remote(index)).unwrap();
        }
        let view = json(inspector.local_addr(), "/tasks.json?loop=1").await;
        assert_eq!(view["loops"], json!(["main", "worker 0", "worker 1"]));
        assert_eq!(named(&view, "of worker 0")["activity"], "waiting");
        let view = json(inspector.local_addr(), "/tasks.json?loop=2").await;
        assert!(view["error"].as_str().unwrap().starts_with("the loop `worker 1` has not answered for 1s"), "{view}");
        assert_eq!(get(inspector.local_addr(), "/tasks.json?loop=3").await.0, "404 Not Found");
    });
    release.send(()).unwrap();
    group.stop();
    drop(group);
}

#[test]
fn metrics_are_prometheus_text() {
    run(async {
        let inspector = picot_inspect::serve("127.0.0.1:0").unwrap();
        let (status, text) = get(inspector.local_addr(), "/metrics").await;
        assert_eq!(status, "200 OK");
        let sample = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(&format!("{name}{{"))).expect(name);
            line.rsplit_once(' ').unwrap().1.parse().unwrap()
        };
        assert_eq!(sample("picot_tasks"), 3.0, "main, the acceptor, the connection");
        assert!(sample("picot_steps_total") >= 2.0);
        let buckets: Vec<f64> = text
            .lines()
            .filter(|line| line.starts_with("picot_step_seconds_bucket"))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse().unwrap())
            .collect();
        assert!(buckets.is_sorted() && buckets.len() == 32);
        assert_eq!(buckets.last(), Some(&sample("picot_step_seconds_count")));
        assert!(text.contains("le=\"0.000002\"") && text.contains("le=\"+Inf\""));
    });
}

#[test]
fn what_is_wrong_with_an_address_is_said() {
    run(async {
        let error = picot_inspect::serve("6669").unwrap_err().to_string();
        assert_eq!(error, "`6669` is no address with a port, such as 127.0.0.1:6669");
        let error = picot_inspect::serve("0.0.0.0:0").unwrap_err().to_string();
        assert!(error.contains("can be reached from other machines"), "{error}");
        let first = picot_inspect::serve("localhost:0").unwrap();
        let error = picot_inspect::serve(&first.local_addr().to_string()).unwrap_err().to_string();
        assert!(error.starts_with(&format!("inspect at {}: ", first.local_addr())), "{error}");
    });
}
