//! A server to which the operating system says no: by a limit that is really reached, and by faults
//! that strace injects. It counts, too, how often a near timer has ended or another thread has
//! reached it. Where strace cannot trace, those tests say so and are skipped.
//!
//! A test of its own, and one after the other, because answers are due in time.
#![cfg(target_os = "linux")]

use std::cell::Cell;
use std::env;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use picot::net::{Server, TcpStream as Stream};
use picot::prelude::*;
use picot::{LoopHandle, sleep, spawn};
use picot_examples::program::Running;
use picot_testkit::Folder;

/// A connection that is open already is answered within this, whatever happens.
const ANSWER: Duration = Duration::from_millis(100);

/// However busy the machine is, nothing else takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// The call that the reactor waits by.
const WAIT: &str = if cfg!(polling_test_poll_backend) { "ppoll" } else { "epoll_pwait" };

/// What a client says, and what else it may ask.
const GREETING: &[u8; 12] = b"still there?";
const QUESTION: &[u8; 12] = b"how often is";

/// Names the server's load, and so tells [`the_server`] that it is one.
const LOAD: &str = "PICOT_FAULTS_LOAD";

/// Held by the test that runs.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the server does beside its clients. With one of them it would sleep for ever if it missed
/// the other.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Load {
    /// A timer of 200 microseconds, again and again.
    Timer,
    /// Calls from another thread, and no timer.
    Thread,
    /// The same fifty times a second, so that the processor time is that of the server.
    SeldomThread,
}

impl Load {
    /// How long the other thread pauses after a call.
    fn pause(self) -> Duration {
        Duration::from_millis(if self == Load::SeldomThread { 20 } else { 1 })
    }

    /// The load of this name.
    fn named(name: &str) -> Option<Load> {
        [Load::Timer, Load::Thread, Load::SeldomThread].into_iter().find(|load| format!("{load:?}") == name)
    }
}

#[test]
#[ignore = "it is the server of the other tests, and has no end"]
fn the_server() {
    let Some(load) = env::var(LOAD).ok().and_then(|name| Load::named(&name)) else { return };
    picot::run(async move {
        let done = Rc::new(Cell::new(0));
        if load == Load::Timer {
            let done = done.clone();
            drop(spawn(async move {
                // A traced turn may take longer than the shorter sleep; the longer one makes the
                // loop wait.
                for micros in [200, 2_300].into_iter().cycle() {
                    sleep(Duration::from_micros(micros)).await;
                    done.set(done.get() + 1);
                }
            }));
        } else {
            let (remote, count) = (LoopHandle::current().remote(), async_channel::unbounded());
            thread::spawn(move || {
                loop {
                    remote.spawn(|| async {}).unwrap().wait(Some(DEADLINE)).expect("the loop is woken");
                    count.0.send_blocking(()).unwrap();
                    thread::park_timeout(load.pause());
                }
            });
            let done = done.clone();
            drop(spawn(async move {
                while count.1.recv().await.is_ok() {
                    done.set(done.get() + 1);
                }
            }));
        }
        let builder = Server::builder().bind("127.0.0.1:0").await.unwrap();
        let server = builder.serve(move |stream, _| answer(stream, done.clone())).unwrap();
        println!("listening at {} as {}", server.local_addrs()[0], process::id());
        server.serve_forever().await.unwrap();
    });
}

/// Sends messages of twelve bytes back, but for the question, which gets the number.
async fn answer(mut stream: Stream, done: Rc<Cell<u64>>) -> io::Result<()> {
    let mut message = [0; 12];
    while stream.read_exact(&mut message).await.is_ok() {
        if &message == QUESTION {
            message.copy_from_slice(format!("{:12}", done.get()).as_bytes());
        }
        stream.write_all(&message).await?;
    }
    Ok(())
}

/// The server in a process of its own, which ends with this, also where another program has started
/// it.
struct Victim {
    running: Running,
    process: u32,
    address: String,
    complaints: Receiver<String>,
}

impl Victim {
    /// Starts it by these words of a command line before it.
    fn start(before: &[&str], load: Load) -> Victim {
        let mut words = before.to_vec();
        let program = env::current_exe().unwrap();
        words.extend([program.to_str().unwrap(), "--ignored", "--exact", "the_server", "--nocapture"]);
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).env(LOAD, format!("{load:?}")).stdin(Stdio::null());
        let mut running = Running::start(command);
        let complaints = complaints(&mut running);
        // The harness says something first.
        let line = (0..10).map(|_| running.line()).find(|line| line.contains("listening at ")).expect("it listens");
        let words: Vec<_> = line.split(' ').collect();
        let [.., address, "as", process] = &words[..] else { panic!("{line}") };
        Victim { process: process.parse().unwrap(), address: address.to_string(), complaints, running }
    }

    fn open(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_answered(&stream);
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        stream
    }

    /// User and kernel time of its process, in the kernel's ticks of 10 ms.
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process)).unwrap();
        let fields: Vec<_> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    /// Ends it, and returns what it has complained of since the last look.
    fn end(mut self) -> Vec<String> {
        self.kill();
        self.running.child.wait().unwrap();
        assert!(!Path::new(&format!("/proc/{}", self.process)).exists(), "it does not run on, traced or not");
        let complaints = std::mem::replace(&mut self.complaints, mpsc::channel().1);
        complaints.iter().collect()
    }

    /// The tracer ends with it; the other way round it would run on.
    fn kill(&mut self) {
        // Once it has ended its number may be another's.
        if self.running.child.try_wait().unwrap().is_some() {
            return;
        }
        let killed = Command::new("kill").args(["-KILL", &self.process.to_string()]).stderr(Stdio::null()).status();
        assert!(killed.is_ok(), "there is a `kill`");
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.kill();
    }
}

#[track_caller]
fn ask(mut stream: &TcpStream, message: &[u8; 12]) -> [u8; 12] {
    stream.write_all(message).unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("an answer in time");
    answer
}

#[track_caller]
fn assert_answered(stream: &TcpStream) {
    assert_eq!(&ask(stream, GREETING), GREETING);
}

/// How often the server's load has come round.
#[track_caller]
fn done(stream: &TcpStream) -> u64 {
    String::from_utf8(ask(stream, QUESTION).to_vec()).unwrap().trim().parse().unwrap()
}

/// The lines that the server writes to standard error, as they come; but for reports of slow steps,
/// which a busy machine, or one that traces, can bring about.
fn complaints(server: &mut Running) -> Receiver<String> {
    let stderr = BufReader::new(server.child.stderr.take().unwrap());
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let lines = stderr.lines().map_while(Result::ok);
        let mut lines = lines.filter(|line| !line.contains(" kept the loop from everything else for "));
        lines.try_for_each(|line| sender.send(line))
    });
    receiver
}

/// The lines of a trace that contain a word.
fn traced(file: &Path, word: &str) -> usize {
    fs::read_to_string(file).unwrap().lines().filter(|line| line.contains(word)).count()
}

/// Peers make hundreds of thousands of errors in that time.
#[test]
fn without_descriptors_it_tries_once_a_second_and_answers_those_who_are_connected() {
    let _alone = alone();
    let server = Victim::start(&["sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"], Load::SeldomThread);
    let connected = server.open();
    // The kernel takes them all; the server runs out of descriptors at some of them.
    let waiting: Vec<_> = (0..40).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    let first = server.complaints.recv_timeout(DEADLINE).expect("it says that it cannot accept");
    assert!(first.contains("Too many open files"), "{first}");

    // The time is taken by the server's own complaints: it rests for a second after each.
    let (before, calls) = (server.ticks(), done(&connected));
    for _ in 0..3 {
        server.complaints.recv_timeout(DEADLINE).expect("it tries again");
        assert_answered(&connected);
    }
    assert!(server.complaints.try_recv().is_err(), "one try a rest");
    assert!(done(&connected) > calls, "other threads reach it meanwhile");
    assert!(server.ticks() - before <= 30, "at most a tenth of these three seconds");

    // With descriptors it goes on by itself, and no connection was lost.
    let mut waiting = waiting.into_iter();
    let accepted: Vec<_> = waiting.by_ref().take(30).collect();
    drop(accepted);
    for stream in waiting {
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        assert_answered(&stream);
    }
}

#[test]
fn without_descriptors_each_error_is_told_and_there_are_few() {
    let _alone = alone();
    if !can_trace() {
        return;
    }
    let (_folder, trace) = trace("descriptors");
    let file = trace.to_str().unwrap();
    let strace =
        ["strace", "-f", "-qq", "-o", file, "-e", "trace=accept4", "sh", "-c", "ulimit -n 24; exec \"$@\"", "sh"];
    let server = Victim::start(&strace, Load::Thread);
    let connected = server.open();
    let waiting: Vec<_> = (0..40).map(|_| TcpStream::connect(&server.address).unwrap()).collect();
    for _ in 0..3 {
        let told = server.complaints.recv_timeout(DEADLINE).expect("it tries again");
        assert!(told.contains("Too many open files"), "{told}");
        assert_answered(&connected);
    }
    let told = 3 + server.end().len();
    drop(waiting);
    let errors = traced(&trace, "EMFILE");
    // The last may have happened without being told any more.
    assert!(told == errors || told + 1 == errors, "{told} were told, of {errors} within two rests of a second");
}

/// Whether strace may trace here.
fn can_trace() -> bool {
    let works = Command::new("strace").args(["-o", "/dev/null", "true"]).output().is_ok_and(|o| o.status.success());
    if !works {
        println!("skipped: strace is not there or may not trace");
    }
    works
}

/// A file for strace to write to.
fn trace(name: &str) -> (Folder, PathBuf) {
    let folder = Folder::new(&format!("faults-{name}"));
    let file = folder.file("trace", "");
    (folder, file)
}

/// How often a fault is told of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    /// No report is expected.
    Never,
    /// Whenever it happens; each is followed by a rest, or by a success.
    EachTime,
    /// At the first try of each rest. Later tries in the rest, when the server has closed a
    /// connection, keep it to themselves.
    OnceARest,
}

/// Runs the server under strace with a fault, for each load, and holds a conversation with an open
/// connection while others come.
fn survives(fault: &str, told: Told) {
    let call = fault.split(':').next().unwrap();
    for load in [Load::Timer, Load::Thread] {
        // The reactor makes and sets its timerfd only when there is a timer.
        if load == Load::Thread && call.starts_with("timerfd_") {
            continue;
        }
        let (_folder, file) = trace(call);
        let (trace, inject) = (format!("trace={call}"), format!("inject={fault}"));
        let strace = ["strace", "-f", "-qq", "-o", file.to_str().unwrap(), "-e", &trace, "-e", &inject];
        let server = Victim::start(&strace, load);
        let connected = server.open();
        let before = done(&connected);
        for _ in 0..20 {
            assert_answered(&connected);
            let other = TcpStream::connect(&server.address).unwrap();
            assert_answered(&connected);
            drop(other);
        }
        // Under way, and not only once; a server that had missed it would say the same number for
        // ever.
        while done(&connected) < before + 50 {
            if told == Told::Never {
                assert_eq!(server.complaints.try_recv().ok(), None, "{fault}, {load:?}");
            }
        }
        assert_answered(&connected);
        let lines = server.end();
        let injected = traced(&file, "(INJECTED)");
        assert!(injected > 0, "{fault} was never injected, {load:?}");
        match told {
            Told::Never => assert_eq!(lines, [""; 0], "{fault}, {load:?}"),
            // The last may have happened without being told any more.
            Told::EachTime | Told::OnceARest => {
                let is_each = lines.len() == injected || lines.len() + 1 == injected;
                assert!(
                    !lines.is_empty() && (is_each || told == Told::OnceARest && lines.len() < injected),
                    "{fault}, {load:?}: {injected} times, and {lines:?}"
                );
                assert!(lines.iter().all(|line| line.starts_with("picot: ")), "{lines:?}");
            }
        }
    }
}

#[test]
fn interruptions_and_connections_that_were_given_up_are_nobodys_matter() {
    let _alone = alone();
    if can_trace() {
        survives(&format!("{WAIT}:error=EINTR:when=2+3"), Told::Never);
        for fault in [
            "accept4:error=EINTR:when=2+3",
            "accept4:error=EAGAIN:when=4+4",
            "accept4:error=ECONNABORTED:when=2+3",
            "accept4:error=EPROTO:when=2+3",
            "recvfrom:error=EINTR:when=3+5",
            "sendto:error=EINTR:when=3+5",
        ] {
            survives(fault, Told::Never);
        }
    }
}

#[test]
fn a_lack_of_memory_is_told_once_a_rest_and_open_connections_are_answered() {
    let _alone = alone();
    if can_trace() {
        survives("accept4:error=ENOMEM:when=5+2", Told::EachTime);
        for fault in ["accept4:error=EMFILE:when=5+2", "accept4:error=ENFILE:when=5+2"] {
            survives(fault, Told::OnceARest);
        }
        if cfg!(not(polling_test_poll_backend)) {
            survives("epoll_ctl:error=ENOMEM:when=5..6", Told::EachTime);
        }
    }
}

#[test]
fn a_wait_that_fails_is_told_and_the_next_one_serves() {
    let _alone = alone();
    if can_trace() {
        survives(&format!("{WAIT}:error=ENOMEM:when=20+10"), Told::EachTime);
    }
}

#[test]
fn calls_that_the_kernel_lacks_have_something_coarser_in_their_place() {
    let _alone = alone();
    if can_trace() {
        // The page by which a fork is known, and then a system call.
        survives("madvise:error=EINVAL", Told::Never);
        if cfg!(not(polling_test_poll_backend)) {
            survives("eventfd2:error=ENOSYS", Told::Never);
            survives("timerfd_create:error=ENOSYS", Told::Never);
            survives("timerfd_settime:error=EINVAL", Told::Never);
        }
    }
}
