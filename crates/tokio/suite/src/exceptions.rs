//! The tests that do not run in a guest, and why.

use std::thread;

/// Parts of the names of tests, each with the reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("blocking::the_end_of_an_abandoned_job_", "the job ends when the loop itself waits; here the host does"),
    ("dead_end::", "a guest detects no deadlock: its host may be about to wake a task"),
    ("metrics::", "exact counts of steps and waits: a guest has a main future in each run, and its host waits"),
    ("start::", "counts the system calls of a loop without a host"),
];

/// Whether the test of this thread runs without a host. The test harness names threads by tests.
pub(crate) fn is_exception() -> bool {
    let thread = thread::current();
    let name = thread.name().unwrap_or_default();
    EXCEPTIONS.iter().any(|(part, _)| name.contains(part))
}
