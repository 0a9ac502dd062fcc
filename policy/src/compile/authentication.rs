//! `RequestAuthentication`s become providers: all rules of all resources, sorted by issuer.

use std::sync::Arc;

use super::{Diagnostics, Setting};
use crate::authenticate::{KeyDoubt, KeyError, KeySet, KeySetError, bare_audience};
use crate::diagnostic::{Code, Severity};
use crate::policy_set::{Provider, TokenPlace};
use crate::remote_keys::{Endpoint, KeyLocation};
use crate::resource::{JwtRule, KeySource, RequestAuthentication};
use crate::sorted::sorted;

/// The claims that Istio always splits at spaces.
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// Says what is wrong with the key sets of a resource.
pub(super) fn check(
    resource: &RequestAuthentication,
    setting: &Setting,
    diagnostics: &mut Diagnostics,
) {
    for rule in &resource.jwt_rules {
        let Some((text, path)) = key_set_text(rule, setting) else {
            if location(rule, setting).is_some() {
                continue;
            }
            let (path, message) = match &rule.keys {
                KeySource::Inline(_) | KeySource::Refused => continue,
                KeySource::Uri(uri) => (
                    uri.at.clone(),
                    format!(
                        "`{}` is not fetched here, and its key set is not given",
                        uri.text
                    ),
                ),
                KeySource::Discovery => (
                    rule.at.key("issuer"),
                    "the keys of the issuer are not looked for here".into(),
                ),
            };
            diagnostics.push(
                resource,
                Code::MissingJwks,
                Severity::Error,
                &path,
                message,
                "give the key set in the rule's `jwks`, or beside the policies under `jwks` with the same `uri`",
            );
            continue;
        };
        match KeySet::parse(text.as_bytes(), setting.tokens.key_rules()) {
            Err(error) => diagnostics.push(
                resource,
                match error {
                    KeySetError::NoneUsable(Some(KeyError::Published(_))) => Code::PublishedKey,
                    _ => Code::InvalidJwks,
                },
                Severity::Error,
                path,
                error.to_string(),
                remedy(error),
            ),
            Ok(set) => {
                for key in set.skipped() {
                    let name = if key.id.is_empty() {
                        String::new()
                    } else {
                        format!(" (`{}`)", key.id)
                    };
                    let (code, severity, help) = match key.reason {
                        KeyError::Published(_) => (Code::PublishedKey, Severity::Error, REPLACE),
                        _ => (Code::UnusableKey, Severity::Warning, ""),
                    };
                    diagnostics.push(
                        resource,
                        code,
                        severity,
                        path,
                        format!(
                            "key {}{name} of the set is left out: {}",
                            key.index, key.reason
                        ),
                        help,
                    );
                }
                for (index, doubt) in set.examples_of_doubts() {
                    let (code, help) = remedy_of_doubt(doubt);
                    let message = format!("key {index} of the set {doubt}");
                    diagnostics.push(resource, code, Severity::Warning, path, message, help);
                }
                if let Some(limit) = set.trial_limit() {
                    diagnostics.push(
                        resource,
                        Code::KeyTrialsLimited,
                        Severity::Warning,
                        path,
                        limit.to_string(),
                        "give each key a `kid` and let the tokens name it",
                    );
                }
            }
        }
    }
}

/// What to do about a key that everybody has.
const REPLACE: &str = "make a key of your own, and keep its private half to yourself; where everybody may sign, as in a demonstration, write `tokens: {mode: …, acceptPublishedKeys: true}`";

fn remedy_of_doubt(doubt: KeyDoubt) -> (Code, &'static str) {
    match doubt {
        KeyDoubt::Weak => (
            Code::WeakKey,
            "use RSA of 2048 bits or more with exponent 65537, a secret as long as its hash, and no Ed25519 point of small order; `tokens: strict` leaves such keys out",
        ),
        KeyDoubt::Private => (
            Code::PrivateKey,
            "give the public members only, and replace the key: it is known now",
        ),
        KeyDoubt::SameId => (Code::DuplicateKeyId, "give each key a `kid` of its own"),
        KeyDoubt::Published(_) => (Code::PublishedKey, REPLACE),
    }
}

fn remedy(error: KeySetError) -> &'static str {
    match error {
        KeySetError::NoKeys => "write `{\"keys\": [...]}` around the key",
        KeySetError::NoneUsable(Some(KeyError::Published(_))) => REPLACE,
        _ => "give a JSON Web Key Set with at least one public key",
    }
}

/// The key set of a rule and the field that it comes from.
fn key_set_text<'a>(
    rule: &'a JwtRule,
    setting: &'a Setting,
) -> Option<(&'a str, &'a crate::source::FieldPath)> {
    match &rule.keys {
        KeySource::Inline(jwks) => Some((&jwks.text, &jwks.at)),
        KeySource::Uri(uri) => {
            let source = setting
                .key_sets
                .iter()
                .find(|source| source.uri == uri.text)?;
            Some((&source.jwks, &uri.at))
        }
        KeySource::Discovery | KeySource::Refused => None,
    }
}

/// Where to fetch the rule's keys, if they are to be fetched.
fn location(rule: &JwtRule, setting: &Setting) -> Option<KeyLocation> {
    let can_fetch = cfg!(feature = "remote-keys") && setting.fetches_keys;
    if !can_fetch || key_set_text(rule, setting).is_some() {
        return None;
    }
    let location = match &rule.keys {
        KeySource::Uri(uri) => KeyLocation::Uri(uri.text.clone()),
        KeySource::Discovery => KeyLocation::Discovery(rule.issuer.clone()),
        KeySource::Inline(_) | KeySource::Refused => return None,
    };
    Endpoint::parse(&location.uri()).map(|_| location)
}

/// The providers of the resources that select the workload. Rules whose key set is wrong are left out here;
/// [`check`] has refused the whole set for them.
pub(super) fn providers(resources: &[&RequestAuthentication], setting: &Setting) -> Vec<Provider> {
    let ordered = sorted(resources.to_vec(), |left, right| {
        let key = |resource: &RequestAuthentication| {
            let metadata = &resource.metadata;
            (
                metadata.id.namespace != setting.workload.namespace,
                metadata.created.clone(),
                metadata.id.name.clone(),
                metadata.id.namespace.clone(),
            )
        };
        key(left).cmp(&key(right))
    });
    let mut providers: Vec<Provider> = Vec::new();
    for resource in ordered {
        for rule in &resource.jwt_rules {
            let keys = key_set_text(rule, setting).and_then(|(text, _)| {
                KeySet::parse(text.as_bytes(), setting.tokens.key_rules()).ok()
            });
            let location = location(rule, setting);
            if keys.is_some() || location.is_some() {
                providers.push(provider(resource, rule, keys.map(Arc::new), location));
            }
        }
    }
    sorted(providers, |left, right| left.issuer.cmp(&right.issuer))
}

fn provider(
    resource: &RequestAuthentication,
    rule: &JwtRule,
    keys: Option<Arc<KeySet>>,
    location: Option<KeyLocation>,
) -> Provider {
    let name = |text: &str| text.to_ascii_lowercase().into_bytes().into_boxed_slice();
    let mut at = resource.metadata.at.clone();
    at.path = rule.at.clone();
    Provider {
        at,
        issuer: rule.issuer.clone(),
        audiences: rule
            .audiences
            .iter()
            .map(|audience| bare_audience(audience).to_owned())
            .collect(),
        keys,
        location,
        places: places(rule),
        forward: rule.forward_original_token,
        payload_header: rule.output_payload_to_header.as_deref().map(name),
        claim_headers: rule
            .output_claim_to_headers
            .iter()
            .map(|output| (name(&output.header), output.claim.clone()))
            .collect(),
        space_delimited: SPACE_DELIMITED
            .into_iter()
            .map(str::to_owned)
            .chain(rule.space_delimited_claims.iter().cloned())
            .collect(),
    }
}

/// Headers by name and prefix, then parameters, then cookies, each sorted: the order of Envoy's maps. Any
/// place given turns the default ones off.
fn places(rule: &JwtRule) -> Box<[TokenPlace]> {
    let header = |name: &str, prefix: &str| TokenPlace::Header {
        name: name.to_ascii_lowercase().into_bytes().into(),
        prefix: prefix.as_bytes().into(),
    };
    let headers: Vec<(String, TokenPlace)> = rule
        .from_headers
        .iter()
        .map(|from| {
            (
                from.name.to_ascii_lowercase() + &from.prefix,
                header(&from.name, &from.prefix),
            )
        })
        .collect();
    let mut headers = sorted(headers, Ord::cmp);
    headers.dedup();
    let named = |names: &[String]| {
        let names: Vec<Box<[u8]>> = names.iter().map(|name| name.as_bytes().into()).collect();
        let mut names = sorted(names, Ord::cmp);
        names.dedup();
        names
    };
    let mut places: Vec<TokenPlace> = headers.into_iter().map(|(_, place)| place).collect();
    places.extend(named(&rule.from_params).into_iter().map(TokenPlace::Param));
    places.extend(
        named(&rule.from_cookies)
            .into_iter()
            .map(TokenPlace::Cookie),
    );
    if places.is_empty() {
        places = vec![
            header("authorization", "Bearer "),
            TokenPlace::Param((*b"access_token").into()),
        ];
    }
    places.into()
}
