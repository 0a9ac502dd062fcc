//! Policies in the form that decides: immutable, without a string left to parse.

use std::fmt;
use std::sync::Arc;

use crate::authenticate::{KeySet, TokenMode};
use crate::certificate::forwarded::ForwardedForm;
use crate::certificate::{AttributeType, Certificate, CertificateField, DistinguishedName, hex};
use crate::diagnostic::{Location, ResourceId};
use crate::matcher::{Cidr, PathTemplate, PeerNameMatcher, RequestPrincipalMatcher, StringMatcher};
use crate::remote_keys::KeyLocation;
use crate::request::{Attribute, Request, Tls, is_twin};
use crate::resource::{Action, MutualTlsMode, TokenBinding};
use crate::source::FieldPath;
use crate::time;

/// Everything that decides about one workload's requests.
#[derive(Debug, Clone)]
pub struct PolicySet {
    /// What `PeerAuthentication`s ask of the connection.
    pub(crate) peer: Option<PeerModes>,
    /// Which client certificates are identities; `None` without a `CertificateAuthentication`.
    pub(crate) certificates: Option<CertificateRules>,
    /// How tokens are read; the key sets of the providers were read so too.
    pub(crate) tokens: TokenMode,
    pub(crate) providers: Box<[Provider]>,
    /// Whether the upstream gets tokens that rules take out, since filters behind are to see them.
    pub(crate) keeps_tokens: bool,
    /// Every header that a rule writes a payload or a claim to, lower case: a client's own are removed.
    pub(crate) output_headers: Box<[Box<[u8]>]>,
    /// Whether a client's headers are removed that some servers take for those that rules write or read.
    pub(crate) removes_twins: bool,
    pub(crate) policies: Box<[Policy]>,
    /// The rules of each action in the order in which Envoy tries them: by identity, as bytes.
    pub(crate) audit: Box<[RuleId]>,
    pub(crate) deny: Box<[RuleId]>,
    pub(crate) allow: Box<[RuleId]>,
    /// Whether an ALLOW policy is enforced, be it one without rules.
    pub(crate) has_allow: bool,
    pub(crate) needs: Needs,
}

/// What the selected `CertificateAuthentication`s say together.
#[derive(Debug, Clone)]
pub(crate) struct CertificateRules {
    /// The resource that requires a certificate.
    pub(crate) required: Option<Location>,
    /// The strictest of all.
    pub(crate) binding: TokenBinding,
    /// Headers that only this proxy may write, lower case.
    pub(crate) written: Box<[Box<[u8]>]>,
    pub(crate) rules: Box<[IdentityRule]>,
}

/// One `certificateRules` entry.
#[derive(Debug, Clone)]
pub(crate) struct IdentityRule {
    pub(crate) at: Location,
    pub(crate) source: IdentitySource,
    pub(crate) senders: Senders,
    pub(crate) issuers: Box<[NameMatcher]>,
    pub(crate) authorities: Box<[Certificate]>,
    pub(crate) subjects: Box<[NameMatcher]>,
    pub(crate) uris: Box<[StringMatcher]>,
    pub(crate) dns_names: Box<[StringMatcher]>,
    pub(crate) emails: Box<[StringMatcher]>,
    pub(crate) output: Box<[(Box<[u8]>, CertificateField)]>,
}

/// Where a certificate is told of. Header names are lower case.
#[derive(Debug, Clone)]
pub(crate) enum IdentitySource {
    Connection,
    Forwarded {
        form: ForwardedForm,
        trusted_hops: usize,
    },
    ClientCert,
    Headers(Box<[(Box<[u8]>, CertificateField)]>),
}

/// Whose headers are believed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Senders {
    pub(crate) principals: Box<[PeerNameMatcher]>,
    pub(crate) ranges: Box<[Cidr]>,
}

/// A distinguished name that a policy asks for.
#[derive(Debug, Clone)]
pub(crate) enum NameMatcher {
    Exact(DistinguishedName),
    /// The specific end.
    Prefix(DistinguishedName),
    /// The general end.
    Suffix(DistinguishedName),
    /// Each of them once, with such a value.
    Attributes(Box<[(AttributeType, StringMatcher)]>),
}

/// A time that a policy asks for, in seconds since the epoch.
#[derive(Debug, Clone, Copy)]
pub(crate) enum TimeMatcher {
    Before(u64),
    After(u64),
}

/// A condition on the accepted client certificate.
#[derive(Debug, Clone)]
pub(crate) enum CertificateTest {
    Subject(Box<[NameMatcher]>),
    Issuer(Box<[NameMatcher]>),
    Uri(Box<[StringMatcher]>),
    Dns(Box<[StringMatcher]>),
    Email(Box<[StringMatcher]>),
    Sha256(Box<[[u8; 32]]>),
    Serial(Box<[Box<[u8]>]>),
    NotBefore(Box<[TimeMatcher]>),
    NotAfter(Box<[TimeMatcher]>),
}

impl CertificateTest {
    /// The values in words.
    pub(crate) fn texts(&self) -> Vec<String> {
        fn all<T: ToString>(values: &[T]) -> Vec<String> {
            values.iter().map(ToString::to_string).collect()
        }
        match self {
            Self::Subject(values) | Self::Issuer(values) => all(values),
            Self::Uri(values) | Self::Dns(values) | Self::Email(values) => all(values),
            Self::Sha256(values) => values.iter().map(|hash| hex::encode(hash)).collect(),
            Self::Serial(values) => values.iter().map(|number| hex::encode(number)).collect(),
            Self::NotBefore(values) | Self::NotAfter(values) => all(values),
        }
    }
}

impl fmt::Display for NameMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Prefix(name) => write!(f, "{name},*"),
            Self::Suffix(name) => write!(f, "*,{name}"),
            Self::Attributes(wanted) => {
                for (place, (kind, value)) in wanted.iter().enumerate() {
                    write!(f, "{}{kind}={value}", if place > 0 { " with " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for TimeMatcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Before(bound) => write!(f, "before {}", time::to_text(*bound)),
            Self::After(bound) => write!(f, "after {}", time::to_text(*bound)),
        }
    }
}

impl fmt::Display for IdentitySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.headers().next().is_none() {
            return f.write_str("the connection");
        }
        for (place, header) in self.headers().enumerate() {
            let separator = if place > 0 { ", " } else { "" };
            write!(f, "{separator}{}", String::from_utf8_lossy(header))?;
        }
        Ok(())
    }
}

/// The modes of mutual TLS that hold for a workload.
#[derive(Debug, Clone)]
pub(crate) struct PeerModes {
    /// `None` is PERMISSIVE.
    pub(crate) default: Option<PeerMode>,
    /// Ports with a mode of their own.
    pub(crate) ports: Box<[(u16, PeerMode)]>,
}

/// A mode and the resource that sets it.
#[derive(Debug, Clone)]
pub(crate) struct PeerMode {
    pub(crate) mode: MutualTlsMode,
    pub(crate) at: Location,
}

impl PeerModes {
    /// The mode that refuses the connection, if one does. An attribute that cannot be read lets nothing pass.
    pub(crate) fn refusal(&self, request: &Request<'_>) -> Option<&PeerMode> {
        let port = match request.destination_port {
            _ if self.ports.is_empty() => None,
            Attribute::Known(port) => Some(port),
            // Any of the modes may hold, so all must let it pass.
            Attribute::Unreadable => {
                let levels = self.ports.iter().map(|(_, mode)| mode);
                return levels
                    .chain(&self.default)
                    .find(|mode| mode.refuses(request));
            }
        };
        let level = self.ports.iter().find(|(known, _)| Some(*known) == port);
        let mode = level.map(|(_, mode)| mode).or(self.default.as_ref())?;
        mode.refuses(request).then_some(mode)
    }
}

impl PeerMode {
    fn refuses(&self, request: &Request<'_>) -> bool {
        match self.mode {
            MutualTlsMode::Unset | MutualTlsMode::Permissive => false,
            MutualTlsMode::Strict => request.tls != Attribute::Known(Tls::Mutual),
            MutualTlsMode::Disable => request.tls != Attribute::Known(Tls::None),
        }
    }
}

/// One `jwtRules` entry: what Envoy calls a provider.
#[derive(Debug, Clone)]
pub(crate) struct Provider {
    /// The `RequestAuthentication` and the rule in it.
    pub(crate) at: Location,
    /// Empty accepts any issuer.
    pub(crate) issuer: String,
    /// Without scheme and trailing slash; empty does not check.
    pub(crate) audiences: Box<[String]>,
    /// `None` while they are not fetched.
    pub(crate) keys: Option<Arc<KeySet>>,
    /// Where they are fetched from; `None` if they are given.
    pub(crate) location: Option<KeyLocation>,
    /// In the order of extraction.
    pub(crate) places: Box<[TokenPlace]>,
    pub(crate) forward: bool,
    pub(crate) payload_header: Option<Box<[u8]>>,
    pub(crate) claim_headers: Box<[(Box<[u8]>, String)]>,
    pub(crate) space_delimited: Box<[String]>,
}

/// Where a token may be. Header names are lower case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TokenPlace {
    Header { name: Box<[u8]>, prefix: Box<[u8]> },
    Param(Box<[u8]>),
    Cookie(Box<[u8]>),
}

impl TokenPlace {
    /// The header's name, if it is one.
    pub(crate) fn header(&self) -> Option<&[u8]> {
        match self {
            Self::Header { name, .. } => Some(name),
            Self::Param(_) | Self::Cookie(_) => None,
        }
    }
}

/// One enforced `AuthorizationPolicy`.
#[derive(Debug, Clone)]
pub(crate) struct Policy {
    pub(crate) at: Location,
    pub(crate) action: Action,
    pub(crate) rules: Box<[Rule]>,
}

impl Policy {
    /// Every clause of every rule.
    pub(crate) fn clauses(&self) -> impl Iterator<Item = &Clause> {
        self.rules.iter().flat_map(|rule| {
            let groups = rule.from.iter().chain(rule.to.iter());
            groups
                .flat_map(|group| group.iter())
                .chain(rule.when.iter())
        })
    }
}

/// A rule of a policy of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId {
    pub(crate) policy: u32,
    pub(crate) rule: u32,
}

/// Any of `from`, and any of `to`, and all of `when`; an empty list asks for nothing.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    pub(crate) from: Box<[Box<[Clause]>]>,
    pub(crate) to: Box<[Box<[Clause]>]>,
    pub(crate) when: Box<[Clause]>,
    /// istiod left the rule out. It keeps its number, and matches nothing.
    pub(crate) is_dropped: bool,
}

/// One field with its values: it holds if any value matches, or, negated, if none does.
#[derive(Debug, Clone)]
pub(crate) struct Clause {
    /// The field of the policy: `spec.rules[0].from[1].source.notIpBlocks`.
    pub(crate) at: FieldPath,
    pub(crate) negated: bool,
    pub(crate) test: Test,
}

/// An attribute and the values it is compared with.
#[derive(Debug, Clone)]
pub(crate) enum Test {
    PeerName(Box<[PeerNameMatcher]>),
    SourceIp(Box<[Cidr]>),
    RemoteIp(Box<[Cidr]>),
    DestinationIp(Box<[Cidr]>),
    DestinationPort(Box<[u16]>),
    ServerName(Box<[StringMatcher]>),
    Host(Box<[StringMatcher]>),
    Method(Box<[StringMatcher]>),
    Path(Box<[PathMatcher]>),
    Header {
        name: Box<[u8]>,
        values: Box<[StringMatcher]>,
    },
    RequestPrincipal(Box<[RequestPrincipalMatcher]>),
    Claim {
        path: Box<[String]>,
        values: Box<[StringMatcher]>,
    },
    Certificate {
        field: CertificateField,
        test: CertificateTest,
    },
    Metadata {
        filter: String,
        key: String,
        values: Box<[MetadataMatcher]>,
    },
}

impl Test {
    /// Whether any value is left of those that were written.
    pub(crate) fn has_values(&self) -> bool {
        match self {
            Self::SourceIp(values) | Self::RemoteIp(values) | Self::DestinationIp(values) => {
                !values.is_empty()
            }
            Self::DestinationPort(values) => !values.is_empty(),
            // The others are never left out.
            _ => true,
        }
    }
}

/// A value of `experimental.envoy.filters.*`.
#[derive(Debug, Clone)]
pub(crate) enum MetadataMatcher {
    /// The metadata is such a string.
    Text(StringMatcher),
    /// The metadata is a list with such a string: the value stands in brackets.
    InList(StringMatcher),
}

/// A value of `paths`.
#[derive(Debug, Clone)]
pub(crate) enum PathMatcher {
    String(StringMatcher),
    Template(PathTemplate),
}

/// Which attributes a set reads. A host need not fetch the others: they never change a decision.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a set of attributes, each asked for by name"
)]
pub struct Needs {
    /// [`Request::source_ip`](crate::request::Request::source_ip)
    pub source_ip: bool,
    /// [`Request::remote_ip`](crate::request::Request::remote_ip)
    pub remote_ip: bool,
    /// [`Request::destination_ip`](crate::request::Request::destination_ip)
    pub destination_ip: bool,
    /// [`Request::destination_port`](crate::request::Request::destination_port)
    pub destination_port: bool,
    /// [`Request::server_name`](crate::request::Request::server_name)
    pub server_name: bool,
    /// [`Request::peer_names`](crate::request::Request::peer_names)
    pub peer_names: bool,
    /// [`Request::certificate`](crate::request::Request::certificate)
    pub certificate: bool,
    /// [`Request::tls`](crate::request::Request::tls)
    pub tls: bool,
    /// [`Request::metadata`](crate::request::Request::metadata)
    pub metadata: bool,
    /// [`Request::now`](crate::request::Request::now)
    pub now: bool,
}

/// What becomes of tokens that were found good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenHandling {
    /// All stay in the request.
    Kept,
    /// Those of some rule are taken out.
    Removed,
}

impl PolicySet {
    /// The attributes that this set reads. Method, path, authority and headers are always at hand.
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// What becomes of good tokens; `None` without rules for any.
    pub fn token_handling(&self) -> Option<TokenHandling> {
        let mut rules = self.providers.iter();
        if self.providers.is_empty() {
            None
        } else if self.keeps_tokens || rules.all(|rule| rule.forward) {
            Some(TokenHandling::Kept)
        } else {
            Some(TokenHandling::Removed)
        }
    }

    /// The policy that a rule belongs to, and the rule's index in it.
    pub fn describe(&self, rule: RuleId) -> Option<(&ResourceId, u32)> {
        Some((self.policy(rule)?.at.resource.as_ref()?, rule.rule))
    }

    /// The same policies with the keys of a location, or without any.
    #[must_use]
    pub fn with_keys(&self, location: &KeyLocation, keys: Option<&Arc<KeySet>>) -> Self {
        let mut set = self.clone();
        for provider in &mut set.providers {
            if provider.location.as_ref() == Some(location) {
                provider.keys = keys.cloned();
            }
        }
        set
    }

    /// Whether a header must go since some servers take it for one that a rule writes, or for one that a rule
    /// reads tokens from, which would bring an unverified one along.
    pub(crate) fn is_twin_of_token_header(&self, name: &[u8]) -> bool {
        let read = || {
            let places = self.providers.iter().flat_map(|one| one.places.iter());
            places.filter_map(TokenPlace::header)
        };
        let is_one_read = || read().any(|one| one == name);
        self.removes_twins
            && (self.output_headers.iter().any(|one| is_twin(name, one))
                || read().any(|one| is_twin(name, one)) && !is_one_read())
    }

    pub(crate) fn policy(&self, rule: RuleId) -> Option<&Policy> {
        self.policies.get(usize::try_from(rule.policy).ok()?)
    }

    pub(crate) fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.policy(id)?.rules.get(usize::try_from(id.rule).ok()?)
    }

    /// The name under which Envoy reports a rule.
    pub(crate) fn identity(&self, id: RuleId) -> String {
        self.policy(id)
            .map_or_else(String::new, |policy| identity(&policy.at, id.rule))
    }
}

/// `ns[NAMESPACE]-policy[NAME]-rule[INDEX]`, as istiod names RBAC policies.
pub(crate) fn identity(at: &Location, rule: u32) -> String {
    let (namespace, name) = at
        .resource
        .as_ref()
        .map_or(("", ""), |id| (id.namespace.as_str(), id.name.as_str()));
    format!("ns[{namespace}]-policy[{name}]-rule[{rule}]")
}
