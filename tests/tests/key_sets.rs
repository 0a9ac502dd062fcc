//! What is a key set: a real Envoy and the core are asked about the same texts.
//!
//! A key set that Envoy refuses cannot be a scenario, since it would refuse the whole configuration. So Envoy
//! fetches each here, and says of a token whether it has keys for it at all.

use std::net::SocketAddr;

use portcullis_mint::{forge, key_names, public_jwks};
use portcullis_policy::authenticate::{KeyDoubt, KeyRules, KeySet, PUBLISHED_KEYS};
use portcullis_tests::client::Exchange;
use portcullis_tests::envoy::{Config, Envoy, Listener, cluster};
use portcullis_tests::root;
use portcullis_tests::server::{Reply, Server};
use portcullis_tests::upstream::echo;
use serde_json::{Map, Value, json};

/// A name, a text, and whether the text is a key set.
type Text = (&'static str, Vec<u8>, bool);

fn good() -> String {
    public_jwks(&["hs-1"]).unwrap()
}

/// The key of [`good`].
fn key() -> String {
    let good = good();
    let inner = good.strip_prefix("{\"keys\":[");
    inner.unwrap().strip_suffix("]}").unwrap().to_owned()
}

fn keys(items: &str) -> Vec<u8> {
    format!("{{\"keys\":[{items}]}}").into_bytes()
}

/// [`good`] with another member.
fn with(member: &str) -> Vec<u8> {
    format!("{{\"keys\":[{}],{member}}}", key()).into_bytes()
}

fn documents() -> Vec<Text> {
    let good = good();
    let cut = good.as_bytes()[..good.len() - 1].to_vec();
    let around = format!(" \t\r\n{good}\n").into_bytes();
    let utf_16 = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [b"\xef\xbb\xbf", good.as_bytes()].concat();
    let token = forge("hs-1", b"{}", b"{}").unwrap().into_bytes();
    vec![
        ("a key", good.clone().into_bytes(), true),
        ("white space around", around, true),
        ("nothing", Vec::new(), false),
        ("null", b"null".to_vec(), false),
        ("a number", b"5".to_vec(), false),
        ("a text", b"\"keys\"".to_vec(), false),
        ("a list", format!("[{}]", key()).into_bytes(), false),
        ("an empty object", b"{}".to_vec(), false),
        ("a page", b"<html><body>503</body></html>".to_vec(), false),
        ("a text cut off", cut, false),
        ("more behind", format!("{good}x").into_bytes(), false),
        ("two sets", format!("{good}{good}").into_bytes(), false),
        ("a zero behind", format!("{good}\0").into_bytes(), false),
        ("a byte order mark", marked, false),
        ("UTF-16", utf_16, false),
        (
            "compressed",
            b"\x1f\x8b\x08\0\0\0\0\0\0\xff".to_vec(),
            false,
        ),
        ("a token", token, false),
        ("one key alone", key().into_bytes(), false),
    ]
}

fn members() -> Vec<Text> {
    let (good, key) = (good(), key());
    let replaced = |from: &str, to: &str| good.replace(from, to).into_bytes();
    let inside = |member: &str| keys(&key.replacen('{', &format!("{{{member},"), 1));
    let within = format!("{{\"jwks\":{good}}}").into_bytes();
    let object = format!("{{\"keys\":{key}}}").into_bytes();
    let junk = "5,null,{},[],\"x\",{\"kty\":\"RSA\"}";
    let many: Vec<String> = (0..10_000).map(|it| format!("\"m{it}\":1")).collect();
    vec![
        ("a set within an object", within, false),
        ("keys in capitals", replaced("keys", "KEYS"), false),
        ("keys with an escape", replaced("keys", "k\\u0065ys"), true),
        ("keys that are an object", object, false),
        ("keys that are a text", b"{\"keys\":\"x\"}".to_vec(), false),
        ("keys that are null", b"{\"keys\":null}".to_vec(), false),
        ("no keys", keys(""), false),
        ("junk alone", keys(junk), false),
        ("junk and a key", keys(&format!("{junk},{key}")), true),
        ("keys twice", with("\"keys\":[]"), false),
        ("keys twice, once escaped", with("\"k\\u0065ys\":[]"), false),
        ("a member twice", with("\"x\":1,\"x\":1"), false),
        (
            "an inner member twice",
            with("\"x\":{\"y\":1,\"y\":1}"),
            false,
        ),
        ("a member of a key twice", inside("\"kty\":\"oct\""), false),
        ("another of a key twice", inside("\"x\":1,\"x\":1"), false),
        (
            "one of junk twice",
            keys(&format!("{{\"x\":1,\"x\":1}},{key}")),
            false,
        ),
        ("ten thousand members", with(&many.join(",")), true),
    ]
}

fn leniencies() -> Vec<Text> {
    let (good, key) = (good(), key());
    let nested = |lists: usize| with(&format!("\"x\":{}{}", "[".repeat(lists), "]".repeat(lists)));
    let no_utf_8 = [b"{\"x\":\"\xff\",".as_slice(), &good.as_bytes()[1..]].concat();
    let bare = good.replace("\"keys\"", "keys").into_bytes();
    vec![
        ("99 levels", nested(98), true),
        ("100 levels", nested(99), true),
        ("101 levels", nested(100), false),
        ("5,001 levels", nested(5_000), false),
        (
            "trailing commas",
            format!("{{\"keys\":[{key},],}}").into_bytes(),
            true,
        ),
        ("two trailing commas", keys(&format!("{key},,")), false),
        ("single quotes", good.replace('"', "'").into_bytes(), true),
        ("bare names", bare, true),
        ("a comment", with("/* x */\"x\":1"), false),
        ("no UTF-8", no_utf_8, false),
        ("half of a surrogate pair", with("\"x\":\"\\ud800\""), false),
        ("a number beyond a double", with("\"x\":1e309"), false),
        ("a leading zero", with("\"x\":01"), false),
        ("NaN", with("\"x\":NaN"), false),
        ("a line feed in a text", with("\"x\":\"a\nb\""), true),
    ]
}

fn certificates() -> Vec<Text> {
    let map = |entries: &[(&str, &str)]| {
        let member = |(id, text): &(&str, &str)| ((*id).to_owned(), json!(text));
        let members: Map<String, Value> = entries.iter().map(member).collect();
        Value::Object(members).to_string().into_bytes()
    };
    let one = |text: &str| map(&[("a", text)]);
    let changed = |from: &str, to: &str| one(&RSA.replace(from, to));
    let empty = "-----BEGIN CERTIFICATE-----\n\n-----END CERTIFICATE-----\n";
    vec![
        ("a certificate", one(RSA), true),
        ("two certificates", map(&[("a", RSA), ("b", RSA)]), true),
        ("a certificate of another type", one(EC), false),
        ("one of either type", map(&[("a", RSA), ("b", EC)]), false),
        (
            "a certificate and a text",
            map(&[("a", RSA), ("b", "x")]),
            false,
        ),
        ("DOS line ends", changed("\n", "\r\n"), false),
        ("no last line end", one(RSA.trim_end()), false),
        ("an empty line in front", one(&format!("\n{RSA}")), false),
        ("another length", changed("MIID", "MIIE"), false),
        ("no base64", changed("MIID", "MI!D"), false),
        ("another name", changed("CERTIFICATE", "PUBLIC KEY"), false),
        ("an empty certificate", one(empty), false),
    ]
}

#[test]
fn envoy_and_the_core_take_the_same_texts_for_key_sets() {
    let texts = [documents(), members(), leniencies(), certificates()].concat();
    let bodies: Vec<Vec<u8>> = texts.iter().map(|(_, text, _)| text.clone()).collect();
    let server = Server::start(0, move |request| {
        let index: usize = request.path[1..].parse().unwrap();
        Reply {
            body: bodies[index].clone(),
            // Whatever a server calls it.
            ..Reply::new(200, "text/html", "")
        }
    })
    .unwrap();
    let envoy = fetching(texts.len(), server.address());
    let token = forge("hs-1", br#"{"alg":"HS256","kid":"nobody"}"#, b"{}").unwrap();
    for (index, (name, text, expected)) in texts.iter().enumerate() {
        let core = KeySet::parse(text, false).is_ok();
        assert_eq!(core, *expected, "the core: {name}");
        let exchange = Exchange {
            path: format!("/{index}").into_bytes(),
            headers: vec![(
                b"authorization".to_vec(),
                format!("Bearer {token}").into_bytes(),
            )],
            ..Exchange::default()
        };
        let answer = envoy.send("gate", &exchange).unwrap().text();
        let is_key_set = match answer.as_str() {
            "Jwks remote fetch is failed" => false,
            // A set of keys that name no id has one for every id.
            "Jwks doesn't have key to match kid or alg from Jwt" | "Jwt verification fails" => true,
            other => panic!("{name}: {other}"),
        };
        assert_eq!(is_key_set, *expected, "Envoy: {name}");
        // What is refused as it is has no stricter reading.
        assert!(*expected || KeySet::parse(text, true).is_err(), "{name}");
    }
}

/// Who adds a key to the folder adds its thumbprint to the list.
#[test]
fn every_key_of_the_examples_is_known_to_be_published() {
    let folder = std::fs::read_dir(root().join("examples/keys")).unwrap();
    let files = folder.map(|file| file.unwrap().path());
    let mut names: Vec<String> = files
        .filter(|path| path.extension().is_some_and(|end| end != "md"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    names.sort();
    let mut known = key_names();
    known.sort_unstable();
    assert_eq!(names, known);
    let jwks = public_jwks(&known).unwrap();
    let set = KeySet::parse(jwks.as_bytes(), false).unwrap();
    let published = set.doubts().iter().map(|(index, doubt)| match doubt {
        KeyDoubt::Published(place) => (*index, *place),
        other => panic!("{other:?}"),
    });
    let ours = "examples/keys of Portcullis";
    let expected: Vec<(usize, &str)> = (0..known.len()).map(|index| (index, ours)).collect();
    assert_eq!(published.collect::<Vec<_>>(), expected);
    let listed = PUBLISHED_KEYS.iter().filter(|key| key.place == ours);
    assert_eq!(listed.count(), known.len());
    assert!(KeySet::parse(jwks.as_bytes(), true).is_err());
    let rules = KeyRules {
        strict: true,
        published: true,
    };
    assert_eq!(KeySet::parse(jwks.as_bytes(), rules).unwrap().doubts(), []);
}

/// An Envoy that wants a token for each path `/INDEX`, with keys from that path of the server.
fn fetching(count: usize, server: SocketAddr) -> Envoy {
    let providers: Map<String, Value> = (0..count)
        .map(|index| {
            let uri = json!({ "uri": format!("http://keys.example/{index}"), "cluster": "keys", "timeout": "5s" });
            (format!("p{index}"), json!({ "remote_jwks": { "http_uri": uri } }))
        })
        .collect();
    let rules: Vec<Value> = (0..count)
        .map(|index| json!({ "match": { "path": format!("/{index}") }, "requires": { "provider_name": format!("p{index}") } }))
        .collect();
    let filter = json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": rules,
        },
    });
    let upstream = echo().unwrap();
    let mut config = Config::new(
        upstream.address(),
        vec![Listener::new("gate", vec![filter])],
    );
    config.clusters.push(cluster("keys", server));
    Envoy::start(&config).unwrap()
}

/// An RSA key under a name of its own.
const RSA: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIDATCCAemgAwIBAgIUXAyieluakysfEwDeR4hTKbaTrwwwDQYJKoZIhvcNAQEL\n\
    BQAwDzENMAsGA1UEAwwEZGVtbzAgFw0yNjExMjIwNjI1MTJaGA8yMTI2MTAyOTA2\n\
    MjUxMlowDzENMAsGA1UEAwwEZGVtbzCCASIwDQYJKoZIhvcNAQEBBQADggEPADCC\n\
    AQoCggEBAMAld1BmPACJY6WEurOrUajLhh4WzdldwEyPlGP5QUzcQ2VykLeKlapq\n\
    AZwiImH4kWpyC++xOneRE2ZDUfwifGhYGvL5yoPo7UDUj7Kg1Wpmxdb/G+ihLsqN\n\
    TLXJtj3IlNBorQtkMlTEH01sNjOhVQ/bk6Fw7ZvS6RmRP9roqIEN0BDfmWkFSN6L\n\
    IIB9u001iCT4s1p8pADgxAfcjDQf+WwAQPtJ80SEDHTsJ9eSVdRo6s08LaNGJZxI\n\
    VGCZnAwuuSsBKjztx2LkzUbnJA4WlEHPGVeHTLNowsxmn86YrDjrDRt4YhqQ2awb\n\
    0FzxH15gwT3icVrP/OhFNzjaFDYJqf8CAwEAAaNTMFEwHQYDVR0OBBYEFMAUgYAK\n\
    luvlb2WJz1oY/eaqNMlVMB8GA1UdIwQYMBaAFMAUgYAKluvlb2WJz1oY/eaqNMlV\n\
    MA8GA1UdEwEB/wQFMAMBAf8wDQYJKoZIhvcNAQELBQADggEBADFg49To17qlRbpX\n\
    Pk7+RJdhdxrwZrRuGUaxx4gMy/OXY4YJNTd/y/rsy/23MYE4mRsOq5+Fyhcs9lWR\n\
    cJw/vgRgnJGeOjAN03aD3vFhmrPZ3TPr503+Kat9Ox2z/PerZIupc54Rgq8FaQkn\n\
    syK4NEnt99VdsqR8qd2JPX6Xulk0rJaBVQ8QUzodR8PSY5KozpknmminGGcPcKX/\n\
    ojTWll7IKXI9RnrvRrxCjFVUZ/16cIMmT/KBRwLBJCI/vnuWDEx46ShATN7mqoGi\n\
    AmPFWXo6Fi1UZ3YIaEttcLRkvCUDvmlaq8ofi8S1om/FKZS+NJK0oHwhckT6Ghr5\n\
    +C6KmRA=\n\
    -----END CERTIFICATE-----\n";
/// A P-256 key.
const EC: &str = "-----BEGIN CERTIFICATE-----\n\
    MIIBcDCCARegAwIBAgIUCF54q5D+ComCKp2shs8exLtLEqkwCgYIKoZIzj0EAwIw\n\
    DTELMAkGA1UEAwwCZWMwIBcNMjYxMTIyMDc1MzQzWhgPMjEyNjEwMjkwNzUzNDNa\n\
    MA0xCzAJBgNVBAMMAmVjMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEHb9ifnjW\n\
    q0bVM0bWz2aVpayp1I0BvT3z6xOeqciCrjc32KZbivuiZYfyxJVXifWmiqXhD+H+\n\
    4rKs+x2dqxPS1aNTMFEwHQYDVR0OBBYEFD0KBsGlZMLMD7Em71uD0mMo4dnYMB8G\n\
    A1UdIwQYMBaAFD0KBsGlZMLMD7Em71uD0mMo4dnYMA8GA1UdEwEB/wQFMAMBAf8w\n\
    CgYIKoZIzj0EAwIDRwAwRAIgVLrlKvn35X1t1zv9k5V/zx9kGAiF7W0sPWIAuaUG\n\
    l0ACIGrod4uZq23AV7yZ6SlDzF2S33Oj2mXT5LC5trmpNPby\n\
    -----END CERTIFICATE-----\n";
