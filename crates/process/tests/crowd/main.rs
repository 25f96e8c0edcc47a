//! Many children and many bytes. A program of its own, because it counts its descriptors and its
//! children, and because it raises storms of signals.
//!
//! `PICOT_TEST_FULL=1` runs the whole counts: 2 000 children for each case, and 256 MiB. Without it
//! a tenth of that runs.
#![cfg(target_os = "linux")]

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use futures_lite::future::{try_zip, zip};
use picot_loop::{EventLoop, sleep};
use picot_process::{Child, Command, Signal, signal};
use rustix::process::{Resource, getpid, kill_process};

/// One test at a time: each counts what belongs to the whole process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// The whole count, or a tenth of it.
fn count(whole: usize) -> usize {
    if std::env::var_os("PICOT_TEST_FULL").is_some() { whole } else { whole / 10 }
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The numbers of all children, zombies included.
fn children() -> BTreeSet<u32> {
    let of = |task: fs::DirEntry| fs::read_to_string(task.path().join("children")).unwrap_or_default();
    let lists = fs::read_dir("/proc/self/task").unwrap().flatten().map(of).collect::<Vec<_>>();
    lists.iter().flat_map(|list| list.split_whitespace()).map(|id| id.parse().unwrap()).collect()
}

/// Sends `SIGCHLD` and `SIGUSR1` to this process until it is dropped.
struct Storm {
    ends: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<u64>>,
}

impl Storm {
    fn begin() -> Storm {
        let ends = Arc::new(AtomicBool::new(false));
        let is_over = ends.clone();
        let thread = thread::spawn(move || {
            let mut sent = 0;
            while !is_over.load(Ordering::Relaxed) {
                for signal in [rustix::process::Signal::CHILD, rustix::process::Signal::USR1] {
                    kill_process(getpid(), signal).unwrap();
                    sent += 1;
                }
                thread::yield_now();
            }
            sent
        });
        Storm { ends, thread: Some(thread) }
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        let sent = self.thread.take().unwrap().join().unwrap();
        println!("the storm sent {sent} signals");
    }
}

/// Runs children in waves of 50. Each has a status of its own, which must be right; every fifth is
/// dropped without a wait.
async fn waves(total: usize, by_sigchld: bool) -> io::Result<()> {
    for wave in 0..total / 50 {
        let mut children: Vec<(Option<Child>, i32)> = Vec::new();
        for index in 0..50 {
            let code = i32::try_from((wave * 50 + index) % 251).unwrap();
            let mut command = Command::new("sh");
            command.args(["-c", "read line; exit $line"]).stdin(Stdio::piped()).stdout(Stdio::null());
            if by_sigchld {
                command.watch_by_sigchld();
            }
            let mut child = command.spawn()?;
            let stdin = child.stdin.take().unwrap();
            let line = format!("{code}\n");
            stdin.write_all(line.as_bytes()).await?;
            children.push(((index % 5 != 4).then_some(child), code));
        }
        for (child, code) in &children {
            if let Some(child) = child {
                // Two waits at a time, and one of them is polled after the other has the status.
                let (one, other) = zip(child.wait(), child.wait()).await;
                assert_eq!((one?.code(), other?.code()), (Some(*code), Some(*code)));
            }
        }
    }
    // Those that were dropped are collected by tasks of the loop.
    for _ in 0..100_000 {
        if children().is_empty() {
            return Ok(());
        }
        sleep(Duration::from_micros(300)).await;
    }
    panic!("left: {:?}", children());
}

fn crowd(by_sigchld: bool, is_stormy: bool) {
    let _alone = alone();
    // A first loop, so that what std and the registry of signals keep for ever is there.
    let warm = EventLoop::new().unwrap();
    warm.run_until_complete(async {
        drop(signal(Signal::USR1).unwrap());
        waves(50, by_sigchld).await.unwrap();
    })
    .unwrap();
    drop(warm);
    let before = descriptors();
    assert!(children().is_empty());

    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            let mut arrivals = signal(Signal::USR1)?;
            let storm = is_stormy.then(Storm::begin);
            waves(count(2_000), by_sigchld).await?;
            if storm.is_some() {
                assert_eq!(arrivals.recv().await, Some(Signal::USR1));
            }
            // It ends while `SIGUSR1` has a listener: its default would end the process.
            drop(storm);
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
    let report = event_loop.close().unwrap();
    assert_eq!((report.sources, report.leaked), (0, 0), "{report:?}");
    drop(event_loop);
    assert!(children().is_empty());
    assert_eq!(descriptors(), before);
}

#[test]
fn waves_of_children_by_pidfd_have_the_right_status_and_leave_nothing() {
    crowd(false, false);
}

#[test]
fn waves_of_children_by_sigchld_have_the_right_status_and_leave_nothing() {
    crowd(true, false);
}

#[test]
fn waves_of_children_by_pidfd_in_a_storm_of_signals() {
    crowd(false, true);
}

#[test]
fn waves_of_children_by_sigchld_in_a_storm_of_signals() {
    crowd(true, true);
}

/// Adds bytes to a checksum that depends on their order, eight at a time.
fn add(sum: &mut u64, pending: &mut Vec<u8>, bytes: &[u8]) {
    pending.extend_from_slice(bytes);
    let whole = pending.len() / 8 * 8;
    for word in pending[..whole].chunks_exact(8) {
        *sum = sum.rotate_left(5) ^ u64::from_le_bytes(word.try_into().unwrap()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    pending.drain(..whole);
}

#[test]
fn many_bytes_come_back_from_cat_with_the_same_checksum() {
    let _alone = alone();
    let total = count(256 << 20);
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
            let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
            let write = async {
                let (mut sum, mut pending, mut state) = (0, Vec::new(), 1_u64);
                let (mut left, mut piece) = (total, vec![0; 100_003]);
                while left > 0 {
                    // Different in each piece: a piece that is lost, doubled or moved shows.
                    for word in piece.chunks_exact_mut(8) {
                        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                        word.copy_from_slice(&state.to_le_bytes());
                    }
                    let length = left.min(piece.len());
                    stdin.write_all(&piece[..length]).await?;
                    add(&mut sum, &mut pending, &piece[..length]);
                    left -= length;
                }
                drop(stdin);
                io::Result::Ok((sum, pending))
            };
            let read = async {
                let (mut sum, mut pending, mut length) = (0, Vec::new(), 0);
                let mut buffer = vec![0; 1 << 16];
                loop {
                    match stdout.read(&mut buffer).await? {
                        0 => return io::Result::Ok((length, (sum, pending))),
                        read => {
                            length += read;
                            add(&mut sum, &mut pending, &buffer[..read]);
                        }
                    }
                }
            };
            let (written, (length, read)) = try_zip(write, read).await?;
            assert_eq!(length, total);
            assert!(written == read);
            assert!(child.wait().await?.success());
            io::Result::Ok(())
        })
        .unwrap()
        .unwrap();
}

#[test]
fn children_that_cannot_start_leave_no_process_and_no_descriptor() {
    let _alone = alone();
    let event_loop = EventLoop::new().unwrap();
    event_loop
        .run_until_complete(async {
            let before = descriptors();
            let long = "x".repeat(200 * 1024);
            for by_sigchld in [false, true] {
                let mut commands = ["no-such-program", "/tmp", "true", "true"].map(Command::new);
                commands[2].current_dir("/no/such/folder");
                commands[3].arg(&long);
                for command in &mut commands {
                    if by_sigchld {
                        command.watch_by_sigchld();
                    }
                    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                    for _ in 0..20 {
                        assert!(command.spawn().is_err());
                    }
                }
            }
            assert_eq!(descriptors(), before);
            assert!(children().is_empty());
            // No descriptor is left for a pipe, or, without pipes, for the child's own. The child
            // that runs already is ended then.
            let mut piped = Command::new("sleep");
            piped.arg("1000").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut plain = Command::new("sleep");
            plain.arg("1000");
            let limit = rustix::process::getrlimit(Resource::Nofile);
            for command in [&mut piped, &mut plain] {
                let mut outcomes = [0, 0];
                // The number that the next descriptor gets.
                let next = rustix::io::dup(io::stdin()).unwrap().as_raw_fd() as u64;
                for more in 0..16 {
                    let tight = rustix::process::Rlimit { current: Some(next + more), ..limit };
                    rustix::process::setrlimit(Resource::Nofile, tight).unwrap();
                    let result = command.spawn();
                    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
                    outcomes[usize::from(result.is_ok())] += 1;
                    match result {
                        Err(error) => assert!(error.to_string().starts_with("cannot start `sleep`: "), "{error}"),
                        Ok(child) => {
                            child.kill().unwrap();
                            child.wait().await.unwrap();
                        }
                    }
                    assert_eq!(descriptors(), before);
                    assert!(children().is_empty());
                }
                assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
            }
        })
        .unwrap();
    event_loop.close().unwrap();
}
