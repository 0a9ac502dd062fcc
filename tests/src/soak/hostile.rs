//! The requests that come whatever the policies are: good ones, bad ones, and those that no browser sends.

use std::net::IpAddr;

use anyhow::{Context, Result};
use portcullis_mint::{Order, forge, mint};
use portcullis_policy::Metadata;
use portcullis_policy::scenario::Expectation;
use serde_json::{Value, json};

use super::load::{CONNECTIONS, Load};
use super::version::{ISSUER, ISSUER_OF_AUDIENCE, ISSUER_OF_PLACES, ISSUER_OF_ROTATING, RING};
use crate::corpus::Sent;
use crate::http::Headers;

/// Makes them, with tokens of `now` that stay good, or bad, for a day.
///
/// # Errors
/// A token that cannot be minted.
pub(super) fn requests(now: u64) -> Result<Vec<Load>> {
    let mut made = Made {
        loads: Vec::new(),
        now,
    };
    made.plain()?;
    made.good()?;
    made.bad()?;
    made.malformed()?;
    made.large()?;
    made.odd()?;
    Ok(made.loads)
}

struct Made {
    loads: Vec<Load>,
    now: u64,
}

type Lines<'l> = &'l [(&'l str, &'l [u8])];

impl Made {
    fn add(&mut self, kind: &'static str, method: &str, path: &str, lines: Lines) -> &mut Load {
        let connection = self.loads.len() % CONNECTIONS.len();
        self.add_from(connection, kind, method, path, lines)
    }

    fn add_from(
        &mut self,
        connection: usize,
        kind: &'static str,
        method: &str,
        path: &str,
        lines: Lines,
    ) -> &mut Load {
        let (source, destination, port) = CONNECTIONS[connection];
        let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
        let headers: Headers = lines
            .iter()
            .map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec()))
            .collect();
        let sent = Sent {
            name: kind.to_owned(),
            method: method.to_owned(),
            host: "example.com".to_owned(),
            path: path.as_bytes().to_vec(),
            headers,
            source_ip: address(source),
            destination_ip: address(destination),
            destination_port: port,
            sni: None,
            tls: None,
            server_uri: Vec::new(),
            metadata: Metadata::default(),
            at: 0,
            expect: Expectation::default(),
        };
        let at = self.loads.len();
        self.loads.push(Load::new(kind, sent, connection));
        &mut self.loads[at]
    }

    fn bearer(&mut self, kind: &'static str, path: &str, token: &str) -> &mut Load {
        let value = format!("Bearer {token}");
        self.add(kind, "GET", path, &[("authorization", value.as_bytes())])
    }

    fn token(&self, key: &str, key_id: Option<&str>, claims: &Value) -> Result<String> {
        let claims = claims.to_string();
        let order = Order {
            key,
            key_id,
            claims: &claims,
            now: self.now,
        };
        mint(&order).context("a token")
    }

    /// A token of `alice`.
    fn alice(&self, key: &str) -> Result<String> {
        let claims =
            json!({ "iss": ISSUER, "sub": "alice", "exp": "+2d", "groups": ["admin", "user"] });
        self.token(key, Some(key), &claims)
    }

    fn plain(&mut self) -> Result<()> {
        for path in ["/", "/soak/open", "/soak/token", "/soak/shut", "/soak/flip"] {
            self.add("without a token", "GET", path, &[]).weight = 8;
            self.add_from(0, "without a token", "GET", path, &[]);
        }
        let good = format!("Bearer {}", self.alice("ec-1")?);
        for method in ["HEAD", "POST", "OPTIONS", "PURGE"] {
            self.add("other methods", method, "/soak/open", &[]);
            self.add(
                "other methods",
                method,
                "/soak/token",
                &[("authorization", good.as_bytes())],
            );
        }
        let preflight: Lines = &[
            ("origin", b"https://page.example"),
            ("access-control-request-method", b"PUT"),
        ];
        self.add("other methods", "OPTIONS", "/soak/token", preflight);
        let grpc: (&str, &[u8]) = ("content-type", b"application/grpc");
        self.add("gRPC", "POST", "/soak/token", &[grpc]);
        self.add("gRPC", "POST", "/soak/open", &[grpc]);
        let value = b"Bearer a.b.c".as_slice();
        self.add(
            "gRPC",
            "POST",
            "/soak/open",
            &[grpc, ("authorization", value)],
        );
        Ok(())
    }

    fn good(&mut self) -> Result<()> {
        for key in ["rsa-1", "ec-1", "ed-1", "hs-1"] {
            let token = self.alice(key)?;
            let value = format!("Bearer {token}");
            for path in ["/soak/token", "/soak/open", "/a"] {
                self.bearer("good token", path, &token).weight = 8;
            }
            let lines: Lines = &[("authorization", value.as_bytes())];
            self.add_from(0, "good token", "GET", "/soak/token", lines);
            let bob = self.token(key, Some(key), &json!({ "iss": ISSUER, "sub": "bob" }))?;
            self.bearer("good token", "/soak/token", &bob);
            let claims = json!({ "iss": ISSUER, "sub": "alice" });
            let nameless = self.token(key, None, &claims)?;
            self.bearer("good token without kid", "/soak/token", &nameless);
        }
        for key in RING {
            let claims = json!({ "iss": ISSUER_OF_ROTATING, "sub": "alice" });
            let token = self.token(key, Some(key), &claims)?;
            let load = self.bearer("token of a rotated key", "/soak/token", &token);
            load.rotates = true;
            load.weight = 8;
        }
        let claims = json!({ "iss": ISSUER_OF_PLACES, "sub": "alice" });
        let token = self.token("hs-1", Some("hs-1"), &claims)?;
        let path = format!("/soak/token?a=1&at={token}&b=2");
        self.add("token elsewhere", "GET", &path, &[]);
        let cookie = format!("a=1; st={token}; b=2");
        self.add(
            "token elsewhere",
            "GET",
            "/soak/token",
            &[("cookie", cookie.as_bytes())],
        );
        let value = format!("Token {token}");
        let lines: Lines = &[("X-Soak", value.as_bytes())];
        self.add("token elsewhere", "GET", "/soak/token", lines);
        Ok(())
    }

    fn bad(&mut self) -> Result<()> {
        let alice = json!({ "iss": ISSUER, "sub": "alice" });
        for key in ["rsa-1", "ec-1", "ed-1", "hs-1"] {
            let with = |name: &str, value: &str| {
                let mut claims = alice.clone();
                claims[name] = json!(value);
                claims
            };
            let expired = self.token(key, Some(key), &with("exp", "-1h"))?;
            self.bearer("expired", "/soak/token", &expired);
            let early = self.token(key, Some(key), &with("nbf", "+2d"))?;
            self.bearer("not yet valid", "/soak/token", &early);
            let good = self.alice(key)?;
            let other = self.token(key, Some(key), &with("sub", "mallory"))?;
            let (signed, _) = other.rsplit_once('.').context("a token")?;
            let (own, signature) = good.rsplit_once('.').context("a token")?;
            let forged = format!("{signed}.{signature}");
            self.bearer("forged signature", "/soak/token", &forged)
                .weight = 6;
            self.bearer("forged signature", "/soak/open", &format!("{own}."));
            let unknown = self.token(key, Some("nobody"), &alice)?;
            self.bearer("unknown kid", "/soak/token", &unknown);
        }
        let long = "k".repeat(4_000);
        for kid in ["", " ", "../../etc/passwd", "' OR 1=1 --", "\u{0}\n", &long] {
            let token = self.token("ec-1", Some(kid), &alice)?;
            self.bearer("junk kid", "/soak/token", &token);
            let rotating = json!({ "iss": ISSUER_OF_ROTATING, "sub": "alice" });
            let token = self.token("hs-1", Some(kid), &rotating)?;
            self.bearer("junk kid", "/soak/token", &token);
        }
        let token = self.token("hs-1", Some("hs-1"), &json!({ "iss": "https://x.example" }))?;
        self.bearer("unknown issuer", "/soak/token", &token);
        for audience in [
            json!("soak"),
            json!("other"),
            json!(["a", "soak"]),
            json!([]),
        ] {
            let claims = json!({ "iss": ISSUER_OF_AUDIENCE, "sub": "alice", "aud": audience });
            let token = self.token("ed-1", Some("ed-1"), &claims)?;
            self.bearer("audiences", "/soak/token", &token);
        }
        for note in ["a\nb", "a\u{0}b", "\u{7f}", "a\tb", "\r\nx-evil: 1", "fine"] {
            let claims = json!({ "iss": ISSUER, "sub": "alice", "note": note });
            let token = self.token("hs-1", Some("hs-1"), &claims)?;
            self.bearer("claims with control characters", "/soak/token", &token);
        }
        Ok(())
    }

    fn malformed(&mut self) -> Result<()> {
        let good = self.alice("hs-1")?;
        let parts: Vec<&str> = good.split('.').collect();
        let [header, payload, signature] = parts[..] else {
            anyhow::bail!("a token without three parts")
        };
        let texts = [
            format!("{header}.{payload}!.{signature}"),
            format!("{header}=.{payload}.{signature}"),
            format!("{header}.{payload}.{signature}="),
            format!("{header}..{signature}"),
            format!("{header}.{payload}"),
            format!("{good}.{good}"),
            format!("\"{good}\""),
            "a.b.c".to_owned(),
            "..".to_owned(),
            "e30.e30.e30".to_owned(),
            format!("{}.{payload}.", "eyJhbGciOiJub25lIn0"),
        ];
        for text in &texts {
            self.bearer("broken base64 and JSON", "/soak/token", text);
        }
        let claims = json!({ "iss": ISSUER, "sub": "alice" }).to_string();
        let deep = "[".repeat(2_000);
        let payloads = [
            "{",
            "null",
            "[]",
            "{\"iss\":1}",
            "{'iss':'x'}",
            "\u{0}",
            &deep,
        ];
        for payload in payloads {
            let token = forge("hs-1", br#"{"alg":"HS256"}"#, payload.as_bytes())?;
            self.bearer("broken base64 and JSON", "/soak/token", &token);
        }
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"RS256","kid":"rsa-1"}"#,
            r#"{"alg":"HS256","kid":"rsa-1"}"#,
            r#"{"alg":"HS256","kid":null}"#,
            r#"{"alg":"HS256","kid":"hs-1","crit":["x"]}"#,
            "{}",
            "[]",
        ] {
            let token = forge("hs-1", header.as_bytes(), claims.as_bytes())?;
            self.bearer("other alg", "/soak/token", &token);
        }
        for value in [
            b"Bearer".as_slice(),
            b"Bearer \xff\xfe",
            b"Basic YTpi",
            b"bearer x",
        ] {
            let lines: Lines = &[("authorization", value)];
            self.add("other credentials", "GET", "/soak/token", lines);
        }
        Ok(())
    }

    fn large(&mut self) -> Result<()> {
        // 50 KB each; as much as Envoy takes with all its other headers is 60 KiB.
        let claims =
            json!({ "iss": ISSUER, "sub": "alice", "groups": vec!["group-of-some-length"; 1_640] });
        let token = self.token("hs-1", Some("hs-1"), &claims)?;
        let forged = format!("{}AAAA", &token[..token.len() - 4]);
        let dots = ".".repeat(50_000);
        for text in [&token, &forged, &"x".repeat(50_000), &dots] {
            let load = self.bearer("50 KB token", "/soak/token", text);
            load.weight = 1;
        }
        let names: Vec<String> = (0..90).map(|number| format!("x-line-{number}")).collect();
        let value = self.alice("ec-1")?;
        let mut lines: Vec<(&str, &[u8])> = names
            .iter()
            .map(|name| (name.as_str(), &b"v"[..]))
            .collect();
        self.add("many header lines", "GET", "/soak/open", &lines)
            .weight = 2;
        let bearer = format!("Bearer {value}");
        lines.push(("authorization", bearer.as_bytes()));
        self.add("many header lines", "GET", "/soak/token", &lines)
            .weight = 2;
        let same: Vec<(&str, &[u8])> = (0..90).map(|_| ("x-token", &b"a.b.c"[..])).collect();
        self.add("many header lines", "GET", "/soak/open", &same)
            .weight = 2;
        let cookies = (0..2_000).map(|number| format!("c{number}=v; "));
        let cookies = cookies.collect::<Vec<_>>().concat();
        let lines: Lines = &[("cookie", cookies.trim_end_matches("; ").as_bytes())];
        self.add("many cookies", "GET", "/soak/open", lines).weight = 1;
        let query = (0..2_000).map(|number| format!("&q{number}=%41"));
        let query = query.collect::<Vec<_>>().concat();
        self.add("long query", "GET", &format!("/soak/open?{query}"), &[])
            .weight = 1;
        Ok(())
    }

    fn odd(&mut self) -> Result<()> {
        for path in [
            "/soak/../soak/shut",
            "/soak/./open",
            "//soak//open",
            "/soak/open%2f..%2fshut",
            "/soak/%6fpen",
            "/soak/%2e%2e/soak/shut",
            "/soak/open;x=1",
            "/soak/open/",
            "/soak/open?",
            "/soak/open?at=a.b.c",
            "/soak/op%zzen",
            "/soak\\open",
            "/SOAK/open",
            "/soak/open%00",
            "/soak/\u{e9}",
            "/soak/open#shut",
            "/../../../etc/passwd",
        ] {
            self.add("odd paths", "GET", path, &[]);
        }
        for value in [
            "By=spiffe://cluster.local/ns/foo/sa/a;URI=spiffe://cluster.local/ns/foo/sa/a",
            "URI=spiffe://cluster.local/ns/foo/sa/a,URI=spiffe://td1/ns/foo/sa/b",
            "Subject=\"CN=\\\"admin\\\"\";URI=",
            "Hash=;;;,,,\"",
        ] {
            let lines: Lines = &[("x-forwarded-client-cert", value.as_bytes())];
            self.add("spoofed certificate", "GET", "/soak/mesh", lines);
        }
        let good = format!("Bearer {}", self.alice("ec-1")?);
        let own: (&str, &[u8]) = ("authorization", good.as_bytes());
        let junk: (&str, &[u8]) = ("Authorization", b"Bearer a.b.c");
        for lines in [[own, own], [own, junk], [junk, own]] {
            self.add("repeated headers", "GET", "/soak/token", &lines);
        }
        let lines: Lines = &[
            ("x-a", b"one"),
            ("X-A", b"two"),
            ("x-a", b""),
            ("cookie", b"st=a.b.c"),
            ("cookie", b"st=d.e.f"),
        ];
        self.add("repeated headers", "GET", "/soak/open", lines);
        for value in ["1.2.3.4", "1.2.3.4, 5.6.7.8", "999.1.1.1", "::1", ","] {
            let lines: Lines = &[("x-forwarded-for", value.as_bytes())];
            self.add("spoofed address", "GET", "/soak/open", lines);
        }
        let lines: Lines = &[("x-envoy-original-path", b"/soak/open")];
        self.add("spoofed headers", "GET", "/soak/shut", lines);
        let lines: Lines = &[("x-note", b"forged"), ("x-sub", b"admin")];
        self.add("spoofed headers", "GET", "/soak/token", lines);
        Ok(())
    }
}
