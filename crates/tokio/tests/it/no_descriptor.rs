//! A loop whose driver has no descriptor is no guest: on Windows, and on `polling`'s backend for
//! poll(2).

use picot_loop::EventLoop;
use picot_tokio::{GuestError, run_guest};
use tokio::runtime::Builder;

#[test]
fn a_driver_without_a_descriptor_is_refused() {
    let event_loop = EventLoop::new().unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(run_guest(&event_loop, async {})).unwrap_err();
    assert!(matches!(error, GuestError::NoDescriptor));
    assert!(error.to_string().contains("default driver"), "{error}");
    assert_eq!(event_loop.run_until_complete(async { 1 }), Ok(1), "the loop is usable");
}
