//! picot driven by a plain `poll(2)` loop.

use picot_examples::program::{example, lines};

#[test]
fn the_host_and_its_guest_both_get_on() {
    let (status, mut stdout, stderr) = lines(&example("embed").output().unwrap());
    assert_eq!((status, stderr.len()), (Some(0), 0), "{stdout:?} {stderr:?}");
    assert_eq!(stdout.pop().unwrap(), "done, with 0 tasks left");
    let of = |who: &str| stdout.iter().filter(|line| line.starts_with(who)).cloned().collect::<Vec<_>>();
    assert_eq!(of("host: "), ["host: line 1", "host: line 2", "host: line 3"]);
    assert_eq!(of("picot: tick"), ["picot: tick 1", "picot: tick 2", "picot: tick 3"]);
    assert_eq!(of("picot: received"), [1, 2, 3].map(|n| format!("picot: received line {n}")));
    assert_eq!(of("picot: called").len(), 1);
    assert_eq!(stdout.len(), 10);
}
