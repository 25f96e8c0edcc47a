//! sqlx as a guest, against a PostgreSQL in a folder of the test, on a free port of loopback.

use picot_examples::program::{example, lines};

use crate::postgresql::with_server;

#[test]
fn a_pool_serves_picots_tasks_and_outlives_their_time_outs() {
    with_server(|url| {
        let output = example("guest_sqlx").arg(url).output().unwrap();
        let expected = ["100 rows, sum 5050", "timed out: true, and the pool answers 1", "notified from a task"];
        assert_eq!(lines(&output), (Some(0), expected.map(String::from).into(), Vec::new()));
    });
}
