//! Other plugins on the same proxy: a hostile one that shares memory, and a second one of ours.

use portcullis_plugin::schedule::Schedule;
use portcullis_plugin::seal::Seal;
use portcullis_tests::envoy::cluster;

use crate::keys::{Keys, URI, good, signed_with};
use crate::*;

/// A module that writes these entries into the memory that plugins of one `vm_id` share, fifty times a second.
fn planter(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut data = Vec::new();
    let mut calls = String::new();
    for (name, value) in entries {
        let name_at = data.len();
        data.extend_from_slice(name.as_bytes());
        let value_at = data.len();
        data.extend_from_slice(value);
        write!(
            calls,
            "(drop (call $set (i32.const {name_at}) (i32.const {}) (i32.const {value_at}) (i32.const {}) (i32.const 0)))",
            name.len(),
            value.len()
        )
        .unwrap();
    }
    let data = data.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").unwrap();
        text
    });
    let text = format!(
        r#"(module
            (import "env" "proxy_set_shared_data" (func $set (param i32 i32 i32 i32 i32) (result i32)))
            (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
            (memory (export "memory") 4)
            (data (i32.const 0) "{data}")
            (func (export "proxy_abi_version_0_2_1"))
            (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 131072))
            (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
            (func (export "proxy_on_context_create") (param i32 i32))
            (func (export "proxy_on_configure") (param i32 i32) (result i32)
                (drop (call $tick (i32.const 20)))
                {calls}
                (i32.const 1))
            (func (export "proxy_on_tick") (param i32) {calls})
        )"#
    );
    wat::parse_str(text).unwrap()
}

#[test]
fn a_neighbour_plants_no_keys() {
    let upstream = echo().unwrap();
    let keys = Keys::new(good(&["ec-1"]));
    let server = keys.serve(0);
    let settings = json!({
        "policies": [resource("RequestAuthentication", "tokens", &json!({ "jwtRules": [
            { "issuer": ISSUER, "jwksUri": URI },
        ] }))],
        "workload": { "namespace": "default" },
        "jwks": [{ "uri": URI, "cluster": "idp" }],
    })
    .to_string();
    let own = Seal::of(settings.as_bytes());
    let names = ["record", "body"]
        .map(|what| format!("portcullis.keys.{what}|{}|Uri({URI:?})", own.label()));
    // Keys of the attacker's that look fetched just now, and will be refreshed by nobody.
    let schedule = Schedule {
        version: 9,
        asked: 9,
        answered: 9,
        fetched: u64::MAX / 2,
        next: u64::MAX / 2,
        ..Schedule::default()
    };
    let record = schedule.to_bytes();
    let body = [
        &9_u64.to_le_bytes()[..],
        public_jwks(&["rsa-1"]).unwrap().as_bytes(),
    ]
    .concat();
    let guess = Seal::of(b"the configuration as the attacker guesses it");
    for sealed in [false, true] {
        let entry = |name: &String, content: &[u8]| {
            let value = if sealed {
                guess.close(name, content)
            } else {
                content.to_vec()
            };
            (name.clone(), value)
        };
        let folder = Scratch::new().unwrap();
        let module = planter(&[entry(&names[0], &record), entry(&names[1], &body)]);
        let path = folder.write("planter.wasm", module).unwrap();
        let mut hostile = wasm_filter(&path, &json!({}));
        hostile["name"] = "planter".into();
        hostile["typed_config"]["config"]["name"] = "planter".into();
        let listener = Listener::new("gate", vec![hostile, plugin(&settings)]);
        let mut config = Config::new(upstream.address(), vec![listener]);
        config.concurrency = 2;
        config.clusters.push(cluster("idp", server.address()));
        let envoy = Envoy::start(&config).unwrap();
        for _ in 0..20 {
            check(&envoy, &signed_with("rsa-1"), 401);
            check(&envoy, &signed_with("ec-1"), 200);
        }
        let before = keys.asked();
        std::thread::sleep(Duration::from_secs(3));
        let asked = keys.asked() - before;
        assert!(asked <= 20, "the key server was asked {asked} times in 3 s");
        for _ in 0..20 {
            check(&envoy, &signed_with("rsa-1"), 401);
            check(&envoy, &signed_with("ec-1"), 200);
        }
        assert_sound(&envoy);
    }
}

#[test]
fn a_second_plugin_notices_the_first_and_warns() {
    let upstream = echo().unwrap();
    let named = |name: &str, path: &str| {
        let mut filter = plugin(&settings(&[paths(name, "ALLOW", &[path, "/both"])]));
        filter["name"] = name.into();
        filter["typed_config"]["config"]["name"] = name.into();
        filter
    };
    let envoy = start(
        &upstream,
        vec![Listener::new(
            "gate",
            vec![named("first", "/one"), named("second", "/two")],
        )],
    );
    check(&envoy, &get("/one"), 403);
    check(&envoy, &get("/two"), 403);
    for _ in 0..3 {
        check(&envoy, &get("/both"), 200);
    }
    let line = "portcullis: the plugin `first` has judged this request before";
    eventually("the warning", || envoy.log().contains(line));
    assert_eq!(envoy.log().matches(line).count(), 1, "once");
    assert_sound(&envoy);
}
