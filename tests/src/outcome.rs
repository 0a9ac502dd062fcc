//! What came of a request, as far as a driver can see it, and how two drivers are compared.

use std::collections::BTreeSet;

use portcullis_policy::scenario::Expectation;

/// What came of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The status that the client got; 200 when the upstream answered.
    pub status: u16,
    /// The body of a local reply.
    pub body: String,
    /// The headers of the response, names in lower case.
    pub headers: Vec<(String, String)>,
    /// What the upstream saw; `None` when the request did not reach it, or when it cannot be seen.
    pub upstream: Option<Upstream>,
    /// Whether the request reached the upstream.
    pub reached: bool,
    /// The policy that decided.
    pub decided_by: DecidedBy,
    /// The reason; `None` when the driver cannot see it.
    pub reason: Option<String>,
}

/// The policy that decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DecidedBy {
    /// The driver cannot see it.
    #[default]
    Unseen,
    /// No single rule did.
    Nobody,
    /// `namespace/name` and the rule.
    Rule(String, u32),
}

/// A request as the upstream saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Upstream {
    /// Path and query.
    pub path: String,
    /// Header lines in order.
    pub headers: Vec<(String, String)>,
}

/// The headers of a reply that policies decide about.
const REPLY_HEADERS: [&str; 3] = ["www-authenticate", "grpc-status", "grpc-message"];

/// Headers of the connection to the upstream, and those with which a proxy talks to itself or names its machine.
fn is_of_the_proxy(name: &str) -> bool {
    name.starts_with("x-envoy-") || OF_THE_PROXY.contains(&name)
}

const OF_THE_PROXY: [&str; 6] = [
    "connection",
    "content-length",
    "host",
    "transfer-encoding",
    // A gateway that is called from its own machine writes that machine's address.
    "x-forwarded-for",
    "x-request-id",
];

impl Outcome {
    /// The values of a response header.
    fn header(&self, name: &str) -> Vec<&str> {
        values(&self.headers, name)
    }

    /// The outcome as if the realm held no query: Envoy's does, where tokens travel, and ours does not, on
    /// purpose.
    #[must_use]
    pub fn without_query_in_realm(mut self) -> Self {
        for (name, value) in &mut self.headers {
            if name == "www-authenticate"
                && let Some((realm, rest)) = value.clone().split_once('?')
            {
                let end = rest.rfind("\", error=").unwrap_or(rest.len());
                *value = format!("{realm}{}", rest.get(end..).unwrap_or_default());
            }
        }
        self
    }

    /// How this is not what the scenario says; empty when it is.
    pub fn unlike(&self, expect: &Expectation) -> Vec<String> {
        let mut found = Differences::default();
        found.compare("status", &expect.status, &self.status);
        if let (Some(wanted), Some(got)) = (&expect.reason, &self.reason) {
            found.compare("reason", wanted, got);
        }
        if self.decided_by != DecidedBy::Unseen {
            let (policy, rule) = match &self.decided_by {
                DecidedBy::Rule(policy, rule) => (Some(policy), Some(*rule)),
                DecidedBy::Unseen | DecidedBy::Nobody => (None, None),
            };
            if let Some(wanted) = &expect.policy {
                found.compare("policy", &Some(wanted), &policy);
            }
            if let Some(wanted) = expect.rule {
                found.compare("rule", &Some(wanted), &rule);
            }
        }
        if let Some(body) = &expect.body {
            found.compare("body", body, &self.body);
        }
        for (name, value) in &expect.headers {
            let wanted: Vec<&str> = value.iter().map(String::as_str).collect();
            found.compare(
                &format!("response header {name}"),
                &wanted,
                &self.header(name),
            );
        }
        if let Some(upstream) = &self.upstream {
            if let Some(path) = &expect.upstream.path {
                found.compare("the upstream's path", path, &upstream.path);
            }
            for (name, wanted) in &expect.upstream.headers {
                let got = values(&upstream.headers, name);
                let is_like = wanted.len() == got.len()
                    && wanted
                        .iter()
                        .zip(&got)
                        .all(|(wanted, got)| fits(wanted, got));
                if !is_like {
                    let wanted = wanted.iter().map(String::as_str).collect();
                    found.compare(&format!("the upstream's header {name}"), &wanted, &got);
                }
            }
        }
        found.0
    }

    /// How this is not what another driver got; empty when it is the same as far as both can see.
    pub fn unlike_other(&self, other: &Self) -> Vec<String> {
        let mut found = Differences::default();
        found.compare("status", &other.status, &self.status);
        found.compare("reached the upstream", &other.reached, &self.reached);
        // The proxy's own 400 comes before all policies, and its body is Envoy's business.
        if !self.reached && self.status != 400 {
            found.compare("body", &other.body, &self.body);
            for name in REPLY_HEADERS {
                found.compare(
                    &format!("response header {name}"),
                    &other.header(name),
                    &self.header(name),
                );
            }
        }
        if self.decided_by != DecidedBy::Unseen && other.decided_by != DecidedBy::Unseen {
            found.compare("policy and rule", &other.decided_by, &self.decided_by);
        }
        if let (Some(mine), Some(others)) = (&self.reason, &other.reason) {
            found.compare("reason", others, mine);
        }
        if let (Some(mine), Some(others)) = (&self.upstream, &other.upstream) {
            let names = mine.headers.iter().chain(&others.headers);
            let names: BTreeSet<String> = names
                .map(|(name, _)| name.to_ascii_lowercase())
                .filter(|name| !is_of_the_proxy(name))
                .collect();
            for name in names {
                let (wanted, got) = (values(&others.headers, &name), values(&mine.headers, &name));
                // Drivers mint their tokens at different times.
                let is_token = wanted.iter().chain(&got).any(|value| value.contains("eyJ"));
                let mut pairs = wanted.iter().zip(&got);
                let is_alike =
                    wanted.len() == got.len() && pairs.all(|(wanted, got)| is_alike(wanted, got));
                if !is_token && !is_alike {
                    let what = format!("the upstream's header {name}");
                    found.compare(&what, &wanted, &got);
                }
            }
        }
        found.0
    }
}

fn values<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    headers
        .iter()
        .filter(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.as_str())
        .collect()
}

/// Whether two drivers show one value: spaces around it do not survive the wire, and times of day are those at which
/// each minted its tokens.
fn is_alike(wanted: &str, got: &str) -> bool {
    const MINUTES: u64 = 600;
    let time = |text: &str| {
        text.parse::<u64>()
            .ok()
            .filter(|time| *time > 1_600_000_000)
    };
    match (time(wanted), time(got)) {
        (Some(wanted), Some(got)) => wanted.abs_diff(got) < MINUTES,
        _ => wanted.trim_matches([' ', '\t']) == got.trim_matches([' ', '\t']),
    }
}

/// Whether a value is the one wanted, in which `<sha256>` stands for 64 digits and `<pem>` for a certificate: those
/// of a run are new.
fn fits(wanted: &str, got: &str) -> bool {
    let Some((start, placeholder, rest)) = ["<sha256>", "<pem>"]
        .into_iter()
        .filter_map(|placeholder| {
            let (start, rest) = wanted.split_once(placeholder)?;
            Some((start, placeholder, rest))
        })
        .min_by_key(|(start, ..)| start.len())
    else {
        return wanted == got;
    };
    let Some(value) = got.strip_prefix(start) else {
        return false;
    };
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let end = match placeholder {
        "<sha256>"
            if value
                .bytes()
                .take(64)
                .filter(|byte| is_digit(*byte))
                .count()
                == 64 =>
        {
            64
        }
        "<pem>" if value.starts_with(PEM_BEGIN) => match value.find(PEM_END) {
            Some(at) => at + PEM_END.len(),
            None => return false,
        },
        _ => return false,
    };
    fits(rest, &value[end..])
}

/// A certificate as Envoy writes it into a header.
const PEM_BEGIN: &str = "-----BEGIN%20CERTIFICATE-----%0A";
const PEM_END: &str = "-----END%20CERTIFICATE-----%0A";

#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn compare<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, wanted: &T, got: &T) {
        if wanted != got {
            self.0
                .push(format!("{what}: wanted {wanted:?}, got {got:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_expectation_is_seen() {
        let outcome = Outcome {
            status: 403,
            body: "RBAC: access denied".into(),
            decided_by: DecidedBy::Rule("foo/x".into(), 1),
            reason: Some("matched-deny".into()),
            ..Outcome::default()
        };
        let right = Expectation {
            status: 403,
            policy: Some("foo/x".into()),
            rule: Some(1),
            reason: Some("matched-deny".into()),
            body: Some("RBAC: access denied".into()),
            headers: vec![("www-authenticate".into(), None)],
            ..Expectation::default()
        };
        assert_eq!(outcome.unlike(&right), Vec::<String>::new());
        let wrong = [
            Expectation {
                status: 200,
                ..right.clone()
            },
            Expectation {
                policy: Some("foo/y".into()),
                ..right.clone()
            },
            Expectation {
                rule: Some(0),
                ..right.clone()
            },
            Expectation {
                reason: Some("jwt".into()),
                ..right.clone()
            },
            Expectation {
                body: Some(String::new()),
                ..right.clone()
            },
            Expectation {
                headers: vec![("www-authenticate".into(), Some("x".into()))],
                ..right.clone()
            },
        ];
        for wrong in wrong {
            assert_eq!(outcome.unlike(&wrong).len(), 1, "{wrong:?}");
        }
    }
}
