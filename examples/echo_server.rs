//! Sends back whatever a client sends.
//!
//! Usage: `echo_server ADDR`, for example `echo_server 127.0.0.1:7000`. Port 0 picks a free one; the first line says which.

use std::env;
use std::io;
use std::process::ExitCode;

use picot::net::TcpListener;
use picot::spawn;
use picot_examples::echo;

#[picot::main]
async fn main() -> ExitCode {
    let [address] = &env::args().skip(1).collect::<Vec<_>>()[..] else {
        eprintln!("usage: echo_server ADDR");
        return ExitCode::FAILURE;
    };
    let error = match serve(address).await {
        Ok(never) => match never {},
        Err(error) => error,
    };
    eprintln!("echo_server: cannot listen at {address}: {error}");
    ExitCode::FAILURE
}

async fn serve(address: &str) -> io::Result<std::convert::Infallible> {
    let listener = TcpListener::bind(address).await?;
    println!("listening at {}", listener.local_addr()?);
    loop {
        match listener.accept().await {
            // A connection that fails is its client's matter.
            Ok((stream, _)) => drop(spawn(echo(stream))),
            // Most likely there are too many open files. The listener rests for a while then, and the open connections go on.
            Err(error) => eprintln!("echo_server: cannot accept just now: {error}"),
        }
    }
}
