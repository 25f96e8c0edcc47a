//! `#[picot::main]` on functions that are not the program's `main`, where their effect can be seen.

use std::panic::Location;
use std::time::Duration;

use picot::task::CancelToken;

#[picot::main]
async fn returns() -> Result<u32, String> {
    picot::spawn(async { 7 }).await.map_err(|error| error.to_string())
}

#[picot::main]
async fn is_a_task() -> (Option<String>, &'static Location<'static>) {
    let task = picot::task::current().unwrap();
    (task.given_name().map(str::to_string), task.place())
}

#[picot::main(interrupt)]
async fn returns_unless_interrupted() -> Result<u32, String> {
    picot::spawn(async { 8 }).await.map_err(|error| error.to_string())
}

#[picot::main(interrupt, terminate, grace = Duration::from_secs(1))]
async fn gets_a_token(token: CancelToken) -> (bool, Option<String>, &'static Location<'static>) {
    let task = picot::task::current().unwrap();
    (token.is_cancelled(), task.given_name().map(str::to_string), task.place())
}

#[test]
fn a_main_that_is_not_interrupted_is_as_any_other() {
    assert_eq!(returns_unless_interrupted(), Ok(8));
    let (is_cancelled, name, place) = gets_a_token();
    assert_eq!((is_cancelled, name.as_deref(), place.file()), (false, Some("main"), file!()));
}

#[test]
fn the_value_is_mains() {
    assert_eq!(returns(), Ok(7));
    assert_eq!(returns(), Ok(7), "the loop is closed when main ends, so another can follow");
}

#[test]
fn the_body_is_the_root_task_and_its_place_is_here() {
    let (name, place) = is_a_task();
    assert_eq!(name.as_deref(), Some("main"));
    assert_eq!(place.file(), file!());
}

#[test]
#[should_panic(expected = "a thread has at most one")]
fn a_main_inside_of_a_loop_is_refused() {
    picot::run(async { drop(returns()) });
}
