//! The tour holds, in every section. A test of its own, so that nothing runs beside it: one of the
//! sections is about time.

use picot_examples::program::{example, lines};

#[test]
fn every_section_holds() {
    let (status, stdout, stderr) = lines(&example("tour").output().unwrap());
    assert_eq!(status, Some(0), "{stdout:?} {stderr:?}");
    assert_eq!(stdout.len(), 7);
    assert!(stdout.iter().all(|line| line.starts_with("ok ")), "{stdout:?}");
}
