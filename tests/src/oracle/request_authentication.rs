//! `RequestAuthentication`: one `jwt_authn` filter for all rules of all resources (1.1).

use std::collections::BTreeSet;

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};

use super::KeySets;
use super::resource::{Fields, Resource};

/// Where RBAC finds the payload of a verified token, in dynamic metadata.
pub(super) const METADATA_NAMESPACE: &str = "envoy.filters.http.jwt_authn";
pub(super) const PAYLOAD_KEY: &str = "payload";

/// The filter for `resources`, which are in the order in which istiod visits them, or `None` if
/// they hold no rule.
///
/// # Errors
///
/// A rule is misshapen, or its keys are to be found by OIDC discovery.
pub(super) fn filter(
    resources: &[Resource<'_>],
    keys: &KeySets,
    gateway: bool,
) -> Result<Option<Value>> {
    let mut rules = Vec::new();
    for resource in resources {
        resource
            .spec
            .expect_only(&["selector", "targetRef", "targetRefs", "jwtRules"])?;
        for rule in resource.spec.children("jwtRules")? {
            rules.push((rule.text("issuer")?.unwrap_or_default(), rule));
        }
    }
    if rules.is_empty() {
        return Ok(None);
    }
    // The order decides which error a client gets. istiod's sort is stable for short lists only;
    // here it always is.
    rules.sort_by_key(|(issuer, _)| *issuer);

    let mut providers = Map::new();
    let mut names = Vec::new();
    for (index, (_, rule)) in rules.iter().enumerate() {
        let name = format!("origins-{index}");
        providers.insert(name.clone(), provider(rule, keys, gateway)?);
        names.push(name);
    }
    Ok(Some(json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{"match": {"prefix": "/"}, "requires": requirement(&names)}],
            "bypass_cors_preflight": true,
        },
    })))
}

/// Either any one provider is content, which lets providers share a location, or every provider
/// that finds a token is.
fn requirement(providers: &[String]) -> Value {
    let named = |name: &String| json!({"provider_name": name});
    let any = |requirements: Vec<Value>| json!({"requires_any": {"requirements": requirements}});
    let optional = |name: &String| any(vec![named(name), json!({"allow_missing": {}})]);
    if let [only] = providers {
        return optional(only);
    }
    let mut alternatives: Vec<Value> = providers.iter().map(named).collect();
    let all: Vec<Value> = providers.iter().map(optional).collect();
    alternatives.push(json!({"requires_all": {"requirements": all}}));
    any(alternatives)
}

fn provider(rule: &Fields<'_>, keys: &KeySets, gateway: bool) -> Result<Value> {
    rule.expect_only(&[
        "issuer",
        "audiences",
        "jwksUri",
        "jwks_uri",
        "jwks",
        "fromHeaders",
        "fromParams",
        "fromCookies",
        "outputPayloadToHeader",
        "outputClaimToHeaders",
        "forwardOriginalToken",
        "spaceDelimitedClaims",
        // How long istiod waits for the keys: nothing is fetched here.
        "timeout",
        // In the schema, but istiod does not read it (1.1).
        "presence",
    ])?;
    let mut from_headers = Vec::new();
    for location in rule.children("fromHeaders")? {
        location.expect_only(&["name", "prefix"])?;
        let name = location.text("name")?.unwrap_or_default();
        let prefix = location.text("prefix")?.unwrap_or_default();
        from_headers.push(json!({"name": name, "value_prefix": prefix}));
    }
    let mut claim_to_headers = Vec::new();
    for output in rule.children("outputClaimToHeaders")? {
        output.expect_only(&["header", "claim"])?;
        let header = output.text("header")?.unwrap_or_default();
        let claim = output.text("claim")?.unwrap_or_default();
        claim_to_headers.push(json!({"header_name": header, "claim_name": claim}));
    }
    let mut space_delimited = BTreeSet::from(["permission", "scope"]);
    space_delimited.extend(rule.texts("spaceDelimitedClaims")?);
    let (source, keys) = key_source(rule, keys)?;
    Ok(json!({
        source: keys,
        "issuer": rule.text("issuer")?.unwrap_or_default(),
        "audiences": rule.texts("audiences")?,
        "forward": rule.flag("forwardOriginalToken")?,
        "forward_payload_header": rule.text("outputPayloadToHeader")?.unwrap_or_default(),
        "claim_to_headers": claim_to_headers,
        "from_headers": from_headers,
        "from_params": rule.texts("fromParams")?,
        "from_cookies": rule.texts("fromCookies")?,
        "payload_in_metadata": PAYLOAD_KEY,
        "normalize_payload_in_metadata": {"space_delimited_claims": space_delimited},
        "clear_route_cache": gateway,
    }))
}

/// What istiod configures for keys that it could not fetch: an RSA public key whose private half
/// nobody holds and which, having no `kid` and no `alg`, is tried for every token, so that the
/// answer is always `Jwt verification fails` (1.4).
const UNREACHABLE: &str = concat!(
    r#"{"keys":[{"kty":"RSA","e":"AQAB","n":""#,
    "yrbLVGOeSYix8VjxNU3mi_GCU2n_LGS6T5oQNXybGAx3MtTY7Pt8FAtVG4oJaooS61459sdKV200EVMsUMsLtt",
    "wMcQae1OvY822SRCScFdWNqFv-A_xfi01UwijYpuiRbV2vQ0IuyF8h2zUNNbh-7CJFlhcs97221iRqkEAlGr5Q",
    "VIrhslaBhuYYYFE7_QP3SGGNehbqU4vzlWQpv_LwaiCU1ZizXjeP_bwvW4sO_AW8to9F2cUBEGGw1PsPJgRH8D",
    "HYWqenMZ5btsZ0Im5yy-oGvCXOTPki5yqHi7Kvzkh2n-tX6B75mFH5ARNBcKCs5NvEz0s9hyGRqTqlV-QtBw",
    r#""}]}"#,
);

/// Where Envoy has the keys from. The key set that istiod inlines: `jwks` verbatim, or what `jwksUri` answers if that is a key set
/// at all (1.5).
fn key_source(rule: &Fields<'_>, keys: &KeySets) -> Result<(&'static str, Value)> {
    let inline = |jwks: &str| ("local_jwks", json!({"inline_string": jwks}));
    if let Some(jwks) = rule.text("jwks")?.filter(|jwks| !jwks.is_empty()) {
        return Ok(inline(jwks));
    }
    let uri = rule
        .text("jwksUri")?
        .or(rule.text("jwks_uri")?)
        .unwrap_or_default();
    if uri.is_empty() {
        bail!(
            "{}: finding keys by OIDC discovery is not translated; give jwks or jwksUri",
            rule.at
        );
    }
    let is_key_set = |answer: &&String| {
        serde_json::from_str::<Value>(answer).is_ok_and(|document| document["keys"].is_array())
    };
    Ok(match keys.get(uri) {
        Some(None) => (
            "remote_jwks",
            json!({"http_uri": {"uri": uri, "cluster": "nowhere", "timeout": "1s"}}),
        ),
        Some(Some(answer)) => inline(Some(answer).filter(is_key_set).map_or(UNREACHABLE, |it| it)),
        None => inline(UNREACHABLE),
    })
}
