//! Sending files through connections, by the kernel or by reading.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};

use futures_lite::AsyncReadExt;
use futures_lite::future::poll_once;
use picot_loop::{spawn, yield_now};
use picot_net::TcpStream;

use crate::{pair, run};

fn file(name: &str, bytes: &[u8]) -> io::Result<File> {
    File::open(picot_testkit::Folder::new(name).file("content", bytes))
}

/// Three million bytes, more than a socket holds.
fn bytes() -> Vec<u8> {
    (0..3_000_000).map(|n| (n % 251) as u8).collect()
}

/// A connection whose buffers hold only a part of the file.
async fn small_pair() -> io::Result<(TcpStream, TcpStream)> {
    let (client, server) = pair().await?;
    client.socket().set_recv_buffer_size(1 << 16)?;
    server.socket().set_send_buffer_size(1 << 16)?;
    Ok((client, server))
}

#[test]
fn any_range_of_a_file_arrives_and_the_position_of_the_file_stays() {
    run(async {
        let bytes = bytes();
        let mut file = file("send", &bytes)?;
        file.seek(SeekFrom::Start(7))?;
        let (mut client, server) = pair().await?;
        let reading = spawn(async move {
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.map(|_| back)
        });
        assert_eq!(server.send_file(&file, 0..bytes.len() as u64).await?, bytes.len() as u64);
        assert_eq!(server.send_file(&file, 10..20).await?, 10);
        assert_eq!(server.send_file(&file, 2_999_990..u64::MAX).await?, 10, "until the end of the file");
        assert_eq!(server.send_file(&file, 5_000_000..6_000_000).await?, 0, "nothing behind the end");
        assert_eq!(file.stream_position()?, 7);
        drop(server);
        let back = reading.await.unwrap()?;
        assert_eq!(back, [&bytes[..], &bytes[10..20], &bytes[2_999_990..]].concat());
        Ok(())
    });
}

/// A range of a large file, to a peer that reads a little, pauses, and reads on.
#[test]
fn a_slow_peer_gets_the_whole_range_and_the_sender_waits() {
    run(async {
        let bytes = bytes();
        let file = file("slow", &bytes)?;
        let (client, server) = small_pair().await?;
        let sending = spawn(async move { server.send_file(&file, 1_000..3_000_000).await });
        let (mut back, mut buffer) = (Vec::new(), vec![0; 10_000]);
        loop {
            match client.read(&mut buffer).await? {
                0 => break,
                read => back.extend_from_slice(&buffer[..read]),
            }
            // A full socket stops the sender, which has more to send.
            if back.len() < 1_000_000 {
                assert!(!sending.is_finished());
            }
            yield_now().await;
        }
        assert_eq!(sending.await.unwrap()?, 2_999_000);
        assert!(back == bytes[1_000..]);
        Ok(())
    });
}

#[test]
fn a_send_that_is_dropped_halfway_sent_a_prefix_and_the_stream_still_works() {
    run(async {
        let bytes = bytes();
        let file = file("dropped", &bytes)?;
        let (mut client, server) = small_pair().await?;
        let mut sending = Box::pin(server.send_file(&file, 0..3_000_000));
        // The peer does not read, so the socket is full; with `sendfile`, after the first poll.
        assert!(poll_once(&mut sending).await.is_none());
        drop(sending);
        let reading = spawn(async move {
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.map(|_| back)
        });
        server.write_all(b"the end").await?;
        drop(server);
        let back = reading.await.unwrap()?;
        let sent = back.strip_suffix(b"the end").expect("what was written after it");
        assert!(sent.len() < bytes.len() && sent == &bytes[..sent.len()], "{} bytes", sent.len());
        Ok(())
    });
}

#[test]
fn sending_a_file_to_a_closed_peer_is_an_error() {
    run(async {
        let file = file("closed", &bytes())?;
        let (client, server) = pair().await?;
        drop(client);
        let error = loop {
            if let Err(error) = server.send_file(&file, 0..3_000_000).await {
                break error;
            }
        };
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        Ok(())
    });
}

/// A file that the kernel cannot send is read instead.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_the_kernel_cannot_send_is_read_on_a_thread() {
    run(async {
        let (mut client, server) = pair().await?;
        // Files under `/proc/self` have no pages to send from. This one has the same content on
        // every read.
        let expected = std::fs::read("/proc/self/cmdline")?;
        let sent = server.send_file(&File::open("/proc/self/cmdline")?, 0..u64::MAX).await?;
        assert_eq!(sent, expected.len() as u64);
        let mut back = vec![0; expected.len()];
        client.read_exact(&mut back).await?;
        assert!(!back.is_empty() && back == expected, "{back:?}");
        Ok(())
    });
}
