//! Looks inside of a running program: a dump of its tasks, and a trace of an echo server.
//!
//! Usage: `look_inside dump` prints what each task of a small program waits for. `look_inside trace
//! FILE` lets 64 clients send ten messages each to an echo server, and writes what the loop did to
//! FILE. Open that in <https://ui.perfetto.dev>.

use std::cell::Cell;
use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::rc::Rc;
use std::time::Duration;

use picot::net::{TcpListener, TcpStream};
use picot::prelude::*;
use picot::spawn_named;
use picot::sync::{Mutex, Queue};
use picot_examples::{echo, round_trip};

const CLIENTS: usize = 64;
const MESSAGES: usize = 10;

/// A program of which each task waits for something else.
async fn dump() {
    let (orders, stock) = (Rc::new(Queue::<u32>::new(8)), Rc::new(Mutex::new(0)));
    let shelf = stock.clone();
    let _clerk = spawn_named("clerk", async move {
        let mut stock = shelf.lock().await;
        let deliveries: Deferred<u32, String> = Deferred::new();
        *stock += deliveries.promise().await.unwrap_or(0);
    });
    let shop = spawn_named("shop", async move {
        let served = picot::scope(async |scope: picot::task::Scope<'_, ()>| {
            drop(scope.spawn_named("takes orders", async { _ = orders.get().await }));
            drop(scope.spawn_named("counts", async { *stock.lock().await += 1 }));
            Ok(())
        });
        served.await
    });
    let _closing = spawn_named("closing time", picot::sleep(Duration::from_secs(8 * 3600)));
    let watcher = spawn_named("watcher", shop.into_future());
    picot::yield_now().await;
    picot::yield_now().await;
    print!("{}", picot::dump());
    drop(watcher);
}

async fn trace(path: &str) -> Result<(), Box<dyn Error>> {
    let handle = LoopHandle::current();
    handle.begin_trace(1_000_000);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let server = spawn_named("accepts", async move {
        while let Ok((stream, _)) = listener.accept().await {
            drop(spawn_named("serves", async { _ = echo(stream).await }));
        }
    });
    let done = Rc::new(Cell::new(0));
    let mut clients = JoinSet::new();
    for n in 0..CLIENTS {
        let done = done.clone();
        let client = async move {
            let mut stream = TcpStream::connect(address).await?;
            let mut answer = [0; 16];
            for _ in 0..MESSAGES {
                round_trip(&mut stream, b"0123456789abcdef", &mut answer).await?;
                done.set(done.get() + 1);
            }
            std::io::Result::Ok(())
        };
        clients.spawn_named(&format!("client {n}"), client);
    }
    while let Some(ended) = clients.next().await {
        ended.1??;
    }
    server.cancel("all clients are done");
    let trace = handle.end_trace().expect("a trace is recorded since the begin of this function");
    let mut file = BufWriter::new(File::create(path)?);
    trace.write_json(&mut file)?;
    file.flush()?;
    println!("{} round trips, {} events lost", done.get(), trace.lost());
    Ok(())
}

#[picot::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["dump"] => dump().await,
        ["trace", path] => trace(path).await?,
        _ => return Err("usage: look_inside dump, or look_inside trace FILE".into()),
    }
    Ok(())
}
