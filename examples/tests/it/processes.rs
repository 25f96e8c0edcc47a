//! The programs that run other programs.

use std::process::Stdio;

use picot_examples::program::{Running, example, lines};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

fn pid(number: u32) -> Pid {
    Pid::from_raw(number.try_into().unwrap()).unwrap()
}

/// The lines without the time in front of each, which is checked.
fn untimed(lines: &[String]) -> Vec<&str> {
    lines
        .iter()
        .map(|line| {
            let (time, line) = line.trim_start().split_once(' ').unwrap();
            time.parse::<f64>().unwrap();
            line
        })
        .collect()
}

#[test]
fn run_prints_both_outputs_by_line_and_ends_with_the_status() {
    let script = "echo one; echo trouble >&2; printf 'no end'; exit 7";
    let output = example("run").args(["sh", "-c", script]).output().unwrap();
    let (status, stdout, stderr) = lines(&output);
    assert_eq!(status, Some(7));
    assert_eq!((untimed(&stdout), untimed(&stderr)), (vec!["one", "no end"], vec!["trouble"]));
    let killed = example("run").args(["sh", "-c", "kill -15 $$"]).output().unwrap();
    assert_eq!(killed.status.code(), Some(128 + 15));
    let (status, _, stderr) = lines(&example("run").arg("no-such-program").output().unwrap());
    assert_eq!(status, Some(127));
    assert!(stderr[0].starts_with("run: cannot start `no-such-program`: "), "{stderr:?}");
}

#[test]
fn run_kills_after_the_limit_also_where_another_process_keeps_the_pipes() {
    let script = "echo $$; sleep 1000 & echo $!; exec sleep 1000";
    let output = example("run").args(["--limit", "0.3", "sh", "-c", script]).output().unwrap();
    let (status, stdout, stderr) = lines(&output);
    assert_eq!(status, Some(124));
    assert!(stderr[0].starts_with("run: killed after 300ms: signal: 9"), "{stderr:?}");
    let ids: Vec<u32> = untimed(&stdout).iter().map(|id| id.parse().unwrap()).collect();
    assert!(test_kill_process(pid(ids[0])).is_err(), "it is killed");
    kill_process(pid(ids[1]), Signal::KILL).unwrap();
}

/// The number at the end of a line.
fn started(line: &str) -> u32 {
    assert!(line.contains(": started process "), "{line}");
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn supervise(arguments: &[&str]) -> Running {
    let mut command = example("supervise");
    command.args(arguments).stdin(Stdio::null());
    Running::start(command)
}

#[test]
fn supervise_starts_again_with_longer_pauses_reloads_and_stops() {
    let mut program = supervise(&["--count", "2", "sleep", "1000"]);
    let mut ids = [started(&program.line()), started(&program.line())];
    // One that ends is started again, after a pause.
    for pause in ["100ms", "200ms"] {
        kill_process(pid(ids[0]), Signal::KILL).unwrap();
        assert_eq!(program.line(), "0: ended: signal: 9 (SIGKILL)");
        assert_eq!(program.line(), format!("0: starts again in {pause}"));
        ids[0] = started(&program.line());
    }
    // Both are started again at once, with the short pause for the next time.
    kill_process(pid(program.child.id()), Signal::HUP).unwrap();
    assert_eq!(program.line(), "reloads");
    let mut lines: Vec<_> = (0..4).map(|_| program.line()).collect();
    lines.sort();
    assert_eq!(lines[0], "0: ended: signal: 15 (SIGTERM)");
    assert_eq!(lines[2], "1: ended: signal: 15 (SIGTERM)");
    let ids = [started(&lines[1]), started(&lines[3])];
    kill_process(pid(program.child.id()), Signal::TERM).unwrap();
    assert_eq!(program.line(), "stops");
    assert_eq!(program.line(), "");
    assert!(program.child.wait().unwrap().success());
    assert!(ids.iter().all(|id| test_kill_process(pid(*id)).is_err()), "none is left");
}

#[test]
fn supervise_names_and_kills_what_does_not_stop() {
    let script = "trap '' TERM; echo deaf; while :; do sleep 0.05; done";
    let mut program = supervise(&["--grace", "0.2", "sh", "-c", script]);
    // The two write to one pipe, in no order.
    let mut lines = [program.line(), program.line()];
    lines.sort();
    let id = started(&lines[0]);
    assert_eq!(lines[1], "deaf");
    kill_process(pid(program.child.id()), Signal::TERM).unwrap();
    assert_eq!(program.line(), "stops");
    assert_eq!(program.line(), format!("0: process {id} did not stop, and is killed"));
    assert_eq!(program.child.wait().unwrap().code(), Some(1));
    assert!(test_kill_process(pid(id)).is_err());

    // A program that is not there is tried again.
    let mut program = supervise(&["no-such-program"]);
    assert!(program.line().starts_with("0: cannot start `no-such-program`: "));
    assert_eq!(program.line(), "0: starts again in 100ms");
    kill_process(pid(program.child.id()), Signal::INT).unwrap();
    while program.line() != "stops" {}
    assert!(program.child.wait().unwrap().success());
}
