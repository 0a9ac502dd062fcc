//! The building blocks of the drivers, proven on a real Envoy and a real browser before any scenario
//! relies on them.

use std::net::SocketAddr;

use portcullis_tests::certificates::{Authority, Spec};
use portcullis_tests::client::{Error, Exchange, Response, Tls};
use portcullis_tests::envoy::{Applied, Config, Envoy, ExtensionFile, Listener, Proxy, validate};
use portcullis_tests::scratch::Scratch;
use portcullis_tests::server::{Reply, Server};
use portcullis_tests::upstream::{Seen, echo};
use portcullis_tests::{browser, envoy};
use serde_json::{Value, json};

/// A native RBAC filter with one policy, `gate`.
fn rbac(action: &str, permission: &Value, principal: &Value) -> Value {
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": {
                "action": action,
                "policies": { "gate": { "permissions": [permission], "principals": [principal] } },
            },
        },
    })
}

fn any() -> Value {
    json!({ "any": true })
}

fn cidr(address: &str) -> Value {
    json!({ "address_prefix": address, "prefix_len": 32 })
}

fn start(upstream: &Server, listeners: Vec<Listener>) -> Envoy {
    Envoy::start(&Config::new(upstream.address(), listeners)).unwrap()
}

fn get(path: &str) -> Exchange {
    Exchange {
        path: path.as_bytes().to_vec(),
        ..Exchange::default()
    }
}

#[track_caller]
fn seen(response: &Response) -> Seen {
    assert_eq!(response.status, 200, "{}", response.text());
    Seen::read(response).unwrap()
}

#[test]
fn a_request_reaches_the_upstream_normalised_and_comes_back() {
    let upstream = echo().unwrap();
    let envoy = start(&upstream, vec![Listener::new("plain", vec![])]);
    let header = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
    let exchange = Exchange {
        method: "POST".to_owned(),
        path: b"/a/../b//c#d".to_vec(),
        headers: vec![
            header(b"X-A", b"one"),
            header(b"x-a", b"two"),
            header(b"x-bytes", b"\xff"),
        ],
        body: b"hello".to_vec(),
        ..Exchange::default()
    };
    let seen = seen(&envoy.send("plain", &exchange).unwrap());
    assert_eq!(
        (seen.method.as_str(), seen.path.as_str()),
        ("POST", "/b//c")
    );
    assert_eq!(seen.values("host"), ["example.com"]);
    assert_eq!(seen.values("x-a"), ["one", "two"]);
    assert_eq!(seen.values("x-bytes"), ["\u{fffd}"]);
    assert_eq!(seen.values("x-absent"), Vec::<&str>::new());
    let head = Exchange {
        method: "HEAD".to_owned(),
        ..Exchange::default()
    };
    assert_eq!(envoy.send("plain", &head).unwrap().body, b"");
    let refused = envoy
        .send(
            "plain",
            &Exchange {
                host: None,
                ..Exchange::default()
            },
        )
        .unwrap();
    assert_eq!(refused.status, 400);
}

#[test]
fn the_peer_and_the_destination_are_those_of_the_exchange() {
    let upstream = echo().unwrap();
    let permission = json!({ "and_rules": { "rules": [
        { "destination_ip": cidr("10.9.9.9") },
        { "destination_port": 8443 },
    ] } });
    let gate = rbac(
        "ALLOW",
        &permission,
        &json!({ "direct_remote_ip": cidr("127.1.2.3") }),
    );
    let envoy = start(&upstream, vec![Listener::new("gate", vec![gate])]);
    let address = |text: &str| text.parse::<SocketAddr>().unwrap();
    let good = Exchange {
        source: address("127.1.2.3:5555"),
        destination: address("10.9.9.9:8443"),
        ..Exchange::default()
    };
    let others = [
        Exchange {
            source: address("127.1.2.4:5555"),
            ..good.clone()
        },
        Exchange {
            destination: address("10.9.9.9:8080"),
            ..good.clone()
        },
        Exchange {
            destination: address("10.9.9.8:8443"),
            ..good.clone()
        },
        Exchange {
            source: address("[::1]:1"),
            destination: address("[::2]:8443"),
            ..good.clone()
        },
    ];
    seen(&envoy.send("gate", &good).unwrap());
    for other in others {
        assert_eq!(envoy.send("gate", &other).unwrap().status, 403, "{other:?}");
    }
}

#[test]
fn a_gateway_trusts_its_hops_and_a_sidecar_the_last_one() {
    let upstream = echo().unwrap();
    let gate = || {
        vec![rbac(
            "ALLOW",
            &any(),
            &json!({ "remote_ip": cidr("1.2.3.4") }),
        )]
    };
    let gateway = |name: &str, num_trusted_proxies| Listener {
        proxy: Proxy::Gateway {
            num_trusted_proxies,
        },
        ..Listener::new(name, gate())
    };
    let listeners = vec![
        Listener::new("sidecar", gate()),
        gateway("edge", 0),
        gateway("behind-one", 1),
    ];
    let envoy = start(&upstream, listeners);
    let forwarded = |chain: &[u8]| Exchange {
        headers: vec![(b"x-forwarded-for".to_vec(), chain.to_vec())],
        ..Exchange::default()
    };
    let status =
        |listener: &str, chain: &[u8]| envoy.send(listener, &forwarded(chain)).unwrap().status;
    assert_eq!(status("sidecar", b"9.9.9.9, 1.2.3.4"), 200);
    assert_eq!(status("sidecar", b"1.2.3.4, 9.9.9.9"), 403);
    assert_eq!(status("edge", b"1.2.3.4"), 403);
    assert_eq!(status("behind-one", b"9.9.9.9, 1.2.3.4"), 200);
}

#[test]
fn a_local_reply_says_what_decided() {
    let upstream = echo().unwrap();
    let denied = rbac(
        "DENY",
        &json!({ "url_path": { "path": { "exact": "/admin" } } }),
        &any(),
    );
    let envoy = start(&upstream, vec![Listener::new("gate", vec![denied])]);
    let response = envoy.send("gate", &get("/admin")).unwrap();
    assert_eq!(
        (response.status, response.text().as_str()),
        (403, "RBAC: access denied")
    );
    let details = response.header("x-test-details");
    assert_eq!(
        details.as_deref(),
        Some("rbac_access_denied_matched_policy[gate]")
    );
    let passed = envoy.send("gate", &get("/")).unwrap();
    assert_eq!(
        (passed.status, passed.header("x-test-details")),
        (200, None)
    );
}

#[test]
fn a_client_certificate_is_seen_as_it_was_specified() {
    let authority = Authority::new().unwrap();
    let folder = Scratch::new().unwrap();
    let upstream = echo().unwrap();
    let peer = json!({ "authenticated": { "principal_name": {
        "exact": "spiffe://cluster.local/ns/foo/sa/a",
    } } });
    let tls = authority.write(&folder).unwrap();
    let echoed = json!({
        "forward_client_cert_details": "SANITIZE_SET",
        "set_current_client_cert_details": { "subject": true, "uri": true, "dns": true },
    });
    let listeners = vec![
        Listener {
            tls: Some(tls.clone()),
            ..Listener::new("gate", vec![rbac("ALLOW", &any(), &peer)])
        },
        Listener {
            tls: Some(tls),
            connection_manager: echoed.as_object().unwrap().clone(),
            ..Listener::new("echo", vec![])
        },
    ];
    let envoy = start(&upstream, listeners);
    let fixtures = Spec::fixtures().unwrap();
    let present = |name: &str| {
        let identity = Some(authority.client(&fixtures[name]).unwrap());
        Exchange {
            tls: Some(Tls {
                identity,
                sni: None,
            }),
            ..Exchange::default()
        }
    };

    assert_eq!(envoy.send("gate", &present("foo-a")).unwrap().status, 200);
    assert_eq!(envoy.send("gate", &present("bar-a")).unwrap().status, 403);
    let anonymous = Exchange {
        tls: Some(Tls::default()),
        ..Exchange::default()
    };
    assert_eq!(envoy.send("gate", &anonymous).unwrap().status, 403);

    let forwarded = |name: &str| {
        let seen = seen(&envoy.send("echo", &present(name)).unwrap());
        seen.values("x-forwarded-client-cert").concat()
    };
    let subject = "O=example,CN=client2.example.com";
    assert_eq!(fixtures["client-2"].envoy_subject(), subject);
    assert!(
        forwarded("client-2").contains(&format!("Subject=\"{subject}\"")),
        "{}",
        forwarded("client-2")
    );
    let two = &fixtures["two-sans"];
    let all = forwarded("two-sans");
    for part in [
        format!("Subject=\"{}\"", two.envoy_subject()),
        format!("URI={}", two.uri[1]),
        format!("DNS={}", two.dns[1]),
    ] {
        assert!(all.contains(&part), "{part} in {all}");
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused_and_a_server_name_arrives() {
    let authority = Authority::new().unwrap();
    let folder = Scratch::new().unwrap();
    let upstream = echo().unwrap();
    let name = json!({ "requested_server_name": { "exact": "foo.example.com" } });
    let gate = rbac("ALLOW", &name, &any());
    let tls = Some(authority.write(&folder).unwrap());
    let envoy = start(
        &upstream,
        vec![Listener {
            tls,
            ..Listener::new("gate", vec![gate])
        }],
    );
    let open = |tls: Tls| Exchange {
        tls: Some(tls),
        ..Exchange::default()
    };

    let named = open(Tls {
        identity: None,
        sni: Some("foo.example.com".to_owned()),
    });
    assert_eq!(envoy.send("gate", &named).unwrap().status, 200);
    assert_eq!(
        envoy.send("gate", &open(Tls::default())).unwrap().status,
        403
    );

    let stranger = Authority::new().unwrap().client(&Spec::default()).unwrap();
    let error = open(Tls {
        identity: Some(stranger),
        sni: None,
    })
    .send(envoy.address("gate").unwrap())
    .unwrap_err();
    assert!(matches!(error, Error::Tls(_)), "{error}");
    let plain = Exchange::default()
        .send(envoy.address("gate").unwrap())
        .unwrap_err();
    assert!(matches!(plain, Error::Closed), "{plain}");
}

#[test]
fn a_replaced_extension_file_is_taken_up_or_refused() {
    let upstream = echo().unwrap();
    let mut file = ExtensionFile::new(&rbac("DENY", &any(), &any())).unwrap();
    let envoy = start(
        &upstream,
        vec![Listener::new("gate", vec![file.http_filter()])],
    );
    let status = || envoy.send("gate", &Exchange::default()).unwrap().status;
    assert_eq!(status(), 403);
    let allow = rbac("ALLOW", &any(), &any());
    assert_eq!(
        envoy.replace_extension(&mut file, &allow).unwrap(),
        Applied::Accepted
    );
    assert_eq!(status(), 200);
    let broken = json!({ "url_path": { "path": { "safe_regex": { "regex": "(" } } } });
    let applied = envoy
        .replace_extension(&mut file, &rbac("DENY", &broken, &any()))
        .unwrap();
    assert!(
        matches!(&applied, Applied::Rejected(log) if log.contains("missing )")),
        "{applied:?}"
    );
    assert_eq!(status(), 200);
    assert_eq!(
        envoy.replace_extension(&mut file, &allow).unwrap(),
        Applied::Accepted
    );
}

#[test]
fn a_configuration_that_envoy_refuses_is_an_error_with_its_reason() {
    let broken = json!({ "url_path": { "path": { "safe_regex": { "regex": "(" } } } });
    let unused = SocketAddr::from(([127, 0, 0, 1], 1));
    let config = |permission: &Value| {
        Config::new(
            unused,
            vec![Listener::new(
                "gate",
                vec![rbac("ALLOW", permission, &any())],
            )],
        )
    };
    assert_eq!(validate(&config(&any())).unwrap(), Ok(()));
    let complaint = validate(&config(&broken)).unwrap().unwrap_err();
    assert!(complaint.contains("missing )"), "{complaint}");
    let error = Envoy::start(&config(&broken)).unwrap_err().to_string();
    assert!(error.contains("missing )"), "{error}");
}

#[test]
fn further_clusters_node_metadata_and_statistics_are_at_hand() {
    let upstream = echo().unwrap();
    let other = Server::start(0, |_| Reply::new(200, "text/plain", "other")).unwrap();
    let route = json!({ "route_config": { "virtual_hosts": [{
        "name": "all",
        "domains": ["*"],
        "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "outbound|443||issuer.example" } }],
    }] } });
    let mut config = Config::new(
        upstream.address(),
        vec![Listener {
            connection_manager: route.as_object().unwrap().clone(),
            ..Listener::new("other", vec![])
        }],
    );
    config.clusters = vec![envoy::cluster(
        "outbound|443||issuer.example",
        other.address(),
    )];
    config.node_metadata = json!({ "NAMESPACE": "foo", "LABELS": { "app": "httpbin" } });
    config.concurrency = 2;
    let envoy = Envoy::start(&config).unwrap();
    assert_eq!(
        envoy.send("other", &Exchange::default()).unwrap().text(),
        "other"
    );
    assert_eq!(envoy.stat("http.test.downstream_rq_total").unwrap(), 1);
    assert_eq!(envoy.stat("server.concurrency").unwrap(), 2);
    let info = envoy.admin("/server_info").unwrap().text();
    assert!(info.contains("\"NAMESPACE\": \"foo\""), "{info}");
    assert!(
        envoy.log().contains("starting main dispatch loop"),
        "{}",
        envoy.log()
    );
}

/// Answers in place of the page's engine: one report per request, which is the request itself.
const DRIVER: &str = r"<!doctype html><link rel=icon href='data:,'><script type=module>
  await new Promise((resolve) => setTimeout(resolve, 100));
  window.addEventListener('portcullis-run', ({ detail: { id, cases } }) => {
    if (cases.some((each) => each.setting.policies === 'throw')) throw new Error('as asked');
    const results = cases.map(({ setting, requests }) => ({ load: { ok: setting.policies === '' }, reports: requests }));
    window.dispatchEvent(new CustomEvent('portcullis-result', { detail: { id, results } }));
  });
</script>";

#[test]
fn a_page_answers_the_whole_corpus_in_order() {
    let dist = Scratch::new().unwrap();
    dist.write("driver.html", DRIVER).unwrap();
    let case = |index| json!({ "setting": { "policies": "" }, "requests": [{ "path": format!("/{index}") }] });
    let cases: Vec<_> = (0..120).map(case).collect();
    let results = browser::run(dist.path(), &cases).unwrap();
    assert_eq!(results.len(), 120);
    assert_eq!(
        results[119],
        json!({ "load": { "ok": true }, "reports": [{ "path": "/119" }] })
    );
}

#[test]
fn a_page_that_throws_or_calls_home_is_an_error() {
    let dist = Scratch::new().unwrap();
    dist.write(
        "driver.html",
        format!("<img src='http://127.0.0.1:9/home'>{DRIVER}"),
    )
    .unwrap();
    let error = browser::run(dist.path(), &[]).unwrap_err().to_string();
    assert!(
        error.contains("a request left the page's origin: http://127.0.0.1:9/home"),
        "{error}"
    );
}
