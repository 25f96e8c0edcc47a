//! reqwest on picot's thread: many fetches at a time from picot's tasks, with time-outs of both.
//!
//! The server is one of picot's own, on the same thread. With an argument, the program fetches that
//! URL instead.

use std::cell::Cell;
use std::env;
use std::error::Error;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use picot::net::{TcpListener, TcpStream};
use picot::task::gather;
use picot::{sleep, spawn, timeout};

fn main() -> Result<(), Box<dyn Error>> {
    picot_tokio::run(async {
        let client = reqwest::Client::builder().timeout(Duration::from_millis(200)).build()?;
        if let Some(url) = env::args().nth(1) {
            let answer = client.get(url).send().await?;
            println!("{}: {} bytes", answer.status(), answer.bytes().await?.len());
            return Ok(());
        }

        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let served = Rc::new(Cell::new(0));
        drop(spawn(serve(listener, served.clone())));

        // Twenty fetches at a time, each in a task of picot's, which needs no `Send`.
        let total = Rc::new(Cell::new(0));
        let fetches = (0..20).map(|n| {
            let (client, total, url) = (client.clone(), total.clone(), format!("{url}/{n}"));
            spawn(async move {
                let text = client.get(url).send().await?.text().await?;
                total.set(total.get() + text.len());
                Ok::<_, reqwest::Error>(text)
            })
            .into_future()
        });
        let texts = gather(fetches.collect::<Vec<_>>()).await?;
        for (n, text) in texts.into_iter().enumerate() {
            assert_eq!(text?, format!("you asked for /{n}"));
        }
        println!("fetched {} bytes by {} requests", total.get(), served.get());

        // reqwest's own time-out is a timer of tokio's; `timeout` is one of picot's.
        let slow = client.get(format!("{url}/slow")).send();
        println!("by reqwest's time-out: {}", slow.await.unwrap_err().is_timeout());
        let slow = client.get(format!("{url}/slow")).send();
        println!("by picot's time-out: {}", timeout(Duration::from_millis(20), slow).await.is_err());
        Ok(())
    })
}

async fn serve(listener: TcpListener, served: Rc<Cell<u32>>) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        let served = served.clone();
        drop(spawn(async move {
            // A client that goes away is no error of the server.
            let _ = answer(stream, &served).await;
        }));
    }
}

/// Answers the requests of one connection.
async fn answer(stream: TcpStream, served: &Cell<u32>) -> io::Result<()> {
    let mut reader = picot::net::Reader::new(&stream);
    while let Some(request) = reader.read_line().await? {
        while reader.read_line().await?.is_some_and(|header| !header.is_empty()) {}
        let path = request.split(' ').nth(1).unwrap_or("/").to_string();
        if path == "/slow" {
            sleep(Duration::from_secs(3600)).await;
        }
        served.set(served.get() + 1);
        let body = format!("you asked for {path}");
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
    Ok(())
}
