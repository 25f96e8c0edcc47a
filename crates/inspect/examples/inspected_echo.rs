//! An echo server with a live page about itself.
//!
//! Usage: `inspected_echo ADDR PAGE [trouble]`, for example `inspected_echo 127.0.0.1:7000
//! 127.0.0.1:6669`. With `trouble` it has clients, a pool of workers, a step that blocks the loop
//! now and then, and two tasks that have locked each other out: something to look at.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use picot_loop::{Instant, interval, sleep, spawn_blocking, spawn_named};
use picot_net::{Server, TcpStream};
use picot_sync::{Mutex, Queue};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (address, page, trouble) = match arguments[..] {
        [address, page] => (address, page, false),
        [address, page, "trouble"] => (address, page, true),
        _ => {
            eprintln!("usage: inspected_echo ADDR PAGE [trouble]");
            return ExitCode::FAILURE;
        }
    };
    match picot_loop::run(serve(address, page, trouble)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("inspected_echo: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(address: &str, page: &str, trouble: bool) -> io::Result<()> {
    let inspector = picot_inspect::serve(page)?;
    let server = Server::builder().bind(address).await?.serve(|stream, _| async move {
        let mut buffer = [0; 4096];
        loop {
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                length => stream.write_all(&buffer[..length]).await?,
            }
        }
    })?;
    println!("listening at {}", server.local_addrs()[0]);
    println!("look at http://{}/", inspector.local_addr());
    if trouble {
        cause_trouble(server.local_addrs()[0]);
    }
    server.serve_forever().await
}

/// Starts tasks that show what the page can show.
fn cause_trouble(server: SocketAddr) {
    for guest in 1..=12 {
        drop(spawn_named(&format!("guest {guest}"), talk(server, Duration::from_millis(30 * guest))));
    }
    let jobs = Rc::new(Queue::new(4));
    for worker in 1..=3 {
        let jobs = jobs.clone();
        let work = async move {
            loop {
                let Some(millis) = jobs.get().await else { return };
                // Stands for a job that blocks its thread.
                let job = move || thread::park_timeout(Duration::from_millis(millis));
                drop(spawn_blocking(job).await);
            }
        };
        drop(spawn_named(&format!("worker {worker}"), work));
    }
    let produce = async move {
        for number in 0.. {
            if jobs.put(200 + 37 * (number % 9)).await.is_err() {
                return;
            }
        }
    };
    drop(spawn_named("producer", produce));
    drop(spawn_named("report builder", build_reports()));

    let (accounts, journal) = (Rc::new(Mutex::new(())), Rc::new(Mutex::new(())));
    let pay = transfer(accounts.clone(), journal.clone());
    let audit = transfer(journal, accounts);
    let (pay, audit) = (spawn_named("pay", pay), spawn_named("audit", audit));
    let month = async move {
        drop(pay.await);
        drop(audit.await);
    };
    drop(spawn_named("close the month", month));
}

/// Sends and receives, with a pause in between.
async fn talk(server: SocketAddr, pause: Duration) -> io::Result<()> {
    let stream = TcpStream::connect(server).await?;
    let mut ticks = interval(pause);
    loop {
        ticks.tick().await;
        stream.write_all(b"hello").await?;
        stream.read(&mut [0; 16]).await?;
    }
}

/// Computes on the loop's thread what should be a blocking job.
async fn build_reports() {
    loop {
        sleep(Duration::from_secs(7)).await;
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_millis(180) {}
    }
}

/// Locks one after the other. Two of these in opposite order lock each other out.
async fn transfer(first: Rc<Mutex<()>>, second: Rc<Mutex<()>>) {
    let _first = first.lock().await;
    sleep(Duration::from_millis(10)).await;
    let _second = second.lock().await;
}
