//! What we say about text that people wrote: a stable code, what is wrong, what to do, and where.

use std::fmt;

use crate::printable;
use crate::source::{FieldPath, Span};

/// How much a [`Diagnostic`] matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The text is not used as it is: nothing compiles until this is mended.
    Error,
    /// The text is used, and probably does not do what its author wants.
    Warning,
    /// Worth knowing.
    Info,
}

impl Severity {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
        }
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $text:literal,)+) => {
        /// The stable name of a kind of diagnostic. Tests, documentation and links use its text.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Code { $($(#[doc = $doc])+ $variant,)+ }

        impl Code {
            /// Every code, in the order of the reference table.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The kebab-case text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// What it means, in one sentence.
            pub fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii()),+ }
            }
        }
    };
}

codes! {
    /// The text is not YAML or JSON.
    Syntax = "yaml-syntax",
    /// An object has the same key twice.
    DuplicateKey = "duplicate-key",
    /// The resource's kind or API version is not one that Portcullis knows.
    UnknownKind = "unknown-kind",
    /// The kind takes no part in decisions, so the resource is left aside.
    IgnoredKind = "ignored-kind",
    /// The API has this field or value, and Portcullis does not enforce it yet.
    NotEnforced = "not-enforced",
    /// The API has no such field.
    UnknownField = "unknown-field",
    /// A field that must be there is missing.
    MissingField = "missing-field",
    /// The value has another type than the field.
    WrongType = "wrong-type",
    /// The field knows a fixed set of values, and this is none of them.
    UnknownEnumValue = "unknown-enum-value",
    /// A value that may not be empty is.
    EmptyValue = "empty-value",
    /// A list or object that may not be empty is.
    EmptyList = "empty-list",
    /// Two fields exclude each other.
    ConflictingFields = "conflicting-fields",
    /// A value breaks a rule of its field that has no code of its own.
    InvalidValue = "invalid-value",
    /// A label of a selector is no label.
    InvalidSelector = "invalid-selector",
    /// A target of a policy is none that it can have.
    InvalidTargetReference = "invalid-target-reference",
    /// The dry-run annotation stands where it cannot, or is no boolean.
    InvalidDryRun = "invalid-dry-run",
    /// Not a service account.
    InvalidServiceAccount = "invalid-service-account",
    /// Not a trust domain.
    InvalidTrustDomain = "invalid-trust-domain",
    /// Not an http or https URL.
    InvalidUrl = "invalid-url",
    /// Not the name of a header.
    InvalidHeaderName = "invalid-header-name",
    /// A token would write a header that belongs to the connection, to proxies or to the client.
    ReservedHeader = "reserved-header",
    /// Not an IP address or CIDR range.
    InvalidCidr = "invalid-cidr",
    /// Not a port number.
    InvalidPort = "invalid-port",
    /// A path template that Envoy cannot load.
    InvalidPathTemplate = "invalid-path-template",
    /// `when` names an attribute that Istio does not have.
    UnknownConditionKey = "unknown-condition-key",
    /// Portcullis knows it and Istio does not, and the policies are for Istio itself.
    NotForIstio = "not-for-istio",
    /// A condition on the client certificate, and no `CertificateAuthentication` says where it comes from.
    NoCertificateAuthentication = "no-certificate-authentication",
    /// One element of `x-forwarded-client-cert`, from a sender with a certificate: it may tell of the sender.
    SenderIsClient = "sender-is-client",
    /// More entries than the API allows.
    TooMany = "too-many",
    /// The key set cannot be used.
    InvalidJwks = "invalid-jwks",
    /// The key set of a `jwksUri` is not there.
    MissingJwks = "missing-jwks",
    /// A key of the set cannot be used; the others can.
    UnusableKey = "unusable-key",
    /// A key of the set is used, and others may be able to sign with it.
    WeakKey = "weak-key",
    /// The private half of a key of the set is published.
    PublishedKey = "published-key",
    /// A key of the set is a private one.
    PrivateKey = "private-key",
    /// Two keys of the set have one `kid`.
    DuplicateKeyId = "duplicate-key-id",
    /// A token that names no key is not tried with all keys of the set.
    KeyTrialsLimited = "key-trials-limited",
    /// The same resource is given twice.
    DuplicateResource = "duplicate-resource",
    /// A selector without labels selects every workload of the namespace.
    EmptySelector = "empty-selector",
    /// Another policy takes the place of this one, which has no effect.
    IgnoredPolicy = "ignored-policy",
    /// The policy does not select the workload.
    PolicyNotSelected = "policy-not-selected",
    /// A requirement on a token, and no `RequestAuthentication` that would verify one.
    NoAuthentication = "no-authentication",
    /// A condition on the TCP peer, which Envoy tells a plugin only with the help of another filter.
    NeedsCompanion = "needs-companion",
    /// What the policies read is an attribute that this Envoy does not have.
    NeedsNewerEnvoy = "needs-newer-envoy",
    /// Two rules, one about sources and one about operations, where one rule with both was probably meant.
    SplitRule = "split-rule",
    /// Tokens are verified when they come, and nothing asks for one.
    TokenlessRequestsPass = "tokenless-requests-pass",
    /// A `*` that is neither the first nor the last character stands for itself.
    InnerWildcard = "inner-wildcard",
    /// A DENY rule that reads only HTTP attributes.
    DenyWithoutPorts = "deny-without-ports",
    /// A request principal that can never match.
    PrincipalNeverMatches = "principal-never-matches",
    /// A value that can never match.
    NeverMatches = "never-matches",
    /// A claim that is a number or a boolean is compared, and only strings and lists of them match.
    ClaimIsNoText = "claim-is-no-text",
    /// A dot in the name of a claim is part of the name.
    ClaimNameWithDot = "claim-name-with-dot",
    /// Several values of a claim: one of them is enough.
    ValuesAreAlternatives = "values-are-alternatives",
    /// A host is denied, and the same host with a port is another one.
    HostWithoutPort = "host-without-port",
    /// A request principal of an issuer whose tokens nothing accepts.
    UnknownIssuer = "unknown-issuer",
    /// Several token rules: a good token of any of them is enough.
    AnyTokenIsEnough = "any-token-is-enough",
    /// A rule looks for tokens in a header that a rule writes, where a client's own are removed.
    NoTokenIsRead = "no-token-is-read",
    /// A token writes a header, and a client's header with `_` for `-` is another one, except to some servers.
    HeaderHasTwins = "header-has-twins",
    /// A claim is denied by its text and becomes a header, whose spaces at the ends servers cut off.
    ClaimMayBePadded = "claim-may-be-padded",
    /// The header for the token usually has `Bearer ` in front of it, and the rule takes the whole value.
    MissingPrefix = "missing-prefix",
    /// A CORS preflight carries no token, and every rule asks for one.
    PreflightIsDenied = "preflight-is-denied",
    /// A rule without conditions makes every other rule of its action pointless.
    ShadowedRule = "shadowed-rule",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The resource that a diagnostic or a rule belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    /// As in the resource's `kind`.
    pub kind: String,
    /// `metadata.namespace`; `default` when the resource names none, as `kubectl` does.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ResourceId {
    /// `AuthorizationPolicy foo/httpbin`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// Where something stands: a document of the text and a field in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Location {
    /// The document, from 0; `None` for the plugin's configuration around the policies.
    pub document: Option<usize>,
    /// The resource, as far as it is known.
    pub resource: Option<ResourceId>,
    /// The field.
    pub path: FieldPath,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which kind of finding.
    pub code: Code,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop, the user's input in backticks.
    pub message: String,
    /// What to do about it, where that is known.
    pub help: Option<String>,
    /// Where.
    pub at: Location,
    /// Where, if it is not the place of the field itself: a key, or a syntax error.
    pub span: Option<Span>,
}

#[cfg(feature = "yaml")]
impl From<crate::source::SyntaxError> for Diagnostic {
    fn from(error: crate::source::SyntaxError) -> Self {
        Self {
            code: if error.duplicate_key {
                Code::DuplicateKey
            } else {
                Code::Syntax
            },
            severity: Severity::Error,
            message: error.message,
            help: None,
            at: Location::default(),
            span: Some(error.span),
        }
    }
}

impl fmt::Display for Diagnostic {
    /// `error[invalid-cidr]: AuthorizationPolicy foo/x spec.rules[0]…: message; help`, one line: [`printable`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: ", self.severity.as_str(), self.code)?;
        if let Some(resource) = &self.at.resource {
            write!(f, "{} ", printable::write(resource.to_string().as_bytes()))?;
        }
        if !self.at.path.segments().is_empty() {
            let path = self.at.path.to_string();
            write!(f, "{}: ", printable::write(path.as_bytes()))?;
        }
        f.write_str(&printable::write(self.message.as_bytes()))?;
        if let Some(help) = &self.help {
            write!(f, "; {}", printable::write(help.as_bytes()))?;
        }
        Ok(())
    }
}
