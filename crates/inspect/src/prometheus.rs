//! The metrics of all loops as Prometheus text, version 0.0.4.

use std::fmt::Write;

use picot_loop::Snapshot;

type Value = fn(&Snapshot) -> String;

/// The type of content to send it with.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const METRICS: [(&str, &str, &str, Value); 11] = [
    ("picot_turns_total", "counter", "Turns of the loop.", |s| s.turns.to_string()),
    ("picot_steps_total", "counter", "Polls of tasks, and callbacks.", |s| s.steps.to_string()),
    ("picot_waits_total", "counter", "Waits for events.", |s| s.waits.to_string()),
    ("picot_asleep_seconds_total", "counter", "Time for which the loop was blocked in waits.", |s| {
        s.asleep.as_secs_f64().to_string()
    }),
    ("picot_ready_steps", "gauge", "Steps that are queued to run.", |s| s.ready.to_string()),
    ("picot_remote_calls", "gauge", "Calls and tasks from other threads that the loop has not taken.", |s| {
        s.remote.to_string()
    }),
    ("picot_tasks", "gauge", "Tasks that have not ended.", |s| s.tasks.to_string()),
    ("picot_timers", "gauge", "Timers that are set.", |s| s.timers.to_string()),
    ("picot_sources", "gauge", "I/O objects that are registered.", |s| s.sources.to_string()),
    ("picot_source_waiters", "gauge", "Wakers that wait for an I/O object.", |s| s.waiting.to_string()),
    ("picot_blocking_jobs", "gauge", "Blocking jobs that are not over.", |s| s.blocking.to_string()),
];

/// The text about these loops, each with its name as the label `loop`.
pub(crate) fn render(loops: &[(String, Snapshot)]) -> String {
    let mut text = String::new();
    let mut put = |line: std::fmt::Arguments<'_>| writeln!(text, "{line}").expect("a string takes all text");
    for (name, kind, help, value) in METRICS {
        put(format_args!("# HELP {name} {help}"));
        put(format_args!("# TYPE {name} {kind}"));
        for (label, snapshot) in loops {
            put(format_args!("{name}{{loop=\"{}\"}} {}", escape(label), value(snapshot)));
        }
    }
    // A histogram without `_sum`: the loop does not add the times up, and no sum is invented here.
    put(format_args!("# HELP picot_step_seconds How long steps took, as exact as the coarse clock."));
    put(format_args!("# TYPE picot_step_seconds histogram"));
    for (label, snapshot) in loops {
        let (label, mut sum) = (escape(label), 0);
        let last = snapshot.step_times.len() - 1;
        for (index, count) in snapshot.step_times.iter().enumerate() {
            sum += count;
            let below = match index == last {
                true => "+Inf".to_string(),
                false => ((2_u64 << index) as f64 / 1e6).to_string(),
            };
            put(format_args!("picot_step_seconds_bucket{{loop=\"{label}\",le=\"{below}\"}} {sum}"));
        }
        put(format_args!("picot_step_seconds_count{{loop=\"{label}\"}} {sum}"));
    }
    text
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
