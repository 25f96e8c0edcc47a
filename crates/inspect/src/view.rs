//! What the page and scripts get: one JSON object about one loop. The README documents its shape.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};

use picot_context::{Kind, Place};
use picot_loop::{Activity, Snapshot, TaskDump, TaskId, WaitKind};

use crate::collect::Collected;
use crate::graph::Graph;
use crate::json::Json;
use crate::query::{Query, Sort};

/// What is shown beside the tasks of a loop.
pub(crate) struct Frame<'a> {
    /// The names of all loops.
    pub(crate) loops: &'a [String],
    pub(crate) snapshot: &'a Snapshot,
    /// Whether a task is one of the inspector.
    pub(crate) is_own: &'a dyn Fn(&TaskDump) -> bool,
}

pub(crate) fn render(collected: &Collected, frame: &Frame<'_>, query: &Query) -> String {
    let mut json = Json::default();
    json.object(|json| {
        json.key("loop").plain(query.index);
        json.key("loops").array(frame.loops, |json, name| json.string(name));
        json.key("now").seconds(collected.at - epoch(collected));
        json.key("walk").seconds(collected.took);
        json.key("metrics").object(|json| metrics(json, frame.snapshot));
        tasks(json, collected, frame, query);
        graph(json, collected);
        slow_steps(json, collected);
    });
    json.into_text()
}

/// An answer without tasks: why there are none.
pub(crate) fn render_error(error: &str, loops: &[String], query: &Query) -> String {
    let mut json = Json::default();
    json.object(|json| {
        json.key("loop").plain(query.index);
        json.key("loops").array(loops, |json, name| json.string(name));
        json.key("error").string(error);
    });
    json.into_text()
}

/// The begin of the loop's clock: an instant saturates there.
fn epoch(collected: &Collected) -> picot_loop::Instant {
    collected.at - std::time::Duration::MAX
}

fn metrics(json: &mut Json, snapshot: &Snapshot) {
    let counters = [
        ("turns", snapshot.turns),
        ("steps", snapshot.steps),
        ("waits", snapshot.waits),
        ("ready", snapshot.ready),
        ("remote", snapshot.remote),
        ("tasks", snapshot.tasks),
        ("timers", snapshot.timers),
        ("sources", snapshot.sources),
        ("waiting", snapshot.waiting),
        ("blocking", snapshot.blocking),
    ];
    counters.iter().for_each(|(name, value)| json.key(name).plain(value));
    json.key("asleep").seconds(snapshot.asleep);
    json.key("step_times").array(snapshot.step_times, |json, count| json.plain(count));
}

fn tasks(json: &mut Json, collected: &Collected, frame: &Frame<'_>, query: &Query) {
    let all = &collected.dump.tasks;
    let mut own = 0;
    let mut shown: Vec<&TaskDump> = Vec::new();
    let mut kinds: BTreeMap<WaitKind, usize> = BTreeMap::new();
    let mut activities = [0_usize; 4];
    for task in all {
        if (frame.is_own)(task) {
            own += 1;
            if !query.own {
                continue;
            }
        }
        let index = match task.activity {
            Activity::Running => 0,
            Activity::Ready => 1,
            Activity::Held => 2,
            _ => 3,
        };
        activities[index] += 1;
        task.waits.iter().for_each(|wait| *kinds.entry(wait.kind).or_default() += 1);
        if query.filter.is_empty() || line(task).to_lowercase().contains(&query.filter) {
            shown.push(task);
        }
    }
    let matching = shown.len();
    let order = |one: &&TaskDump, other: &&TaskDump| {
        let order = compare(one, other, query.sort);
        let order = if query.descending { order.reverse() } else { order };
        order.then_with(|| one.task.id().cmp(&other.task.id()))
    };
    if query.limit < matching {
        // Of many tasks, only those that are shown are sorted.
        if query.limit > 0 {
            shown.select_nth_unstable_by(query.limit - 1, order);
        }
        shown.truncate(query.limit);
    }
    shown.sort_unstable_by(order);
    json.key("counts").object(|json| {
        json.key("tasks").plain(all.len());
        json.key("own").plain(own);
        json.key("matching").plain(matching);
        json.key("shown").plain(shown.len());
        for (name, count) in ["running", "ready", "held", "waiting"].iter().zip(activities) {
            json.key(name).plain(count);
        }
        json.key("waits").object(|json| {
            kinds.iter().for_each(|(kind, count)| json.key(kind.as_str()).plain(count));
        });
    });
    json.key("tasks").array(shown, |json, task| write_task(json, task, (frame.is_own)(task)));
}

/// The text that a filter searches.
fn line(task: &TaskDump) -> String {
    let mut line = format!("{} {}", task.task, task.activity);
    for wait in &task.waits {
        line.push_str(&format!(" {} {wait}", wait.kind));
    }
    line
}

fn compare(one: &TaskDump, other: &TaskDump, sort: Sort) -> Ordering {
    let steps = |task: &TaskDump| task.steps.unwrap_or_default();
    let (a, b) = (steps(one), steps(other));
    match sort {
        Sort::Id => one.task.id().cmp(&other.task.id()),
        Sort::Name => one.task.given_name().cmp(&other.task.given_name()),
        Sort::Activity => (one.activity as u8).cmp(&(other.activity as u8)),
        Sort::Age => a.age.cmp(&b.age),
        Sort::Steps => a.polls.cmp(&b.polls),
        Sort::Total => a.total.cmp(&b.total),
        Sort::Longest => a.longest.cmp(&b.longest),
        Sort::Idle => a.idle.cmp(&b.idle),
    }
}

fn write_task(json: &mut Json, task: &TaskDump, is_own: bool) {
    json.object(|json| {
        json.key("id").plain(task.task.id());
        json.key("name").option(task.task.given_name(), Json::string);
        json.key("place").string(&task.task.place().to_string());
        json.key("parent").option(task.parent, Json::plain);
        json.key("own").plain(is_own);
        json.key("activity").string(match task.activity {
            Activity::Held => "held",
            Activity::Running => "running",
            Activity::Ready => "ready",
            _ => "waiting",
        });
        json.key("steps").option(task.steps, |json, steps| {
            json.object(|json| {
                json.key("age").seconds(steps.age);
                json.key("count").plain(steps.polls);
                json.key("total").seconds(steps.total);
                json.key("longest").seconds(steps.longest);
                json.key("idle").option(steps.idle, Json::seconds);
            });
        });
        json.key("waits").array(&task.waits, |json, wait| {
            json.object(|json| {
                json.key("kind").string(wait.kind.as_str());
                json.key("text").string(&wait.to_string());
                json.key("place").option(wait.place, write_place);
                json.key("on").array(&wait.on, Json::plain);
            });
        });
    });
}

fn write_place(json: &mut Json, place: Place) {
    json.string(&place.to_string());
}

fn graph(json: &mut Json, collected: &Collected) {
    let graph = Graph::new(&collected.dump);
    let tasks: HashMap<TaskId, &TaskDump> = collected.dump.tasks.iter().map(|task| (task.task.id(), task)).collect();
    json.key("graph").object(|json| {
        json.key("left_out").plain(graph.left_out);
        json.key("cycles").array(&graph.cycles, |json, cycle| json.array(cycle, Json::plain));
        json.key("tasks").array(graph.tasks(), |json, id| {
            let name = tasks.get(&id).and_then(|task| task.task.given_name());
            json.object(|json| {
                json.key("id").plain(id);
                json.key("name").option(name, Json::string);
            });
        });
        json.key("edges").array(&graph.edges, |json, edge| {
            json.object(|json| {
                json.key("from").plain(edge.from);
                json.key("to").plain(edge.to);
                json.key("kind").string(edge.kind.as_str());
                json.key("in_cycle").plain(edge.in_cycle);
            });
        });
    });
}

fn slow_steps(json: &mut Json, collected: &Collected) {
    json.key("slow_steps").array(collected.slow_steps.iter().rev(), |json, step| {
        let task = step.origin.task.as_ref();
        json.object(|json| {
            json.key("number").plain(step.number);
            json.key("ago").seconds(collected.at - step.ended);
            json.key("took").seconds(step.time.took);
            json.key("ran").option(step.time.ran, Json::seconds);
            json.key("task").option(task.map(|task| task.id()), Json::plain);
            json.key("name").option(task.and_then(|task| task.given_name()), Json::string);
            json.key("kind").string(if step.origin.kind == Kind::Task { "task" } else { "callback" });
            json.key("place").option(step.origin.place, write_place);
        });
    });
}
