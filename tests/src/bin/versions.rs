//! What of the filter works in which Envoy: `versions ENVOY...` runs probes in each and prints the table of
//! `docs/plugin.md`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use portcullis_mint::{Order, mint, public_jwks};
use portcullis_tests::certificates::{Authority, Spec};
use portcullis_tests::client::{Exchange, Tls};
use portcullis_tests::companion;
use portcullis_tests::corpus::json_documents;
use portcullis_tests::drivers::{filter_module, real_now, source_ip_state, wasm_filter};
use portcullis_tests::envoy::{Config, Envoy, Listener, cluster};
use portcullis_tests::scratch::Scratch;
use portcullis_tests::server::{Reply, Server};
use portcullis_tests::upstream::echo;
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example";
const KEYS: &str = "http://issuer.example/keys";

/// Fails, with the reason, where an Envoy lacks what it asks for.
type Probe = fn(&Path) -> Result<()>;

/// What is tried, and what the table calls it.
const PROBES: [(&str, Probe); 11] = [
    (
        "the filter loads and judges by path, method and header",
        loads,
    ),
    ("tokens, keys given", tokens),
    ("tokens, keys fetched", fetched_keys),
    ("Envoy's own `verify_signature`", verify_signature),
    (
        "`principals`, `namespaces` of a mesh's certificates",
        mesh_principals,
    ),
    ("`principals` of any certificate", any_principals),
    (
        "`CertificateAuthentication` from `connection`",
        certificates,
    ),
    ("`ipBlocks`, with its companion", source_ip),
    ("`experimental.envoy.filters.*`", metadata),
    ("reserved headers, by their companion", reserved_headers),
    ("a denial says why at log level info", log_line),
];

fn main() -> Result<()> {
    let binaries: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    ensure!(!binaries.is_empty(), "usage: versions ENVOY...");
    let mut table = "| Envoy |".to_owned();
    for binary in &binaries {
        write!(table, " {} |", version(binary)?)?;
    }
    write!(table, "\n|---|{}\n| Istio |", "---|".repeat(binaries.len()))?;
    for binary in &binaries {
        write!(table, " {} |", istio(&version(binary)?))?;
    }
    table.push('\n');
    for (name, probe) in PROBES {
        write!(table, "| {name} |")?;
        for binary in &binaries {
            let word = match probe(binary) {
                Ok(()) => "yes",
                Err(error) => {
                    eprintln!("{}: {name}: {error:#}\n", version(binary)?);
                    "no"
                }
            };
            write!(table, " {word} |")?;
        }
        table.push('\n');
    }
    println!("{table}");
    Ok(())
}

/// `1.40.0`
fn version(binary: &Path) -> Result<String> {
    let output = Command::new(binary).arg("--version").output();
    let output = output.with_context(|| binary.display().to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let told = text.split_once("version: ").map(|(_, told)| told);
    let version = told.and_then(|told| told.split('/').nth(1));
    Ok(version
        .context("Envoy does not say its version")?
        .to_owned())
}

/// The release of Istio that has this Envoy.
fn istio(version: &str) -> &'static str {
    let series = version
        .rsplit_once('.')
        .map_or(version, |(series, _)| series);
    match series {
        "1.36" => "1.28",
        "1.37" => "1.29",
        "1.38" => "1.30",
        "1.39" => "1.31",
        "1.40" => "1.32",
        _ => "?",
    }
}

fn resource(group: &str, kind: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": group,
        "kind": kind,
        "metadata": { "name": kind.to_ascii_lowercase(), "namespace": "default" },
        "spec": spec,
    })
}

fn policy(spec: &Value) -> Value {
    resource("security.istio.io/v1", "AuthorizationPolicy", spec)
}

fn plugin(policies: &[Value], more: &Value) -> Result<Value> {
    let mut settings = json!({ "policies": policies, "workload": { "namespace": "default" } });
    for (key, value) in more.as_object().into_iter().flatten() {
        settings[key] = value.clone();
    }
    Ok(wasm_filter(&filter_module()?, &settings))
}

/// An Envoy with its upstream.
struct Running {
    envoy: Envoy,
    _upstream: Server,
}

impl Running {
    fn start(binary: &Path, filters: Vec<Value>) -> Result<Self> {
        Self::with(binary, Listener::new("gate", filters), Vec::new())
    }

    fn with(binary: &Path, listener: Listener, clusters: Vec<Value>) -> Result<Self> {
        let upstream = echo()?;
        let mut config = Config::new(upstream.address(), vec![listener]);
        config.clusters = clusters;
        Ok(Self {
            envoy: Envoy::start_as(binary, &config)?,
            _upstream: upstream,
        })
    }

    fn expect(&self, exchange: &Exchange, status: u16) -> Result<()> {
        let response = self.envoy.send("gate", exchange)?;
        ensure!(
            response.status == status,
            "got {} {:?} in place of {status}\n{}",
            response.status,
            response.header("x-test-details"),
            self.lines()
        );
        Ok(())
    }

    /// What the filter says in the log.
    fn lines(&self) -> String {
        let log = self.envoy.log();
        let lines: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("portcullis:"))
            .collect();
        lines.join("\n")
    }

    fn expect_line(&self, text: &str) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.envoy.log().contains(text) {
            ensure!(
                Instant::now() < deadline,
                "no `{text}` in\n{}",
                self.lines()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

fn get(path: &str, headers: &[(&str, &str)]) -> Exchange {
    let headers = headers
        .iter()
        .map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
    Exchange {
        path: path.as_bytes().to_vec(),
        headers: headers.collect(),
        ..Exchange::default()
    }
}

fn loads(binary: &Path) -> Result<()> {
    let open = json!({ "rules": [{
        "to": [{ "operation": { "paths": ["/open"], "methods": ["GET"] } }],
        "when": [{ "key": "request.headers[x-a]", "values": ["b"] }],
    }] });
    let running = Running::start(binary, vec![plugin(&[policy(&open)], &json!({}))?])?;
    running.expect(&get("/open", &[("x-a", "b")]), 200)?;
    running.expect(&get("/open", &[]), 403)?;
    running.expect(&get("/", &[("x-a", "b")]), 403)
}

fn bearer(key: &str) -> Result<String> {
    let claims = json!({ "iss": ISSUER, "sub": "alice" }).to_string();
    let order = Order {
        key,
        key_id: Some(key),
        claims: &claims,
        now: real_now(),
    };
    Ok(format!("Bearer {}", mint(&order)?))
}

fn token_policies(rule: &Value) -> Vec<Value> {
    let mut rule = rule.clone();
    rule["issuer"] = ISSUER.into();
    let rules = json!({ "jwtRules": [rule] });
    let principals =
        json!({ "rules": [{ "from": [{ "source": { "requestPrincipals": ["*"] } }] }] });
    vec![
        resource("security.istio.io/v1", "RequestAuthentication", &rules),
        policy(&principals),
    ]
}

fn expect_tokens(running: &Running) -> Result<()> {
    running.expect(&get("/", &[]), 403)?;
    for key in ["rsa-1", "ec-1"] {
        running.expect(&get("/", &[("authorization", &bearer(key)?)]), 200)?;
    }
    let bad = bearer("ed-1")?;
    running.expect(&get("/", &[("authorization", &bad)]), 401)
}

fn given_keys() -> Result<Vec<Value>> {
    Ok(token_policies(
        &json!({ "jwks": public_jwks(&["rsa-1", "ec-1"])? }),
    ))
}

fn tokens(binary: &Path) -> Result<()> {
    let filter = plugin(&given_keys()?, &json!({ "signatures": "builtIn" }))?;
    expect_tokens(&Running::start(binary, vec![filter])?)
}

fn verify_signature(binary: &Path) -> Result<()> {
    let running = Running::start(binary, vec![plugin(&given_keys()?, &json!({}))?])?;
    expect_tokens(&running)?;
    running.expect_line("signatures are verified by Envoy")
}

fn fetched_keys(binary: &Path) -> Result<()> {
    let keys = public_jwks(&["rsa-1", "ec-1"])?;
    let server = Server::start(0, move |_| {
        Reply::new(200, "application/json", keys.clone())
    })?;
    let more = json!({ "jwks": [{ "uri": KEYS, "cluster": "keys" }] });
    let filter = plugin(&token_policies(&json!({ "jwksUri": KEYS })), &more)?;
    let running = Running::with(
        binary,
        Listener::new("gate", vec![filter]),
        vec![cluster("keys", server.address())],
    )?;
    expect_tokens(&running)
}

/// Runs policies over mutual TLS, with what becomes of each client.
fn over_mutual_tls(binary: &Path, policies: &[Value], clients: &[(Spec, u16)]) -> Result<()> {
    let folder = Scratch::new()?;
    let authority = Authority::shared();
    let server = authority.server(&[])?;
    let listener = Listener {
        tls: Some(authority.write_identity(&folder, "server", &server)?),
        ..Listener::new("gate", vec![plugin(policies, &json!({}))?])
    };
    let running = Running::with(binary, listener, Vec::new())?;
    for (client, status) in clients {
        let tls = Tls {
            identity: Some(authority.client(client)?),
            sni: None,
        };
        let exchange = Exchange {
            tls: Some(tls),
            ..get("/", &[])
        };
        running.expect(&exchange, *status)?;
    }
    Ok(())
}

fn client(uri: &[&str]) -> Spec {
    Spec {
        uri: uri.iter().map(|name| (*name).to_owned()).collect(),
        ..Spec::default()
    }
}

fn principals(action: &str, field: &str, name: &str) -> Value {
    let rule = json!({ "from": [{ "source": { field: [name] } }] });
    policy(&json!({ "action": action, "rules": [rule] }))
}

fn mesh_principals(binary: &Path) -> Result<()> {
    let alice = client(&["spiffe://cluster.local/ns/a/sa/alice"]);
    let bob = client(&["spiffe://cluster.local/ns/b/sa/bob"]);
    let clients = [(alice, 200), (bob, 403)];
    for policy in [
        principals("ALLOW", "principals", "cluster.local/ns/a/sa/alice"),
        principals("ALLOW", "namespaces", "a"),
        principals("DENY", "principals", "cluster.local/ns/b/sa/bob"),
    ] {
        over_mutual_tls(binary, &[policy], &clients)?;
    }
    Ok(())
}

fn any_principals(binary: &Path) -> Result<()> {
    let two = client(&["https://a.example", "spiffe://cluster.local/ns/a/sa/alice"]);
    let policy = principals("ALLOW", "principals", "cluster.local/ns/a/sa/alice");
    over_mutual_tls(binary, &[policy], &[(two, 200)])
}

fn certificates(binary: &Path) -> Result<()> {
    let spec = json!({ "required": true, "certificateRules": [
        { "from": { "connection": {} }, "uris": ["spiffe://cluster.local/ns/a/*"] },
    ] });
    let own = resource(
        "portcullis.dev/v1alpha1",
        "CertificateAuthentication",
        &spec,
    );
    let clients = [
        (client(&["spiffe://cluster.local/ns/a/sa/alice"]), 200),
        (client(&["spiffe://cluster.local/ns/b/sa/bob"]), 403),
    ];
    over_mutual_tls(binary, &[own], &clients)
}

fn source_ip(binary: &Path) -> Result<()> {
    for (range, status) in [("127.0.0.0/8", 200), ("10.0.0.0/8", 403)] {
        let filter = plugin(&[principals("ALLOW", "ipBlocks", range)], &json!({}))?;
        let running = Running::start(binary, vec![source_ip_state()?, filter])?;
        running.expect(&get("/", &[]), status)?;
    }
    Ok(())
}

fn metadata(binary: &Path) -> Result<()> {
    let set = json!({
        "name": "envoy.filters.http.set_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config",
            "metadata": [{ "metadata_namespace": "envoy.filters.http.a", "value": { "b": "c" } }],
        },
    });
    let condition = json!({ "key": "experimental.envoy.filters.http.a[b]", "values": ["c"] });
    let filter = plugin(
        &[policy(&json!({ "rules": [{ "when": [condition] }] }))],
        &json!({}),
    )?;
    Running::start(binary, vec![set, filter.clone()])?.expect(&get("/", &[]), 200)?;
    Running::start(binary, vec![filter])?.expect(&get("/", &[]), 403)
}

fn reserved_headers(binary: &Path) -> Result<()> {
    let rule = json!({
        "issuer": ISSUER,
        "jwks": public_jwks(&["ec-1"])?,
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
    });
    let rules = resource(
        "security.istio.io/v1",
        "RequestAuthentication",
        &json!({ "jwtRules": [rule] }),
    );
    let manifest = companion::manifest(&rules.to_string(), &companion::Target::default())?;
    let mut manifest = json_documents(&manifest).context("the companion is no YAML")?;
    let filter = manifest[0]["spec"]["configPatches"][0]["patch"]["value"].take();
    let running = Running::start(binary, vec![filter])?;
    let response = running
        .envoy
        .send("gate", &get("/", &[("x-user", "forged")]))?;
    ensure!(
        response.status == 200 && !response.text().contains("forged"),
        "the header arrives"
    );
    Ok(())
}

fn log_line(binary: &Path) -> Result<()> {
    let nothing = policy(&json!({}));
    let running = Running::start(binary, vec![plugin(&[nothing], &json!({}))?])?;
    running.expect(&get("/", &[]), 403)?;
    running.expect_line("portcullis: 403 an ALLOW policy without rules")
}
