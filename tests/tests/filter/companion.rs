//! Filters in front of the plugin, and the companion that keeps forged headers from them.

use portcullis_tests::companion::{Target, manifest};
use portcullis_tests::corpus::json_documents;

use crate::split::native;
use crate::*;

fn reserving() -> Vec<Value> {
    let certificates = json!({
        "apiVersion": "portcullis.dev/v1alpha1",
        "kind": "CertificateAuthentication",
        "metadata": { "name": "partners", "namespace": "default" },
        "spec": {
            "reservedHeaders": ["X-Client-Ssl-San"],
            "certificateRules": [{
                "from": { "headers": { "subject": "X-Client-Subject" } },
                "trustedSenders": { "principals": ["cluster.local/ns/istio-system/sa/gateway"] },
                "outputHeaders": [{ "header": "X-Partner", "field": "subject[O]" }],
            }],
        },
    });
    let rule = json!({ "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }] });
    vec![tokens(&rule), certificates]
}

/// The filter of the manifest that people apply.
fn companion(policies: &[Value]) -> Value {
    let texts: Vec<String> = policies.iter().map(Value::to_string).collect();
    let text = manifest(&texts.join("\n---\n"), &Target::default()).unwrap();
    let mut documents = json_documents(&text).unwrap();
    documents[0]["spec"]["configPatches"][0]["patch"]["value"].take()
}

/// Refuses a request with any of these headers, as an authorizer in front may believe them.
fn probe(names: &[&str]) -> Vec<Value> {
    let condition = |name: &&str| json!({ "when": [{ "key": format!("request.headers[{name}]"), "values": ["*"] }] });
    let rules: Vec<Value> = names.iter().map(condition).collect();
    native(&[policy(
        "probe",
        &json!({ "action": "DENY", "rules": rules }),
    )])
}

#[test]
fn filters_in_front_see_no_forged_headers_behind_the_companion() {
    let upstream = echo().unwrap();
    let policies = reserving();
    let removed = [
        "x-user",
        "x-partner",
        "x_partner",
        "x-client-ssl-san",
        "x_client-ssl_san",
        "x-client_ssl-san",
        "x_client_ssl_san",
        "x_client-subject",
        "x-client_subject",
        "x_client_subject",
    ];
    let left = [
        "x-client-subject",
        "x_user",
        "x-users",
        "my-x-user",
        "x-client-ssl-sans",
    ];
    let names = [&removed[..], &left[..]].concat();
    let bare = [probe(&names), vec![plugin(&settings(&policies))]].concat();
    let helped = [vec![companion(&policies)], bare.clone()].concat();
    let listeners = vec![
        Listener::new("bare", bare),
        Listener::new("helped", helped),
        Listener::new("gate", vec![plugin(&settings(&policies))]),
    ];
    let envoy = start(&upstream, listeners);
    let status =
        |listener: &str, exchange: &Exchange| envoy.send(listener, exchange).unwrap().status;
    for listener in ["bare", "helped", "gate"] {
        assert_eq!(status(listener, &get("/")), 200);
    }
    for name in names {
        let exchange = with("/", &[(name, b"forged"), (name, b"twice")]);
        assert_eq!(status("bare", &exchange), 403, "{name}");
        let is_removed = removed.contains(&name);
        let expected = if is_removed { 200 } else { 403 };
        assert_eq!(status("helped", &exchange), expected, "{name}");
        // The companion takes nothing from the upstream that the plugin does not.
        let seen = Seen::read(&check(&envoy, &exchange, 200)).unwrap();
        let arrives = !seen.values(name).is_empty();
        assert!(!is_removed || !arrives, "{name} arrives");
    }
}
