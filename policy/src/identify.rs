//! Who a request's client certificate says it is from: what the selected `CertificateAuthentication`s accept, from
//! whom they believe it. Whatever leaves a doubt refuses the request.

use std::fmt;

use crate::authenticate::json::{Json, member};
use crate::authenticate::{Authenticated, TokenFailure, base64url};
use crate::certificate::{Certificate, CertificateField, DistinguishedName, Identity, forwarded};
use crate::crypto::SignatureVerifier;
use crate::matcher::{Case, StringMatcher};
use crate::policy_set::{
    CertificateRules, CertificateTest, IdentityRule, IdentitySource, NameMatcher, PolicySet,
    Senders, TimeMatcher,
};
use crate::request::{Attribute, HeaderEdits, Request, is_twin};
use crate::resource::TokenBinding;

/// The header of RFC 9440.
const CLIENT_CERT: &[u8] = b"client-cert";

/// Why a request's client has no identity although it needs one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CertificateFailure {
    /// There is no certificate, and one is required.
    Missing,
    /// No rule accepts the certificate.
    NotAccepted,
    /// A trusted sender told of a certificate in a way that leaves a doubt.
    Doubtful,
}

impl CertificateFailure {
    /// The body of the reply.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "Client certificate is missing",
            Self::NotAccepted => "Client certificate is not accepted",
            Self::Doubtful => "Client certificate cannot be read without doubt",
        }
    }
}

/// What one rule said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt {
    pub(crate) rule: usize,
    pub(crate) outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its source tells of no certificate.
    Absent,
    /// This header is there, and its sender is not trusted.
    UntrustedSender(Box<[u8]>),
    /// What its source tells leaves a doubt.
    Doubtful(&'static str),
    /// The named certificate is not one that the rule accepts.
    Refused(String, Refusal),
    /// The named certificate is the client's identity.
    Accepted(String),
}

/// What a rule has against a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// This field is none of those that the rule names.
    Field(CertificateField),
    /// The source does not tell this field.
    Untold(CertificateField),
    NotYetValid,
    Expired,
    NotForClients,
    NotSigned,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(field) => write!(f, "its {field} is none of those that the rule names"),
            Self::Untold(field) => write!(f, "its {field} is not told, or not without doubt"),
            Self::NotYetValid => f.write_str("it is not yet valid"),
            Self::Expired => f.write_str("it is expired"),
            Self::NotForClients => f.write_str("it is not for clients (extended key usage)"),
            Self::NotSigned => f.write_str("no CA of the bundle signed it"),
        }
    }
}

/// Fills in the identity, or why there is none, and removes headers that are not to be believed.
pub(crate) fn identify(
    set: &PolicySet,
    request: &Request<'_>,
    verifier: &impl SignatureVerifier,
    who: &mut Authenticated,
) {
    let Some(certificates) = &set.certificates else {
        return;
    };
    for (name, _) in request.headers {
        let is_reserved = certificates.written.iter().any(|one| is_twin(name, one));
        if is_reserved || is_untrusted(certificates, request, name) {
            who.edits.remove(name);
        }
    }
    let mut is_refused = false;
    for (index, rule) in certificates.rules.iter().enumerate() {
        let outcome = match rule.look(request) {
            Look::Absent => Outcome::Absent,
            Look::Untrusted(header) => Outcome::UntrustedSender(header),
            Look::Doubtful(doubt) => {
                who.certificate_failure = Some(CertificateFailure::Doubtful);
                Outcome::Doubtful(doubt)
            }
            Look::Found(identity) => {
                let shown = identity.shown().into_owned();
                if let Some(refusal) = rule.refuses(&identity, request.now, verifier) {
                    is_refused = true;
                    Outcome::Refused(shown, refusal)
                } else {
                    rule.write(&identity, &mut who.edits);
                    who.certificate = Some(*identity);
                    Outcome::Accepted(shown)
                }
            }
        };
        who.certificate_attempts.push(Attempt {
            rule: index,
            outcome,
        });
        if who.certificate.is_some() || who.certificate_failure.is_some() {
            return;
        }
    }
    who.certificate_failure = match certificates.required {
        _ if is_refused => Some(CertificateFailure::NotAccepted),
        Some(_) => Some(CertificateFailure::Missing),
        None => None,
    };
}

/// Whether a header tells of certificates and nobody believes its sender.
fn is_untrusted(certificates: &CertificateRules, request: &Request<'_>, name: &[u8]) -> bool {
    let mut tells = false;
    for rule in &certificates.rules {
        if rule.source.headers().any(|one| is_twin(name, one)) {
            tells = true;
            let is_itself = rule.source.headers().any(|one| one == name);
            if is_itself && rule.senders.has_sent(request) == Attribute::Known(true) {
                return false;
            }
        }
    }
    tells
}

enum Look {
    Absent,
    Untrusted(Box<[u8]>),
    Doubtful(&'static str),
    Found(Box<Identity>),
}

impl Senders {
    /// Whether the sender is one of them.
    fn has_sent(&self, request: &Request<'_>) -> Attribute<bool> {
        let by_name = request.peer_names.map(|names| {
            let mut names = names.iter();
            names.any(|name| self.principals.iter().any(|one| one.matches(name)))
        });
        let by_address = request
            .source_ip
            .map(|ip| self.ranges.iter().any(|range| range.contains(ip)));
        let asked = [
            (by_name, self.principals.is_empty()),
            (by_address, self.ranges.is_empty()),
        ];
        let mut asked = asked.into_iter().filter(|(_, is_empty)| !is_empty);
        if asked
            .clone()
            .any(|(is_one, _)| is_one == Attribute::Known(true))
        {
            return Attribute::Known(true);
        }
        let is_known = asked.all(|(is_one, _)| is_one != Attribute::Unreadable);
        if is_known {
            Attribute::Known(false)
        } else {
            Attribute::Unreadable
        }
    }
}

impl IdentitySource {
    /// The headers that it reads.
    pub(crate) fn headers(&self) -> impl Iterator<Item = &[u8]> {
        let (one, more): (Option<&[u8]>, &[_]) = match self {
            Self::Connection => (None, &[]),
            Self::Forwarded { .. } => (Some(forwarded::NAME), &[]),
            Self::ClientCert => (Some(CLIENT_CERT), &[]),
            Self::Headers(headers) => (None, headers),
        };
        one.into_iter().chain(more.iter().map(|(name, _)| &**name))
    }
}

impl IdentityRule {
    fn look(&self, request: &Request<'_>) -> Look {
        if matches!(self.source, IdentitySource::Connection) {
            return match request.certificate {
                Attribute::Known(None) => Look::Absent,
                Attribute::Known(Some(identity)) => Look::Found(Box::new(identity.clone())),
                Attribute::Unreadable => Look::Doubtful("Envoy does not tell"),
            };
        }
        let values = |name: &[u8]| {
            let lines = request.headers.iter().filter(move |(key, _)| *key == name);
            lines.map(|(_, value)| *value).collect::<Vec<_>>()
        };
        let mut headers = self.source.headers();
        let Some(present) = headers.find(|name| !values(name).is_empty()) else {
            return Look::Absent;
        };
        match self.senders.has_sent(request) {
            Attribute::Known(true) => {}
            Attribute::Known(false) => return Look::Untrusted(present.into()),
            // Taken for nobody's, the header would be none, and a DENY rule on its certificate would miss it.
            Attribute::Unreadable => return Look::Doubtful("Envoy does not tell who sent it"),
        }
        let read = match &self.source {
            IdentitySource::Connection => return Look::Absent,
            // Envoy joins the lines of this one.
            IdentitySource::Forwarded { form, trusted_hops } => {
                forwarded::read(&values(forwarded::NAME).join(&b','), *form, *trusted_hops)
            }
            IdentitySource::ClientCert => match values(CLIENT_CERT).as_slice() {
                [value] => Identity::from_client_cert(value).map(Some),
                _ => Err("it comes more than once"),
            },
            IdentitySource::Headers(headers) => from_headers(headers, values),
        };
        match read {
            Ok(None) => Look::Absent,
            Ok(Some(identity)) => Look::Found(Box::new(identity)),
            Err(doubt) => Look::Doubtful(doubt),
        }
    }

    /// What the rule has against the certificate; `None` accepts it.
    fn refuses(
        &self,
        identity: &Identity,
        now: u64,
        verifier: &impl SignatureVerifier,
    ) -> Option<Refusal> {
        if let Some((first, last)) = identity.validity {
            if now < first {
                return Some(Refusal::NotYetValid);
            }
            if now > last {
                return Some(Refusal::Expired);
            }
        }
        let names = [
            (CertificateField::Issuer, &self.issuers, &identity.issuer),
            (CertificateField::Subject, &self.subjects, &identity.subject),
        ];
        for (field, wanted, name) in names {
            if wanted.is_empty() {
                continue;
            }
            let Some(name) = name else {
                return Some(Refusal::Untold(field));
            };
            if !wanted.iter().any(|one| one.matches(name)) {
                return Some(Refusal::Field(field));
            }
        }
        let lists = [
            (CertificateField::Uri, &self.uris, &identity.uri),
            (CertificateField::Dns, &self.dns_names, &identity.dns),
            (CertificateField::Email, &self.emails, &identity.email),
        ];
        for (field, wanted, names) in lists {
            if wanted.is_empty() {
                continue;
            }
            let Some(names) = names else {
                return Some(Refusal::Untold(field));
            };
            if !any_name(wanted, names) {
                return Some(Refusal::Field(field));
            }
        }
        if self.authorities.is_empty() {
            return None;
        }
        let certificate = identity.der.as_deref().and_then(Certificate::from_der);
        let Some(certificate) = certificate else {
            return Some(Refusal::Untold(CertificateField::Certificate));
        };
        if !certificate.is_for_clients() {
            return Some(Refusal::NotForClients);
        }
        let signs = |authority: &Certificate| {
            authority.is_valid_at(now) && certificate.is_signed_by(authority, verifier)
        };
        (!self.authorities.iter().any(signs)).then_some(Refusal::NotSigned)
    }

    fn write(&self, identity: &Identity, edits: &mut HeaderEdits) {
        for (name, field) in &self.output {
            for value in identity.values(field).unwrap_or_default() {
                edits.add(name, value.as_bytes());
            }
        }
    }
}

/// Reads headers that a proxy fills with Envoy's command operators, each once. Envoy joins names by commas, so a
/// comma leaves a doubt.
fn from_headers<'r>(
    headers: &[(Box<[u8]>, CertificateField)],
    values: impl Fn(&[u8]) -> Vec<&'r [u8]>,
) -> Result<Option<Identity>, &'static str> {
    let mut identity = Identity::default();
    let mut is_told = false;
    for (name, field) in headers {
        let text = match values(name).as_slice() {
            [] => continue,
            [value] => std::str::from_utf8(value).map_err(|_| "a header of it is no text")?,
            _ => return Err("a header of it comes more than once"),
        };
        if text.is_empty() {
            continue;
        }
        is_told = true;
        let dn = || {
            use crate::certificate::NameOrder::Reverse;
            DistinguishedName::parse(text, Reverse)
                .ok_or("a distinguished name in it cannot be read")
        };
        let one = || {
            let is_one = !text.contains(',');
            is_one
                .then(|| vec![text.to_owned()])
                .ok_or("a comma in it may part two names")
        };
        match field {
            CertificateField::Subject => identity.subject = Some(dn()?),
            CertificateField::Issuer => identity.issuer = Some(dn()?),
            CertificateField::Uri => identity.uri = Some(one()?),
            CertificateField::Dns => identity.dns = Some(one()?),
            CertificateField::Sha256 => {
                identity.sha256 = Some(thumbprint(text).ok_or("a hash in it is not SHA-256")?);
            }
            CertificateField::Serial => {
                identity.serial =
                    Some(serial(text).ok_or("a serial number in it is not hexadecimal")?);
            }
            _ => {}
        }
    }
    if !is_told {
        return Ok(None);
    }
    let checked = identity.checked();
    checked
        .map(Some)
        .ok_or("a name in it has control characters")
}

/// SHA-256 in hexadecimal, with or without colons.
pub(crate) fn thumbprint(text: &str) -> Option<[u8; 32]> {
    crate::certificate::hex::decode(&without_colons(text)?)?
        .try_into()
        .ok()
}

/// A serial number in hexadecimal, with or without colons and leading zeros.
pub(crate) fn serial(text: &str) -> Option<Vec<u8>> {
    let digits = without_colons(text)?;
    let digits = digits.trim_start_matches('0');
    let padded = format!("{}{digits}", if digits.len() % 2 == 1 { "0" } else { "" });
    crate::certificate::hex::decode(&padded)
}

fn without_colons(text: &str) -> Option<String> {
    let pairs: Vec<&str> = text.split(':').collect();
    let is_right = pairs.len() == 1 || pairs.iter().all(|pair| pair.len() == 2);
    (is_right && !text.is_empty()).then(|| pairs.concat())
}

fn any_name(wanted: &[StringMatcher], names: &[String]) -> bool {
    names.iter().any(|name| {
        let is_wanted = |one: &StringMatcher| one.matches(name.as_bytes(), Case::Sensitive);
        wanted.iter().any(is_wanted)
    })
}

impl NameMatcher {
    pub(crate) fn matches(&self, name: &DistinguishedName) -> bool {
        match self {
            Self::Exact(wanted) => name == wanted,
            Self::Prefix(leaf) => name.ends_with(leaf),
            Self::Suffix(base) => name.is_below(base),
            Self::Attributes(wanted) => wanted.iter().all(|(kind, value)| {
                name.attribute(kind)
                    .is_some_and(|found| value.matches(found.as_bytes(), Case::Sensitive))
            }),
        }
    }

    /// Whether an attribute that it asks for is there in a way that could be taken for several values.
    fn is_in_doubt(&self, name: &DistinguishedName) -> bool {
        match self {
            Self::Attributes(wanted) => wanted.iter().any(|(kind, _)| name.is_in_doubt(kind)),
            Self::Exact(_) | Self::Prefix(_) | Self::Suffix(_) => false,
        }
    }
}

impl CertificateTest {
    /// Whether any of the values is that of the certificate. What its source does not tell, or not without doubt, is
    /// not known.
    pub(crate) fn matches(&self, identity: Option<&Identity>) -> Attribute<bool> {
        let Some(identity) = identity else {
            return Attribute::Known(false);
        };
        let names = |names: &Option<Vec<String>>, wanted: &[StringMatcher]| {
            names.as_ref().map(|names| any_name(wanted, names))
        };
        let known = |holds: bool, is_in_doubt: bool| (holds || !is_in_doubt).then_some(holds);
        let name = |name: &Option<DistinguishedName>, wanted: &[NameMatcher]| {
            let name = name.as_ref()?;
            let any = |is: fn(&NameMatcher, &DistinguishedName) -> bool| {
                wanted.iter().any(|one| is(one, name))
            };
            known(any(NameMatcher::matches), any(NameMatcher::is_in_doubt))
        };
        let time = |time: u64, wanted: &[TimeMatcher]| wanted.iter().any(|one| one.matches(time));
        let matched = match self {
            Self::Subject(wanted) => name(&identity.subject, wanted),
            Self::Issuer(wanted) => name(&identity.issuer, wanted),
            Self::Uri(wanted) => names(&identity.uri, wanted),
            // A wildcard stands for names that nobody lists, so one that is asked for may be among them.
            Self::Dns(wanted) => {
                names(&identity.dns, wanted).and_then(|holds| known(holds, identity.has_wildcard))
            }
            Self::Email(wanted) => names(&identity.email, wanted),
            Self::Sha256(wanted) => identity.sha256.map(|hash| wanted.contains(&hash)),
            Self::Serial(wanted) => identity
                .serial
                .as_ref()
                .map(|serial| wanted.iter().any(|one| **one == **serial)),
            Self::NotBefore(wanted) => identity.validity.map(|(first, _)| time(first, wanted)),
            Self::NotAfter(wanted) => identity.validity.map(|(_, last)| time(last, wanted)),
        };
        matched.map_or(Attribute::Unreadable, Attribute::Known)
    }
}

impl TimeMatcher {
    fn matches(&self, time: u64) -> bool {
        match self {
            Self::Before(bound) => time < *bound,
            Self::After(bound) => time > *bound,
        }
    }
}

/// Whether a good token may be used with this certificate (RFC 8705 section 3.1).
pub(crate) fn check_binding(
    binding: TokenBinding,
    claims: &[(String, Json)],
    identity: Option<&Identity>,
) -> Result<(), TokenFailure> {
    let is_required = match binding {
        TokenBinding::Ignored => return Ok(()),
        TokenBinding::IfPresent => false,
        TokenBinding::Required => true,
    };
    let thumbprint = match member(claims, "cnf") {
        None if is_required => return Err(TokenFailure::Unbound),
        None => return Ok(()),
        // A confirmation that is not understood must not be taken for one that holds.
        Some(Json::Object(members)) => match members.as_slice() {
            [(name, Json::String(text))] if name == "x5t#S256" => {
                base64url::decode(text.as_bytes(), true)
            }
            _ => None,
        },
        Some(_) => None,
    };
    let wanted: [u8; 32] = thumbprint
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or(TokenFailure::BindingForm)?;
    let found = identity.and_then(|identity| identity.sha256);
    let found = found.ok_or(TokenFailure::BoundWithoutCertificate)?;
    let difference = wanted
        .iter()
        .zip(found)
        .fold(0, |all, (one, other)| all | (one ^ other));
    if difference == 0 {
        Ok(())
    } else {
        Err(TokenFailure::BoundToAnother)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use rcgen::{CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};

    use super::*;
    use crate::certificate::forwarded::{Details, write_element};
    use crate::compile::Setting;
    use crate::crypto::RustVerifier;
    use crate::request::{Metadata, Tls};
    use crate::resource::Resources;
    use crate::{authenticate, compile, decide, explain};

    const GATEWAY: &[u8] = b"spiffe://cluster.local/ns/istio-system/sa/gw";
    const BY_HEADER: &str = "
from: {forwardedClientCert: {trustedHops: 2}}
trustedSenders: {principals: [cluster.local/ns/istio-system/sa/gw]}";

    fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    fn signed(name: &str, uri: &str, issuer: &CertifiedIssuer<'static, KeyPair>) -> Certificate {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "example");
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        Certificate::from_der(params.signed_by(&key, issuer).unwrap().der()).unwrap()
    }

    fn client() -> Certificate {
        signed(
            "client",
            "spiffe://partner/client",
            &authority("Partner CA"),
        )
    }

    /// What comes of a request: the reason, and the upstream's header `x-name`.
    struct Asked<'a> {
        rule: &'a str,
        more: &'a str,
        policies: &'a str,
        headers: Vec<(&'a [u8], Vec<u8>)>,
        peer: &'a [u8],
        address: Attribute<IpAddr>,
        certificate: Option<Certificate>,
    }

    impl Default for Asked<'_> {
        fn default() -> Self {
            Self {
                rule: BY_HEADER,
                more: "",
                policies: "",
                headers: Vec::new(),
                peer: GATEWAY,
                address: Attribute::Known(Ipv4Addr::LOCALHOST.into()),
                certificate: None,
            }
        }
    }

    impl Asked<'_> {
        fn answer(&self) -> (String, Option<String>) {
            let rule = self.rule.trim().replace('\n', "\n    ");
            let text = format!(
                "apiVersion: portcullis.dev/v1alpha1\nkind: CertificateAuthentication\nmetadata: {{name: partners}}\nspec:\n  certificateRules:\n  - {rule}\n  {}\n---\n{}",
                self.more, self.policies
            );
            let (resources, _) = Resources::read_text(&text);
            let compiled = compile(&resources, &Setting::default());
            let set = compiled
                .set
                .unwrap_or_else(|| panic!("{:#?}", compiled.diagnostics));
            let identity = self.certificate.as_ref().and_then(Identity::of);
            let headers: Vec<(&[u8], &[u8])> = self
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_slice()))
                .collect();
            let localhost = Attribute::Known(IpAddr::from(Ipv4Addr::LOCALHOST));
            let metadata = Metadata::default();
            let request = Request {
                method: b"GET",
                scheme: b"https",
                authority: Some(b"example.com"),
                path: b"/",
                headers: &headers,
                source_ip: self.address,
                remote_ip: localhost,
                destination_ip: localhost,
                destination_port: Attribute::Known(80),
                server_name: Attribute::Known(b""),
                peer_names: Attribute::Known(&[self.peer]),
                certificate: Attribute::Known(identity.as_ref()),
                tls: Attribute::Known(Tls::Mutual),
                metadata: Attribute::Known(&metadata),
                now: crate::time::parse_time("2026-06-01T00:00:00Z").unwrap(),
            };
            let who = authenticate(&set, &request, &RustVerifier);
            let decision = decide(&set, &request, &who);
            let explained = explain(&set, &request, &who);
            assert_eq!(explained.decision, decision);
            let view = crate::request::View {
                request: &request,
                edits: &who.edits,
            };
            let name = view.values(b"x-name").next();
            let name = name.map(|name| String::from_utf8_lossy(name).into_owned());
            let why = decision
                .reply(&set, &request, &who)
                .map_or_else(String::new, |reply| {
                    format!("{} {}: {}", reply.status, reply.body, explained.summary)
                });
            (why, name)
        }

        #[track_caller]
        fn passes(&self, name: Option<&str>) {
            let (why, found) = self.answer();
            assert_eq!((why.as_str(), found.as_deref()), ("", name));
        }

        #[track_caller]
        fn is_refused(&self, words: &str) {
            let (why, _) = self.answer();
            assert!(why.contains(words), "{why:?}");
        }
    }

    fn through_gateway(client: &Certificate) -> (&'static [u8], Vec<u8>) {
        let gateway = signed(
            "gateway",
            "spiffe://cluster.local/ns/istio-system/sa/gw",
            &authority("Mesh"),
        );
        let of = |certificate, with_certificate| {
            write_element(
                certificate,
                Details {
                    by: &[],
                    with_certificate,
                },
            )
        };
        (
            forwarded::NAME,
            [of(client, true), of(&gateway, false)]
                .join(",")
                .into_bytes(),
        )
    }

    const ALLOW: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: partners}
spec:
  rules:
  - when:
    - {key: KEY, values: [VALUE]}
";

    #[test]
    fn the_outermost_hop_tells_who_the_client_is() {
        let client = client();
        let mut asked = Asked {
            headers: vec![through_gateway(&client), (b"x-name", b"forged".to_vec())],
            more: "required: true",
            rule: &format!(
                "{BY_HEADER}\noutputHeaders: [{{header: X-Name, field: 'subject[CN]'}}]"
            ),
            ..Asked::default()
        };
        asked.passes(Some("client"));
        asked.peer = b"spiffe://cluster.local/ns/foo/sa/intruder";
        asked.is_refused("403 Client certificate is missing");
        asked.is_refused(
            "x-forwarded-client-cert is removed: its sender is not trusted (CertificateAuthentication default/partners spec.certificateRules[0])",
        );
        let headers = std::mem::take(&mut asked.headers);
        asked.is_refused("(CertificateAuthentication default/partners spec.required)");
        asked.headers = headers;
        asked.more = "";
        asked.passes(None);
        asked.headers[0].1.extend_from_slice(b",Hash=00");
        asked.peer = GATEWAY;
        asked.is_refused("without doubt: it has more elements");
    }

    #[test]
    fn conditions_read_what_was_accepted() {
        let client = client();
        let hash = crate::certificate::hex::encode(&client.sha256());
        let serial = crate::certificate::hex::encode(&client.serial);
        for (key, value, holds) in [
            ("subject", "'CN=client,O=example'", true),
            ("subject", "'O=example,CN=client'", false),
            ("subject[CN]", "cli*", true),
            ("subject[O]", "other", false),
            ("subject[OU]", "'*'", false),
            ("issuer", "CN=Partner CA", true),
            ("issuer[CN]", "'*CA'", true),
            ("uri", "spiffe://partner/*", true),
            ("uri", "spiffe://other/*", false),
            ("dns", "'*'", false),
            ("email", "'*'", false),
            ("sha256", &format!("'{}'", hash.to_uppercase()), true),
            ("sha256", &format!("'{}'", "0".repeat(64)), false),
            ("serial", &format!("'00{serial}'"), true),
            ("serial", "'01'", false),
            ("notAfter", "'>2026-12-31T23:59:59Z'", true),
            ("notAfter", "'<2026-12-31T23:59:59Z'", false),
            ("notBefore", "'< 2026-01-02T00:00:00Z'", true),
        ] {
            let key = format!("'request.auth.certificate.{key}'");
            let policies = ALLOW.replace("KEY", &key).replace("VALUE", value);
            let asked = Asked {
                rule: "from: {connection: {}}",
                policies: &policies,
                certificate: Some(client.clone()),
                ..Asked::default()
            };
            if holds {
                asked.passes(None);
            } else {
                asked.is_refused("RBAC: access denied");
            }
            // Without a certificate the condition fails, and its opposite holds.
            let opposite = policies.replace("values", "notValues");
            Asked {
                certificate: None,
                policies: &policies,
                ..asked
            }
            .is_refused("got no certificate");
            let rule = "from: {connection: {}}";
            Asked {
                rule,
                policies: &opposite,
                ..Asked::default()
            }
            .passes(None);
        }
    }

    #[test]
    fn what_is_not_told_allows_nothing() {
        let client = client();
        let value = write_element(
            &client,
            Details {
                by: &[],
                with_certificate: false,
            },
        );
        let rule = BY_HEADER.replace("2}", "1}");
        let issuer = "'request.auth.certificate.issuer'";
        let policies = ALLOW.replace("KEY", issuer).replace("VALUE", "CN=Other CA");
        let headers = || vec![(forwarded::NAME, value.clone().into_bytes())];
        let asked = |policies: &str| {
            Asked {
                rule: &rule,
                headers: headers(),
                policies,
                ..Asked::default()
            }
            .answer()
        };
        assert!(asked(&policies).0.contains("it is not told"));
        assert!(
            asked(&policies.replace("values", "notValues"))
                .0
                .contains("it is not told")
        );
        let deny = policies.replace("  rules", "  action: DENY\n  rules");
        assert!(
            asked(&deny).0.starts_with("403"),
            "nor does a DENY rule miss it"
        );
    }

    #[test]
    fn a_rule_says_which_certificates_it_takes() {
        let issuer = authority("Partner CA");
        let client = signed("client", "spiffe://partner/client", &issuer);
        let pem = |name: &str| issuer_pem(&authority(name));
        let bundle = |pem: &str| format!("caBundle: |\n  {}", pem.trim().replace('\n', "\n  "));
        for (field, refusal) in [
            ("issuers: [{exact: CN=Partner CA}]", ""),
            ("issuers: [{exact: CN=Other CA}]", "its issuer is none"),
            (
                "subjects: [{exact: 'O = example, CN = client', order: OPENSSL}]",
                "",
            ),
            (
                "subjects: [{exact: 'CN=other,O=example'}, {suffix: O=example}]",
                "",
            ),
            ("subjects: [{prefix: CN=client}]", ""),
            ("subjects: [{prefix: O=example}]", "its subject is none"),
            ("subjects: [{suffix: CN=client}]", "its subject is none"),
            (
                "subjects: [{attributes: {CN: cl*, organizationName: example}}]",
                "",
            ),
            (
                "subjects: [{attributes: {CN: client, L: '*'}}]",
                "its subject is none",
            ),
            ("uris: ['spiffe://partner/*']", ""),
            ("uris: ['spiffe://other/*']", "its uri is none"),
            ("dnsNames: ['*.example']", "its dns is none"),
            ("emails: ['*']", "its email is none"),
            (&bundle(&issuer_pem(&issuer)), ""),
            (&bundle(&(pem("Another CA") + &issuer_pem(&issuer))), ""),
            (&bundle(&pem("Partner CA")), "no CA of the bundle signed it"),
        ] {
            let rule = format!("from: {{connection: {{}}}}\n{field}");
            let asked = Asked {
                rule: &rule,
                certificate: Some(client.clone()),
                ..Asked::default()
            };
            if refusal.is_empty() {
                asked.passes(None);
            } else {
                asked.is_refused(refusal);
            }
        }
        let mut late = client.clone();
        late.not_after = late.not_before + 1;
        let rule = "from: {connection: {}}";
        let asked = Asked {
            rule,
            certificate: Some(late),
            ..Asked::default()
        };
        asked.is_refused(
            "Client certificate is not accepted: spiffe://partner/client: it is expired",
        );
    }

    fn issuer_pem(issuer: &CertifiedIssuer<'static, KeyPair>) -> String {
        Certificate::from_der(issuer.der()).unwrap().to_pem()
    }

    #[test]
    fn headers_are_believed_from_one_sender_and_once() {
        let rule = "
from: {headers: {subject: X-Client-Ssl-Cn, uri: X-Client-Ssl-San}}
trustedSenders: {ipBlocks: [127.0.0.0/8]}
outputHeaders: [{header: x-name, field: subject}]";
        let asked = |rule: &str, headers: &[(&'static str, &str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| (name.as_bytes(), value.as_bytes().to_vec()));
            let more = "required: true";
            Asked {
                rule,
                headers: headers.collect(),
                more,
                ..Asked::default()
            }
            .answer()
        };
        let good = [("x-client-ssl-cn", "O=example,CN=client")];
        assert_eq!(
            asked(rule, &good),
            (String::new(), Some("O=example,CN=client".into()))
        );
        let stranger = rule.replace("127.0.0.0/8", "10.0.0.0/8");
        assert!(asked(&stranger, &good).0.contains("certificate is missing"));
        for headers in [
            &[("x-client-ssl-cn", "CN=a"), ("x-client-ssl-cn", "CN=b")][..],
            &[("x-client-ssl-cn", "not a name")],
            &[
                ("x-client-ssl-cn", "CN=a"),
                ("x-client-ssl-san", "spiffe://a,spiffe://b"),
            ],
        ] {
            assert!(
                asked(rule, headers).0.contains("without doubt"),
                "{headers:?}"
            );
        }
        let twin = [("x_client_ssl_cn", "CN=a")];
        assert!(asked(rule, &twin).0.contains("certificate is missing"));
    }

    #[test]
    fn who_sent_a_header_must_be_known() {
        let rule = "
from: {headers: {subject: X-Client-Ssl-Cn}}
trustedSenders: {ipBlocks: [127.0.0.0/8]}";
        let mut asked = Asked {
            rule,
            address: Attribute::Unreadable,
            headers: vec![(b"x-client-ssl-cn", b"CN=client".to_vec())],
            ..Asked::default()
        };
        asked.is_refused("without doubt: Envoy does not tell who sent it");
        let by_either = format!(
            "{}, principals: [cluster.local/*]}}",
            rule.trim_end_matches('}')
        );
        asked.rule = &by_either;
        asked.passes(None);
        asked.peer = b"spiffe://other/a";
        asked.is_refused("without doubt");
        asked.headers.clear();
        asked.passes(None);
    }

    #[test]
    fn a_byte_sequence_holds_one_certificate() {
        use base64::Engine;
        let client = client();
        let rule = "
from: {clientCert: {}}
trustedSenders: {principals: [cluster.local/ns/istio-system/sa/gw]}
outputHeaders: [{header: x-name, field: 'subject[CN]'}, {header: x-der, field: certificate}]";
        let digits = base64::engine::general_purpose::STANDARD.encode(&client.der);
        let asked = |values: &[String]| {
            let headers = values
                .iter()
                .map(|value| (CLIENT_CERT, value.clone().into_bytes()));
            Asked {
                rule,
                headers: headers.collect(),
                ..Asked::default()
            }
            .answer()
        };
        let good = format!(":{digits}:");
        assert_eq!(
            asked(std::slice::from_ref(&good)),
            (String::new(), Some("client".into()))
        );
        for values in [
            vec![good.clone(), good.clone()],
            vec![digits.clone()],
            vec![format!(":{digits}:;a=b")],
            vec![format!(
                ":{}:",
                digits.replace('=', "").replace('/', "_").replace('+', "-") + "-"
            )],
            vec![":AAAA:".into()],
        ] {
            assert!(asked(&values).0.contains("without doubt"), "{values:?}");
        }
    }

    #[test]
    fn a_bound_token_goes_with_its_certificate() {
        use base64::Engine;
        let identity = Identity::of(&client()).unwrap();
        let digits = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let own = digits(&identity.sha256.unwrap());
        let claims =
            |cnf: &str| Json::parse_object(format!("{{\"cnf\":{cnf}}}").as_bytes(), true).unwrap();
        let thumbprint = |text: &str| claims(&format!("{{\"x5t#S256\":\"{text}\"}}"));
        let check = |claims: &[(String, Json)], identity: Option<&Identity>| {
            check_binding(TokenBinding::IfPresent, claims, identity)
        };
        let with = Some(&identity);
        assert_eq!(check(&thumbprint(&own), with), Ok(()));
        assert_eq!(
            check(&thumbprint(&own), None),
            Err(TokenFailure::BoundWithoutCertificate)
        );
        assert_eq!(
            check(&thumbprint(&digits(&[0; 32])), with),
            Err(TokenFailure::BoundToAnother)
        );
        assert_eq!(check(&[], with), Ok(()));
        assert_eq!(
            check_binding(TokenBinding::Required, &[], with),
            Err(TokenFailure::Unbound)
        );
        assert_eq!(
            check_binding(TokenBinding::Ignored, &thumbprint(""), None),
            Ok(())
        );
        let hex = crate::certificate::hex::encode(&identity.sha256.unwrap());
        for claims in [
            thumbprint(&format!("{own}=")),
            thumbprint(&hex),
            thumbprint(""),
            thumbprint(&own.replace(['-', '_'], "+"))
                .into_iter()
                .chain([])
                .collect(),
            claims("null"),
            claims("[]"),
            claims("{}"),
            claims(&format!("\"{own}\"")),
            claims(&format!("{{\"x5t\":\"{own}\"}}")),
            claims(&format!("{{\"x5t#S256\":[\"{own}\"]}}")),
            claims(&format!("{{\"x5t#S256\":\"{own}\",\"jkt\":\"x\"}}")),
        ] {
            let outcome = check(&claims, with);
            let is_same = claims == thumbprint(&own);
            assert_eq!(
                outcome == Err(TokenFailure::BindingForm),
                !is_same,
                "{claims:?}"
            );
        }
    }
}
