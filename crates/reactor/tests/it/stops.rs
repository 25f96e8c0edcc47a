//! A process that is stopped and continued while it waits. On Linux this interrupts the wait, as
//! any handled signal does. The wait may end without events, but never with an error, and later
//! events are reported.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use picot_reactor::Direction;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::support::{is_portable, reactor};

const ROLE: &str = "PICOT_TEST_STOPPED_CHILD";
const STOPS: usize = 100;

/// The child: waits until its standard input is readable, and prints how many waits ended without
/// events.
fn child() {
    let reactor = reactor();
    let source = reactor.register(io::stdin()).unwrap();
    assert!(source.try_io(Direction::Read, |_| Ok(())).is_err(), "not ready yet; this asks for the event");
    println!("child: waiting");
    let mut empty = 0;
    while source.try_io(Direction::Read, |mut io| io.read(&mut [0; 8])).is_err() {
        empty += usize::from(reactor.wait(None).unwrap() == 0);
    }
    println!("child: {empty}");
}

#[test]
#[cfg_attr(miri, ignore = "Miri starts no processes")]
fn a_process_that_is_stopped_and_continued_keeps_waiting() {
    if std::env::var_os(ROLE).is_some() {
        return child();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "stops::a_process_that_is_stopped_and_continued_keeps_waiting", "--nocapture"])
        .env(ROLE, "1");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut said =
        || lines.find_map(|line| Some(line.split_once("child: ")?.1.to_owned())).expect("the child has ended");
    assert_eq!(said(), "waiting");
    let pid = Pid::from_child(&child);
    for _ in 0..STOPS {
        until_asleep(pid);
        kill_process(pid, Signal::STOP).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::UNTRACED).unwrap().unwrap();
        assert!(status.stopped());
        kill_process(pid, Signal::CONT).unwrap();
        let (_, status) = waitpid(Some(pid), WaitOptions::CONTINUED).unwrap().unwrap();
        assert!(status.continued());
    }
    child.stdin.take().unwrap().write_all(b"x").unwrap();
    let empty: usize = said().parse().unwrap();
    assert!(child.wait().unwrap().success());
    // `polling` continues the wait by itself.
    assert_eq!(empty, if is_portable() { 0 } else { STOPS });
}

/// Returns when all threads of the process sleep, so its wait has begun. Otherwise a stop would not
/// interrupt a wait.
fn until_asleep(pid: Pid) {
    let is_asleep = |thread: io::Result<fs::DirEntry>| {
        let stat = fs::read_to_string(thread.unwrap().path().join("stat")).unwrap();
        // The state follows the name, which is in parentheses.
        stat.rsplit_once(") ").unwrap().1.starts_with('S')
    };
    let threads = format!("/proc/{}/task", pid.as_raw_nonzero());
    while cfg!(target_os = "linux") && !fs::read_dir(&threads).unwrap().all(is_asleep) {
        thread::yield_now();
    }
}
