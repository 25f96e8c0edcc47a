//! The wheel in a poll loop of its own: who is silent is closed, who talks stays.

use picot_examples::program::{example, lines};

#[test]
fn the_silent_one_is_closed_and_the_others_leave_when_they_want() {
    let (status, mut stdout, stderr) = lines(&example("only_timers").output().unwrap());
    assert_eq!((status, stderr.len()), (Some(0), 0), "{stdout:?} {stderr:?}");
    assert_eq!(stdout.pop().as_deref(), Some("0 timeouts are left"));
    stdout.sort();
    let expected = [
        "client 1 left after 3 messages",
        "client 2 was silent for 1s, after 0 messages",
        "client 3 left after 5 messages",
    ];
    assert_eq!(stdout, expected);
}
