//! The deferreds alone: what happens at once, and what a turn later.

use picot_examples::program::{example, lines};

#[test]
fn it_tells_what_happens_in_which_turn() {
    let (status, stdout, stderr) = lines(&example("only_deferred").output().unwrap());
    assert_eq!(status, Some(0), "{stderr:?}");
    let expected = [
        "done: porridge, at once",
        "resolved",
        "then: 8 letters, a turn later",
        "turn: 1 ran",
        "when_all: [0, 10, 20]",
        "cancelled: the download stops",
        "fail: this promise was abandoned: its deferred was dropped unsettled",
        "from a thread: Some(Ok(7))",
        "report: was rejected, which nothing handles (unhandled); await it, or add `fail`, `catch` or `always`",
    ];
    assert_eq!(stdout, expected);
}
