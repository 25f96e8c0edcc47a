//! Sends back whatever a client sends.
//!
//! Usage: `echo_server ADDR [--protocol]`, for example `echo_server 127.0.0.1:7000`. Port 0 picks a
//! free one; the first line says which. With `--protocol` connections call back, instead of having
//! a task each.

use std::env;
use std::io;
use std::process::ExitCode;

use picot::net::Server;
use picot_examples::{EchoProtocol, echo};

#[picot::main]
async fn main() -> ExitCode {
    let (options, addresses): (Vec<_>, Vec<_>) = env::args().skip(1).partition(|argument| argument.starts_with("--"));
    let by_protocol = options == ["--protocol"];
    let [address] = &addresses[..] else { return usage() };
    if !options.is_empty() && !by_protocol {
        return usage();
    }
    match serve(address, by_protocol).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echo_server: {error}");
            ExitCode::FAILURE
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("usage: echo_server ADDR [--protocol]");
    ExitCode::FAILURE
}

async fn serve(address: &str, by_protocol: bool) -> io::Result<()> {
    let builder = Server::builder().bind(address).await?;
    let server = if by_protocol {
        builder.serve_protocol(|| EchoProtocol)?
    } else {
        builder.serve(|stream, _| async move {
            // A connection that fails is its client's matter.
            let _ = echo(stream).await;
            Ok(())
        })?
    };
    println!("listening at {}", server.local_addrs()[0]);
    server.serve_forever().await
}
