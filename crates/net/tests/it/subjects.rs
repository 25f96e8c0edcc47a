//! Errors of streams and datagrams name their connection or address, and keep their kind and
//! number.

use std::io;
use std::time::Duration;

use picot_net::{TcpStream, UdpSocket, raw_os_error};
use rustix::io::Errno;

use crate::{pair, run};

fn is_about(error: &io::Error, errno: Errno, text: &str) {
    assert!(error.to_string().contains(text), "{error} does not name {text}");
    assert_eq!(raw_os_error(error), Some(errno.raw_os_error()), "{error}");
    assert_eq!(error.kind(), io::Error::from(errno).kind(), "{error}");
}

/// A connection that its peer has reset.
async fn reset() -> io::Result<TcpStream> {
    let (stream, peer) = pair().await?;
    peer.socket().set_linger(Some(Duration::ZERO))?;
    Ok(stream)
}

#[test]
fn errors_of_reading_and_writing_name_the_connection() {
    run(async {
        let stream = reset().await?;
        let local = stream.local_addr()?;
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        is_about(&error, Errno::CONNRESET, &format!("cannot receive on the connection at {local}: "));
        // The peer has closed by now.
        let error = stream.write_all(b"x").await.unwrap_err();
        is_about(&error, Errno::PIPE, &format!("cannot send on the connection at {local}: "));
        let slices = [io::IoSlice::new(b"x")];
        let error = futures_lite::AsyncWriteExt::write_vectored(&mut &stream, &slices).await.unwrap_err();
        is_about(&error, Errno::PIPE, &format!("cannot send on the connection at {local}: "));

        let (stream, _peer) = pair().await?;
        stream.shutdown(std::net::Shutdown::Write)?;
        let peer = stream.peer_addr()?;
        let error = stream.write_all(b"x").await.unwrap_err();
        is_about(&error, Errno::PIPE, &format!("cannot send on the connection of {peer}: "));
        Ok(())
    });
}

#[test]
fn errors_of_datagrams_name_the_address() {
    run(async {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let local = socket.local_addr()?;
        let long = vec![0; 100_000];
        let error = socket.send_to(&long, local).await.unwrap_err();
        is_about(&error, Errno::MSGSIZE, &format!("cannot send a datagram to {local}: "));
        let gone = UdpSocket::bind("127.0.0.1:0").await?;
        let peer = gone.local_addr()?;
        drop(gone);
        socket.connect(peer).await?;
        socket.send(b"x").await?;
        let error = socket.recv(&mut [0; 8]).await.unwrap_err();
        is_about(&error, Errno::CONNREFUSED, &format!("cannot receive a datagram at {local} from {peer}: "));
        let error = socket.send(&long).await.unwrap_err();
        is_about(&error, Errno::MSGSIZE, &format!("cannot send a datagram to {peer}: "));
        let error = socket.connect("[::1]:1").await.unwrap_err();
        assert!(error.to_string().contains("[::1]:1"), "{error}");
        Ok(())
    });
}
