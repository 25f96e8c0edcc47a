//! What it takes to start and to end a loop, counted in system calls.

use std::env;
use std::process::Command;

/// The environment variable that passes the number of loops to the child.
const LOOPS: &str = "PICOT_TEST_LOOPS";

#[test]
#[ignore = "the other test runs it in child processes"]
fn the_child() {
    let Ok(loops) = env::var(LOOPS) else { return };
    (0..loops.parse().unwrap()).for_each(|_| picot_loop::run(async {}));
}

/// The calls of a child that runs this many loops, one a line, or `None` without `strace`.
fn calls(loops: usize) -> Option<Vec<String>> {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/stdout"]).arg(env::current_exe().unwrap());
    command.args(["--exact", "start::the_child", "--ignored", "--quiet", "--test-threads=1"]);
    let output = command.env(LOOPS, loops.to_string()).output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().map(String::from).collect())
}

#[test]
fn a_loop_that_runs_nothing_makes_few_system_calls_and_reads_no_files() {
    // The difference is the loops', without what the process takes to start.
    let (few, many) = (2, 12);
    let (Some(before), Some(after)) = (calls(few), calls(many)) else {
        return eprintln!("skipped: a_loop_that_runs_nothing_makes_few_system_calls_and_reads_no_files");
    };
    let count = |calls: &[String], name: &str| calls.iter().filter(|call| call.contains(name)).count();
    let each = |name| (count(&after, name) as f64 - count(&before, name) as f64) / (many - few) as f64;
    assert_eq!(each("openat("), 0.0, "no file, such as those with the number of processors");
    // Linux has calls of its own for the loop; the portable driver makes more.
    if cfg!(all(target_os = "linux", not(polling_test_poll_backend))) {
        assert_eq!(each("epoll_create1("), 1.0);
        assert_eq!(each("timerfd_create("), 0.0, "no timer without a deadline");
        assert!(each("") <= 18.0, "{} calls a loop", each(""));
    }
}
