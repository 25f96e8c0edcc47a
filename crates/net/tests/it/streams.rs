//! Buffered reading and writing: separators at any position, limits, ends, and no loss with a
//! dropped future.

use std::io;

use futures_lite::future::poll_once;
use futures_lite::{AsyncReadExt, AsyncWriteExt};
use picot_loop::{spawn, yield_now};
use picot_net::{ReadError, Reader, TcpStream, Writer, duplex, open_connection, start_server};

use crate::{pair, run};

/// Sends `chunks` to a reader. The kernel decides how much arrives at once; the unit tests of the
/// reader cover every cut.
async fn fed(chunks: &'static [&'static [u8]]) -> io::Result<Reader<TcpStream>> {
    let (client, server) = pair().await?;
    drop(spawn(async move {
        for chunk in chunks {
            client.write_all(chunk).await.unwrap();
            yield_now().await;
        }
    }));
    Ok(Reader::new(server))
}

fn incomplete(error: ReadError) -> (Vec<u8>, Option<usize>) {
    match error {
        ReadError::Incomplete { partial, expected } => (partial, expected),
        other => panic!("{other}"),
    }
}

#[test]
fn lines_are_whole_wherever_the_chunks_end() {
    run(async {
        let mut reader = fed(&[b"one\ntw", b"o\r", b"\n\nfo", b"ur"]).await?;
        for expected in ["one", "two", "", "four"] {
            assert_eq!(reader.read_line().await?.as_deref(), Some(expected));
        }
        assert_eq!(reader.read_line().await?, None);
        assert_eq!(reader.read_line().await?, None, "and the state is final");
        assert!(reader.at_eof());
        Ok(())
    });
}

#[test]
fn lines_are_a_stream_and_leave_the_rest() {
    run(async {
        let mut lines = fed(&[b"a\nb\nc"]).await?.lines();
        assert_eq!(lines.next().await.unwrap()?, "a");
        assert_eq!(lines.next().await.unwrap()?, "b");
        let mut reader = lines.into_inner();
        assert_eq!(reader.read_to_end().await?, b"c");
        assert!(reader.lines().next().await.is_none());
        Ok(())
    });
}

#[test]
fn a_separator_of_several_bytes_is_found_across_chunks() {
    run(async {
        let mut reader = fed(&[b"headA", b"A", b"ABbodyAAB", b"rest"]).await?;
        assert_eq!(reader.read_until(b"AAB").await?, b"headAAAB");
        assert_eq!(reader.read_until(b"AAB").await?, b"bodyAAB");
        assert_eq!(incomplete(reader.read_until(b"AAB").await.unwrap_err()), (b"rest".to_vec(), None));
        Ok(())
    });
}

#[test]
fn the_separator_that_ends_first_counts_and_then_the_longest() {
    run(async {
        let mut reader = fed(&[b"a\r\nb\nc;d\r", b"\n"]).await?;
        let separators: [&[u8]; 3] = [b"\n", b"\r\n", b";"];
        for expected in [&b"a\r\n"[..], b"b\n", b"c;", b"d\r\n"] {
            assert_eq!(reader.read_until_any(&separators).await?, expected);
        }
        Ok(())
    });
}

#[test]
fn an_end_before_the_length_returns_the_partial_bytes() {
    run(async {
        let mut reader = fed(&[b"12345", b"678"]).await?;
        assert_eq!(reader.read_exact(0).await?, b"");
        assert_eq!(reader.read_exact(6).await?, b"123456");
        let error = reader.read_exact(6).await.unwrap_err();
        assert_eq!(error.to_string(), "the stream ended after 2 of 6 bytes");
        assert_eq!(incomplete(error), (b"78".to_vec(), Some(6)));
        assert!(reader.at_eof());
        Ok(())
    });
}

#[test]
fn a_separator_beyond_the_limit_keeps_the_buffer_and_a_line_beyond_it_is_dropped() {
    run(async {
        let mut reader = fed(&[b"0123456789;short;"]).await?.with_limit(8);
        for _ in 0..2 {
            match reader.read_until(b";").await.unwrap_err() {
                ReadError::LimitOverrun { limit: 8, found: Some(11) } => {}
                other => panic!("{other}"),
            }
        }
        assert_eq!(reader.read_exact(11).await?, b"0123456789;");
        assert_eq!(reader.read_until(b";").await?, b"short;");

        let (client, server) = pair().await?;
        let mut reader = Reader::new(server).with_limit(8);
        client.write_all(b"0123456789\nshort\n0123456789").await?;
        assert!(matches!(reader.read_line().await, Err(ReadError::LimitOverrun { .. })));
        assert_eq!(reader.read_line().await?.as_deref(), Some("short"));
        // The end of the line has not arrived, so only its beginning is dropped.
        assert!(matches!(reader.read_line().await, Err(ReadError::LimitOverrun { found: None, .. })));
        client.write_all(b"AB\nnext\n").await?;
        assert_eq!(reader.read_line().await?.as_deref(), Some("AB"));
        assert_eq!(reader.read_line().await?.as_deref(), Some("next"));
        Ok(())
    });
}

#[test]
fn exactly_the_limit_is_allowed() {
    run(async {
        let mut reader = fed(&[b"01234567;", b"0123", b"4567\r", b"\n"]).await?.with_limit(8);
        assert_eq!(reader.read_until(b";").await?, b"01234567;");
        assert_eq!(reader.read_until(b"\r\n").await?, b"01234567\r\n");
        Ok(())
    });
}

#[test]
fn a_line_that_is_not_utf8_is_an_error_and_is_dropped() {
    run(async {
        let mut reader = fed(&[b"\xff\xfe\nfine\n"]).await?;
        let error: io::Error = reader.read_line().await.unwrap_err().into();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(reader.read_line().await?.as_deref(), Some("fine"));
        Ok(())
    });
}

/// Over a socket, with each read dropped once. The unit tests of the reader drop after any number
/// of polls.
#[test]
fn a_dropped_read_loses_no_byte() {
    run(async {
        let (client, server) = pair().await?;
        let mut reader = Reader::new(server);
        for round in 0..20 {
            client.write_all(b"fir").await?;
            assert!(poll_once(reader.read_line()).await.is_none());
            client.write_all(b"st\nse").await?;
            assert_eq!(reader.read_line().await?.as_deref(), Some("first"), "{round}");
            assert!(poll_once(reader.read_exact(6)).await.is_none());
            assert!(poll_once(reader.read_until(b";")).await.is_none());
            assert!(poll_once(reader.read_to_end()).await.is_none());
            client.write_all(b"cond").await?;
            assert_eq!(reader.read_exact(6).await?, b"second");
            assert!(reader.buffer().is_empty());
        }
        Ok(())
    });
}

#[test]
fn large_data_passes_through_all_ways_of_reading() {
    run(async {
        let (mut client, server) = pair().await?;
        let bytes: Vec<u8> = (0..2 << 20).map(|n| (n % 251) as u8).collect();
        let expected = bytes.clone();
        let writer = spawn(async move {
            client.write_all(&bytes).await?;
            client.close().await
        });
        let mut reader = Reader::new(server);
        let mut back = reader.read_exact(300_000).await?;
        let mut piece = vec![0; 1 << 16];
        for size in [1, 100, 5_000, 1 << 16] {
            let read = reader.read(&mut piece[..size]).await?;
            assert!((1..=size).contains(&read));
            back.extend_from_slice(&piece[..read]);
        }
        back.extend(reader.read_to_end().await?);
        writer.await.unwrap()?;
        assert!(back == expected);
        Ok(())
    });
}

#[test]
fn buffered_bytes_are_sent_in_order_with_the_next_write_or_flush() {
    run(async {
        let (mut client, server) = pair().await?;
        let mut writer = Writer::new(server);
        writer.put(b"one ");
        writer.put(b"two ");
        assert_eq!(writer.unsent(), 8);
        assert!(poll_once(client.read(&mut [0; 8])).await.is_none(), "nothing is sent before a flush");
        writer.write_all(b"three ").await?;
        assert_eq!(writer.unsent(), 0);
        writer.put(b"four");
        writer.close().await?;
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        assert_eq!(text, "one two three four");
        Ok(())
    });
}

#[test]
fn the_next_write_continues_a_dropped_one_without_a_gap() {
    run(async {
        let (mut client, server) = pair().await?;
        let bytes: Vec<u8> = (0..8 << 20).map(|n| (n % 251) as u8).collect();
        let mut writer = Writer::new(server);
        // More than the kernel takes, so that the write is dropped halfway.
        assert!(poll_once(writer.write_all(&bytes)).await.is_none());
        let unsent = writer.unsent();
        assert!(0 < unsent && unsent < bytes.len(), "{unsent}");
        let reading = spawn(async move {
            let mut back = Vec::new();
            client.read_to_end(&mut back).await.map(|_| back)
        });
        writer.write_all(b"and the rest").await?;
        writer.close().await?;
        let back = reading.await.unwrap()?;
        assert!(back[..bytes.len()] == bytes && &back[bytes.len()..] == b"and the rest");
        Ok(())
    });
}

#[test]
fn a_connection_and_a_server_by_the_names_of_asyncio() {
    run(async {
        let server = start_server("127.0.0.1:0", |mut reader, mut writer| async move {
            while let Some(line) = reader.read_line().await? {
                writer.put(line.to_uppercase().as_bytes());
                writer.put(b"\n");
                writer.flush().await?;
            }
            writer.write_all(b"that is all").await
        })
        .await?;
        let (mut reader, mut writer) = open_connection(server.local_addrs()[0]).await?;
        writer.write_all(b"hello\nyou\n").await?;
        assert_eq!(reader.read_line().await?.as_deref(), Some("HELLO"));
        writer.close().await?;
        assert_eq!(reader.read_to_end().await?, b"YOU\nthat is all");
        server.close();
        server.wait_closed().await;
        Ok(())
    });
}

#[test]
fn lines_are_written_and_read_without_an_extension_trait() {
    run(async {
        let (near, far) = duplex(8);
        let mut writer = Writer::new(near);
        let sending = spawn(async move {
            writer.put(b"before ");
            for line in ["one", "", "longer than the stream holds"] {
                writer.write_line(line).await?;
            }
            assert_eq!(writer.unsent(), 0);
            io::Result::Ok(())
        });
        let mut lines = Reader::new(far).with_limit(64).lines();
        for expected in ["before one", "", "longer than the stream holds"] {
            assert_eq!(lines.next().await.unwrap().unwrap(), expected);
        }
        sending.await.unwrap()?;
        assert!(lines.next().await.is_none());
        Ok(())
    });
}

#[test]
fn the_next_write_completes_a_line_whose_write_was_dropped_halfway() {
    run(async {
        let (near, far) = duplex(4);
        let mut writer = Writer::new(near);
        assert!(poll_once(writer.write_line("halfway")).await.is_none());
        let sending = spawn(async move { writer.write_line("next").await });
        let mut lines = Reader::new(far).lines();
        assert_eq!(lines.next().await.unwrap().unwrap(), "halfway");
        assert_eq!(lines.next().await.unwrap().unwrap(), "next");
        sending.await.unwrap()
    });
}
