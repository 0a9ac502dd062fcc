//! `when`: an attribute by name, and the values it may or may not have.

use super::certificates;
use super::rules::{Values, namespaces, strings};
use crate::diagnostic::Code;
use crate::matcher::StringMatcher;
use crate::policy_set::{Clause, MetadataMatcher, Test};
use crate::resource::{Condition, Text};

/// The clauses of one condition: one for `values` and one for `notValues`.
pub(super) fn clauses(values: &mut Values<'_>, condition: &Condition) -> Vec<Clause> {
    let lists = [
        ("values", &condition.values, false),
        ("notValues", &condition.not_values, true),
    ];
    let mut clauses = Vec::new();
    if values.setting.is_tcp && condition.key.text.starts_with("request.") {
        values.has_bad_value = true;
        return clauses;
    }
    for (name, texts, negated) in lists {
        if !texts.is_empty()
            && let Some(test) = test(values, &condition.key, texts)
            && test.has_values()
        {
            clauses.push(Clause {
                at: condition.at.key(name),
                negated,
                test,
            });
        }
    }
    clauses
}

fn test(values: &mut Values<'_>, key: &Text, texts: &[Text]) -> Option<Test> {
    let claim = |path: Vec<String>| Test::Claim {
        path: path.into(),
        values: strings(texts, &StringMatcher::NonEmpty),
    };
    Some(match key.text.as_str() {
        "source.ip" => Test::SourceIp(values.ranges(texts)),
        "remote.ip" => Test::RemoteIp(values.ranges(texts)),
        "source.namespace" => namespaces(texts),
        "source.principal" => values.principals(texts),
        "source.serviceAccount" => values.service_accounts(texts),
        "source.trustDomain" => values.trust_domains(texts),
        "request.auth.principal" => values.request_principals(texts),
        "request.auth.audiences" => claim(vec!["aud".into()]),
        "request.auth.presenter" => claim(vec!["azp".into()]),
        "destination.ip" => Test::DestinationIp(values.ranges(texts)),
        "destination.port" => Test::DestinationPort(values.ports(texts)),
        "connection.sni" => Test::ServerName(strings(texts, &StringMatcher::NonEmpty)),
        other => {
            if let Some(rest) = other.strip_prefix("request.headers")
                && let Some(name) = in_brackets(rest).filter(|name| !name.is_empty())
            {
                let name = name.to_ascii_lowercase().into_bytes().into();
                return Some(Test::Header {
                    name,
                    values: strings(texts, &StringMatcher::Present),
                });
            }
            if let Some(rest) = other.strip_prefix("request.auth.claims")
                && let Some(path) = claim_path(rest)
            {
                return Some(claim(path));
            }
            if other.starts_with(certificates::PREFIX) {
                return certificates::test(values, key, texts);
            }
            if let Some(rest) = other.strip_prefix("experimental.")
                && rest.starts_with("envoy.filters.")
                && let Some((filter, rest)) = rest.split_once('[')
            {
                return Some(Test::Metadata {
                    filter: filter.to_owned(),
                    key: rest.strip_suffix(']').unwrap_or(rest).to_owned(),
                    values: texts.iter().map(metadata).collect(),
                });
            }
            unknown(values, key);
            return None;
        }
    })
}

fn unknown(values: &mut Values<'_>, key: &Text) {
    let help = match key.text.as_str() {
        text if text.starts_with("request.headers") => "write `request.headers[NAME]`",
        text if text.starts_with("request.auth.claims") => {
            "write `request.auth.claims[NAME]`, nested ones as `[a][b]`"
        }
        text if text.starts_with("experimental.") => "write `experimental.envoy.filters.NAME[KEY]`",
        text if text.starts_with("destination.") => {
            "use `destination.ip` or `destination.port`; select workloads with the selector"
        }
        _ => "see Istio's reference of authorization policy conditions",
    };
    values.has_unknown_key = true;
    values.refuse_or_drop(
        Code::UnknownConditionKey,
        key,
        format!("`{}` is not an attribute", key.text),
        "istiod drops the whole rule for it",
        help,
    );
}

/// `[v]` asks for a list with `v`.
fn metadata(text: &Text) -> MetadataMatcher {
    let matcher = |text: &str| StringMatcher::new(text, StringMatcher::NonEmpty);
    if text.text.starts_with('[') && text.text.ends_with(']') {
        MetadataMatcher::InList(matcher(text.text.trim_matches(['[', ']'])))
    } else {
        MetadataMatcher::Text(matcher(&text.text))
    }
}

/// What stands between the first `[` and the last `]`.
fn in_brackets(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']')
}

/// `[a][b]` names a nested claim. Brackets that do not pair up make the whole of it one name.
pub(super) fn claim_path(text: &str) -> Option<Vec<String>> {
    let whole = in_brackets(text).filter(|name| !name.is_empty())?;
    let path: Vec<&str> = whole.split("][").collect();
    let is_chain = path.iter().all(|name| !name.contains(['[', ']']));
    if is_chain && path.contains(&"") {
        return None;
    }
    Some(if is_chain {
        path.into_iter().map(str::to_owned).collect()
    } else {
        vec![whole.to_owned()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_nest_by_brackets() {
        let check = |text: &str, path: Option<&[&str]>| {
            let path = path.map(|path| {
                path.iter()
                    .map(|name| (*name).to_owned())
                    .collect::<Vec<_>>()
            });
            assert_eq!(claim_path(text), path, "{text}");
        };
        check("[a]", Some(&["a"]));
        check("[a][b][c]", Some(&["a", "b", "c"]));
        check("[k[0]]", Some(&["k[0]"]));
        check("[a.b]", Some(&["a.b"]));
        check("[https://x/claim]", Some(&["https://x/claim"]));
        check("[]", None);
        check("[a", None);
        check("a", None);
        check("[a][]", None);
    }
}
