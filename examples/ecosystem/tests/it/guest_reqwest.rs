//! reqwest as a guest: fetches from a server of picot's.

use picot_examples::program::{example, lines};

#[test]
fn it_fetches_from_picots_tasks_and_both_time_out() {
    let output = example("guest_reqwest").output().unwrap();
    let expected = ["fetched 330 bytes by 20 requests", "by reqwest's time-out: true", "by picot's time-out: true"];
    assert_eq!(lines(&output), (Some(0), expected.map(String::from).into(), Vec::new()));
}
