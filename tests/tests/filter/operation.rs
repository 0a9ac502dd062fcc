//! Dead upstreams, broken configurations, updates, and where the workload comes from.

use crate::*;

#[test]
fn a_dead_upstream_changes_no_decision_and_comes_back() {
    let upstream = echo().unwrap();
    let port = upstream.address().port();
    let envoy = gate(&upstream, &gatekeeper());
    let bad = with("/open", &[("authorization", b"Bearer x")]);
    check(&envoy, &get("/open"), 200);
    drop(upstream);
    for _ in 0..3 {
        check(&envoy, &get("/open"), 503);
        check(&envoy, &get("/closed"), 403);
        check(&envoy, &bad, 401);
    }
    let again = Server::start(port, |_| Reply::new(200, "text/plain", "again")).unwrap();
    eventually("the upstream's return", || {
        let status = envoy.send("gate", &get("/open")).unwrap().status;
        assert!([200, 503].contains(&status), "{status}");
        status == 200
    });
    assert_eq!(check(&envoy, &get("/open"), 200).text(), "again");
    check(&envoy, &get("/closed"), 403);
    check(&envoy, &bad, 401);
    drop(again);
    assert_sound(&envoy);
}

/// Configurations that cannot be used, with the code and the place that the log is to name.
fn broken() -> Vec<(String, &'static str)> {
    let port = json!({ "rules": [{ "to": [{ "operation": { "ports": ["http"] } }] }] });
    vec![
        (
            "deny everything".into(),
            "error[yaml-syntax]: the plugin's configuration is not JSON",
        ),
        (
            String::new(),
            "error[yaml-syntax]: the plugin's configuration is not JSON",
        ),
        (
            "[]".into(),
            "error[wrong-type]: expected an object, found a list",
        ),
        (
            json!({ "policies": [], "polices": [], "workload": { "namespace": "default" } })
                .to_string(),
            "error[unknown-field]: polices:",
        ),
        (
            settings(&[paths("fine", "ALLOW", &["/"]), policy("bad", &port)]),
            "error[invalid-port]: AuthorizationPolicy default/bad policies[1].spec.rules[0].to[0].operation.ports[0]: `http` is not a port",
        ),
    ]
}

fn in_a_namespace() -> Value {
    json!({ "NAMESPACE": "default", "LABELS": { "app": "httpbin" } })
}

#[test]
fn envoy_does_not_start_with_a_broken_configuration_and_says_where_it_is_broken() {
    let unused = SocketAddr::from(([127, 0, 0, 1], 1));
    for (configuration, line) in broken() {
        let mut config = Config::new(
            unused,
            vec![Listener::new("gate", vec![plugin(&configuration)])],
        );
        config.node_metadata = in_a_namespace();
        let error = Envoy::start(&config).unwrap_err().to_string();
        assert!(
            error.contains(&format!("portcullis: {line}")),
            "{configuration}: {line} is not in\n{error}"
        );
    }
}

#[test]
fn a_broken_update_is_rejected_by_name_and_the_last_good_one_goes_on() {
    let upstream = echo().unwrap();
    let good = settings(&[paths("only-a", "ALLOW", &["/a"])]);
    let mut file = ExtensionFile::new(&plugin(&good)).unwrap();
    let mut config = Config::new(
        upstream.address(),
        vec![Listener::new("gate", vec![file.http_filter()])],
    );
    config.node_metadata = in_a_namespace();
    let envoy = Envoy::start(&config).unwrap();
    for (configuration, line) in broken() {
        let before = envoy.log().len();
        let applied = envoy
            .replace_extension(&mut file, &plugin(&configuration))
            .unwrap();
        assert!(matches!(applied, Applied::Rejected(_)), "{configuration}");
        let log = envoy.log().split_off(before);
        assert!(
            log.contains(&format!("portcullis: {line}")),
            "{configuration}: {line} is not in\n{log}"
        );
        check(&envoy, &get("/a"), 200);
        check(&envoy, &get("/b"), 403);
    }
    let next = settings(&[paths("only-b", "ALLOW", &["/b"])]);
    assert_eq!(
        envoy.replace_extension(&mut file, &plugin(&next)).unwrap(),
        Applied::Accepted
    );
    check(&envoy, &get("/a"), 403);
    check(&envoy, &get("/b"), 200);
    assert_sound(&envoy);
}

/// Each of these leaves out a policy that would deny, by a slip that is easily made.
#[test]
fn a_configuration_that_loses_a_policy_by_a_slip_is_rejected() {
    let upstream = echo().unwrap();
    let shut = || paths("shut", "DENY", &["/*"]);
    let mut file = ExtensionFile::new(&plugin(&settings(&[shut()]))).unwrap();
    let envoy = start(
        &upstream,
        vec![Listener::new("gate", vec![file.http_filter()])],
    );
    let of_group = |group: &str| {
        let mut policy = shut();
        policy["apiVersion"] = group.into();
        settings(&[policy])
    };
    let mut no_rules = shut();
    no_rules["spec"]["rules"] = Value::Null;
    let list = json!({ "kind": "List", "apiVersion": "v1", "items": { "0": shut() } });
    let beside = |field: &str, value: Value| {
        let mut settings: Value = serde_json::from_str(&settings(&[shut()])).unwrap();
        settings[field] = value;
        settings.to_string()
    };
    let mut taken = Vec::new();
    for configuration in [
        beside("policies", Value::Null),
        settings(&[list]),
        settings(&[no_rules]),
        of_group("v1"),
        of_group("security.istio.i/v1"),
        beside("workload", json!({ "namespace": "" })),
        beside("mesh", json!({ "rootNamespace": "" })),
        beside("mesh", json!({ "trustDomain": "" })),
    ] {
        let applied = envoy.replace_extension(&mut file, &plugin(&configuration));
        if applied.unwrap() == Applied::Accepted {
            taken.push(configuration);
        }
    }
    assert!(taken.is_empty(), "accepted:\n{}", taken.join("\n"));
    check(&envoy, &get("/x"), 403);
}

#[test]
fn nothing_passes_before_the_first_good_configuration() {
    let (upstream, seen) = witness();
    let mut file = ExtensionFile::new(&plugin("{")).unwrap();
    let envoy = start(
        &upstream,
        vec![Listener::new("gate", vec![file.http_filter()])],
    );
    for path in ["/a", "/b"] {
        let status = envoy.send("gate", &get(path)).unwrap().status;
        assert!(status >= 500, "{status}");
    }
    assert_eq!(seen.lock().unwrap().len(), 0);
    let good = settings(&[paths("only-a", "ALLOW", &["/a"])]);
    assert_eq!(
        envoy.replace_extension(&mut file, &plugin(&good)).unwrap(),
        Applied::Accepted
    );
    check(&envoy, &get("/a"), 200);
    check(&envoy, &get("/b"), 403);
    assert_eq!(seen.lock().unwrap().len(), 1);
}

#[test]
fn an_update_under_load_loses_no_request_and_mixes_no_policies() {
    const SWITCHES: usize = 12;
    let upstream = echo().unwrap();
    // Both versions open `/both` and close `/never`; each has a path of its own and names its rules.
    let version = |name: &str, own: &str| {
        settings(&[
            paths(&format!("open-{name}"), "ALLOW", &["/both", own, "/never"]),
            paths(&format!("shut-{name}"), "DENY", &["/never"]),
        ])
    };
    let versions = [version("one", "/one"), version("two", "/two")];
    let mut file = ExtensionFile::new(&plugin(&versions[0])).unwrap();
    let mut config = Config::new(
        upstream.address(),
        vec![Listener::new("gate", vec![file.http_filter()])],
    );
    config.concurrency = 2;
    let envoy = Envoy::start(&config).unwrap();
    let stop = AtomicBool::new(false);
    let sent = AtomicU64::new(0);
    let deciders = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        let load: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        for path in ["/both", "/one", "/never", "/two", "/neither"] {
                            let response = envoy.send("gate", &get(path)).unwrap();
                            let details = response.header("x-test-details").unwrap_or_default();
                            let is_right = match path {
                                "/both" => response.status == 200,
                                "/never" => {
                                    response.status == 403
                                        && (details.contains("policy[shut-one]")
                                            || details.contains("policy[shut-two]"))
                                }
                                "/neither" => response.status == 403 && details.ends_with("[none]"),
                                _ => {
                                    response.status == 200
                                        || (response.status == 403 && details.ends_with("[none]"))
                                }
                            };
                            assert!(is_right, "{path}: {} {details}", response.status);
                            deciders.lock().unwrap().insert(details);
                            sent.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                })
            })
            .collect();
        for switch in 1..=SWITCHES {
            let before = sent.load(Ordering::Relaxed);
            let applied = envoy.replace_extension(&mut file, &plugin(&versions[switch % 2]));
            eventually("load", || {
                sent.load(Ordering::Relaxed) > before + 30
                    || load.iter().any(std::thread::ScopedJoinHandle::is_finished)
            });
            assert_eq!(applied.unwrap(), Applied::Accepted);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(deciders.lock().unwrap().len() >= 3, "both versions decided");
    check(&envoy, &get("/one"), 200);
    check(&envoy, &get("/two"), 403);
    assert_sound(&envoy);
}

#[test]
fn the_workload_comes_from_the_proxys_node() {
    let upstream = echo().unwrap();
    let selected = |app: &str, namespace: &str| {
        let mut policy = paths("gate", "DENY", &["/x"]);
        policy["metadata"]["namespace"] = namespace.into();
        policy["spec"]["selector"] = json!({ "matchLabels": { "app": app } });
        plugin(&json!({ "policies": [policy], "unselectedPolicies": "ignore" }).to_string())
    };
    let named = json!({
        "policies": [paths("gate", "DENY", &["/x"])],
        "workload": { "namespace": "default", "labels": { "app": "httpbin" } },
    });
    let listeners = vec![
        Listener::new("same", vec![selected("httpbin", "foo")]),
        Listener::new("label", vec![selected("other", "foo")]),
        Listener::new("namespace", vec![selected("httpbin", "bar")]),
        Listener::new("root", vec![selected("httpbin", "istio-system")]),
        Listener::new("named", vec![plugin(&named.to_string())]),
    ];
    let mut config = Config::new(upstream.address(), listeners);
    config.node_metadata = json!({
        "NAMESPACE": "foo",
        "LABELS": { "app": "httpbin", "version": "v1", "empty": "", "ümlaut": "ß" },
        "OTHER": { "app": 5 },
    });
    let envoy = Envoy::start(&config).unwrap();
    let status = |listener: &str| envoy.send(listener, &get("/x")).unwrap().status;
    assert_eq!(
        ["same", "label", "namespace", "root", "named"].map(status),
        [403, 200, 200, 403, 403]
    );

    config.node_metadata = json!({ "NAMESPACE": "foo" });
    config.listeners.truncate(1);
    let error = Envoy::start(&config).unwrap_err().to_string();
    let line = "portcullis: error[missing-field]: workload: AuthorizationPolicy foo/gate selects workloads by labels, and the proxy's node metadata has no LABELS; give `workload.labels`";
    assert!(error.contains(line), "{error}");
}

#[test]
fn a_policy_without_a_namespace_is_for_the_proxys_own() {
    let upstream = echo().unwrap();
    let mut gate = paths("gate", "DENY", &["/x"]);
    gate["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("namespace");
    let listener = |name: &str, more: Value| {
        let mut settings = json!({ "policies": [gate] });
        settings["workload"] = more;
        Listener::new(name, vec![plugin(&settings.to_string())])
    };
    let listeners = vec![
        listener("by-node", Value::Null),
        listener("by-setting", json!({ "namespace": "bar" })),
    ];
    let mut config = Config::new(upstream.address(), listeners);
    config.node_metadata = json!({ "NAMESPACE": "foo", "LABELS": {} });
    let envoy = Envoy::start(&config).unwrap();
    for listener in ["by-node", "by-setting"] {
        let status = |path: &str| envoy.send(listener, &get(path)).unwrap().status;
        assert_eq!((status("/x"), status("/y")), (403, 200), "{listener}");
    }
    assert_sound(&envoy);
}

/// Left out with a line in the log, such a policy would open what it was to close.
#[test]
fn a_policy_for_nobody_is_refused_unless_the_configuration_is_shared() {
    let unused = SocketAddr::from(([127, 0, 0, 1], 1));
    let start = |policy: &Value, more: Value| {
        let mut settings = more;
        settings["policies"] = json!([policy]);
        let listener = Listener::new("gate", vec![plugin(&settings.to_string())]);
        let mut config = Config::new(unused, vec![listener]);
        config.node_metadata = json!({ "NAMESPACE": "foo", "LABELS": { "app": "httpbin" } });
        Envoy::start(&config)
    };
    let shut = || paths("shut", "DENY", &["/x"]);
    let mut elsewhere = shut();
    elsewhere["metadata"]["namespace"] = "bar".into();
    let mut label = shut();
    label["metadata"]["namespace"] = "foo".into();
    label["spec"]["selector"] = json!({ "matchLabels": { "app": "other" } });
    let mut gateway = shut();
    gateway["metadata"]["namespace"] = "foo".into();
    gateway["spec"]["targetRefs"] =
        json!([{ "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g" }]);
    for (policy, place) in [
        (elsewhere, "policies[0].metadata.namespace"),
        (label, "policies[0].spec.selector.matchLabels.app"),
        (gateway, "policies[0].spec"),
    ] {
        let error = start(&policy, json!({})).unwrap_err().to_string();
        let line = format!("/shut {place}: ");
        assert!(
            error.contains("portcullis: error[policy-not-selected]: AuthorizationPolicy ")
                && error.contains(&line),
            "{line} is not in {error}"
        );
        let shared = json!({ "unselectedPolicies": "ignore" });
        assert!(start(&policy, shared).is_ok());
    }
}

#[test]
fn without_a_workload_the_configuration_is_refused_in_words() {
    let unused = SocketAddr::from(([127, 0, 0, 1], 1));
    let nameless = plugin(&json!({ "policies": [paths("gate", "ALLOW", &["/x"])] }).to_string());
    let start = |metadata: Value| {
        let mut config = Config::new(unused, vec![Listener::new("gate", vec![nameless.clone()])]);
        config.node_metadata = metadata;
        Envoy::start(&config)
    };
    for metadata in [json!({}), json!({ "LABELS": { "app": "httpbin" } })] {
        let error = start(metadata).unwrap_err().to_string();
        let line = "portcullis: error[missing-field]: workload: the proxy's node metadata names no namespace that can be read; give `workload`";
        assert!(error.contains(line), "{error}");
    }
}

/// A node that cannot be read is not one without labels: a policy that selects by them might forbid the request.
#[test]
fn metadata_that_cannot_be_read_never_unselects_a_policy() {
    let upstream = echo().unwrap();
    let mut policy = paths("gate", "DENY", &["/x"]);
    policy["spec"]["selector"] = json!({ "matchLabels": { "app": "httpbin" } });
    let filter = plugin(&json!({ "policies": [policy] }).to_string());
    let passes = |metadata: Value| {
        let listener = Listener::new("gate", vec![filter.clone()]);
        let mut config = Config::new(upstream.address(), vec![listener]);
        config.node_metadata = metadata.clone();
        // Not to start is the best answer.
        let envoy = Envoy::start(&config).ok()?;
        let status = envoy.send("gate", &get("/x")).unwrap().status;
        (status != 403).then_some(metadata)
    };
    let labels = |labels: Value| json!({ "NAMESPACE": "default", "LABELS": labels });
    let namespace =
        |namespace: Value| json!({ "NAMESPACE": namespace, "LABELS": { "app": "httpbin" } });
    let open: Vec<Value> = [
        labels(json!(7)),
        labels(json!({ "app": "httpbin", "number": 5, "none": null })),
        namespace(json!("")),
        namespace(json!(7)),
        namespace(json!({ "default": "default" })),
    ]
    .into_iter()
    .filter_map(passes)
    .collect();
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn two_listeners_share_a_module_and_no_decision() {
    let upstream = echo().unwrap();
    let listener = |name: &str, path: &str| {
        Listener::new(
            name,
            vec![plugin(&settings(&[
                paths(name, "ALLOW", &[path]),
                paths("shut", "DENY", &["/never"]),
            ]))],
        )
    };
    let mut listeners = vec![listener("one", "/one"), listener("two", "/two")];
    listeners.push(Listener::new("tokens", vec![plugin(&gatekeeper())]));
    listeners.push(Listener::new("open", vec![plugin(&settings(&[]))]));
    let envoy = start(&upstream, listeners);
    let status = |listener: &str, path: &str| envoy.send(listener, &get(path)).unwrap().status;
    for _ in 0..20 {
        for (listener, path, expected) in [
            ("one", "/one", 200),
            ("one", "/two", 403),
            ("two", "/one", 403),
            ("two", "/two", 200),
            ("one", "/never", 403),
            ("two", "/never", 403),
            ("tokens", "/one", 403),
            ("tokens", "/open", 200),
            ("open", "/one", 200),
            ("open", "/never", 200),
        ] {
            assert_eq!(status(listener, path), expected, "{listener} {path}");
        }
    }
    let bad = with("/one", &[("authorization", b"Bearer x")]);
    assert_eq!(
        envoy.send("one", &bad).unwrap().status,
        200,
        "no rule looks at tokens"
    );
    assert_eq!(envoy.send("tokens", &bad).unwrap().status, 401);
    assert_sound(&envoy);
}

#[test]
fn envoy_verifies_signatures_unless_it_is_told_not_to() {
    let upstream = echo().unwrap();
    for (signatures, whose) in [
        ("auto", "Envoy's verify_signature"),
        ("builtIn", "the plugin's own code"),
    ] {
        let settings = json!({
            "policies": [tokens(&json!({}))],
            "workload": { "namespace": "default" },
            "signatures": signatures,
        });
        let envoy = gate(&upstream, &settings.to_string());
        let line = format!("RSA PKCS #1 and ECDSA signatures are verified by {whose}");
        assert!(envoy.log().contains(&line), "{}", envoy.log());
        let good = format!("Bearer {}", alice());
        check(
            &envoy,
            &with("/", &[("authorization", good.as_bytes())]),
            200,
        );
        let mut other = alice();
        let signature = other.split_off(other.rfind('.').unwrap());
        let forged = token(&json!({ "sub": "mallory" }));
        let payload = forged.rsplit_once('.').unwrap().0;
        let bad = format!("Bearer {payload}{signature}");
        check(
            &envoy,
            &with("/", &[("authorization", bad.as_bytes())]),
            401,
        );
    }
}

#[test]
fn envoy_shows_counts_and_the_principal() {
    let upstream = echo().unwrap();
    let mut settings: Value = serde_json::from_str(&gatekeeper()).unwrap();
    settings["signatureCache"] = json!({ "entries": 2, "bytes": 10_000 });
    let mut listener = Listener::new("gate", vec![plugin(&settings.to_string())]);
    listener.connection_manager.insert(
        "access_log".into(),
        json!([{
            "name": "envoy.access_loggers.stdout",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
                "log_format": { "text_format_source": {
                    "inline_string": "principal=%FILTER_STATE(wasm.portcullis.principal:PLAIN)%\n",
                } },
            },
        }]),
    );
    let envoy = start(&upstream, vec![listener]);
    let bearer = |token: &str| format!("Bearer {token}");
    let (one, other) = (bearer(&alice()), bearer(&token(&json!({ "sub": "bob" }))));
    for token in [&one, &one, &one, &other, &one] {
        check(
            &envoy,
            &with("/open", &[("authorization", token.as_bytes())]),
            200,
        );
    }
    check(
        &envoy,
        &with("/open", &[("authorization", b"Bearer x")]),
        401,
    );
    check(&envoy, &get("/closed"), 403);
    let stats = envoy.admin("/stats/prometheus").unwrap().text();
    for (name, count) in [
        ("portcullis_requests_allowed_total", 5),
        ("portcullis_requests_denied_by_policy_total", 1),
        ("portcullis_requests_denied_by_token_total", 1),
        ("portcullis_requests_denied_by_peer_total", 0),
        ("portcullis_requests_denied_by_certificate_total", 0),
        ("portcullis_signature_cache_misses_total", 2),
        ("portcullis_signature_cache_hits_total", 3),
    ] {
        let line = format!("{name}{{}} {count}");
        let found = stats.lines().any(|one| one == line);
        assert!(found || count == 0, "{line} is not in\n{stats}");
    }
    // Envoy merges histograms every few seconds.
    eventually("the histogram", || {
        let stats = envoy.admin("/stats/prometheus").unwrap().text();
        stats.contains("portcullis_signature_verification_microseconds_count{} 2")
    });
    eventually("the access log", || {
        let log = envoy.log();
        ["alice", "bob"]
            .iter()
            .all(|name| log.contains(&format!("principal={ISSUER}/{name}")))
    });
    assert_sound(&envoy);
}
