//! The stream in memory behaves as a connection does.

use std::io::ErrorKind;

use futures_lite::future::{block_on, poll_once};
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use picot_loop::{EventLoop, VirtualClock, spawn};
use picot_net::duplex;

#[test]
fn bytes_written_at_one_end_are_read_at_the_other_in_both_directions() {
    block_on(async {
        let (mut near, mut far) = duplex(64);
        near.write_all(b"ping").await.unwrap();
        far.write_all(b"pong").await.unwrap();
        let mut buffer = [0; 4];
        far.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, *b"ping");
        near.read_exact(&mut buffer).await.unwrap();
        assert_eq!(buffer, *b"pong");
    });
}

#[test]
fn a_writer_of_a_full_pipe_waits_until_bytes_are_read() {
    EventLoop::builder().clock(&VirtualClock::new()).error_on_deadlock().run(async {
        let (mut near, mut far) = duplex(3);
        let writer = spawn(async move {
            near.write_all(&[7; 1000]).await.unwrap();
            near
        });
        let mut all = Vec::new();
        let mut buffer = [0; 2];
        while all.len() < 1000 {
            let count = far.read(&mut buffer).await.unwrap();
            assert!(count > 0);
            all.extend_from_slice(&buffer[..count]);
        }
        assert_eq!(all, [7; 1000]);
        drop(writer.await.unwrap());
        assert_eq!(far.read(&mut buffer).await.unwrap(), 0);
    });
}

#[test]
fn a_reader_sees_the_end_after_the_last_byte_and_the_other_direction_works() {
    block_on(async {
        let (mut near, mut far) = duplex(64);
        near.write_all(b"last").await.unwrap();
        near.close().await.unwrap();
        assert_eq!(near.write(b"more").await.unwrap_err().kind(), ErrorKind::BrokenPipe);
        let mut text = String::new();
        far.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last");
        far.write_all(b"answer").await.unwrap();
        drop(far);
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    });
}

#[test]
fn dropping_the_reader_is_a_broken_pipe_for_pending_and_later_writes() {
    block_on(async {
        let (mut near, far) = duplex(1);
        near.write_all(b"x").await.unwrap();
        let mut waiting = Box::pin(near.write_all(b"y"));
        assert!(poll_once(&mut waiting).await.is_none());
        drop(far);
        assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn a_dropped_read_loses_no_byte() {
    block_on(async {
        let (mut near, mut far) = duplex(8);
        let mut buffer = [0; 8];
        assert!(poll_once(far.read(&mut buffer)).await.is_none());
        near.write_all(b"all").await.unwrap();
        assert_eq!(far.read(&mut buffer).await.unwrap(), 3);
    });
}
