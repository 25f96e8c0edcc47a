//! picot-sync on an executor that is not picot's.

use picot_examples::program::{example, lines};

#[test]
fn locks_and_queues_work_on_any_executor_and_deadlocks_are_told_there_too() {
    let (status, stdout, stderr) = lines(&example("only_sync").output().unwrap());
    assert_eq!(status, Some(0), "{stderr:?}");
    assert_eq!(stdout[..2], ["the jobs add up to 5050", "the third task goes on"]);
    assert_eq!(stdout.len(), 4, "{stdout:?}");
    for line in &stdout[2..] {
        assert!(line.starts_with("a task waits at ") && line.contains("only_sync.rs"), "{line}");
        assert!(line.contains(" in Mutex::lock, made at "), "{line}");
    }
    assert_eq!(stderr.len(), 5, "{stderr:?}");
    let circle = stderr.join("\n");
    assert!(circle.starts_with("picot: a task from "), "{circle}");
    assert!(
        circle.contains(" has closed a circle of locks, in which no task continues unless one unlocks:\n"),
        "{circle}"
    );
    assert_eq!(circle.matches("a task waits at ").count(), 2, "{circle}");
}
