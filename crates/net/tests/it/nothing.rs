//! Operations with nothing to move return at once, on every stream and in every state.

use std::io::{self, IoSlice, IoSliceMut};

use futures_lite::future::poll_once;
use futures_lite::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use picot_loop::yield_now;
use picot_net::{Reader, TcpStream, Writer, duplex};

use crate::{pair, run};

/// No data has arrived.
async fn reads_nothing(name: &str, stream: &mut (impl AsyncRead + Unpin)) {
    // With a full budget.
    yield_now().await;
    assert_eq!(poll_once(stream.read(&mut [])).await.expect(name).unwrap(), 0, "{name}");
    let mut none: [&mut [u8]; 3] = [&mut [], &mut [], &mut []];
    for count in [0, 1, 3] {
        let mut buffers: Vec<_> = none[..count].iter_mut().map(|buffer| IoSliceMut::new(buffer)).collect();
        let read = poll_once(stream.read_vectored(&mut buffers)).await;
        assert_eq!(read.expect(name).unwrap(), 0, "{name}, {count}");
    }
    assert!(poll_once(stream.read(&mut [0])).await.is_none(), "{name}: with room, a read waits");
}

async fn writes_nothing(name: &str, stream: &mut (impl AsyncWrite + Unpin)) {
    yield_now().await;
    assert_eq!(poll_once(stream.write(&[])).await.expect(name).unwrap(), 0, "{name}");
    for count in [0, 1, 3] {
        let slices = vec![IoSlice::new(&[]); count];
        let written = poll_once(stream.write_vectored(&slices)).await;
        assert_eq!(written.expect(name).unwrap(), 0, "{name}, {count}");
    }
    assert!(poll_once(stream.write_all(&[])).await.expect(name).is_ok(), "{name}");
}

/// Fills a stream whose peer does not read.
async fn fill(stream: &mut (impl AsyncWrite + Unpin)) {
    let bytes = vec![0; 1 << 20];
    for _ in 0..64 {
        yield_now().await;
        if poll_once(stream.write_all(&bytes)).await.is_none() {
            return;
        }
    }
    panic!("a stream that takes 64 MiB without a reader");
}

async fn is_done_at_once(name: &str, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) {
    reads_nothing(name, stream).await;
    writes_nothing(name, stream).await;
    fill(stream).await;
    writes_nothing(name, stream).await;
}

#[test]
fn a_read_without_room_and_a_write_without_bytes_return_at_once_on_every_stream() {
    run(async {
        let (mut tcp, _peer) = pair().await?;
        is_done_at_once("TCP", &mut tcp).await;
        is_done_at_once("a reference", &mut &tcp).await;
        assert_eq!(poll_once(tcp.read(&mut [])).await.unwrap()?, 0);
        assert_eq!(poll_once(tcp.peek(&mut [])).await.unwrap()?, 0);
        assert!(poll_once(tcp.write_all(&[])).await.unwrap().is_ok());

        let (tcp, _peer) = pair().await?;
        let (mut read, mut write) = tcp.split();
        reads_nothing("a half", &mut read).await;
        fill(&mut write).await;
        writes_nothing("a half", &mut write).await;
        let mut reader = Reader::new(read);
        reads_nothing("a reader", &mut reader).await;
        assert_eq!(poll_once(reader.read_exact(0)).await.unwrap().unwrap(), b"");
        // A writer sends the bytes in its buffer before it accepts more.
        let (tcp, _peer) = pair().await?;
        writes_nothing("a writer", &mut Writer::new(tcp)).await;

        let (mut near, _far) = duplex(16);
        is_done_at_once("memory", &mut near).await;
        #[cfg(unix)]
        {
            let (mut one, _two) = picot_net::UnixStream::pair()?;
            is_done_at_once("Unix", &mut one).await;
        }
        #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
        {
            let (mut one, mut two) = crate::tls::connected().await?;
            // Session tickets follow the handshake; they are not data.
            one.write_all(b"a").await?;
            one.flush().await?;
            two.read_exact(&mut [0]).await?;
            two.write_all(b"a").await?;
            two.flush().await?;
            one.read_exact(&mut [0]).await?;
            reads_nothing("TLS", &mut one).await;
            writes_nothing("TLS", &mut one).await;
        }
        Ok(())
    });
}

/// Data in the socket stays there, and so does the end of the stream.
#[test]
fn a_read_without_room_takes_nothing() {
    run(async {
        let (client, server) = pair().await?;
        let mut reader = Reader::new(server);
        client.write_all(b"line\n").await?;
        assert_eq!(reader.read(&mut []).await?, 0);
        assert_eq!(reader.fill_buf().await?, b"line\n");
        assert_eq!(reader.read(&mut []).await?, 0);
        assert_eq!(reader.read_line().await?.as_deref(), Some("line"));
        let server: TcpStream = reader.into_parts().0;
        drop(client);
        assert_eq!(server.read(&mut []).await?, 0);
        assert_eq!(server.read(&mut [0]).await?, 0);
        io::Result::Ok(())
    });
}

#[test]
fn the_stream_in_memory_moves_several_slices_at_a_time() {
    run(async {
        let (mut near, mut far) = duplex(8);
        let slices = [&b"ab"[..], b"", b"cdef", b"ghijk"].map(IoSlice::new);
        assert_eq!(near.write_vectored(&slices).await?, 8, "as much as there is room for");
        let (mut one, mut two, mut three) = ([0; 3], [0; 0], [0; 9]);
        let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut two), IoSliceMut::new(&mut three)];
        assert_eq!(far.read_vectored(&mut buffers).await?, 8);
        assert_eq!((&one, &three[..5]), (b"abc", &b"defgh"[..]));
        let mut buffers = [IoSliceMut::new(&mut one), IoSliceMut::new(&mut three)];
        assert!(poll_once(far.read_vectored(&mut buffers)).await.is_none());
        drop(far);
        assert_eq!(near.write_vectored(&slices).await.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        Ok(())
    });
}

#[test]
fn a_writer_collects_several_slices_at_a_time() {
    run(async {
        let (near, mut far) = duplex(16);
        let mut writer = Writer::new(near);
        let slices = [&b"ab"[..], b"", b"cd"].map(IoSlice::new);
        assert_eq!(writer.write_vectored(&slices).await?, 4);
        writer.flush().await?;
        let mut buffer = [0; 8];
        assert_eq!(far.read(&mut buffer).await?, 4);
        assert_eq!(&buffer[..4], b"abcd");
        Ok(())
    });
}
