//! Conditions in words: the attribute, the values wanted, the value found.

use std::fmt::Display;
use std::net::IpAddr;

use super::Condition;
use crate::diagnostic::Location;
use crate::evaluate::{Part, Walk};
use crate::matcher::StringMatcher;
use crate::policy_set::{Clause, MetadataMatcher, PathMatcher, PolicySet, Test, TokenPlace};
use crate::printable;
use crate::request::{Attribute, MetadataValue};

/// Longer texts are cut, in bytes of what is shown.
const MAX_SHOWN: usize = 160;

/// Headers that carry credentials.
const SECRET: [&[u8]; 5] = [
    b"authorization",
    b"cookie",
    b"proxy-authorization",
    b"x-api-key",
    b"x-forwarded-access-token",
];

pub(super) fn condition(
    set: &PolicySet,
    walk: Walk<'_>,
    part: Part,
    clause: &Clause,
    holds: bool,
) -> Condition {
    Condition {
        field: String::new(),
        attribute: clip(attribute(&clause.test)),
        wanted: clip(wanted(set, clause)),
        got: clip(got(set, walk, &clause.test)),
        holds,
        at: Location {
            path: clause.at.clone(),
            ..Location::default()
        },
        part,
    }
}

/// `needs host example.com, got other.com`
pub(super) fn needs(condition: &Condition) -> String {
    format!(
        "needs {} {}, got {}",
        condition.attribute, condition.wanted, condition.got
    )
}

fn attribute(test: &Test) -> String {
    match test {
        Test::PeerName(_) => "client certificate".into(),
        Test::SourceIp(_) => "source IP".into(),
        Test::RemoteIp(_) => "remote IP".into(),
        Test::DestinationIp(_) => "destination IP".into(),
        Test::DestinationPort(_) => "port".into(),
        Test::ServerName(_) => "server name".into(),
        Test::Host(_) => "host".into(),
        Test::Method(_) => "method".into(),
        Test::Path(_) => "path".into(),
        Test::Header { name, .. } => format!("header {}", String::from_utf8_lossy(name)),
        Test::RequestPrincipal(_) => "request principal".into(),
        Test::Claim { path, .. } => format!("claim {}", path.join(" › ")),
        Test::Certificate { field, .. } => format!("certificate's {field}"),
        Test::Metadata { filter, key, .. } => format!("metadata {filter} › {key}"),
    }
}

fn wanted(set: &PolicySet, clause: &Clause) -> String {
    let values: Vec<String> = match &clause.test {
        Test::PeerName(values) => texts(values),
        Test::SourceIp(values) | Test::RemoteIp(values) | Test::DestinationIp(values) => {
            texts(values)
        }
        Test::DestinationPort(values) => texts(values),
        Test::ServerName(values)
        | Test::Host(values)
        | Test::Method(values)
        | Test::Claim { values, .. } => texts(values),
        Test::Header { name, values } => {
            if is_secret(set, name) && values.iter().any(|value| *value != StringMatcher::Present) {
                vec!["a certain value".into()]
            } else {
                texts(values)
            }
        }
        Test::Path(values) => values
            .iter()
            .map(|value| match value {
                PathMatcher::String(matcher) => matcher.to_string(),
                PathMatcher::Template(template) => template.to_string(),
            })
            .collect(),
        Test::RequestPrincipal(values) => texts(values),
        Test::Certificate { test, .. } => test.texts(),
        Test::Metadata { values, .. } => values
            .iter()
            .map(|value| match value {
                MetadataMatcher::Text(matcher) => matcher.to_string(),
                MetadataMatcher::InList(matcher) => format!("a list with {matcher}"),
            })
            .collect(),
    };
    if clause.negated {
        format!("other than {}", values.join(" or "))
    } else {
        values.join(" or ")
    }
}

fn texts<T: Display>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn got(set: &PolicySet, walk: Walk<'_>, test: &Test) -> Vec<u8> {
    let request = walk.view.request;
    match test {
        Test::PeerName(_) => match request.peer_names {
            Attribute::Known([]) => "none".into(),
            Attribute::Known(names) => names.join(b", ".as_slice()),
            Attribute::Unreadable => unreadable(),
        },
        Test::SourceIp(_) => address(request.source_ip),
        Test::RemoteIp(_) => address(request.remote_ip),
        Test::DestinationIp(_) => address(request.destination_ip),
        Test::DestinationPort(_) => match request.destination_port {
            Attribute::Known(port) => port.to_string().into(),
            Attribute::Unreadable => unreadable(),
        },
        Test::ServerName(_) => match request.server_name {
            Attribute::Known([]) => "none".into(),
            Attribute::Known(name) => name.into(),
            Attribute::Unreadable => unreadable(),
        },
        Test::Host(_) => request.authority.unwrap_or(b"none").into(),
        Test::Method(_) => request.method.into(),
        Test::Path(_) => walk.view.path_only().into(),
        // The query is where tokens may be.
        Test::Header { name, .. } if name.as_ref() == b":path" => walk.view.path_only().into(),
        Test::Header { name, .. } => {
            let values: Vec<&[u8]> = walk.view.values(name).collect();
            if values.is_empty() {
                "no such header".into()
            } else if is_secret(set, name) {
                "a value that is not shown".into()
            } else {
                values.join(b" and ".as_slice())
            }
        }
        Test::RequestPrincipal(_) => match walk.payload {
            None => "no token".into(),
            Some(payload) => match (payload.text("iss"), payload.text("sub")) {
                (Some(issuer), Some(subject)) => format!("{issuer}/{subject}").into(),
                (None, _) => "a token without `iss`".into(),
                (_, None) => "a token without `sub`".into(),
            },
        },
        Test::Certificate { field, .. } => match walk.certificate {
            None => "no certificate".into(),
            Some(identity) => match identity.values(field) {
                None => "nothing: it is not told, or not without doubt".into(),
                Some(values) if values.is_empty() => "none".into(),
                Some(values) => values.join(" and ").into(),
            },
        },
        Test::Metadata { filter, key, .. } => match request.metadata {
            Attribute::Known(found) => metadata(found.get(filter, key)).into(),
            Attribute::Unreadable => unreadable(),
        },
        Test::Claim { path, .. } => match walk.payload {
            None => "no token".into(),
            Some(payload) => match payload.claim(path) {
                None => "no such claim".into(),
                Some(claim) => claim
                    .as_str()
                    .map_or_else(|| claim.to_compact(), str::to_owned)
                    .into(),
            },
        },
    }
}

fn metadata(value: Option<&MetadataValue>) -> String {
    match value {
        None => "no such metadata".into(),
        Some(MetadataValue::Text(text)) => text.clone(),
        Some(MetadataValue::Texts(texts)) => format!("a list of {}", texts.join(", ")),
        Some(MetadataValue::Other) => "neither a string nor a list".into(),
    }
}

fn address(ip: Attribute<IpAddr>) -> Vec<u8> {
    match ip {
        Attribute::Known(ip) => ip.to_string().into(),
        Attribute::Unreadable => unreadable(),
    }
}

fn unreadable() -> Vec<u8> {
    "nothing: it cannot be read here".into()
}

/// Headers that carry credentials by their nature, and those in which the rules look for tokens.
fn is_secret(set: &PolicySet, name: &[u8]) -> bool {
    let mut places = set.providers.iter().flat_map(|one| one.places.iter());
    SECRET.contains(&name)
        || places.any(
            |place| matches!(place, TokenPlace::Header { name: one, .. } if one.as_ref() == name),
        )
}

/// One line of a sensible length: what a client sent may be long, or look like lines of a log.
pub(super) fn clip(text: impl AsRef<[u8]>) -> String {
    printable::write_within(text.as_ref(), MAX_SHOWN)
}
