//! Random requests, made of the same words as the policies.

use serde_json::{Map, Value, json};

use super::generate_token::tokens;
use super::random::Random;
use super::words::{SERVER_NAMES, Words};

/// One request as a scenario states it. `rules` are the `jwtRules` of all policies.
pub(super) fn request(random: &mut Random, words: &Words, rules: &[&Value]) -> Value {
    let mut request = Map::new();
    let mut set = |name: &str, value: Value| drop(request.insert(name.into(), value));
    set("method", json!(random.of(&words.methods)));
    let host = random.of(&words.hosts).clone();
    set("host", json!(host_of(random, host)));
    let path = path(random, words);
    set("path", json!(path));
    let source = random.of(&words.sources).clone();
    let is_v6 = source.contains(':');
    set("sourceIp", json!(source));
    let last = random.pick(&["2", "2", "3"]);
    set(
        "destinationIp",
        json!(if is_v6 {
            format!("2001:db8::{last}")
        } else {
            format!("10.0.0.{last}")
        }),
    );
    let port: u16 = random.of(&words.ports).parse().expect("ports are numbers");
    set("destinationPort", json!(port));
    let mut headers = headers(random, words);
    // Envoy turns even its own 400 into a gRPC status, and that is not about policies.
    if is_refused(&path)
        && let Some(headers) = headers.as_object_mut()
    {
        headers.remove("content-type");
    }
    set("headers", headers);
    let mut tokens = tokens(random, words, rules);
    for token in &mut tokens {
        make_sendable(token);
    }
    if !tokens.is_empty() {
        set("token", json!(tokens));
    }
    if random.chance(14) {
        set("certificate", certificate(random));
        if random.chance(60) {
            let name = random.pick(&SERVER_NAMES);
            set("sni", json!(name));
        }
    }
    Value::Object(request)
}

fn is_refused(path: &str) -> bool {
    path.contains("%00") || !path.is_ascii()
}

/// Parameters take no spaces, and the proxy trims header lines before anything sees them.
fn make_sendable(token: &mut Value) {
    let Some(raw) = token["raw"].as_str() else {
        return;
    };
    let raw = if token.get("param").is_some() {
        raw.replace(' ', "%20").replace('"', "%22")
    } else if raw.trim().is_empty() && token.get("cookie").is_none() {
        "x".to_owned()
    } else {
        raw.trim_end().to_owned()
    };
    token["raw"] = json!(raw);
}

fn host_of(random: &mut Random, word: String) -> String {
    match random.weighted(&[80, 6, 4, 4, 3, 3]) {
        0 => word,
        1 => word.to_ascii_uppercase(),
        2 => format!("{word}:8080"),
        3 => format!("x{word}"),
        4 => format!("{word}."),
        _ => String::new(),
    }
}

fn certificate(random: &mut Random) -> Value {
    match random.below(14) {
        0 => json!("none"),
        1 => json!({ "uri": ["spiffe://td1/ns/foo/sa/a"] }),
        2 => json!({ "uri": ["spiffe://td2/ns/bar/sa/b", "spiffe://td1/ns/foo/sa/b"] }),
        3 => json!({ "uri": ["spiffe://cluster.local/x/ns/foo/sa/a/y"] }),
        4 => json!({ "dns": ["client.example.com"], "uri": ["https://cluster.local/ns/foo/sa/a"] }),
        5 => json!({ "subject": [["CN", "spiffe://cluster.local/ns/foo/sa/a"]] }),
        _ => {
            let names = [
                "foo-a",
                "foo-a",
                "foo-b",
                "bar-a",
                "old-foo-a",
                "dns-only",
                "two-sans",
                "client-1",
                "ingress-gateway",
            ];
            json!(random.pick(&names))
        }
    }
}

/// A path of the words, or one that a proxy has to think about.
fn path(random: &mut Random, words: &Words) -> String {
    let mut path = random.of(&words.paths).clone();
    if random.chance(35) {
        path = twisted(random, &path, words);
    }
    if random.chance(12) {
        path = random.mutant(&path);
        if !path.starts_with('/') {
            path.insert(0, '/');
        }
    }
    if random.chance(22) {
        path += random.pick(&[
            "?",
            "?x=1",
            "?x=1&y=%7Ez&y=2",
            "?access_token=",
            "?access_token",
            "?token=a.b.c",
            "?a=/../b",
            "?x=a%2Fb&q=%",
            "?=&&b",
            "?b=1&a=2",
        ]);
    } else if random.chance(3) {
        path += random.pick(&["#", "#f", "#?x", "?x=1#f"]);
    }
    path
}

fn twisted(random: &mut Random, path: &str, words: &Words) -> String {
    let other = random.of(&words.paths).clone();
    let at = path.rfind('/').unwrap_or_default();
    let (folder, file) = path.split_at(at);
    match random.below(16) {
        0 => format!("{path}/"),
        1 => format!("{path}/x"),
        2 => format!("/x/..{path}"),
        3 => format!("{path}/..{other}"),
        4 => format!("{path}/.{other}"),
        5 => format!("/{path}"),
        6 => format!("{path}{other}"),
        7 => format!("{folder}/.;a{file}"),
        8 => format!("{folder}/..;a=b{file}"),
        9 => format!("{path};v=1"),
        10 => format!("{folder}/%2e%2E{file}"),
        11 => format!("{folder}%2F{}", file.trim_start_matches('/')),
        12 => folder.to_owned() + &file.replace('/', "\\"),
        13 => escaped(random, path),
        14 => {
            path.to_owned()
                + random.pick(&[
                    "[",
                    "]",
                    "{}",
                    "|",
                    "^",
                    "`",
                    "<a>",
                    "\"",
                    "'",
                    "~",
                    "!$&'()*+,;=:@",
                ])
        }
        _ => {
            path.to_owned()
                + random.pick(&[
                    "%", "%2", "%zz", "%25", "%00", "%7e", "%7C", "é", "%c3%a9", "..", "/.", "/..",
                    "/...", "%5C", "%2e",
                ])
        }
    }
}

/// One of its characters as an escape, in either case.
fn escaped(random: &mut Random, path: &str) -> String {
    let at = random.below(path.len());
    let byte = path.as_bytes()[at];
    let escape = if random.chance(50) {
        format!("%{byte:02x}")
    } else {
        format!("%{byte:02X}")
    };
    format!("{}{escape}{}", &path[..at], &path[at + 1..])
}

fn headers(random: &mut Random, words: &Words) -> Value {
    let mut headers = Map::new();
    for _ in 0..random.below(4) {
        let name = random.of(&words.headers).clone();
        let count = 1 + random.weighted(&[75, 20, 5]);
        let lines = (0..count).map(|_| {
            let word = random.of(&words.header_values).clone();
            random.near(&word).trim().to_owned()
        });
        let lines: Vec<String> = lines.collect();
        // Envoy has no route for an empty scheme: 404, and no policy decided it.
        if name == "x-forwarded-proto" && lines.iter().all(String::is_empty) {
            continue;
        }
        headers.insert(name, json!(lines));
    }
    if random.chance(25) {
        headers.insert("x-forwarded-for".into(), forwarded(random, words));
    }
    if random.chance(4) {
        let kind = random.pick(&[
            "application/grpc",
            "application/grpc+proto",
            "application/grpc-web",
            "application/json",
            "Application/grpc",
        ]);
        headers.insert("content-type".into(), json!(kind));
    }
    if random.chance(5) {
        headers.insert("origin".into(), json!("https://page.example"));
        headers.insert("access-control-request-method".into(), json!("PUT"));
    }
    if random.chance(5) {
        headers.insert(
            "cookie".into(),
            json!(random.pick(&[
                "session=",
                "a=1; b=2",
                "session=\"x.y.z\"",
                "s",
                "Session=a.b.c; s=1"
            ])),
        );
    }
    if random.chance(4) {
        let value = random.pick(&[
            "Bearer",
            "Basic YTpi",
            "Bearer ",
            "bearer a.b.c",
            "Bearer a.b.c",
            "BearerX",
        ]);
        headers.insert("authorization".into(), json!(value.trim_end()));
    }
    Value::Object(headers)
}

fn forwarded(random: &mut Random, words: &Words) -> Value {
    let mut entry = |random: &mut Random| {
        let word = random.of(&words.forwarded).clone();
        match random.weighted(&[85, 4, 4, 4, 3]) {
            0 => word,
            1 => format!("{word}:80"),
            2 => "unknown".to_owned(),
            3 => format!("0{word}"),
            _ => String::new(),
        }
    };
    let line = |random: &mut Random, entry: &mut dyn FnMut(&mut Random) -> String| {
        let entries: Vec<String> = (0..=random.below(3)).map(|_| entry(random)).collect();
        entries
            .join(random.pick(&[", ", ",", ",  "]))
            .trim()
            .to_owned()
    };
    let mut lines = vec![line(random, &mut entry)];
    if random.chance(10) {
        lines.push(line(random, &mut entry));
    }
    json!(lines)
}
