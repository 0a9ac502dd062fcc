//! What is read from the connection: certificates and addresses.

use crate::*;

#[test]
fn every_name_of_a_client_certificate_counts() {
    let authority = Authority::new().unwrap();
    let folder = Scratch::new().unwrap();
    let upstream = echo().unwrap();
    let source = |principal: &str| json!([{ "source": { "principals": [principal] } }]);
    let configuration = |action: &str| {
        settings(&[policy(
            "peer",
            &json!({ "action": action, "rules": [{ "from": source("cluster.local/ns/bar/sa/b") }] }),
        )])
    };
    let tls = Some(authority.write(&folder).unwrap());
    let listener = |name: &str, action: &str| Listener {
        tls: tls.clone(),
        ..Listener::new(name, vec![plugin(&configuration(action))])
    };
    let plain = Listener::new("plain", vec![plugin(&configuration("ALLOW"))]);
    let envoy = start(
        &upstream,
        vec![listener("allow", "ALLOW"), listener("deny", "DENY"), plain],
    );
    let fixtures = Spec::fixtures().unwrap();
    let send = |listener: &str, name: Option<&str>| {
        let identity = name.map(|name| authority.client(&fixtures[name]).unwrap());
        let exchange = Exchange {
            tls: Some(Tls {
                identity,
                sni: None,
            }),
            ..Exchange::default()
        };
        envoy.send(listener, &exchange).unwrap().status
    };
    assert_eq!(
        fixtures["two-sans"].uri[1],
        "spiffe://cluster.local/ns/bar/sa/b"
    );
    assert_eq!(
        (
            send("allow", Some("two-sans")),
            send("deny", Some("two-sans"))
        ),
        (200, 403)
    );
    for other in [None, Some("foo-a"), Some("client-1"), Some("dns-only")] {
        assert_eq!(
            (send("allow", other), send("deny", other)),
            (403, 200),
            "{other:?}"
        );
    }
    assert_eq!(
        envoy.send("plain", &Exchange::default()).unwrap().status,
        403
    );
    assert_sound(&envoy);
}

#[test]
fn an_address_that_cannot_be_read_denies_whatever_the_rule_says() {
    let upstream = echo().unwrap();
    let rule = |action: &str, field: &str, range: &str| {
        settings(&[policy(
            "address",
            &json!({ "action": action, "rules": [{ "from": [{ "source": { field: [range] } }] }] }),
        )])
    };
    // Each lets 127.0.0.1 through once its address is known.
    let configurations = [
        rule("ALLOW", "ipBlocks", "127.0.0.0/8"),
        rule("ALLOW", "notIpBlocks", "10.0.0.0/8"),
        rule("DENY", "ipBlocks", "10.0.0.0/8"),
        rule("DENY", "notIpBlocks", "127.0.0.0/8"),
    ];
    let mut listeners = Vec::new();
    for (index, configuration) in configurations.iter().enumerate() {
        listeners.push(Listener::new(
            format!("bare-{index}"),
            vec![plugin(configuration)],
        ));
        listeners.push(Listener::new(
            format!("helped-{index}"),
            vec![source_ip_state().unwrap(), plugin(configuration)],
        ));
        // The companion behind the filter speaks too late.
        listeners.push(Listener::new(
            format!("late-{index}"),
            vec![plugin(configuration), source_ip_state().unwrap()],
        ));
    }
    let envoy = start(&upstream, listeners);
    let status = |name: String| envoy.send(&name, &Exchange::default()).unwrap().status;
    for (index, configuration) in configurations.iter().enumerate() {
        assert_eq!(status(format!("helped-{index}")), 200, "{configuration}");
        assert_eq!(status(format!("bare-{index}")), 403, "{configuration}");
        assert_eq!(status(format!("late-{index}")), 403, "{configuration}");
    }
}
