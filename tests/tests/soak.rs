//! A slice of the long run under load; `cargo xtask soak` runs more of it.

use std::time::Duration;

use portcullis_tests::soak::{Options, run};

#[test]
fn no_answer_is_wrong_under_load_while_policies_and_keys_change() {
    let summary = run(&Options {
        time: Duration::from_secs(30),
        seed: 20_260_101,
        // A slice is too short for the memory to settle.
        growth_limit: 20,
        ..Options::default()
    });
    let summary = summary.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{summary}");
    assert_eq!(summary.failures(), Vec::<String>::new(), "{summary}");
    // What must have come up, so that right answers mean something.
    assert!(summary.updates >= 3, "{summary}");
    for status in [200, 401, 403] {
        let count = summary.answers(status);
        assert!(count * 20 >= summary.requests(), "{status}: {summary}");
    }
    assert!(summary.requests() >= 1_000, "{summary}");
}
