//! axum's own server as a guest: requests, a time-out, a WebSocket, and an end on Ctrl-C.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use picot_examples::program::server;

/// Sends the head of a request, and reads the head of the answer and what follows it until `end`.
fn ask(stream: &mut TcpStream, head: &str, end: &[u8]) -> String {
    stream.write_all(format!("{head}\r\nhost: test\r\n\r\n").as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(end) {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    String::from_utf8(answer).unwrap()
}

#[test]
fn handlers_of_tokio_and_a_task_of_picot_serve_together_until_ctrl_c() {
    let (mut server, address) = server("guest_axum", &["127.0.0.1:0"]);
    let mut stream = TcpStream::connect(&address).unwrap();
    for visit in ["1", "2"] {
        let answer = ask(&mut stream, "GET / HTTP/1.1", format!("\r\n\r\n{visit}").as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    }
    let answer = ask(&mut stream, "GET /slow HTTP/1.1", b"\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");

    let mut socket = TcpStream::connect(&address).unwrap();
    let upgrade = "GET /echo HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==";
    let answer = ask(&mut socket, upgrade, b"\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    // A text of five bytes, masked by zeros; and back, which is not masked.
    socket.write_all(b"\x81\x85\0\0\0\0hello").unwrap();
    let mut frame = [0; 7];
    socket.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x81\x05hello");
    drop(socket);

    drop(stream);
    let interrupt = Command::new("kill").args(["-INT", &server.child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    assert_eq!(server.line(), "served 2 visits");
    assert!(server.child.wait().unwrap().success());
}
