//! A server to which the operating system says no: by a limit that is really reached, and by faults that strace injects.
//! Where strace cannot trace, those tests say so and are skipped.
//!
//! A test of its own, and one after the other, because answers are due in time.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use picot_examples::program::{Running, example};

/// A connection that is open already is answered within this, whatever happens.
const ANSWER: Duration = Duration::from_millis(100);

/// The call that the reactor waits by.
const WAIT: &str = if cfg!(polling_test_poll_backend) { "ppoll" } else { "epoll_pwait" };

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts the echo server by these words of a command line before it.
fn server(before: &[&str]) -> (Running, String) {
    let program = example("echo_server");
    let mut command = Command::new(before[0]);
    command.args(&before[1..]).arg(program.get_program()).arg("127.0.0.1:0").stdin(Stdio::null());
    let mut server = Running::start(command);
    let line = server.line();
    let address = line.strip_prefix("listening at ").unwrap_or_else(|| panic!("{line:?}")).to_string();
    (server, address)
}

fn open(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_answered(&stream);
    stream.set_read_timeout(Some(ANSWER)).unwrap();
    stream
}

#[track_caller]
fn assert_answered(mut stream: &TcpStream) {
    stream.write_all(b"still there?").unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer in time");
    assert_eq!(&answer, b"still there?");
}

/// The lines that the server writes to standard error, as they come.
fn complaints(server: &mut Running) -> Receiver<String> {
    let stderr = BufReader::new(server.child.stderr.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// User and kernel time of a process, in the kernel's ticks of 10 ms.
fn ticks(process: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Peers make hundreds of thousands of errors in that time.
#[test]
fn without_descriptors_it_tries_once_a_second_and_answers_those_who_are_connected() {
    let _alone = alone();
    let (mut server, address) = server(&["sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"]);
    let complaints = complaints(&mut server);
    let connected = open(&address);
    // The kernel takes them all; the server runs out of descriptors at some of them.
    let waiting: Vec<_> = (0..40).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let first = complaints.recv_timeout(Duration::from_secs(10)).expect("it says that it cannot accept");
    assert!(first.contains("Too many open files"), "{first}");

    // The time is taken by the server's own complaints: it rests for a second after each.
    let before = ticks(server.child.id());
    for _ in 0..3 {
        complaints.recv_timeout(Duration::from_secs(10)).expect("it tries again");
        assert_answered(&connected);
    }
    assert!(complaints.try_recv().is_err(), "one try a rest");
    assert!(ticks(server.child.id()) - before <= 30, "at most a tenth of these three seconds");

    // With descriptors it goes on by itself, and nobody was lost.
    let mut waiting = waiting.into_iter();
    let accepted: Vec<_> = waiting.by_ref().take(30).collect();
    drop(accepted);
    for stream in waiting {
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        assert_answered(&stream);
    }
}

/// Whether strace may trace here.
fn can_trace() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|o| o.status.success());
    if !works {
        println!("skipped: strace is not there or may not trace");
    }
    works
}

/// Runs the server under strace with a fault, and holds a conversation with an open connection while others come.
fn survives(fault: &str, complains: bool) {
    let call = fault.split(':').next().unwrap();
    let (trace, inject) = (format!("trace={call}"), format!("inject={fault}"));
    let (mut server, address) = server(&["strace", "-f", "-qq", "-o", "/dev/null", "-e", &trace, "-e", &inject]);
    let complaints = complaints(&mut server);
    let connected = open(&address);
    for _ in 0..20 {
        assert_answered(&connected);
        let other = TcpStream::connect(&address).unwrap();
        assert_answered(&connected);
        drop(other);
    }
    if complains {
        let line = complaints.recv_timeout(Duration::from_secs(10)).expect("it says what happened");
        assert!(line.contains("echo_server: ") || line.contains("picot: "), "{line}");
    } else {
        assert_eq!(complaints.try_iter().collect::<Vec<_>>(), [""; 0], "{fault}");
    }
}

#[test]
fn interruptions_and_connections_that_were_given_up_are_nobodys_matter() {
    let _alone = alone();
    if can_trace() {
        survives(&format!("{WAIT}:error=EINTR:when=2+3"), false);
        for fault in [
            "accept4:error=EINTR:when=2+3",
            "accept4:error=EAGAIN:when=4+4",
            "accept4:error=ECONNABORTED:when=2+3",
            "accept4:error=EPROTO:when=2+3",
            "recvfrom:error=EINTR:when=3+5",
        ] {
            survives(fault, false);
        }
    }
}

#[test]
fn a_lack_of_memory_is_reported_and_open_connections_are_answered() {
    let _alone = alone();
    if can_trace() {
        for fault in ["accept4:error=ENOMEM:when=5+2", "accept4:error=EMFILE:when=5+2"] {
            survives(fault, true);
        }
        if cfg!(not(polling_test_poll_backend)) {
            survives("epoll_ctl:error=ENOMEM:when=5..6", true);
        }
    }
}

#[test]
fn calls_that_the_kernel_lacks_have_something_coarser_in_their_place() {
    let _alone = alone();
    if can_trace() {
        for fault in ["timerfd_create:error=ENOSYS", "timerfd_settime:error=EINVAL", "eventfd2:error=ENOSYS"] {
            survives(fault, false);
        }
    }
}
