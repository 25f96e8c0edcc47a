//! Fetches URIs at the same time, over kept connections, and prints status, size and URI in order.

use std::process::ExitCode;
use std::time::Duration;

use picot::{gather_settled, timeout};
use picot_hyper::{BoxError, Client};

/// The time for one URI, and the most bytes of its body.
const LIMIT: Duration = Duration::from_secs(30);
const SIZE_MAX: usize = 64 << 20;

async fn fetch(client: Client, uri: String) -> Result<String, BoxError> {
    let response = timeout(LIMIT, client.get(&uri)).await??;
    let status = response.status();
    let length = timeout(LIMIT, response.into_body().bytes(SIZE_MAX)).await??.len();
    Ok(format!("{} {length} {uri}", status.as_u16()))
}

#[picot::main]
async fn main() -> ExitCode {
    let uris: Vec<String> = std::env::args().skip(1).collect();
    if uris.is_empty() {
        eprintln!("usage: http_client URI…");
        return ExitCode::FAILURE;
    }
    let client = Client::builder().max_per_host(4).build();
    let fetches = uris.into_iter().map(|uri| fetch(client.clone(), uri));
    let mut code = ExitCode::SUCCESS;
    for result in gather_settled(fetches).await {
        match result {
            Ok(line) => println!("{line}"),
            Err(error) => {
                eprintln!("http_client: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}
