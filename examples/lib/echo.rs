//! Both sides of an echo.

use std::io;

use picot::net::TcpStream;
use picot::prelude::*;

/// Sends back whatever comes, until the peer has sent all.
pub async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 4096];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            read => stream.write_all(&buffer[..read]).await?,
        }
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
