//! Redis on picot's streams and time-outs. The client's feature `tokio-comp` builds tokio's
//! runtime, which does not run here.
//!
//! The argument is the address of a server, such as `localhost:6379`.

use std::env;
use std::error::Error;
use std::time::Duration;

use picot::net::TcpStream;
use picot::task::{Local, gather};
use picot::{spawn, timeout};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisConnectionInfo, RedisResult};

fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).ok_or("usage: redis HOST:PORT")?;
    picot::run(async {
        // The client wants a stream that is `Send`, and `Local` is that for any.
        let stream = Local::new(TcpStream::connect(&*address).await?);
        // By default, a response may take 500 ms, which the client measures by tokio's clock. That
        // panics where no runtime of tokio's runs. So the client's limits are off, and picot's
        // `timeout` takes their place.
        let config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        let info = RedisConnectionInfo::default();
        let connecting = MultiplexedConnection::new_with_config(&info, stream, config);
        let (redis, driver) = timeout(Duration::from_secs(5), connecting).await??;
        // The driver reads and writes for all clones of the connection. It ends with the last one.
        let driver = spawn(driver);

        // The clones share one connection, and their commands are pipelined.
        let increments = (1..=100).map(|n| {
            let mut redis = redis.clone();
            async move { redis::cmd("INCRBY").arg("sum").arg(n).query_async::<i64>(&mut redis).await }
        });
        let sums = gather(increments).await?;
        println!("sum {}", sums.into_iter().max().unwrap_or(0));

        // A dropped wait leaves the command with the server, which answers the later ones after it.
        let mut blocking = redis.clone();
        let mut pop = redis::cmd("BLPOP");
        pop.arg("nothing").arg(0.1);
        let timed_out = timeout(Duration::from_millis(20), pop.query_async::<()>(&mut blocking)).await.is_err();
        let pong: String = redis::cmd("PING").query_async(&mut redis.clone()).await?;
        println!("timed out: {timed_out}, and the connection answers {pong}");

        let wrong: RedisResult<()> = redis::cmd("LPUSH").arg("sum").arg(1).query_async(&mut redis.clone()).await;
        println!("a list operation on a number: {}", wrong.unwrap_err().code().unwrap_or("no code"));

        drop((redis, blocking));
        driver.await?;
        Ok(())
    })
}
