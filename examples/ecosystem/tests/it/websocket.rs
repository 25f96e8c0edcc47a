//! WebSocket on picot's streams: the client of the same library, and one by hand.

use std::io::{Read, Write};
use std::net::TcpStream;

use picot_examples::program::{example, lines, server};

#[test]
fn a_client_gets_its_messages_back_and_the_server_closes_with_it() {
    let output = example("websocket").output().unwrap();
    let expected = ["hello", "world", "0 connections aborted"];
    assert_eq!(lines(&output), (Some(0), expected.map(String::from).into(), Vec::new()));
}

#[test]
fn frames_in_pieces_a_ping_and_a_close_are_answered() {
    let (_server, address) = server("websocket", &["serve", "127.0.0.1:0"]);
    let mut stream = TcpStream::connect(&address).unwrap();
    let request = "GET / HTTP/1.1\r\nhost: test\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        answer.push(byte[0]);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    // Masked by zeros: a text in two frames, a ping between them, and a close.
    for bytes in [&b"\x01\x83\0\0\0\0hel"[..], b"\x89\x82\0\0\0\0hi", b"\x80\x82\0\0\0\0lo", b"\x88\x80\0\0\0\0"] {
        for byte in bytes {
            stream.write_all(&[*byte]).unwrap();
        }
    }
    let mut answers = Vec::new();
    stream.read_to_end(&mut answers).unwrap();
    assert_eq!(answers, b"\x8a\x02hi\x81\x05hello\x88\x00");
}
