//! sqlx with PostgreSQL on picot's thread: a pool that picot's tasks share.
//!
//! The argument is the URL of a database, such as `postgres://me@localhost/test`.

use std::cell::Cell;
use std::env;
use std::error::Error;
use std::rc::Rc;
use std::time::Duration;

use picot::task::gather;
use picot::{spawn, timeout};
use sqlx::postgres::{PgListener, PgPoolOptions};

fn main() -> Result<(), Box<dyn Error>> {
    let url = env::args().nth(1).ok_or("usage: guest_sqlx postgres://USER@HOST/DATABASE")?;
    picot_tokio::run(async {
        let pool = PgPoolOptions::new().max_connections(4).connect(&url).await?;
        sqlx::query("create table if not exists visits (n bigint)").execute(&pool).await?;
        sqlx::query("truncate visits").execute(&pool).await?;

        // A hundred tasks of picot's share four connections. None needs `Send`.
        let inserted = Rc::new(Cell::new(0));
        let inserts = (1..=100_i64).map(|n| {
            let (pool, inserted) = (pool.clone(), inserted.clone());
            spawn(async move {
                let mut transaction = pool.begin().await?;
                sqlx::query("insert into visits values ($1)").bind(n).execute(&mut *transaction).await?;
                transaction.commit().await?;
                inserted.set(inserted.get() + 1);
                Ok::<_, sqlx::Error>(())
            })
            .into_future()
        });
        for insert in gather(inserts.collect::<Vec<_>>()).await? {
            insert?;
        }
        let sum: i64 = sqlx::query_scalar("select sum(n)::bigint from visits").fetch_one(&pool).await?;
        println!("{} rows, sum {sum}", inserted.get());

        // picot's time-out drops the wait for a query. The server runs it to its end, for which the
        // pool waits before it uses that connection again: set a `statement_timeout`, too.
        let query = sqlx::query("select pg_sleep(0.5)");
        let outcome = timeout(Duration::from_millis(50), query.execute(&pool)).await;
        let one: i32 = sqlx::query_scalar("select 1").fetch_one(&pool).await?;
        println!("timed out: {}, and the pool answers {one}", outcome.is_err());

        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen("news").await?;
        let notifying = pool.clone();
        let notify = spawn(async move { sqlx::query("notify news, 'from a task'").execute(&notifying).await });
        println!("notified {}", listener.recv().await?.payload());
        notify.await??;

        drop(listener);
        pool.close().await;
        Ok(())
    })
}
