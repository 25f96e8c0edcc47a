//! Reports on a standard error that cannot be written to: they are lost, and everything else goes
//! on.
//!
//! Standard error belongs to the process, so each case is a child process: this test program,
//! running one test of this file.

use std::env;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use picot_loop::{Cause, EventLoop, Kind, Origin, Report, sleep, spawn};

/// The environment variable that passes the case to the child.
const CASE: &str = "PICOT_TEST_STDERR";

#[test]
#[ignore = "the other test runs it in child processes"]
fn the_child() {
    let Ok(case) = env::var(CASE) else { return };
    if case == "closed" {
        // SAFETY: No object of this process owns the descriptor; std ignores errors of standard
        // error.
        assert_eq!(unsafe { libc::close(libc::STDERR_FILENO) }, 0);
    }
    let event_loop = EventLoop::builder().slow_step_limit(Duration::from_nanos(1)).build().unwrap();
    let handle = event_loop.handle();
    let mut expected = 0;
    // First the default hook, then a hook that panics itself.
    for round in 0..2 {
        for _ in 0..10 {
            handle.call_soon(|| panic!("in a callback"));
            drop(handle.spawn(async { panic!("in a task") }));
            handle.report(Report::new(Origin::new(Kind::Loop), Cause::Io(io::Error::other("an error"))));
            let answer = event_loop.run_until_complete(async {
                sleep(Duration::from_millis(1)).await;
                spawn(async { 7 }).await.unwrap()
            });
            assert_eq!(answer, Ok(7));
            expected += 1;
        }
        if round == 0 {
            handle.set_error_hook(|report| panic!("the hook received: {report}"));
        }
    }
    event_loop.close().unwrap();
    handle.report(Report::new(Origin::new(Kind::Loop), Cause::Io(io::Error::other("after the end"))));
    println!("went on {expected} times");
}

/// The child's standard output, with `stderr` as its standard error.
fn child(case: &str, stderr: impl Into<Stdio>) -> String {
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "stderr::the_child", "--ignored", "--nocapture"])
        .env(CASE, case)
        .env("RUST_BACKTRACE", "0")
        .stderr(stderr)
        .output()
        .unwrap();
    assert!(output.status.success(), "{case}: {}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A socket to use as standard error, and its other end.
fn socket() -> (OwnedFd, UnixStream) {
    let (near, far) = UnixStream::pair().unwrap();
    (near.into(), far)
}

#[test]
fn a_closed_full_or_unread_standard_error_stops_nothing() {
    let went_on = |output: String| assert!(output.contains("went on 20 times"), "{output}");
    went_on(child("closed", Stdio::null()));

    // A write fails with `EPIPE`.
    let (unread, far) = socket();
    drop(far);
    went_on(child("unread", unread));

    // A write fails with `EAGAIN`: both processes share the open file and its flag.
    let (full, _far) = socket();
    let mut near = UnixStream::from(full.try_clone().unwrap());
    near.set_nonblocking(true).unwrap();
    while near.write(&[b'x'; 4096]).is_ok() {}
    went_on(child("full", full));

    // A write fails with `ENOSPC`.
    if let Ok(disk) = File::options().write(true).open("/dev/full") {
        went_on(child("no space", disk));
    }
}
