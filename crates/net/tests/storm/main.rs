//! Hostile peers of all kinds at once, beside healthy ones: the healthy are served to the end, and
//! nothing is left afterwards.
//!
//! A program of its own, in which one test runs at a time, because it counts the descriptors of its
//! process.

#[path = "../it/run.rs"]
mod run;
#[cfg(target_os = "linux")]
mod siege;

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_lite::AsyncReadExt;
use picot_loop::{LoopHandle, spawn, yield_now};
use picot_net::{Protocol, Server, TcpStream, Transport};

use crate::run::run;

/// The number of peers of each kind.
const EACH: usize = 20;

struct Echo;

impl Protocol for Echo {
    fn data(&mut self, transport: &Transport, data: &[u8]) {
        let _ = transport.write(data);
    }

    fn pause_writing(&mut self, transport: &Transport) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &Transport) {
        transport.resume_reading();
    }
}

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 512];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

/// Runs a test while no other test runs. After it the process has as many open descriptors as
/// before.
fn alone(test: impl Future<Output = io::Result<()>>) {
    without_loop(|| run(test));
}

/// The same for a test that has its own loops.
fn without_loop(test: impl FnOnce()) {
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = descriptors();
    test();
    assert_eq!(descriptors(), before);
}

/// The number of open descriptors of this process, if the system reports it: the lowest of many
/// readings, because a thread of the test harness may have one for a moment.
fn descriptors() -> usize {
    let read = |_| {
        std::thread::yield_now();
        std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
    };
    (0..200).map(read).min().unwrap_or(0)
}

/// Sends, and checks the bytes that come back.
async fn healthy(address: SocketAddr, n: usize) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    for round in 0..50_usize {
        let message = [n as u8, round as u8].repeat(100);
        stream.write_all(&message).await?;
        let mut back = vec![0; message.len()];
        stream.read_exact(&mut back).await?;
        assert_eq!(back, message);
    }
    Ok(())
}

/// Resets the connection while an answer is in flight.
async fn resets(address: SocketAddr) -> io::Result<()> {
    for _ in 0..5 {
        let stream = TcpStream::connect(address).await?;
        stream.write_all(&[1; 1_000]).await?;
        yield_now().await;
        stream.socket().set_linger(Some(Duration::ZERO))?;
    }
    Ok(())
}

/// Ends its writing direction before it has sent anything, and continues to read.
async fn half_closes(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.shutdown(Shutdown::Write)?;
    assert_eq!(stream.read(&mut [0]).await?, 0);
    Ok(())
}

/// Sends one byte in each turn.
async fn one_byte_at_a_time(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    for n in 0..200_u8 {
        stream.write_all(&[n]).await?;
        yield_now().await;
    }
    let mut back = [0; 200];
    stream.read_exact(&mut back).await?;
    assert!(back.iter().copied().eq(0..200));
    Ok(())
}

/// Sends until the socket is full, reads nothing, and closes when it is dropped.
async fn never_reads(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    loop {
        stream.write_all(&[2; 65_536]).await?;
    }
}

/// Sends nothing, and closes when it is dropped.
async fn never_sends(address: SocketAddr) -> io::Result<()> {
    let stream = TcpStream::connect(address).await?;
    stream.read(&mut [0]).await.map(drop)
}

async fn storm(server: Server) -> io::Result<()> {
    let address = server.local_addrs()[0];
    let quiet = (LoopHandle::current().tasks().len(), descriptors());
    let (mut ending, mut staying) = (Vec::new(), Vec::new());
    for n in 0..EACH {
        ending.push(spawn(healthy(address, n)));
        ending.push(spawn(resets(address)));
        ending.push(spawn(half_closes(address)));
        ending.push(spawn(one_byte_at_a_time(address)));
        staying.push(spawn(never_reads(address)));
        staying.push(spawn(never_sends(address)));
    }
    for task in ending {
        task.await.unwrap()?;
    }
    // The healthy clients are done, beside all others.
    assert!(staying.iter().all(|task| !task.is_finished()));
    for task in staying {
        assert!(task.cancel_and_wait("the test has ended").await.is_none());
    }
    while server.clients() > 0 {
        yield_now().await;
    }
    while LoopHandle::current().tasks().len() > quiet.0 {
        yield_now().await;
    }
    assert_eq!(descriptors(), quiet.1);
    // The server serves as before.
    healthy(address, 0).await?;
    assert_eq!(server.shutdown(Duration::from_secs(60)).await, 0);
    Ok(())
}

#[test]
fn by_streams_the_healthy_are_served_and_nothing_is_left() {
    alone(async {
        let server = Server::builder().bind("127.0.0.1:0").await?.serve(|stream, _| async move {
            // A hostile peer is not an error of the server.
            let _ = echo(stream).await;
            Ok(())
        })?;
        storm(server).await
    });
}

#[test]
fn by_protocol_the_healthy_are_served_and_nothing_is_left() {
    alone(async { storm(Server::builder().bind("127.0.0.1:0").await?.serve_protocol(|| Echo)?).await });
}

/// With a limit above this, the test is skipped, because it cannot use up all descriptors.
#[cfg(target_os = "linux")]
const MOST: usize = 100_000;

#[cfg(target_os = "linux")]
#[test]
fn a_group_whose_last_loop_cannot_start_is_an_error_that_leaves_no_thread_and_no_future() {
    use std::fs::{File, read_dir};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// Counts itself late, to show which code does not wait for that.
    struct Counted(&'static AtomicUsize);

    impl Drop for Counted {
        fn drop(&mut self) {
            (0..10_000).for_each(|_| std::thread::yield_now());
            self.0.fetch_add(1, SeqCst);
        }
    }

    static MADE: AtomicUsize = AtomicUsize::new(0);
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    without_loop(|| {
        let threads = || read_dir("/proc/self/task").unwrap().count();
        let before = threads();
        // Room for some loops, but not for as many as are requested.
        let mut all: Vec<_> = (0..MOST).map_while(|_| File::open("/dev/null").ok()).collect();
        if all.len() == MOST {
            println!("skipped: this process may have more than {MOST} descriptors");
            return;
        }
        all.truncate(all.len() - 20);
        let started = picot_net::LoopGroup::start(50, |_| {
            MADE.fetch_add(1, SeqCst);
            let counted = Counted(&DROPPED);
            async move {
                let _counted = counted;
                std::future::pending::<()>().await;
            }
        });
        drop(all);
        let error = started.unwrap_err();
        assert!(error.to_string().contains("Too many open files"), "{error}");
        assert!(MADE.load(SeqCst) > 0, "the first ones have run before the last was asked for");
        assert_eq!(MADE.load(SeqCst), DROPPED.load(SeqCst));
        // A joined thread can stay in the list of the kernel for a moment.
        for _ in 0..10_000 {
            if threads() == before {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(threads(), before);
    });
}
