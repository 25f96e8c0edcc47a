//! The dump that the guide shows, and the trace of an echo server.

use std::collections::{HashMap, HashSet};

use picot_examples::program::{example, lines};
use picot_testkit::Folder;
use serde_json::Value;

const GUIDE: &str = include_str!("../../../docs/guide/looking-inside.md");

#[test]
fn the_guide_shows_the_dump_that_is_printed() {
    let shown = GUIDE.split("$ cargo run --example look_inside dump\n").nth(1).unwrap();
    let shown: Vec<_> = shown.lines().take_while(|line| *line != "```").collect();
    let (status, stdout, stderr) = lines(&example("look_inside").arg("dump").output().unwrap());
    assert_eq!((status, &*stderr), (Some(0), &[][..]));
    // The time until the timer is due is a little less than eight hours.
    let without_time = |line: &str| line.split(" in 28").next().unwrap().to_string();
    let printed: Vec<_> = stdout.iter().map(|line| without_time(line)).collect();
    let shown: Vec<_> = shown.into_iter().map(without_time).collect();
    assert_eq!(printed, shown, "{}", stdout.join("\n"));
}

/// Slices are balanced, times do not go back, and each arrow begins in a slice and ends at the
/// begin of a step of the task that it names.
#[test]
fn the_trace_of_an_echo_server_is_well_formed() {
    let folder = Folder::new("look_inside");
    let path = folder.path().join("trace.json");
    let (status, stdout, stderr) = lines(&example("look_inside").arg("trace").arg(&path).output().unwrap());
    assert_eq!(
        (status, stdout.join("\n"), stderr.join("\n")),
        (Some(0), "640 round trips, 0 events lost".into(), "".into())
    );
    let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let events = json["traceEvents"].as_array().unwrap();
    let (mut depth, mut last, mut arrows, mut clients) = (0, 0.0, HashMap::new(), HashSet::new());
    let mut step = None;
    let mut ended = 0;
    for event in events.iter().skip_while(|event| event["ph"] == "M") {
        let at = event["ts"].as_f64().unwrap();
        assert!(at >= last && event["pid"] == 1 && event["tid"] == 1, "{event}");
        last = at;
        let name = event["name"].as_str().unwrap_or("");
        match event["ph"].as_str().unwrap() {
            "B" => {
                depth += 1;
                step = event["args"]["task"].as_u64();
                clients.extend(name.strip_prefix("client "));
                continue;
            }
            "E" => depth -= 1,
            "s" => assert!(arrows.insert(event["id"].as_u64().unwrap(), event["args"]["task"].as_u64()).is_none()),
            "f" => {
                assert_eq!(arrows.remove(&event["id"].as_u64().unwrap()), Some(step), "{event}");
                ended += 1;
            }
            "i" | "b" | "e" => {}
            other => panic!("{other}: {event}"),
        }
        assert!(depth >= 0, "{event}");
        step = None;
    }
    assert_eq!((depth, clients.len()), (0, 64));
    // The tasks that were woken last had not run when the recording ended.
    assert!(ended >= 1_280 && arrows.len() <= 130, "{ended} arrows, {} without an end", arrows.len());
}
