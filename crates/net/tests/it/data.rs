//! Data through connections arrives whole and in order, in both directions at once, and under
//! back-pressure.

use std::cell::Cell;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::rc::Rc;

use futures_lite::future::poll_once;
use futures_lite::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use picot_context::budget;
use picot_loop::{spawn, yield_now};
use picot_net::{Duplex, TcpListener, TcpStream};

use crate::{pair, run};

async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

#[test]
fn each_of_sixty_four_clients_gets_its_own_bytes_back() {
    run(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = spawn(async move {
            let mut connections = Vec::new();
            for _ in 0..64 {
                connections.push(spawn(echo(listener.accept().await?.0)));
            }
            for connection in connections {
                connection.await.unwrap()?;
            }
            io::Result::Ok(())
        });
        let clients: Vec<_> = (0..64_u32)
            .map(|n| {
                spawn(async move {
                    let mut stream = TcpStream::connect(address).await?;
                    for round in 0..50_u32 {
                        let message = (n << 16 | round).to_ne_bytes().repeat(16);
                        stream.write_all(&message).await?;
                        let mut back = vec![0; message.len()];
                        stream.read_exact(&mut back).await?;
                        assert_eq!(back, message);
                    }
                    io::Result::Ok(())
                })
            })
            .collect();
        for client in clients {
            client.await.unwrap()?;
        }
        server.await.unwrap()
    });
}

#[test]
fn more_than_the_buffers_hold_goes_through_both_ways_at_once() {
    const LENGTH: usize = 8 << 20;
    run(async {
        let (client, server) = pair().await?;
        let server = spawn(echo(server));
        let client = Rc::new(client);
        let writer = spawn({
            let client = client.clone();
            async move {
                let bytes: Vec<u8> = (0..LENGTH).map(|n| (n % 251) as u8).collect();
                client.write_all(&bytes).await?;
                (&*client).close().await
            }
        });
        let mut back = Vec::new();
        (&*client).read_to_end(&mut back).await?;
        writer.await.unwrap()?;
        server.await.unwrap()?;
        assert_eq!(back.len(), LENGTH);
        assert!(back.iter().enumerate().all(|(n, byte)| *byte == (n % 251) as u8));
        Ok(())
    });
}

#[test]
fn a_dropped_read_loses_nothing_and_the_next_one_works() {
    run(async {
        let (client, server) = pair().await?;
        let mut buffer = [0; 8];
        for _ in 0..3 {
            assert!(poll_once(server.read(&mut buffer)).await.is_none());
        }
        client.write_all(b"hello").await?;
        assert_eq!(server.read(&mut buffer).await?, 5);
        assert_eq!(&buffer[..5], b"hello");
        Ok(())
    });
}

#[test]
fn another_task_can_continue_reading() {
    run(async {
        let (client, server) = pair().await?;
        let server = Rc::new(server);
        let read = |server: Rc<TcpStream>| async move { server.read(&mut [0; 8]).await };
        let first = spawn(read(server.clone()));
        yield_now().await;
        first.cancel("the other one reads");
        let second = spawn(read(server));
        yield_now().await;
        yield_now().await;
        client.write_all(b"x").await?;
        assert_eq!(second.await.unwrap()?, 1);
        Ok(())
    });
}

#[test]
fn data_sent_byte_by_byte_arrives() {
    run(async {
        let (mut client, mut server) = pair().await?;
        let text = b"one byte at a time";
        let writer = spawn(async move {
            for byte in text {
                client.write_all(&[*byte]).await?;
                yield_now().await;
            }
            client.close().await
        });
        let mut back = Vec::new();
        server.read_to_end(&mut back).await?;
        writer.await.unwrap()?;
        assert_eq!(back, text);
        Ok(())
    });
}

#[test]
fn vectored_transfers_move_several_buffers() {
    run(async {
        let (mut client, mut server) = pair().await?;
        let sent = client.write_vectored(&[IoSlice::new(b"ab"), IoSlice::new(b"cde")]).await?;
        assert_eq!(sent, 5);
        let (mut first, mut second) = ([0; 3], [0; 3]);
        let mut buffers = [IoSliceMut::new(&mut first), IoSliceMut::new(&mut second)];
        let read = server.read_vectored(&mut buffers).await?;
        assert_eq!((read, &first, &second), (5, b"abc", b"de\0"));
        Ok(())
    });
}

#[test]
fn a_closed_peer_is_an_end_or_an_error_and_never_a_hang() {
    run(async {
        let (client, server) = pair().await?;
        drop(client);
        assert_eq!(server.read(&mut [0; 8]).await?, 0);
        let block = [0; 65536];
        let error = loop {
            if let Err(error) = server.write_all(&block).await {
                break error;
            }
        };
        assert!(matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset), "{error}");
        Ok(())
    });
}

/// Both sides end their writing direction, in either order and in each of three ways, with data in
/// flight: the data arrives before the end, and the other direction works until its own end.
async fn half_closes<S>(pair: impl AsyncFn() -> io::Result<(S, S)>) -> io::Result<()>
where
    S: Duplex,
    for<'a> &'a S: AsyncRead + AsyncWrite,
{
    async fn end<S: Duplex>(stream: &S, way: usize) -> io::Result<()>
    where
        for<'a> &'a S: AsyncWrite,
    {
        match way {
            0 => stream.shutdown(Shutdown::Write),
            1 => { stream }.close().await,
            _ => {
                // A second call has no effect.
                stream.shutdown(Shutdown::Write)?;
                { stream }.close().await
            }
        }
    }
    for way in 0..3 {
        for is_client_first in [true, false] {
            let (one, two) = pair().await?;
            let (first, second) = if is_client_first { (&one, &two) } else { (&two, &one) };
            let (mut text, mut buffer) = (String::new(), [0; 8]);
            { first }.write_all(b"last words").await?;
            end(first, way).await?;
            assert!({ first }.write_all(b"late").await.is_err(), "after its own end");
            { second }.write_all(b"before").await?;
            { second }.read_to_string(&mut text).await?;
            assert_eq!(text, "last words");
            assert_eq!({ second }.read(&mut buffer).await?, 0, "and the state is final");
            { second }.write_all(b" and after").await?;
            end(second, way).await?;
            text.clear();
            { first }.read_to_string(&mut text).await?;
            assert_eq!(text, "before and after");
            assert_eq!({ first }.read(&mut buffer).await?, 0, "and the state is final");
        }
    }
    Ok(())
}

#[test]
fn each_direction_ends_separately_in_either_order_and_in_each_way() {
    run(async {
        half_closes(pair).await?;
        #[cfg(unix)]
        half_closes(async || picot_net::UnixStream::pair()).await?;
        Ok(())
    });
}

#[test]
fn shutting_down_the_reading_direction_ends_a_pending_read() {
    run(async {
        let (client, server) = pair().await?;
        let (client, mut buffer) = (Rc::new(client), [0; 8]);
        let reading = spawn({
            let client = client.clone();
            async move { client.read(&mut [0; 8]).await }
        });
        yield_now().await;
        client.shutdown(Shutdown::Read)?;
        assert_eq!(reading.await.unwrap()?, 0);
        // The other direction is unchanged.
        client.write_all(b"still").await?;
        assert_eq!(server.read(&mut buffer).await?, 5);
        client.shutdown(Shutdown::Both)?;
        assert_eq!(server.read(&mut buffer).await?, 0);
        Ok(())
    });
}

/// Sends more slices than the kernel takes at once, some of them empty, and receives into more
/// buffers than are needed.
#[test]
fn vectored_transfers_continue_where_they_stopped() {
    run(async {
        let (mut client, mut server) = pair().await?;
        let bytes: Vec<u8> = (0..1 << 20).map(|n: usize| (n % 251) as u8).collect();
        let expected = bytes.clone();
        let writing = spawn(async move {
            let mut sent = 0;
            while sent < bytes.len() {
                let mut slices = vec![IoSlice::new(&[])];
                slices.extend(bytes[sent..].chunks(100).map(IoSlice::new));
                let count = client.write_vectored(&slices).await?;
                assert!(count > 0);
                sent += count;
            }
            client.close().await
        });
        let (mut back, mut memory) = (Vec::<u8>::new(), vec![[0; 7]; 2_000]);
        loop {
            let mut buffers: Vec<_> = memory.iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
            match server.read_vectored(&mut buffers).await? {
                0 => break,
                read => back.extend_from_slice(&memory.concat()[..read]),
            }
        }
        writing.await.unwrap()?;
        assert!(back == expected);
        assert_eq!(server.read_vectored(&mut []).await?, 0);
        Ok(())
    });
}

#[test]
fn a_connection_that_always_has_data_lets_other_tasks_run() {
    run(async {
        let (client, server) = pair().await?;
        // The peer of this reader always has data, so without a budget the reader would occupy the
        // loop.
        let total = Rc::new(Cell::new(0));
        let sum = total.clone();
        let greedy = spawn(async move {
            let mut buffer = [0; 16];
            loop {
                match server.read(&mut buffer).await? {
                    0 => return io::Result::Ok(()),
                    read => sum.set(sum.get() + read),
                }
            }
        });
        client.write_all(&[0; 16 * 1_000]).await?;
        // The data has arrived; only the budget lets this task run in between.
        let mut steps = 0;
        while total.get() < 16_000 {
            let before = total.get();
            yield_now().await;
            let read = total.get() - before;
            assert!(read <= 16 * (budget::PER_STEP / budget::PER_CALL) as usize, "{read} bytes in one step");
            steps += usize::from(read > 0);
        }
        assert!(steps >= 32, "a thousand reads take at least 32 steps of 32, and took {steps}");
        drop(client);
        greedy.await.unwrap()
    });
}

#[test]
fn a_dropped_write_returns_its_unsent_bytes() {
    run(async {
        let (client, server) = pair().await?;
        let bytes: Vec<u8> = (0..1 << 24).map(|n: usize| (n / 7) as u8).collect();
        let mut write = Box::pin(client.write_all(&bytes));
        assert_eq!(write.unsent().len(), bytes.len());
        // The peer does not read, so the first poll fills the socket.
        assert!(poll_once(&mut write).await.is_none());
        let unsent = write.unsent();
        drop(write);
        assert!(!unsent.is_empty() && unsent.len() < bytes.len());
        // The bytes that were sent and the unsent rest are the whole.
        let mut got = vec![0; bytes.len()];
        let write_rest = async {
            let mut rest = client.write_all(unsent);
            (&mut rest).await?;
            assert!(rest.unsent().is_empty());
            io::Result::Ok(())
        };
        let read_all = async { (&server).read_exact(&mut got).await };
        futures_lite::future::try_zip(write_rest, read_all).await?;
        assert!(got == bytes);
        io::Result::Ok(())
    });
}
