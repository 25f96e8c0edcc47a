//! Tests of a loop that is the guest of a tokio runtime.

#[cfg(all(unix, not(polling_test_poll_backend)))]
mod guest {
    mod both_ways;
    mod ends;
    mod fairness;
    mod idle;
    mod misuse;
    mod runtimes;
    mod time;
}

#[cfg(any(not(unix), polling_test_poll_backend))]
mod no_descriptor;
