//! One loop a core, all at one port: an echo server that uses the whole machine. For Linux, where the kernel shares the
//! connections out among listeners.
//!
//! Usage: `loop_per_core ADDR [LOOPS]`, as many loops as there are cores unless given. The first line says where it listens,
//! then each loop says that it is ready.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use picot::net::{ListenOptions, LoopGroup, Server};
use picot_examples::EchoProtocol;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let (address, loops) = match &arguments[..] {
        [address] => (address.parse(), Ok(std::thread::available_parallelism().map_or(1, usize::from))),
        [address, loops] => (address.parse(), loops.parse()),
        _ => {
            eprintln!("usage: loop_per_core ADDR [LOOPS]");
            return ExitCode::FAILURE;
        }
    };
    let (Ok(address), Ok(loops @ 1..)) = (address, loops) else {
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

fn run(address: SocketAddr, loops: usize) -> io::Result<()> {
    // With port 0 the system picks one; this socket keeps it until all loops have it, and never listens.
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
    let group = LoopGroup::start(loops, move |index| serve(address, index))?;
    for result in group.join() {
        if let Ok(Some(result)) = result {
            result?;
        }
    }
    Ok(())
}

/// What each loop does, with everything of its own.
async fn serve(address: SocketAddr, index: usize) -> io::Result<()> {
    let listen = ListenOptions::new().reuse_port(true);
    let server = Server::builder().listen_options(listen).bind(address).await?.serve_protocol(|| EchoProtocol)?;
    println!("loop {index} is ready");
    server.serve_forever().await
}
