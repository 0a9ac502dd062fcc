//! A `VirtualService` as the route configuration that istiod gives a gateway
//! (`pilot/pkg/networking/core/route/route.go`), as far as the corpus needs it.

use anyhow::{Context, Result, bail};
use serde_json::{Map, Value, json};

/// The `route_config` of a gateway that has one `VirtualService`, all of whose destinations are `cluster`.
///
/// # Errors
/// A field that is not translated.
pub fn route_configuration(service: &Value, cluster: &str) -> Result<Value> {
    let hosts = service["spec"]["hosts"].as_array().context("spec.hosts")?;
    let mut routes = Vec::new();
    for http in service["spec"]["http"].as_array().into_iter().flatten() {
        let edits = edits(http)?;
        let mut matches = Vec::new();
        for one in http["match"].as_array().into_iter().flatten() {
            matches.push(route_match(one)?);
        }
        if matches.is_empty() {
            matches.push(json!({ "prefix": "/" }));
        }
        for one in matches {
            let mut route =
                json!({ "match": one, "route": { "cluster": cluster, "timeout": "0s" } });
            for (field, value) in &edits {
                route[field] = value.clone();
            }
            routes.push(route);
        }
    }
    Ok(json!({
        "ignore_port_in_host_matching": true,
        "virtual_hosts": [{ "name": "service", "domains": hosts, "routes": routes }],
    }))
}

/// Edits of the route come before those of its destination.
fn edits(http: &Value) -> Result<Map<String, Value>> {
    let destinations = http["route"].as_array().map_or(&[][..], Vec::as_slice);
    let last = match destinations {
        [] => None,
        [only] => Some(only),
        _ => bail!("several destinations are not translated"),
    };
    let mut add = Vec::new();
    let mut remove = Vec::new();
    for level in std::iter::once(http).chain(last) {
        let request = &level["headers"]["request"];
        for (operation, action) in [
            ("set", "OVERWRITE_IF_EXISTS_OR_ADD"),
            ("add", "APPEND_IF_EXISTS_OR_ADD"),
        ] {
            // The keys of serde_json's maps are in order, as istiod sorts them.
            for (key, value) in request[operation].as_object().into_iter().flatten() {
                add.push(
                    json!({ "header": { "key": key, "value": value }, "append_action": action }),
                );
            }
        }
        remove.extend(request["remove"].as_array().into_iter().flatten().cloned());
    }
    let mut edits = Map::new();
    if !add.is_empty() {
        edits.insert("request_headers_to_add".into(), json!(add));
    }
    if !remove.is_empty() {
        edits.insert("request_headers_to_remove".into(), json!(remove));
    }
    Ok(edits)
}

fn route_match(one: &Value) -> Result<Value> {
    let mut route = json!({ "prefix": "/" });
    let mut headers = Vec::new();
    for (key, value) in one.as_object().into_iter().flatten() {
        match key.as_str() {
            "name" => {}
            "uri" => route = path_match(value)?,
            "method" => headers.push(header_match(":method", value)?),
            "headers" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    headers.push(header_match(name, value)?);
                }
            }
            other => bail!("`match.{other}` is not translated"),
        }
    }
    if !headers.is_empty() {
        route["headers"] = json!(headers);
    }
    Ok(route)
}

fn path_match(value: &Value) -> Result<Value> {
    let (kind, text) = only(value)?;
    Ok(match kind {
        "exact" => json!({ "path": text }),
        "prefix" => json!({ "prefix": text }),
        "regex" => json!({ "safe_regex": { "regex": text } }),
        _ => bail!("`{kind}` is no match"),
    })
}

fn header_match(name: &str, value: &Value) -> Result<Value> {
    if value.is_null() || value.as_object().is_some_and(Map::is_empty) {
        return Ok(json!({ "name": name, "present_match": true }));
    }
    let (kind, text) = only(value)?;
    Ok(json!({ "name": name, "string_match": match kind {
        "exact" => json!({ "exact": text }),
        "prefix" => json!({ "prefix": text }),
        "regex" => json!({ "safe_regex": { "regex": text } }),
        _ => bail!("`{kind}` is no match"),
    } }))
}

fn only(value: &Value) -> Result<(&str, &Value)> {
    let mut pairs = value.as_object().context("a match is an object")?.iter();
    match (pairs.next(), pairs.next()) {
        (Some((kind, text)), None) => Ok((kind, text)),
        _ => bail!("a match has one field"),
    }
}
