//! Requests whose lines, bodies and trailers no scenario can write.

use crate::hostile::roomy;
use crate::*;

#[test]
fn what_only_the_wire_can_say_is_refused_or_decided_by_policy() {
    let (upstream, reached) = witness();
    let envoy = start(&upstream, vec![roomy()]);
    let address = envoy.address("gate").unwrap();
    let good = alice();
    let send = |text: &str| {
        send_bytes(address, text.as_bytes(), Duration::from_secs(5))
            .unwrap_or_else(|| panic!("no answer to {text:?}"))
    };
    let get = |lines: &str| {
        send(&format!(
            "GET /token HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n"
        ))
    };
    assert_eq!(get(&format!("authorization: Bearer {good}")), 200);
    // A folded line is one value (RFC 9112 section 5.2).
    assert_eq!(get(&format!("authorization: Bearer\r\n {good}")), 200);
    assert_eq!(get(&format!("authorization:\r\n\tBearer {good}")), 200);
    assert_eq!(
        get(&format!("authorization: Bearer {good}\r\n trailing")),
        401
    );
    assert_eq!(
        get(&format!("x-any: a\r\n authorization: Bearer {good}")),
        403
    );
    // A bare LF ends a line for Envoy (RFC 9112 section 2.2), a bare CR does not.
    assert_eq!(get(&format!("authorization: Bearer {good}\nx-any: a")), 200);
    assert_eq!(get(&format!("x-any: a\nauthorization: Bearer {good}")), 200);
    assert_eq!(get(&format!("authorization: Bearer {good}\rx-any: a")), 401);
    assert_eq!(get(&format!("x-any: a\rauthorization: Bearer {good}")), 403);
    for refused in [
        format!("authorization : Bearer {good}"),
        format!(" authorization: Bearer {good}"),
        format!("authorization: Bearer {good}\0"),
        format!("author\0ization: Bearer {good}"),
        format!("authorization\0: Bearer {good}"),
        format!("x-any\r: a\r\nauthorization: Bearer {good}"),
        format!(": a\r\nauthorization: Bearer {good}"),
        format!("authorization Bearer {good}"),
    ] {
        assert_eq!(get(&refused), 400, "{refused:?}");
    }

    let post = |lines: &str, body: &str| {
        send(&format!(
            "POST /token HTTP/1.1\r\nhost: a\r\n{lines}\r\n\r\n{body}"
        ))
    };
    let form = format!("access_token={good}");
    let type_and_length = format!(
        "content-type: application/x-www-form-urlencoded\r\ncontent-length: {}",
        form.len()
    );
    assert_eq!(post(&type_and_length, &form), 403);
    let trailers = |value: &str| format!("1\r\nx\r\n0\r\nauthorization: {value}\r\n\r\n");
    let chunked = "transfer-encoding: chunked\r\ntrailer: authorization";
    assert_eq!(post(chunked, &trailers(&format!("Bearer {good}"))), 403);
    let with_token = format!("{chunked}\r\nauthorization: Bearer {good}");
    assert_eq!(post(&with_token, &trailers("Bearer x")), 200);

    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==";
    assert_eq!(get(upgrade), 403);
    assert_eq!(get(&format!("{upgrade}\r\nauthorization: Bearer x")), 401);
    let early = format!("{upgrade}\r\n\r\nGET /open/secret HTTP/1.1\r\nhost: a");
    assert_eq!(get(&early), 403);

    assert_sound(&envoy);
    let payload = payload_of(&good);
    for request in reached.lock().unwrap().iter() {
        assert!(is_let_through(request, &payload), "{request:?}");
    }
}
