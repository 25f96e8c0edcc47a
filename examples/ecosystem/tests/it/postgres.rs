//! tokio-postgres on picot's streams, against a PostgreSQL in a folder of the test.

use picot_examples::program::{example, lines};

use crate::postgresql::with_server;

#[test]
fn statements_are_pipelined_and_a_query_that_timed_out_is_cancelled() {
    with_server(|url| {
        let output = example("postgres").arg(url).output().unwrap();
        let expected =
            ["100 rows, sum 5050", "timed out: true, and the connection answers 1", "an undefined table: true"];
        assert_eq!(lines(&output), (Some(0), expected.map(String::from).into(), Vec::new()));
    });
}
