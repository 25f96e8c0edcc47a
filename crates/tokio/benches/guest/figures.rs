//! The figures, one function each.

use std::cell::Cell;
use std::env;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use picot_loop::{EventLoop, sleep, spawn, yield_now};
use rustix::time::{ClockId, clock_gettime};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};

const ROUNDS: usize = 10_000;

/// The time of this clock in microseconds.
fn micros(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

pub(crate) fn all() {
    match env::args().nth(1).as_deref() {
        Some("idle") => return idle(),
        Some("echo") => return echo(),
        _ => {}
    }
    println!("round trips of a number between two tasks, µs each, least of 5 runs of {ROUNDS}:");
    row("  tokio and tokio", || tokio_alone(ping_pong(Spawn::Tokio)));
    row("  picot and picot", || picot_loop::run(ping_pong(Spawn::Picot)));
    row("  tokio and picot, as a guest", || picot_tokio::run(ping_pong(Spawn::Both)));
    row("  tokio and picot, on two threads", || picot_loop::run(across_threads()));

    println!("requests over a socket of tokio's, from a task of picot's, µs of processor time each:");
    let (_server, address) = server();
    cpu_row("  as a guest", || picot_tokio::run(requests(address)));
    cpu_row("  on two threads", || picot_loop::run(requests_across_threads(address)));

    println!("lateness of 300 sleeps of 1.1 ms, µs, median and p99:");
    lateness("  picot alone", picot_loop::run(latenesses(|| sleep(NAP))));
    lateness("  picot as a guest", picot_tokio::run(latenesses(|| sleep(NAP))));
    lateness("  tokio", tokio_alone(latenesses(|| tokio::time::sleep(NAP))));

    println!("time between two steps beside an always-ready task of the other, µs, median and most of {ROUNDS}:");
    let (median, most) = picot_tokio::run(beside_tokio());
    println!("  picot beside tokio: {median:.1}, {most:.0}");
    let (median, most) = picot_tokio::run(beside_picot());
    println!("  tokio beside picot: {median:.1}, {most:.0}");

    match idle_calls() {
        Some(calls) => println!("system calls of an idle guest in 3 s, with those that begin and end it: {calls}"),
        None => println!("skipped: system calls of an idle guest (strace is not installed)"),
    }
}

fn row(name: &str, run: impl Fn()) {
    let times = (0..5).map(|_| {
        let start = micros(ClockId::Monotonic);
        run();
        micros(ClockId::Monotonic) - start
    });
    println!("{name}: {:.2}", times.fold(f64::MAX, f64::min) / ROUNDS as f64);
}

fn cpu_row(name: &str, run: impl Fn()) {
    let times = (0..5).map(|_| {
        let start = micros(ClockId::ProcessCPUTime);
        run();
        micros(ClockId::ProcessCPUTime) - start
    });
    println!("{name}: {:.2}", times.fold(f64::MAX, f64::min) / ROUNDS as f64);
}

fn tokio_alone<F: Future>(future: F) -> F::Output {
    tokio::runtime::LocalRuntime::new().unwrap().block_on(future)
}

/// Where the two tasks of a ping-pong run.
#[derive(Clone, Copy, PartialEq)]
enum Spawn {
    Tokio,
    Picot,
    Both,
}

async fn ping_pong(spawns: Spawn) {
    let (ping, mut pings) = mpsc::unbounded_channel();
    let (pong, mut pongs) = mpsc::unbounded_channel();
    let answers = async move {
        while let Some(n) = pings.recv().await {
            pong.send(n).unwrap();
        }
    };
    let asks = async move {
        for n in 0..ROUNDS {
            ping.send(n).unwrap();
            assert_eq!(pongs.recv().await, Some(n));
        }
    };
    match spawns {
        Spawn::Picot => drop(spawn(answers)),
        Spawn::Tokio | Spawn::Both => drop(tokio::task::spawn_local(answers)),
    }
    match spawns {
        Spawn::Tokio => tokio::task::spawn_local(asks).await.unwrap(),
        Spawn::Picot | Spawn::Both => spawn(asks).await.unwrap(),
    }
}

/// Runs `work` on a runtime of tokio's on a thread of its own.
fn on_tokio_thread<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) -> thread::JoinHandle<()> {
    thread::spawn(move || tokio_alone(work()))
}

async fn across_threads() {
    let (ping, mut pings) = mpsc::unbounded_channel();
    let (pong, mut pongs) = mpsc::unbounded_channel();
    let thread = on_tokio_thread(move || async move {
        while let Some(n) = pings.recv().await {
            pong.send(n).unwrap();
        }
    });
    for n in 0..ROUNDS {
        ping.send(n).unwrap();
        assert_eq!(pongs.recv().await, Some(n));
    }
    drop(ping);
    thread.join().unwrap();
}

/// One connection, and a request of 64 bytes at a time.
struct Client(tokio::net::TcpStream);

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client(stream)
    }

    async fn ask(&mut self) {
        let mut bytes = [7; 64];
        self.0.write_all(&bytes).await.unwrap();
        self.0.read_exact(&mut bytes).await.unwrap();
    }
}

async fn requests(address: SocketAddr) {
    let task = spawn(async move {
        let mut client = Client::connect(address).await;
        for _ in 0..ROUNDS {
            client.ask().await;
        }
    });
    task.await.unwrap();
}

async fn requests_across_threads(address: SocketAddr) {
    let (request, mut requests) = mpsc::unbounded_channel::<oneshot::Sender<()>>();
    let thread = on_tokio_thread(move || async move {
        let mut client = Client::connect(address).await;
        while let Some(answer) = requests.recv().await {
            client.ask().await;
            answer.send(()).unwrap();
        }
    });
    for _ in 0..ROUNDS {
        let (answer, answered) = oneshot::channel();
        request.send(answer).unwrap();
        answered.await.unwrap();
    }
    drop(request);
    thread.join().unwrap();
}

/// Ends the program that echoes.
struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Starts an echo server as a process of its own, so that its processor time is not counted.
fn server() -> (Echo, SocketAddr) {
    let mut command = Command::new(env::current_exe().unwrap());
    let mut child = command.arg("echo").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    (Echo(child), line.trim().parse().unwrap())
}

fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 64];
            while stream.read_exact(&mut bytes).is_ok() && stream.write_all(&bytes).is_ok() {}
        });
    }
}

const NAP: Duration = Duration::from_micros(1_100);

async fn latenesses<F: Future<Output = ()>>(nap: impl Fn() -> F) -> Vec<f64> {
    let mut found = Vec::new();
    for _ in 0..300 {
        let start = micros(ClockId::Monotonic);
        nap().await;
        found.push(micros(ClockId::Monotonic) - start - 1_100.0);
    }
    found.sort_by(f64::total_cmp);
    found
}

fn lateness(name: &str, found: Vec<f64>) {
    println!("{name}: {:.0}, {:.0}", found[found.len() / 2], found[found.len() * 99 / 100]);
}

/// The median and the greatest time between two of `ROUNDS` steps.
async fn gaps<F: Future<Output = ()>>(step: impl Fn() -> F) -> (f64, f64) {
    let mut gaps = Vec::new();
    for _ in 0..ROUNDS {
        let start = micros(ClockId::Monotonic);
        step().await;
        gaps.push(micros(ClockId::Monotonic) - start);
    }
    gaps.sort_by(f64::total_cmp);
    (gaps[ROUNDS / 2], gaps[ROUNDS - 1])
}

async fn beside_tokio() -> (f64, f64) {
    let is_over = Rc::new(Cell::new(false));
    let ended = is_over.clone();
    let busy = tokio::task::spawn_local(async move {
        while !ended.get() {
            wake_at_once().await;
        }
    });
    let found = spawn(gaps(yield_now)).await.unwrap();
    is_over.set(true);
    busy.await.unwrap();
    found
}

async fn beside_picot() -> (f64, f64) {
    let is_over = Rc::new(Cell::new(false));
    let ended = is_over.clone();
    let busy = spawn(async move {
        while !ended.get() {
            yield_now().await;
        }
    });
    let found = tokio::task::spawn_local(gaps(wake_at_once)).await.unwrap();
    is_over.set(true);
    busy.await.unwrap();
    found
}

/// A yield without tokio's detour by its driver.
async fn wake_at_once() {
    let mut is_woken = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut is_woken, true) {
            return std::task::Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}

/// Waits for three seconds, between two lines.
fn idle() {
    let event_loop = EventLoop::new().unwrap();
    let runtime = tokio::runtime::LocalRuntime::new().unwrap();
    let wait = async {
        println!("begin");
        sleep(Duration::from_secs(3)).await;
        println!("end");
    };
    runtime.block_on(picot_tokio::run_guest(&event_loop, wait)).unwrap();
}

/// The system calls of `idle` between its two lines. `None` without strace.
fn idle_calls() -> Option<usize> {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "signal=none", "-o", "/dev/stderr"]).arg(env::current_exe().unwrap()).arg("idle");
    let output = command.stdout(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let (_, text) = text.split_once("\"begin\\n\"")?;
    let (text, _) = text.split_once("\"end\\n\"")?;
    Some(text.lines().count().saturating_sub(2))
}
