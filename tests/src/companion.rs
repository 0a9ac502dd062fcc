//! The `EnvoyFilter` that removes reserved headers before any filter sees them: those in front of the plugin would
//! believe what the plugin removes later.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use anyhow::{Context, Result, bail, ensure};
use portcullis_policy::compile::{Setting, Workload};
use portcullis_policy::diagnostic::Severity;
use portcullis_policy::reserved_headers::Removed;
use portcullis_policy::resource::Resources;
use portcullis_policy::{PolicySet, compile};

use crate::corpus::json_documents;

/// For whom it is made; what is absent is read from the policies.
#[derive(Debug, Clone, Default)]
pub struct Target {
    /// The workload's namespace.
    pub namespace: Option<String>,
    /// The workload's labels.
    pub labels: BTreeMap<String, String>,
    /// Whether the workload is a gateway.
    pub gateway: bool,
}

/// The manifest for the policies of a text, YAML.
///
/// # Errors
/// Policies that are wrong, that are for several workloads where none is named, or that reserve no header.
pub fn manifest(policies: &str, target: &Target) -> Result<String> {
    let workload = workload(policies, target)?;
    let set = policy_set(policies, &workload)?;
    let mut matchers = Vec::new();
    let mut left = Vec::new();
    for header in set.reserved_headers() {
        matchers.extend(header.pattern());
        if header.removed == Removed::OtherSpellings {
            left.push(header.name);
        }
    }
    ensure!(!matchers.is_empty(), "these policies reserve no header");
    let mut text = String::from(
        "# Made by `cargo xtask companion` from policies; make it anew when they change. Removes headers that clients may\n\
         # not set before any filter sees them: those in front of the plugin would believe them.\n",
    );
    if !left.is_empty() {
        writeln!(
            text,
            "# Left, since trusted senders tell of certificates in them: {}. A filter\n# in front of the plugin must not believe them.",
            left.join(", ")
        )?;
    }
    text += "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata:\n  name: portcullis-reserved-headers\n";
    writeln!(text, "  namespace: {}\nspec:", workload.namespace)?;
    if !workload.labels.is_empty() {
        text += "  workloadSelector:\n    labels:\n";
        for (key, value) in &workload.labels {
            writeln!(text, "      {key}: {value}")?;
        }
    }
    let context = if target.gateway {
        "GATEWAY"
    } else {
        "SIDECAR_INBOUND"
    };
    write!(
        text,
        r#"  configPatches:
  - applyTo: HTTP_FILTER
    match:
      context: {context}
      listener:
        filterChain:
          filter:
            name: envoy.filters.network.http_connection_manager
    patch:
      operation: INSERT_FIRST
      value:
        name: envoy.filters.http.header_mutation
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.http.header_mutation.v3.HeaderMutation
          mutations:
            request_mutations:
"#
    )?;
    for matcher in matchers {
        writeln!(
            text,
            "            - remove_on_match:\n                key_matcher:\n                  safe_regex:\n                    regex: '{}'",
            matcher.replace('\'', "''")
        )?;
    }
    Ok(text)
}

fn policy_set(policies: &str, workload: &Workload) -> Result<PolicySet> {
    let setting = Setting {
        workload: workload.clone(),
        fetches_keys: true,
        ..Setting::default()
    };
    let compiled = compile(&Resources::read_text(policies).0, &setting);
    if let Some(set) = compiled.set {
        return Ok(set);
    }
    let errors = compiled.diagnostics.iter();
    let errors = errors.filter(|one| one.severity == Severity::Error);
    let lines: Vec<String> = errors.map(ToString::to_string).collect();
    bail!(lines.join("\n"))
}

/// The workload that all resources select together.
fn workload(policies: &str, target: &Target) -> Result<Workload> {
    let documents = json_documents(policies).context("the policies are no YAML")?;
    let mut namespaces = BTreeSet::new();
    let mut labels = target.labels.clone();
    for resource in &documents {
        namespaces.extend(resource["metadata"]["namespace"].as_str());
        let selector = resource["spec"]["selector"]["matchLabels"].as_object();
        for (key, value) in selector.into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            if !target.labels.is_empty() {
                continue;
            }
            if let Some(other) = labels.insert(key.clone(), value.to_owned()) {
                ensure!(
                    other == value,
                    "the policies are for workloads with {key}={other} and {key}={value}; name one with --label {key}=VALUE"
                );
            }
        }
    }
    let own = match (&target.namespace, namespaces.len()) {
        (Some(named), _) => named.clone(),
        (None, 0 | 1) => namespaces.first().unwrap_or(&"default").to_string(),
        (None, _) => {
            let all: Vec<&str> = namespaces.into_iter().collect();
            bail!(
                "the policies are of the namespaces {}; name the workload's with --namespace NAME",
                all.join(", ")
            )
        }
    };
    Ok(Workload {
        namespace: own,
        labels,
        is_gateway: target.gateway,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICIES: &str = "
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: a, namespace: foo}
spec:
  selector: {matchLabels: {app: a}}
  jwtRules:
  - {issuer: a, jwksUri: 'https://a.example/keys', outputPayloadToHeader: X-Payload}
";

    #[track_caller]
    fn check_error(policies: &str, target: &Target, expected: &str) {
        let error = manifest(policies, target).unwrap_err().to_string();
        assert_eq!(error, expected);
    }

    #[test]
    fn the_workload_is_the_one_of_all_policies() {
        let found = manifest(POLICIES, &Target::default()).unwrap();
        assert!(found.contains("namespace: foo\n"), "{found}");
        assert!(found.contains("      app: a\n"), "{found}");
        assert!(found.contains("regex: 'x-payload'\n"), "{found}");
        let other = POLICIES.replace("app: a", "app: b");
        let two = format!("{POLICIES}---{}", other.replace("name: a", "name: b"));
        check_error(
            &two,
            &Target::default(),
            "the policies are for workloads with app=a and app=b; name one with --label app=VALUE",
        );
        let target = Target {
            labels: [("app".to_owned(), "b".to_owned())].into(),
            gateway: true,
            ..Target::default()
        };
        let found = manifest(&two, &target).unwrap();
        assert!(found.contains("      app: b\n"), "{found}");
        assert!(found.contains("context: GATEWAY\n"), "{found}");
        let elsewhere = format!("{POLICIES}---{}", POLICIES.replace("foo", "bar"));
        check_error(
            &elsewhere,
            &Target::default(),
            "the policies are of the namespaces bar, foo; name the workload's with --namespace NAME",
        );
    }

    #[test]
    fn without_reserved_headers_there_is_none() {
        let plain = POLICIES.replace(", outputPayloadToHeader: X-Payload", "");
        check_error(
            &plain,
            &Target::default(),
            "these policies reserve no header",
        );
    }
}
