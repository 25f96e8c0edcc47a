//! async-nats on picot's thread: a service, and a hundred requests to it.
//!
//! The argument is the address of a NATS server, such as `127.0.0.1:4222`.

use std::cell::Cell;
use std::env;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::StreamExt as _;
use picot::task::gather;
use picot::{spawn, timeout};

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: guest_nats HOST:PORT")?;
    picot_tokio::run(async {
        let client = async_nats::connect(address).await?;

        // The service is a task of picot's, with state that is not `Send`.
        let mut requests = client.subscribe("double").await?;
        client.flush().await?;
        let (answering, count) = (client.clone(), Rc::new(Cell::new(0)));
        let counter = count.clone();
        let service = spawn(async move {
            while let Some(request) = requests.next().await {
                counter.set(counter.get() + 1);
                let n: u64 = String::from_utf8_lossy(&request.payload).parse()?;
                let reply = request.reply.ok_or("a request without an address to reply to")?;
                answering.publish(reply, (2 * n).to_string().into()).await?;
            }
            Ok::<_, Box<dyn Error>>(())
        });

        let calls = (0..100_u64).map(|n| {
            let client = client.clone();
            spawn(async move {
                let answer = client.request("double", n.to_string().into()).await?;
                Ok::<u64, Box<dyn Error>>(String::from_utf8_lossy(&answer.payload).parse()?)
            })
            .into_future()
        });
        let mut sum = 0;
        for answer in gather(calls.collect::<Vec<_>>()).await? {
            sum += answer?;
        }
        println!("{} requests, sum {sum}", count.get());
        service.cancel("the requests are over");

        // The server buffers nothing for a subject without subscribers.
        let mut silent = client.subscribe("silent").await?;
        let outcome = timeout(Duration::from_millis(20), silent.next()).await;
        println!("timed out: {}", outcome.is_err());
        client.drain().await?;
        Ok(())
    })
}
