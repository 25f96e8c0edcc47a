//! Both sides of an echo.

use std::io;

use picot::net::{Protocol, TcpStream, Transport};
use picot::prelude::*;

/// Sends back whatever comes, until the peer has sent all.
pub async fn echo(stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
    }
}

/// Sends back whatever comes, by callbacks. A client that sends and does not read is not read from
/// either, until it does.
#[derive(Debug)]
pub struct EchoProtocol;

impl Protocol for EchoProtocol {
    fn data(&mut self, transport: &Transport, data: &[u8]) {
        // A connection that is gone is told in `lost`, and needs no answer.
        let _ = transport.write(data);
    }

    fn pause_writing(&mut self, transport: &Transport) {
        transport.pause_reading();
    }

    fn resume_writing(&mut self, transport: &Transport) {
        transport.resume_reading();
    }
}

/// Sends `message` and waits for it to come back, in `answer`.
pub async fn round_trip(stream: &mut TcpStream, message: &[u8], answer: &mut [u8]) -> io::Result<()> {
    stream.write_all(message).await?;
    stream.read_exact(answer).await?;
    if answer != message {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is not what was sent"));
    }
    Ok(())
}
