//! The words of one set of policies and its requests. Both are made of the same few, so that they meet.

use super::random::Random;

/// The words that one case chooses from.
#[derive(Debug)]
pub(super) struct Words {
    /// The root namespace; its name decides whether its rules come before or after the workload's.
    pub(super) root: String,
    pub(super) trust_domain: String,
    pub(super) trust_domain_aliases: Vec<String>,
    pub(super) gateway: bool,
    pub(super) hosts: Vec<String>,
    pub(super) paths: Vec<String>,
    pub(super) methods: Vec<String>,
    pub(super) headers: Vec<String>,
    pub(super) header_values: Vec<String>,
    pub(super) sources: Vec<String>,
    pub(super) forwarded: Vec<String>,
    pub(super) ports: Vec<String>,
    pub(super) issuers: Vec<String>,
    pub(super) subjects: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) claims: Vec<String>,
    pub(super) claim_values: Vec<String>,
}

/// The namespace of the workload in every case.
pub(super) const NAMESPACE: &str = "foo";

/// What `principals` and `source.principal` are cut from.
pub(super) const PRINCIPALS: [&str; 9] = [
    "cluster.local/ns/foo/sa/a",
    "cluster.local/ns/foo/sa/b",
    "cluster.local/ns/bar/sa/a",
    "old-td/ns/foo/sa/a",
    "td1/ns/foo/sa/a",
    "td2/ns/bar/sa/b",
    "cluster.local/ns/istio-system/sa/istio-ingressgateway-service-account",
    "cluster.local/x/ns/foo/sa/a/y",
    "client.example.com",
];

/// What a certificate may be.
pub(super) const TRUST_DOMAINS: [&str; 6] =
    ["cluster.local", "td1", "td2", "old-td", "cluster", "td"];

/// Server names of TLS handshakes.
pub(super) const SERVER_NAMES: [&str; 4] = [
    "example.com",
    "a.example.com",
    "Example.com",
    "outbound.foo.svc",
];

const HOSTS: [&str; 9] = [
    "example.com",
    "example.com:8080",
    "a.example.com",
    "EXAMPLE.com",
    "example.com.",
    "foo.svc",
    "[::1]:8080",
    "xexample.com",
    "foo",
];

const PATHS: [&str; 16] = [
    "/",
    "/a",
    "/a/b",
    "/a/b/c",
    "/A",
    "/a/",
    "//a",
    "/a//b",
    "/admin",
    "/admin/x.txt",
    "/a;v=1",
    "/x%2fy",
    "/%61",
    "/a.b-c_d~e",
    "/a:b@c",
    "/a+b&c=d",
];

const METHODS: [&str; 8] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "PURGE",
];

const HEADERS: [&str; 22] = [
    "x-a",
    "x-b",
    "X-A",
    "accept",
    "referer",
    "origin",
    "if-match",
    "x-jwt",
    "x-sub",
    "x-payload",
    "authorization",
    "cookie",
    "user-agent",
    "x_a",
    "connection",
    "expect",
    "te",
    "upgrade",
    "x-envoy-external-address",
    "x-envoy-retry-on",
    "x-forwarded-proto",
    "x-request-id",
];

const HEADER_VALUES: [&str; 12] = [
    "one", "two", "ONE", "one,two", "", "*", "one two", "xone", "https", "trailers", "x-a",
    "upgrade",
];

/// Envoy's RBAC looks at the socket itself, and the client can bind to these only.
const SOURCES: [&str; 6] = [
    "127.0.0.1",
    "127.0.0.2",
    "127.0.1.1",
    "127.1.2.3",
    "127.127.0.1",
    "127.255.0.9",
];

const FORWARDED: [&str; 7] = [
    "1.2.3.4",
    "1.2.3.5",
    "9.9.9.9",
    "10.1.2.3",
    "2001:db8::5",
    "127.0.0.1",
    "172.16.0.1",
];

const PORTS: [&str; 5] = ["8080", "80", "8081", "443", "65535"];

const ISSUERS: [&str; 8] = [
    "https://a.example",
    "https://a.example/",
    "https://A.example",
    "https://a.example/x",
    "https://b.example",
    "issuer-foo",
    "a",
    "b@c.example",
];

const SUBJECTS: [&str; 6] = ["alice", "bob", "al", "a/b", "", "Alice"];

const AUDIENCES: [&str; 7] = [
    "svc.example",
    "https://svc.example/",
    "http://svc.example",
    "svc.example/",
    "other",
    "svc.example//",
    "Svc.example",
];

const CLAIMS: [&str; 17] = [
    "[groups]",
    "[scope]",
    "[permission]",
    "[custom]",
    "[realm][roles]",
    "[realm][a][b]",
    "[a.b]",
    "[https://x/claim]",
    "[sub]",
    "[iss]",
    "[aud]",
    "[azp]",
    "[exp]",
    "[realm]",
    "[k[0]]",
    "[Groups]",
    "[email_verified]",
];

const CLAIM_VALUES: [&str; 10] = [
    "admin",
    "user",
    "read",
    "write",
    "read write",
    "admin user",
    "Admin",
    "1",
    "true",
    "*",
];

impl Words {
    pub(super) fn choose(random: &mut Random) -> Self {
        let aliases = random.below(3);
        Self {
            root: random
                .pick(&["istio-system", "istio-system", "fo", "foo-root", "foo"])
                .to_owned(),
            trust_domain: random.pick(&["cluster.local", "td1"]).to_owned(),
            trust_domain_aliases: random.some(aliases, &["old-td", "td2", "cluster.local"]),
            gateway: random.chance(12),
            hosts: random.some(3, &HOSTS),
            paths: random.some(3, &PATHS),
            methods: random.some(3, &METHODS),
            headers: random.some(3, &HEADERS),
            header_values: random.some(3, &HEADER_VALUES),
            sources: random.some(3, &SOURCES),
            forwarded: random.some(3, &FORWARDED),
            ports: random.some(2, &PORTS),
            issuers: random.some(3, &ISSUERS),
            subjects: random.some(3, &SUBJECTS),
            audiences: random.some(3, &AUDIENCES),
            claims: random.some(4, &CLAIMS),
            claim_values: random.some(4, &CLAIM_VALUES),
        }
    }
}
