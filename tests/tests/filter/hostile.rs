//! Bytes that no browser sends: the filter decides or Envoy refuses, and nothing stops.

use crate::*;

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn pick<'t, T: ?Sized>(&mut self, of: &[&'t T]) -> &'t T {
        of[self.below(of.len())]
    }

    fn bytes(&mut self, limit: usize) -> Vec<u8> {
        (0..self.below(limit.max(1)))
            .map(|_| self.next().to_be_bytes()[0])
            .collect()
    }

    /// Bytes that a header value may hold, those beyond ASCII among them.
    fn text(&mut self, limit: usize) -> Vec<u8> {
        let mut bytes = self.bytes(limit);
        for byte in &mut bytes {
            if (*byte < 0x20 && *byte != b'\t') || *byte == 0x7f {
                *byte |= 0x80;
            }
        }
        bytes
    }

    fn mutate(&mut self, bytes: &mut Vec<u8>) {
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len().max(1));
            let byte = self.next().to_be_bytes()[0];
            match self.below(3) {
                0 if at < bytes.len() => bytes[at] = byte,
                1 if at < bytes.len() => drop(bytes.remove(at)),
                _ => bytes.insert(at.min(bytes.len()), byte),
            }
        }
    }
}

const METHODS: [&[u8]; 11] = [
    b"GET", b"GET", b"GET", b"POST", b"OPTIONS", b"HEAD", b"PUT", b"TRACE", b"CONNECT", b"get",
    b"PRI",
];
const PATHS: [&[u8]; 18] = [
    b"/open",
    b"/open/a",
    b"/open/secret",
    b"/token",
    b"/token",
    b"/",
    b"/closed",
    b"*",
    b"/open/../closed",
    b"/open/./secret",
    b"/open%2fsecret",
    b"//open",
    b"/open/;secret",
    b"/OPEN",
    b"/open#/closed",
    b"http://other.example/open",
    b"/open\\secret",
    b"/open/%73ecret",
];
const NAMES: [&str; 17] = [
    "authorization",
    "Authorization",
    "x-token",
    "cookie",
    "x-payload",
    "x-evil",
    "X-Evil",
    "origin",
    "access-control-request-method",
    "content-type",
    "connection",
    "expect",
    "x-forwarded-for",
    "x-envoy-original-path",
    "x_token",
    "referer",
    "x-forwarded-proto",
];
// Envoy itself refuses most requests that have one of these beside its own.
const FRAMING: [&str; 5] = [
    "content-length",
    "transfer-encoding",
    "upgrade",
    "host",
    "te",
];
const VALUES: [&[u8]; 18] = [
    b"",
    b"Bearer",
    b"Bearer ",
    b"Bearer ...",
    b"Bearer a.b.c",
    b"Bearer e30.e30.e30",
    b"Bearer =.=.=",
    b"session=",
    b"session=\"",
    b"session=;session",
    b"chunked",
    b"gzip, chunked",
    b"0",
    b"close",
    b"upgrade",
    b"100-continue",
    b"application/grpc",
    b"1.2.3.4, ::1, x",
];

/// A request that is more or less one.
fn random_request(random: &mut Random, good: &str) -> Vec<u8> {
    if random.chance(10) {
        let mut bytes = random.bytes(400);
        if random.chance(50) {
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        return bytes;
    }
    let mut message = match random.below(20) {
        0 => random.bytes(20),
        _ => random.pick(&METHODS).to_vec(),
    };
    message.push(b' ');
    message.extend_from_slice(random.pick(&PATHS));
    if random.chance(15) {
        // Envoy refuses what is not ASCII; what is printable reaches the filter.
        let mask = if random.chance(80) { 0x7f } else { 0xff };
        let junk = random.bytes(40).into_iter().map(|byte| byte & mask);
        message.extend(junk.filter(|byte| *byte > b' ' && *byte != 0x7f));
    }
    if random.chance(15) {
        message.extend_from_slice(b"?access_token=");
        message.extend_from_slice(if random.chance(50) {
            good.as_bytes()
        } else {
            b"%zz%e3.%2e&access_token=1"
        });
    }
    let version: &[u8] = if random.chance(95) {
        b" HTTP/1.1\r\n"
    } else {
        b" HTTP/1.0\r\n"
    };
    message.extend_from_slice(version);
    if random.chance(95) {
        message.extend_from_slice(b"host: example.com\r\n");
    }
    for _ in 0..random.below(6) {
        let name = match random.below(100) {
            0..=1 => random.bytes(12),
            2..=5 => random.pick(&FRAMING).as_bytes().to_vec(),
            _ => random.pick(&NAMES).as_bytes().to_vec(),
        };
        let mut value = match random.below(6) {
            0 => bearer(good),
            1 => good.as_bytes().to_vec(),
            2 => [b"session=", good.as_bytes()].concat(),
            3 => random.text(60),
            _ => random.pick(&VALUES).to_vec(),
        };
        if random.chance(15) {
            random.mutate(&mut value);
        }
        if random.chance(1) {
            value = random.text(30_000);
        }
        message.extend_from_slice(&[&name, b": ".as_slice(), &value, b"\r\n"].concat());
    }
    message.extend_from_slice(b"\r\n");
    if random.chance(10) {
        random.mutate(&mut message);
    }
    if random.chance(5) {
        message.truncate(random.below(message.len()));
    }
    message
}

#[test]
fn ten_thousand_hostile_requests_stop_nothing_and_open_nothing() {
    const THREADS: u64 = 4;
    const EACH: usize = 2_500;
    // Another seed tries other bytes: PORTCULLIS_SEED=1 cargo test …
    let seed = std::env::var("PORTCULLIS_SEED")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(20_261_122);
    println!("seed {seed}");
    let (upstream, reached) = witness();
    let envoy = gate(&upstream, &gatekeeper());
    let address = envoy.address("gate").unwrap();
    let good = alice();
    let statuses: BTreeMap<Option<u16>, usize> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let good = &good;
                scope.spawn(move || {
                    let mut random = Random(seed + (thread << 32));
                    let mut statuses = BTreeMap::new();
                    for _ in 0..EACH {
                        let message = random_request(&mut random, good);
                        // A message without an end gets no answer; nobody waits for it.
                        let ends = message.windows(4).any(|window| window == b"\r\n\r\n");
                        let patience = Duration::from_millis(if ends { 50 } else { 1 });
                        let status = send_bytes(address, &message, patience);
                        *statuses.entry(status).or_insert(0) += 1;
                    }
                    statuses
                })
            })
            .collect();
        let mut all = BTreeMap::new();
        for thread in threads {
            for (status, count) in thread.join().unwrap() {
                *all.entry(status).or_insert(0) += count;
            }
        }
        all
    });
    println!("{statuses:?}");
    for status in [200, 400, 401, 403] {
        assert!(
            statuses.get(&Some(status)).is_some_and(|count| *count > 20),
            "{statuses:?}"
        );
    }
    // 501 is Envoy's answer to a transfer encoding that it does not know.
    for status in statuses.keys().flatten() {
        assert!(*status < 500 || *status == 501, "{statuses:?}");
    }

    check(&envoy, &get("/open"), 200);
    check(
        &envoy,
        &with("/token", &[("authorization", &bearer(&good))]),
        200,
    );
    check(&envoy, &get("/token"), 403);
    check(&envoy, &get("/open/secret"), 403);
    check(
        &envoy,
        &with("/open", &[("authorization", b"Bearer x")]),
        401,
    );
    assert_sound(&envoy);
    let payload = payload_of(&good);
    let reached = reached.lock().unwrap();
    let wrong = reached
        .iter()
        .filter(|request| !is_let_through(request, &payload))
        .collect::<Vec<_>>();
    assert!(
        wrong.is_empty(),
        "seed {seed}: {} of {} denied requests reached the upstream: {:?}",
        wrong.len(),
        reached.len(),
        wrong.first()
    );
    assert!(
        reached.iter().any(|request| request.path == "/token"),
        "no good token came through"
    );
}

/// A listener with room for large requests.
pub(crate) fn roomy() -> Listener {
    let manager = json!({
        "max_request_headers_kb": 8192,
        "common_http_protocol_options": { "max_headers_count": 20_000 },
        "http_protocol_options": { "accept_http_10": true },
    });
    Listener {
        connection_manager: manager.as_object().unwrap().clone(),
        ..Listener::new("gate", vec![plugin(&gatekeeper())])
    }
}

#[test]
fn odd_requests_are_decided_by_policy_and_never_fail() {
    let upstream = echo().unwrap();
    let envoy = start(&upstream, vec![roomy()]);
    let good = alice();
    for (name, value) in [
        ("x-any", b"\xff\xfe".as_slice()),
        ("authorization", b"\xff"),
        ("cookie", b"\xff=\xff"),
        ("x-any", b""),
        ("authorization", b""),
        ("cookie", b""),
    ] {
        check(&envoy, &with("/open", &[(name, value)]), 200);
        check(&envoy, &with("/closed", &[(name, value)]), 403);
    }
    check(
        &envoy,
        &with("/open", &[("authorization", b"Bearer \xff")]),
        401,
    );
    check(
        &envoy,
        &with("/open", &[("x-token", b"\xff\xfe.\x80.\xc0")]),
        401,
    );
    check(&envoy, &with("/open", &[("cookie", b"session=\xff")]), 401);
    check(&envoy, &with("/open", &[("x-evil", b"")]), 403);
    check(&envoy, &with("/open", &[("x-evil", b"\xff")]), 403);
    // An empty line of a header whose every value is a token is a token, and a bad one.
    check(&envoy, &with("/open", &[("x-token", b"")]), 401);

    let dots = ".".repeat(60_000);
    let segment = "A".repeat(60_000);
    let parts: Vec<&str> = good.split('.').collect();
    let form = format!("{}.{}.{}", parts[0], segment, parts[2]);
    for bad in [&dots, &segment, &form] {
        check(
            &envoy,
            &with("/open", &[("authorization", &bearer(bad))]),
            401,
        );
        check(&envoy, &with("/open", &[("x-token", bad.as_bytes())]), 401);
        check(&envoy, &get(&format!("/open?access_token={bad}")), 401);
        check(
            &envoy,
            &with("/open", &[("cookie", format!("session={bad}").as_bytes())]),
            401,
        );
    }
    let large = token(&json!({ "sub": "alice", "notes": "n".repeat(45_000) }));
    check(
        &envoy,
        &with("/token", &[("authorization", &bearer(&large))]),
        200,
    );

    assert_sound(&envoy);
}

#[test]
fn requests_of_many_parts_are_decided_by_policy_and_never_fail() {
    let upstream = echo().unwrap();
    let envoy = start(&upstream, vec![roomy()]);
    let good = alice();
    let query: String = (0..10_000).fold(String::new(), |mut query, number| {
        write!(query, "&p{number}={number}").unwrap();
        query
    });
    check(&envoy, &get(&format!("/open?{query}")), 200);
    check(&envoy, &get(&format!("/closed?{query}")), 403);
    check(&envoy, &get(&format!("/open?{query}&access_token=x")), 401);
    let stripped = check(
        &envoy,
        &get(&format!("/token?access_token={good}{query}")),
        200,
    );
    assert_eq!(
        Seen::read(&stripped).unwrap().path,
        format!("/token?{}", &query[1..])
    );

    let many: Headers = (0..10_000)
        .map(|number| (format!("x-{number}").into_bytes(), b"v".to_vec()))
        .collect();
    check(
        &envoy,
        &Exchange {
            headers: many.clone(),
            ..get("/open")
        },
        200,
    );
    check(
        &envoy,
        &Exchange {
            headers: many,
            ..get("/closed")
        },
        403,
    );
    let lines = |name: &str, value: &[u8]| vec![(name.as_bytes().to_vec(), value.to_vec()); 5_000];
    check(
        &envoy,
        &Exchange {
            headers: lines("x-token", b"a.b.c"),
            ..get("/open")
        },
        401,
    );
    check(
        &envoy,
        &Exchange {
            headers: lines("cookie", b"a=b; c=d; e"),
            ..get("/open")
        },
        200,
    );
    check(
        &envoy,
        &Exchange {
            headers: lines("authorization", b"Basic x"),
            ..get("/open")
        },
        200,
    );
    let crumbs = "a=b;".repeat(20_000);
    check(
        &envoy,
        &with("/open", &[("cookie", crumbs.as_bytes())]),
        200,
    );
    check(
        &envoy,
        &with(
            "/open",
            &[("cookie", format!("{crumbs}session=x").as_bytes())],
        ),
        401,
    );
    assert_sound(&envoy);
}

#[test]
fn a_request_without_a_host_is_refused_or_decided_by_policy() {
    let upstream = echo().unwrap();
    let envoy = start(&upstream, vec![roomy()]);
    let address = envoy.address("gate").unwrap();
    let send = |text: &str| send_bytes(address, text.as_bytes(), Duration::from_secs(5)).unwrap();
    for path in ["/open", "/closed"] {
        for version in ["1.0", "1.1"] {
            for host in ["", "host:\r\n"] {
                let status = send(&format!("GET {path} HTTP/{version}\r\n{host}\r\n"));
                // Envoy itself refuses a request without the header.
                let expected = match (host, path) {
                    ("", _) => 400,
                    (_, "/open") => 200,
                    _ => 403,
                };
                assert_eq!(status, expected, "{path} {version} {host:?}");
            }
        }
    }
    assert_eq!(send("GET /open HTTP/1.0\r\nhost: example.com\r\n\r\n"), 200);
    assert_eq!(
        send("GET /closed HTTP/1.0\r\nhost: example.com\r\n\r\n"),
        403
    );
    assert_sound(&envoy);
}

#[test]
fn tokens_of_many_parts_are_read_in_a_bounded_stack_and_time() {
    let upstream = echo().unwrap();
    let envoy = start(&upstream, vec![roomy()]);
    let issuer = format!("\"iss\":\"{ISSUER}\",\"sub\":\"alice\"");
    let signed = |payload: &str| {
        let good = mint(&Order {
            key: "ec-1",
            key_id: Some("ec-1"),
            claims: payload,
            now: real_now(),
        });
        good.unwrap()
    };
    // What nobody signed is read before its signature is looked at.
    let unsigned = |payload: &str| forge("hs-1", br#"{"alg":"HS256"}"#, payload.as_bytes());
    for levels in [101, 5_000, 500_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!(
                "{{{issuer},\"a\":{}1{}}}",
                open.repeat(levels),
                close.repeat(levels)
            );
            let refused = check(
                &envoy,
                &with("/open", &[("x-token", unsigned(&deep).unwrap().as_bytes())]),
                401,
            );
            assert_eq!(refused.text(), "Jwt payload is an invalid JSON");
        }
        let header = format!("{{\"alg\":\"HS256\",\"a\":{}", "[".repeat(levels));
        let token = forge("hs-1", header.as_bytes(), b"{}").unwrap();
        let refused = check(
            &envoy,
            &with("/open", &[("x-token", token.as_bytes())]),
            401,
        );
        assert_eq!(refused.text(), "Jwt header is an invalid JSON");
    }
    let members: String = (0..20_000).fold(String::new(), |mut text, number| {
        write!(text, ",\"c{number}\":{number}").unwrap();
        text
    });
    let items = vec!["1"; 100_000].join(",");
    for payload in [
        format!("{{{issuer}{members}}}"),
        format!("{{{issuer},\"list\":[{items}]}}"),
        format!("{{{issuer},\"text\":\"{}\"}}", "\\u0041".repeat(50_000)),
    ] {
        let token = signed(&payload);
        check(
            &envoy,
            &with("/token", &[("x-token", token.as_bytes())]),
            200,
        );
    }
    // The last member is there twice.
    let twice = format!("{{{issuer}{members},\"c0\":0}}");
    let token = unsigned(&twice).unwrap();
    check(
        &envoy,
        &with("/open", &[("x-token", token.as_bytes())]),
        401,
    );
    let header = format!("{{\"alg\":\"ES256\",\"kid\":\"{}\"}}", "k".repeat(20_000));
    let token = forge(
        "hs-1",
        header.as_bytes(),
        format!("{{{issuer}}}").as_bytes(),
    )
    .unwrap();
    let refused = check(
        &envoy,
        &with("/open", &[("x-token", token.as_bytes())]),
        401,
    );
    assert_eq!(
        refused.text(),
        "Jwks doesn't have key to match kid or alg from Jwt"
    );
    assert_sound(&envoy);
}
