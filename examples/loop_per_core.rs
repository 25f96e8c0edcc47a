//! One loop a core, all at one port: an echo server that uses the whole machine. For Linux, where
//! the kernel shares the connections out among listeners.
//!
//! Usage: `loop_per_core ADDR [LOOPS]`, as many loops as there are cores unless given. The first
//! line says where it listens, then each loop says that it is ready.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use picot::net::{ListenOptions, LoopGroup, Server};
use picot_examples::EchoProtocol;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, loops) = match &arguments[..] {
        [address] => (address.parse(), Ok(None)),
        [address, loops] => (address.parse(), loops.parse().map(Some)),
        _ => {
            eprintln!("usage: loop_per_core ADDR [LOOPS]");
            return ExitCode::FAILURE;
        }
    };
    let (Ok(address), Ok(loops @ (None | Some(1..)))) = (address, loops) else {
        eprintln!("usage: loop_per_core ADDR [LOOPS], with an address such as 127.0.0.1:7000");
        return ExitCode::FAILURE;
    };
    match run(address, loops) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loop_per_core: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(address: SocketAddr, loops: Option<usize>) -> io::Result<()> {
    // With port 0 the system picks one; this socket keeps it until all loops have it, and never
    // listens.
    let keeper = picot::net::socket2::Socket::new(
        picot::net::socket2::Domain::for_address(address),
        picot::net::socket2::Type::STREAM,
        None,
    )?;
    keeper.set_reuse_address(true)?;
    #[cfg(unix)]
    keeper.set_reuse_port(true)?;
    keeper.bind(&address.into())?;
    let address = keeper.local_addr()?.as_socket().ok_or_else(|| io::Error::other("not an internet address"))?;
    println!("listening at {address}");
    let make = move |index| async move {
        let result = serve(address, index).await;
        // Told at once: the others serve on.
        if let Err(error) = &result {
            eprintln!("loop_per_core: loop {index}: {error}");
        }
        result
    };
    let group = match loops {
        Some(loops) => LoopGroup::start(loops, make)?,
        None => LoopGroup::start_all(make)?,
    };
    let failed = group.join().into_iter().filter(|result| !matches!(result, Ok(None | Some(Ok(()))))).count();
    if failed == 0 { Ok(()) } else { Err(io::Error::other(format!("{failed} loops have failed"))) }
}

/// What each loop does, with everything of its own.
async fn serve(address: SocketAddr, index: usize) -> io::Result<()> {
    let listen = ListenOptions::new().reuse_port(true);
    let server = Server::builder().listen_options(listen).bind(address).await?.serve_protocol(|| EchoProtocol)?;
    println!("loop {index} is ready");
    server.serve_forever().await
}
