//! Key sets that are fetched: where they are, and when to ask for them. The clock, the network and the memory
//! that workers share are a host's; this module knows the times.

use crate::policy_set::PolicySet;
use crate::source::{Node, from_json};

/// Where a rule's key set is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyLocation {
    /// `jwksUri`
    Uri(String),
    /// The document by which an issuer tells its `jwks_uri` (`OpenID` Connect Discovery 1.0 section 4).
    Discovery(String),
}

/// What to ask whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The value of `:authority`.
    pub authority: String,
    /// The value of `:path`.
    pub path: String,
    /// The name that istiod gives the cluster of that host: `outbound|PORT||HOST`.
    pub cluster: String,
}

/// When a key set is asked for next. One record for all workers, so that one of them asks for all; times are
/// seconds since the epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Schedule {
    /// Counts the key sets that were fetched; 0 is none yet.
    pub version: u64,
    /// When the last one was fetched.
    pub fetched: u64,
    /// When to ask next.
    pub next: u64,
    /// How often asking failed since.
    pub failures: u64,
    /// Until when an unknown key is no reason to ask again.
    pub early_after: u64,
}

/// A key set is asked for again after this, like Envoy's own cache.
const REFRESH: u64 = 300;
/// So much earlier at most, so that not everybody asks at once.
const JITTER: u64 = 60;
/// Nobody else asks for so long, unless the one who asks renews it.
const LEASE: u64 = 3;
/// An answer takes so long at most.
pub const TIMEOUT: u64 = 5;
/// The longest pause between two failures.
const MAX_BACK_OFF: u64 = 60;
/// The shortest time between two early requests for an unknown key.
const EARLY: u64 = 30;
/// Keys that cannot be refreshed are used for so long.
pub const MAX_STALE: u64 = 24 * 3600;
/// A larger answer is none.
pub const MAX_BODY: usize = 1024 * 1024;

impl KeyLocation {
    /// The URI that is asked.
    pub fn uri(&self) -> String {
        match self {
            Self::Uri(uri) => uri.clone(),
            Self::Discovery(issuer) => {
                let base = issuer.strip_suffix('/').unwrap_or(issuer);
                format!("{base}/.well-known/openid-configuration")
            }
        }
    }
}

/// The `jwks_uri` of the document that an issuer answered under `asked`; `None` if there is none that may be
/// followed: who asked over TLS gets no keys without it.
pub fn discovered(asked: &str, document: &[u8]) -> Option<String> {
    let node = from_json(document).ok()?;
    let uri = node.get("jwks_uri").and_then(Node::as_str)?;
    (uri.starts_with("https://") || !asked.starts_with("https://")).then(|| uri.to_owned())
}

impl Endpoint {
    /// Splits an http or https URI.
    pub fn parse(uri: &str) -> Option<Self> {
        let (scheme, rest) = uri.split_once("://")?;
        let usual = match scheme {
            "https" => 443,
            "http" => 80,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let path = path.split('#').next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, usual),
        };
        let is_plain = uri.bytes().all(|byte| byte.is_ascii_graphic());
        if host.is_empty() || authority.contains('@') || !is_plain {
            return None;
        }
        Some(Self {
            authority: authority.to_owned(),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
            cluster: format!("outbound|{port}||{host}"),
        })
    }
}

impl Schedule {
    /// Whether it is time to ask.
    pub fn is_due(&self, now: u64) -> bool {
        now >= self.next
    }

    /// The record while one worker asks, to be renewed until the answer comes: who is gone renews nothing.
    #[must_use]
    pub fn asking(self, now: u64) -> Self {
        Self {
            next: now + LEASE,
            ..self
        }
    }

    /// The record after a key set came. The one that was there already is no new version, unless workers had
    /// given it up for its age.
    #[must_use]
    pub fn succeeded(self, is_new: bool, now: u64, random: u64) -> Self {
        let is_version = is_new || self.version == 0 || self.is_stale(now);
        Self {
            version: self.version + u64::from(is_version),
            fetched: now,
            next: now + REFRESH - random % JITTER,
            failures: 0,
            ..self
        }
    }

    /// The record after asking failed: the pause doubles, up to a minute.
    #[must_use]
    pub fn failed(self, now: u64, random: u64) -> Self {
        let failures = self.failures.saturating_add(1);
        let doubled = 1_u64.checked_shl(u32::try_from(failures).unwrap_or(u32::MAX));
        let pause = doubled.unwrap_or(MAX_BACK_OFF).min(MAX_BACK_OFF);
        Self {
            next: now + pause / 2 + random % (pause / 2 + 1),
            failures,
            ..self
        }
    }

    /// The record when a token names a key that is not in the set; `None` if that was asked lately.
    pub fn early(self, now: u64) -> Option<Self> {
        (now >= self.early_after && self.version > 0).then_some(Self {
            // Somebody may be asking already.
            next: if self.next > now + LEASE {
                now
            } else {
                self.next
            },
            early_after: now + EARLY,
            ..self
        })
    }

    /// Whether the answer to such an early question is still to come.
    pub fn is_early(&self, now: u64) -> bool {
        let asked = self.early_after.saturating_sub(EARLY);
        now < self.early_after && self.fetched < asked && self.next <= now + LEASE
    }

    /// Whether nobody has cared for the record lately, so that its keys may have been withdrawn since.
    pub fn is_abandoned(&self, now: u64) -> bool {
        self.version > 0 && now > self.next.saturating_add(2 * TIMEOUT)
    }

    /// Whether the keys are too old to be used.
    pub fn is_stale(&self, now: u64) -> bool {
        self.version > 0 && now > self.fetched.saturating_add(MAX_STALE)
    }

    /// Whether the first answer is still to come, so that waiting for it may help.
    pub fn is_first(&self) -> bool {
        self.version == 0 && self.failures == 0
    }

    /// As bytes, for memory that workers share.
    pub fn to_bytes(self) -> Vec<u8> {
        [
            self.version,
            self.fetched,
            self.next,
            self.failures,
            self.early_after,
        ]
        .into_iter()
        .flat_map(u64::to_le_bytes)
        .collect()
    }

    /// Reads them; a record of another shape is none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut numbers = bytes
            .chunks_exact(8)
            .filter_map(|chunk| Some(u64::from_le_bytes(chunk.try_into().ok()?)));
        let record = Self {
            version: numbers.next()?,
            fetched: numbers.next()?,
            next: numbers.next()?,
            failures: numbers.next()?,
            early_after: numbers.next()?,
        };
        (bytes.len() == 40).then_some(record)
    }
}

impl PolicySet {
    /// Whether no rule lacks its keys.
    pub fn has_all_keys(&self) -> bool {
        self.providers
            .iter()
            .all(|provider| provider.keys.is_some())
    }

    /// The key sets that have to be fetched, each once.
    pub fn key_locations(&self) -> Vec<KeyLocation> {
        let mut locations: Vec<KeyLocation> = Vec::new();
        for location in self
            .providers
            .iter()
            .filter_map(|one| one.location.as_ref())
        {
            if !locations.contains(location) {
                locations.push(location.clone());
            }
        }
        locations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(uri: &str, expected: Option<(&str, &str, &str)>) {
        let endpoint = Endpoint::parse(uri);
        let parts = endpoint.as_ref().map(|endpoint| {
            (
                endpoint.authority.as_str(),
                endpoint.path.as_str(),
                endpoint.cluster.as_str(),
            )
        });
        assert_eq!(parts, expected, "{uri}");
    }

    #[test]
    fn uris_are_split() {
        check(
            "https://idp.example/keys?a=b#c",
            Some(("idp.example", "/keys?a=b", "outbound|443||idp.example")),
        );
        check(
            "http://idp.example:8080",
            Some(("idp.example:8080", "/", "outbound|8080||idp.example")),
        );
        check(
            "https://[::1]/k",
            Some(("[::1]", "/k", "outbound|443||[::1]")),
        );
        check("ftp://a/", None);
        check("https:///keys", None);
        check("https://user@idp.example/", None);
        check("https://idp.example:x/", None);
        check("https://idp.example/a b", None);
        check("https://idp.example/\r\nx", None);
    }

    #[test]
    fn an_issuer_tells_by_discovery() {
        for issuer in ["https://idp.example", "https://idp.example/"] {
            assert_eq!(
                KeyLocation::Discovery(issuer.into()).uri(),
                "https://idp.example/.well-known/openid-configuration"
            );
        }
    }

    #[test]
    fn a_document_leads_to_keys_but_not_away_from_tls() {
        let document = |uri: &str| format!(r#"{{"issuer":"x","jwks_uri":"{uri}"}}"#).into_bytes();
        let (plain, secure) = ("http://idp.example/keys", "https://idp.example/keys");
        for (asked, uri, follows) in [
            (plain, plain, true),
            (plain, secure, true),
            (secure, secure, true),
            (secure, plain, false),
        ] {
            let found = discovered(asked, &document(uri));
            assert_eq!(found, follows.then(|| uri.to_owned()), "{asked} {uri}");
        }
        for document in [&b"{"[..], b"[]", b"{}", br#"{"jwks_uri":5}"#] {
            assert_eq!(discovered(plain, document), None);
        }
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut schedule = Schedule::default();
        assert!(schedule.is_due(1000), "the first time at once");
        let mut pauses = Vec::new();
        for _ in 0..70 {
            schedule = schedule.failed(1000, u64::MAX);
            pauses.push(schedule.next - 1000);
            assert!(schedule.next > 1000);
        }
        assert!(
            pauses.iter().all(|pause| *pause <= MAX_BACK_OFF),
            "{pauses:?}"
        );
        assert_eq!(pauses.last(), Some(&pauses[10]));
        assert!(!schedule.is_first());
    }

    #[test]
    fn an_answer_is_good_for_minutes() {
        let schedule = Schedule::default()
            .failed(1000, 0)
            .succeeded(true, 1010, 59);
        assert_eq!((schedule.version, schedule.failures), (1, 0));
        assert!(!schedule.is_due(1250) && schedule.is_due(1251));
        assert!(!schedule.is_stale(1010 + MAX_STALE) && schedule.is_stale(1011 + MAX_STALE));
    }

    #[test]
    fn an_unknown_key_asks_early_once() {
        let schedule = Schedule::default().succeeded(true, 1000, 0);
        let early = schedule.early(1001).unwrap();
        assert!(early.is_due(1001) && early.is_early(1001));
        assert!(!early.succeeded(false, 1002, 0).is_early(1002), "answered");
        let asking = early.asking(1001);
        assert_eq!(
            asking.next,
            asking.early(1031).unwrap().next.max(asking.next)
        );
        assert_eq!(early.early(1030), None);
        assert!(early.early(1031).is_some());
        assert_eq!(
            Schedule::default().early(1000),
            None,
            "nothing was fetched yet"
        );
    }

    #[test]
    fn one_worker_asks() {
        let asking = Schedule::default().asking(1000);
        assert!(!asking.is_due(1002) && asking.is_due(1003));
        assert!(!asking.asking(1002).is_due(1004), "renewed");
    }

    #[test]
    fn keys_that_nobody_looks_after_are_abandoned() {
        let schedule = Schedule::default().succeeded(true, 1000, 0);
        assert!(!schedule.is_abandoned(1310) && schedule.is_abandoned(1311));
        assert!(!Schedule::default().is_abandoned(1000), "there are none");
        let same = schedule.succeeded(false, 1300, 0);
        assert_eq!((same.version, same.fetched), (1, 1300));
        let back = schedule.succeeded(false, 1001 + MAX_STALE, 0);
        assert_eq!(back.version, 2, "workers had dropped the keys");
    }

    #[test]
    fn the_record_survives_its_bytes() {
        let schedule = Schedule::default().succeeded(true, 5, 7).failed(6, 1);
        assert_eq!(Schedule::from_bytes(&schedule.to_bytes()), Some(schedule));
        assert_eq!(Schedule::from_bytes(b"x"), None);
        assert_eq!(Schedule::from_bytes(&[0; 48]), None);
    }
}
