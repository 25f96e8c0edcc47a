//! The executor alone.

use picot_examples::program::{example, lines};

#[test]
fn it_waits_by_itself_and_tells_of_every_task() {
    let (status, stdout, stderr) = lines(&example("only_executor").output().unwrap());
    assert_eq!((status, stderr.len()), (Some(0), 0), "{stdout:?} {stderr:?}");
    assert_eq!(stdout.len(), 7, "{stdout:?}");
    // The first two are printed by two threads.
    for line in ["a task without a name has ended: Returned", "another thread got 6"] {
        assert!(stdout[..2].iter().any(|found| found == line), "{stdout:?}");
    }
    let rest = [
        "nothing else runs while one does",
        "one has ended: Returned",
        "nothing else runs while two does",
        "two has ended: Returned",
        "3 tasks have ended, 0 were left",
    ];
    assert_eq!(stdout[2..], rest);
}
