//! `#[picot::main]` on functions that are not the program's `main`, where their effect can be seen.

use std::panic::Location;

#[picot::main]
async fn returns() -> Result<u32, String> {
    picot::spawn(async { 7 }).await.map_err(|error| error.to_string())
}

#[picot::main]
async fn is_a_task() -> (Option<String>, &'static Location<'static>) {
    let task = picot::task::current().unwrap();
    (task.given_name().map(str::to_string), task.place())
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
#[should_panic(expected = "there is one a thread")]
fn a_main_inside_of_a_loop_is_refused() {
    picot::run(async { drop(returns()) });
}
