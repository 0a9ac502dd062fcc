//! A slice of the random differential test; `cargo xtask fuzz-decisions` runs more of it.

use portcullis_tests::fuzz::{Options, run};

/// What must have come up, so that agreement means something.
const SEEN: [&str; 9] = [
    "200 allowed-no-policy",
    "200 matched-allow",
    "403 matched-deny",
    "403 no-allow-matched",
    "401 jwt: Jwt is expired",
    "401 jwt: Jwt issuer is not configured",
    "401 jwt: Jwt verification fails",
    "401 jwt: Jwt payload is an invalid JSON",
    "403 jwt: Audiences in Jwt are not allowed",
];

#[test]
fn random_policies_decide_as_envoys_own_filters_do() {
    let summary = run(&Options {
        requests: 2000,
        seed: 20_260_101,
        shrunk: 1,
        ..Options::default()
    });
    let summary = summary.unwrap_or_else(|error| panic!("{error:#}"));
    println!("{summary}");
    assert!(
        summary.disagreements.is_empty(),
        "{summary}\n{}",
        summary.scenarios.join("\n")
    );
    for outcome in SEEN {
        assert!(
            summary.by_outcome.contains_key(outcome),
            "no request came to {outcome}:\n{summary}"
        );
    }
}
