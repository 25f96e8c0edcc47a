//! A client that sends bytes as they are.

use std::io;
use std::net::SocketAddr;

use picot_net::TcpStream;
use serde_json::Value;

/// Sends `request` and reads the answer to its end.
pub(crate) async fn exchange(address: SocketAddr, request: &[u8]) -> io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    stream.write_all(request).await?;
    read_all(&stream).await
}

pub(crate) async fn read_all(stream: &TcpStream) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(String::from_utf8(text).expect("UTF-8")),
            length => text.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Gets `path` as a plain program on this machine. Returns the status and the content.
pub(crate) async fn get(address: SocketAddr, path: &str) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let answer = exchange(address, request.as_bytes()).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.lines().next().unwrap().strip_prefix("HTTP/1.1 ").expect("a status");
    (status.to_string(), body.to_string())
}

pub(crate) async fn json(address: SocketAddr, path: &str) -> Value {
    let (status, body) = get(address, path).await;
    assert_eq!(status, "200 OK", "{body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}"))
}
