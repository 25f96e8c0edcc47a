//! Looks names up, several at once, and says which addresses they have.
//!
//! Usage: `resolve HOST…`, with or without a port, for example `resolve localhost 127.0.0.1
//! [::1]:80`. It ends with status 1 if one of them is not known.

use std::env;
use std::process::ExitCode;

use picot::net::lookup;
use picot::spawn;

#[picot::main]
async fn main() -> ExitCode {
    let hosts: Vec<String> = env::args().skip(1).collect();
    if hosts.is_empty() {
        eprintln!("usage: resolve HOST…");
        return ExitCode::FAILURE;
    }
    // All lookups begin now; the answers are told in the order of the questions.
    let lookups: Vec<_> = hosts.iter().map(|host| spawn(addresses(host.clone()))).collect();
    let mut status = ExitCode::SUCCESS;
    for (host, lookup) in hosts.iter().zip(lookups) {
        let result = lookup.await.map_err(|error| error.to_string()).and_then(|result| result);
        match result {
            Ok(addresses) => println!("{host}: {}", addresses.join(" ")),
            Err(error) => {
                eprintln!("resolve: {host}: {error}");
                status = ExitCode::FAILURE;
            }
        }
    }
    status
}

async fn addresses(host: String) -> Result<Vec<String>, String> {
    // A host alone, or an address alone, has no port; the lookup wants one.
    let is_number = host.parse::<std::net::IpAddr>().is_ok();
    let has_port = !is_number && host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let found = if has_port { lookup(&*host).await } else { lookup((&*host, 0)).await };
    let mut addresses: Vec<_> =
        found.map_err(|error| error.to_string())?.iter().map(|one| one.ip().to_string()).collect();
    addresses.dedup();
    Ok(addresses)
}
