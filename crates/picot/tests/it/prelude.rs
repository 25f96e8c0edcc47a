//! The prelude beside a plain `#[test]`. A prelude with an attribute `test` would not compile here.

use std::time::Duration;

use picot::prelude::*;

#[test]
fn a_plain_test_is_not_ambiguous() {
    let text = run(async { spawn(async { "from a task" }).await.unwrap() });
    assert_eq!(text, "from a task");
}

#[picot::test]
async fn a_test_of_picot_stands_beside_it(clock: VirtualClock) {
    sleep(Duration::from_secs(60)).await;
    assert_eq!(clock.elapsed(), Duration::from_secs(60));
}

#[picot::test]
async fn the_prelude_has_what_a_small_server_uses() {
    let (mut near, mut far) = picot::net::duplex(16);
    let echo = spawn(async move {
        let mut byte = [0];
        near.read_exact(&mut byte).await?;
        near.write_all(&byte).await
    });
    far.write_all(b"x").await.unwrap();
    let mut byte = [0];
    timeout(Duration::from_secs(1), far.read_exact(&mut byte)).await.unwrap().unwrap();
    echo.await.unwrap().unwrap();
    assert_eq!(&byte, b"x");
}
