//! The compiler's messages for wrong calls: each says what to write instead.

use picot_testkit::assert_messages;

#[test]
fn a_stream_without_the_traits_gets_a_message_that_names_the_wrapper() {
    let texts: &[&str] = &[
        "`TcpStream` is not a stream of `picot-net`",
        "wrap a stream that has the traits of `futures-io` in `picot_hyper::AnyStream`",
    ];
    assert_messages(
        &["picot_hyper"],
        "fn stream() -> std::net::TcpStream { todo!() }",
        &[("picot_hyper::Io::new(stream())", texts)],
    );
}
