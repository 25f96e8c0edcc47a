//! tokio's traits on the streams of this crate keep their documented contracts.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use picot_net::duplex;

use crate::{pair, run};

/// Reads once into the free part of the buffer.
async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut ReadBuf<'_>) -> io::Result<()> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, buffer)).await
}

async fn write_all(stream: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes)).await?;
        bytes = &bytes[written..];
    }
    poll_fn(|cx| Pin::new(&mut *stream).poll_flush(cx)).await
}

/// Reads to the end, in pieces of `size`.
async fn rest(stream: &mut (impl AsyncRead + Unpin), size: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut memory) = (Vec::new(), vec![0; size]);
    loop {
        let mut buffer = ReadBuf::new(&mut memory);
        read(stream, &mut buffer).await?;
        if buffer.filled().is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(buffer.filled());
    }
}

#[test]
fn a_read_adds_to_what_the_buffer_holds_and_initialises_no_more_than_it_reads() {
    run(async {
        let (client, mut server) = pair().await?;
        client.write_all(b"world").await?;
        let mut memory = [std::mem::MaybeUninit::uninit(); 16];
        let mut buffer = ReadBuf::uninit(&mut memory);
        buffer.put_slice(b"hello ");
        read(&mut server, &mut buffer).await?;
        assert_eq!(buffer.filled(), b"hello world");
        assert_eq!((buffer.initialized().len(), buffer.remaining()), (11, 5));
        // What was initialised before stays so.
        let mut memory = [7; 16];
        let mut buffer = ReadBuf::new(&mut memory);
        client.write_all(b"again").await?;
        read(&mut server, &mut buffer).await?;
        assert_eq!((buffer.filled(), buffer.initialized().len()), (&b"again"[..], 16));
        Ok(())
    });
}

/// A read of the stream that `sent` was written to, into uninitialised memory: each of `sizes`
/// bytes. Returns what each read has filled.
async fn reads(stream: &mut (impl AsyncRead + Unpin), sizes: &[usize]) -> io::Result<Vec<Vec<u8>>> {
    let mut filled = Vec::new();
    for &size in sizes {
        let mut memory = vec![std::mem::MaybeUninit::uninit(); size];
        let mut buffer = ReadBuf::uninit(&mut memory);
        read(stream, &mut buffer).await?;
        assert_eq!(buffer.initialized().len(), buffer.filled().len(), "of {size} bytes");
        filled.push(buffer.filled().to_vec());
    }
    Ok(filled)
}

#[test]
fn no_kind_of_stream_clears_the_buffer_that_it_reads_into() {
    const SIZES: [usize; 4] = [0, 4, 64, 8];
    const PIECES: [&[u8]; 4] = [b"", b"hell", b"o world", b""];
    run(async {
        let (mut near, mut far) = duplex(64);
        write_all(&mut near, b"hello world").await?;
        drop(near);
        assert_eq!(reads(&mut far, &SIZES).await?, PIECES, "in memory");
        let (near, mut far) = pair().await?;
        near.write_all(b"hello world").await?;
        drop(near);
        assert_eq!(reads(&mut far, &SIZES).await?, PIECES, "TCP");
        let (near, far) = pair().await?;
        near.write_all(b"hello world").await?;
        drop(near);
        assert_eq!(reads(&mut far.split().0, &SIZES).await?, PIECES, "a half");
        #[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
        {
            let (mut near, mut far) = crate::tls::connected().await?;
            write_all(&mut near, b"hello world").await?;
            near.close().await?;
            assert_eq!(reads(&mut far, &SIZES).await?, PIECES, "TLS");
        }
        Ok(())
    });
}

#[test]
fn a_stream_in_memory_whose_bytes_wrap_around_is_read_in_order() {
    run(async {
        let (mut near, mut far) = duplex(8);
        write_all(&mut near, b"012345").await?;
        assert_eq!(reads(&mut far, &[3]).await?, [b"012"]);
        write_all(&mut near, b"6789a").await?;
        assert_eq!(reads(&mut far, &[64]).await?, [b"3456789a"], "both pieces by one read");
        write_all(&mut near, b"bcdefg").await?;
        assert_eq!(reads(&mut far, &[4, 64]).await?, [&b"bcde"[..], b"fg"]);
        Ok(())
    });
}

#[test]
fn data_written_in_parts_arrives_whole_and_shutdown_is_the_end() {
    run(async {
        let (mut client, mut server) = pair().await?;
        let parts = [IoSlice::new(b"one "), IoSlice::new(b""), IoSlice::new(b"two ")];
        assert!(AsyncWrite::is_write_vectored(&client));
        let written = poll_fn(|cx| AsyncWrite::poll_write_vectored(Pin::new(&mut client), cx, &parts)).await?;
        assert_eq!(written, 8, "by one call");
        write_all(&mut client, b"three").await?;
        poll_fn(|cx| AsyncWrite::poll_shutdown(Pin::new(&mut client), cx)).await?;
        poll_fn(|cx| AsyncWrite::poll_shutdown(Pin::new(&mut client), cx)).await?;
        assert_eq!(rest(&mut server, 3).await?, b"one two three");
        let error = write_all(&mut client, b"late").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        // The other direction is still open.
        write_all(&mut server, b"answer").await?;
        drop(server);
        assert_eq!(rest(&mut client, 64).await?, b"answer");
        Ok(())
    });
}

/// Checks that bytes written to one stream can be read from the other.
async fn carries<A, B>(mut from: A, mut to: B) -> io::Result<()>
where
    A: AsyncWrite + Unpin,
    B: AsyncRead + Unpin,
{
    write_all_and_end(&mut from, b"through").await?;
    assert_eq!(rest(&mut to, 4).await?, b"through");
    Ok(())
}

async fn write_all_and_end(mut stream: impl AsyncWrite + Unpin, bytes: &[u8]) -> io::Result<()> {
    write_all(&mut stream, bytes).await?;
    poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await
}

#[cfg(any(feature = "tls-ring", feature = "tls-aws-lc"))]
#[test]
fn a_stream_under_tls_has_the_traits_and_shutdown_sends_the_end() {
    use picot_net::tls::{TlsAcceptor, TlsConnector};

    let data = (include_bytes!("../data/authority.pem"), include_bytes!("../data/localhost.pem"));
    run(async {
        let (near, far) = duplex(1 << 16);
        let connector = TlsConnector::trusting(data.0)?;
        let acceptor = TlsAcceptor::new(data.1, include_bytes!("../data/localhost.key"))?;
        let both = futures_lite::future::try_zip(connector.connect("localhost", near), acceptor.accept(far));
        let (client, server) = both.await?;
        carries(client, server).await
    });
}

#[test]
fn halves_references_unix_streams_and_streams_in_memory_have_the_traits() {
    run(async {
        let (client, server) = pair().await?;
        carries(&client, &server).await?;
        let (client, server) = pair().await?;
        let ((_other, writer), (reader, _other_too)) = (client.split(), server.split());
        carries(writer, reader).await?;
        // Streams that are not sockets implement them on top of futures-io.
        let (near, far) = duplex(64);
        carries(near, far).await?;
        let (near, far) = duplex(4);
        futures_lite::future::try_zip(write_all_and_end(near, b"more than fits"), async {
            assert_eq!(rest(&mut { far }, 64).await?, b"more than fits");
            Ok(())
        })
        .await?;
        #[cfg(unix)]
        {
            let (one, other) = picot_net::UnixStream::pair()?;
            carries(one, other).await?;
        }
        Ok(())
    });
}

#[test]
fn a_stream_in_memory_has_the_traits() {
    run(async {
        let (mut near, mut far) = picot_net::duplex(64);
        write_all(&mut near, b"hello").await?;
        poll_fn(|cx| AsyncWrite::poll_shutdown(Pin::new(&mut near), cx)).await?;
        assert_eq!(rest(&mut far, 2).await?, b"hello");
        let error = write_all(&mut near, b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        Ok(())
    });
}
