//! An echo under TLS.
//!
//! Usage: `tls_echo serve ADDR CERT KEY`, with a certificate (and those that lead to its authority)
//! and its key as PEM files; the first line says where it listens. `tls_echo send ADDR NAME TEXT
//! [AUTHORITY]` sends a line and prints what comes back: the server's certificate must be for NAME,
//! and of an authority that the system trusts, or of the one in the PEM file.

use std::env;
use std::fs;
use std::io;
use std::process::ExitCode;

use picot::net::tls::{TlsAcceptor, TlsConnector};
use picot::net::{Reader, Server, TcpStream};
use picot::prelude::*;

#[picot::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match arguments[..] {
        ["serve", address, certificate, key] => serve(address, certificate, key).await,
        ["send", address, name, text] => send(address, name, text, None).await,
        ["send", address, name, text, authority] => send(address, name, text, Some(authority)).await,
        _ => {
            eprintln!("usage: tls_echo serve ADDR CERT KEY | tls_echo send ADDR NAME TEXT [AUTHORITY]");
            return ExitCode::FAILURE;
        }
    };
    if let Err(error) = result {
        eprintln!("tls_echo: {error}");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

async fn serve(address: &str, certificate: &str, key: &str) -> io::Result<()> {
    let acceptor = TlsAcceptor::new(&fs::read(certificate)?, &fs::read(key)?)?;
    let server = Server::builder().bind(address).await?.serve(move |stream, _| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await?;
            let mut buffer = vec![0; 4096];
            loop {
                match stream.read(&mut buffer).await? {
                    0 => return stream.close().await,
                    read => stream.write_all(&buffer[..read]).await?,
                }
                stream.flush().await?;
            }
        }
    })?;
    println!("listening at {}", server.local_addrs()[0]);
    server.serve_forever().await
}

async fn send(address: &str, name: &str, text: &str, authority: Option<&str>) -> io::Result<()> {
    let connector = match authority {
        Some(file) => TlsConnector::trusting(&fs::read(file)?)?,
        None => TlsConnector::new().await?,
    };
    let mut stream = connector.connect(name, TcpStream::connect(address).await?).await?;
    stream.write_all(format!("{text}\n").as_bytes()).await?;
    stream.flush().await?;
    let mut reader = Reader::new(stream);
    println!("{}", reader.read_line().await?.unwrap_or_default());
    reader.into_parts().0.close().await
}
