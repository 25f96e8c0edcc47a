//! PostgreSQL by tokio-postgres, on picot's streams and without tokio's runtime.
//!
//! The argument is the URL of a database, such as `postgres://me@localhost/test`.

use std::env;
use std::error::Error;
use std::time::Duration;

use picot::net::TcpStream;
use picot::task::gather;
use picot::{spawn, timeout};
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Config, NoTls};

/// Connects to the first host of the configuration. `connect` of tokio-postgres would do so by
/// tokio's runtime; `connect_raw` takes any stream.
async fn connect(config: &Config) -> std::io::Result<TcpStream> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    match config.get_hosts().first() {
        Some(Host::Tcp(name)) => TcpStream::connect((&**name, port)).await,
        _ => Err(std::io::Error::other("the URL names no host")),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: postgres postgres://USER@HOST/DATABASE")?;
    picot::run(async {
        let config: Config = url.parse()?;
        let (client, connection) = config.connect_raw(connect(&config).await?, NoTls).await?;
        // The connection is a future that reads and writes for the client. It ends with it.
        let connection = spawn(connection);
        client.batch_execute("create table if not exists notes (n int8); truncate notes").await?;

        // Statements that are sent together are pipelined: one round trip for all of them.
        let insert = client.prepare("insert into notes values ($1)").await?;
        let numbers: Vec<i64> = (1..=100).collect();
        for inserted in gather(numbers.iter().map(|n| client.execute_raw(&insert, [n]))).await? {
            assert_eq!(inserted, 1);
        }
        let row = client.query_one("select count(*), sum(n)::int8 from notes", &[]).await?;
        println!("{} rows, sum {}", row.get::<_, i64>(0), row.get::<_, i64>(1));

        // A time-out drops the wait. The server would run the query to its end, and answer the next
        // one after it, so it is asked to stop, by a connection of its own.
        let query = client.batch_execute("select pg_sleep(60)");
        let timed_out = timeout(Duration::from_millis(50), query).await.is_err();
        client.cancel_token().cancel_query_raw(connect(&config).await?, NoTls).await?;
        let row = client.query_one("select 1", &[]).await?;
        println!("timed out: {timed_out}, and the connection answers {}", row.get::<_, i32>(0));

        let error = client.batch_execute("select * from nowhere").await.unwrap_err();
        println!("an undefined table: {}", error.code() == Some(&SqlState::UNDEFINED_TABLE));

        drop(client);
        connection.await??;
        Ok(())
    })
}
