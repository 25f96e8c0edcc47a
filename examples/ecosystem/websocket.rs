//! WebSocket by async-tungstenite on picot's streams: a server that echoes, and a client.
//!
//! Without an argument, the program serves itself on loopback; `websocket serve ADDR` only serves,
//! and its first line says where.

use std::env;
use std::error::Error;
use std::io;
use std::time::Duration;

use async_tungstenite::tungstenite::protocol::WebSocketConfig;
use async_tungstenite::tungstenite::{self, Message};
use async_tungstenite::{accept_async_with_config, client_async};
use futures_lite::StreamExt;
use picot::net::{Server, TcpStream};
use picot::timeout;

/// Echoes until the peer closes, or is silent for too long.
async fn echo(stream: TcpStream) -> io::Result<()> {
    let config = WebSocketConfig::default().max_message_size(Some(64 * 1024)).max_frame_size(Some(64 * 1024));
    let handshake = accept_async_with_config(stream, Some(config));
    let mut socket = timeout(Duration::from_secs(5), handshake).await?.map_err(io::Error::other)?;
    while let Some(message) = timeout(Duration::from_secs(60), socket.next()).await? {
        match message {
            // The library answers pings and closes itself.
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                socket.send(message).await.map_err(io::Error::other)?;
            }
            Ok(_) => {}
            Err(tungstenite::Error::ConnectionClosed) => break,
            Err(error) => return Err(io::Error::other(error)),
        }
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    picot::run(async {
        let address = arguments.get(1).map_or("127.0.0.1:0", |address| address);
        let server = Server::builder().bind(address).await?.serve(|stream, _peer| echo(stream))?;
        let address = server.local_addrs()[0];
        if arguments.first().is_some_and(|first| first == "serve") {
            println!("listening at {address}");
            return Ok(server.serve_forever().await?);
        }
        let stream = TcpStream::connect(address).await?;
        let (mut socket, _response) = client_async(format!("ws://{address}/"), stream).await?;
        for text in ["hello", "world"] {
            socket.send(Message::text(text)).await?;
            println!("{}", socket.next().await.ok_or("an end instead of an answer")??);
        }
        socket.close(None).await?;
        while let Some(Ok(_)) = socket.next().await {}
        println!("{} connections aborted", server.shutdown(Duration::from_secs(5)).await);
        Ok(())
    })
}
