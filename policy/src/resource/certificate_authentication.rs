//! `portcullis.dev` `CertificateAuthentication`: which client certificates a workload takes for an identity, and
//! who may tell of them. Istio has no such resource; it is shaped like its `RequestAuthentication`.

use super::decode::{Decoder, Field, Object, Text};
use super::metadata::{Metadata, Scope, spec};
use crate::certificate::forwarded::ForwardedForm;
use crate::certificate::{
    AttributeType, Certificate, CertificateField, DistinguishedName, NameOrder,
};
use crate::diagnostic::Code;
use crate::matcher::Cidr;
use crate::source::FieldPath;

/// Which certificates identify the clients of a workload.
#[derive(Debug, Clone)]
pub struct CertificateAuthentication {
    /// Name and place.
    pub metadata: Metadata,
    /// The workloads it is for.
    pub scope: Scope,
    /// `certificateRules`: the first that accepts a certificate makes it the client's identity.
    pub rules: Vec<CertificateRule>,
    /// `required`: without an accepted certificate the answer is 403.
    pub required: bool,
    /// `tokenBinding`
    pub token_binding: TokenBinding,
    /// `reservedHeaders`: headers that this proxy sets, so a client's own are removed.
    pub reserved_headers: Vec<String>,
}

/// Whether tokens must be bound to the client's certificate (RFC 8705 section 3).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TokenBinding {
    /// A token's `cnf` is not looked at.
    #[default]
    Ignored,
    /// A token with `cnf` is good only with the certificate it names.
    IfPresent,
    /// So is every token, and one without `cnf` is not good.
    Required,
}

/// One way to an identity.
#[derive(Debug, Clone)]
pub struct CertificateRule {
    /// The rule's place.
    pub at: FieldPath,
    /// `from`
    pub source: CertificateSource,
    /// `trustedSenders`; empty for the connection itself.
    pub senders: TrustedSenders,
    /// `issuers`; empty accepts any.
    pub issuers: Vec<NameMatch>,
    /// `caBundle`; empty does not ask.
    pub authorities: Vec<Certificate>,
    /// `subjects`; empty accepts any.
    pub subjects: Vec<NameMatch>,
    /// `uris`; empty accepts any.
    pub uris: Vec<String>,
    /// `dnsNames`; empty accepts any.
    pub dns_names: Vec<String>,
    /// `emails`; empty accepts any.
    pub emails: Vec<String>,
    /// `outputHeaders`
    pub output_headers: Vec<(String, CertificateField)>,
}

/// Where a certificate is told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// `connection`: the client of this proxy's own TLS.
    Connection,
    /// `forwardedClientCert`: `x-forwarded-client-cert`, the element of the outermost trusted hop.
    Forwarded {
        /// How the hops write it.
        form: ForwardedForm,
        /// How many elements there must be.
        trusted_hops: usize,
    },
    /// `clientCert`: `client-cert` (RFC 9440).
    ClientCert,
    /// `headers`: one header a field.
    Headers(Vec<(String, CertificateField)>),
}

/// Whose headers are believed.
#[derive(Debug, Clone, Default)]
pub struct TrustedSenders {
    /// `principals` of the sender's own certificate, as in an `AuthorizationPolicy`.
    pub principals: Vec<String>,
    /// `ipBlocks` of the sender's address.
    pub ip_blocks: Vec<Cidr>,
}

/// An entry of `issuers` or `subjects`.
#[derive(Debug, Clone)]
pub enum NameMatch {
    /// `exact`
    Exact(DistinguishedName),
    /// `prefix`: the specific end of the name, `CN=a` of `CN=a,O=b`.
    Prefix(DistinguishedName),
    /// `suffix`: the general end, `O=b` of `CN=a,O=b`.
    Suffix(DistinguishedName),
    /// `attributes`: each is there once, with a value like this.
    Attributes(Vec<(AttributeType, String)>),
}

/// More hops than these nobody has.
const MAX_HOPS: f64 = 16.0;
const WILDCARDS: &str = "write a value, or one with a `*` at its start or its end";

impl CertificateAuthentication {
    pub(super) fn decode(decoder: &mut Decoder, resource: &Object<'_>) -> Option<Self> {
        let metadata = Metadata::decode(decoder, resource)?;
        let spec = spec(decoder, resource)?;
        decoder.known_fields(
            &spec,
            &[
                "selector",
                "targetRefs",
                "certificateRules",
                "required",
                "tokenBinding",
                "reservedHeaders",
            ],
        );
        let scope = Scope::decode(decoder, &spec);
        let mut rules = Vec::new();
        for field in decoder.list(&spec, "certificateRules").unwrap_or_default() {
            rules.extend(CertificateRule::decode(decoder, &field));
        }
        if rules.is_empty()
            && spec
                .field("certificateRules")
                .is_none_or(|field| is_empty_list(&field))
        {
            decoder.error(
                Code::EmptyList,
                &spec.at().key("certificateRules"),
                "there is no `certificateRules` entry, so nothing could be accepted",
                "say where certificates come from: `- from: {connection: {}}`",
            );
        }
        let reserved_headers = header_names(decoder, &spec, "reservedHeaders");
        Some(Self {
            metadata,
            scope,
            rules,
            required: decoder.boolean(&spec, "required").unwrap_or_default(),
            token_binding: token_binding(decoder, &spec),
            reserved_headers,
        })
    }
}

fn is_empty_list(field: &Field<'_>) -> bool {
    matches!(&field.node.value, crate::source::Value::Sequence(items) if items.is_empty())
}

fn token_binding(decoder: &mut Decoder, spec: &Object<'_>) -> TokenBinding {
    let Some(text) = decoder.string(spec, "tokenBinding") else {
        return TokenBinding::Ignored;
    };
    match text.text.as_str() {
        "IGNORED" => TokenBinding::Ignored,
        "IF_PRESENT" => TokenBinding::IfPresent,
        "REQUIRED" => TokenBinding::Required,
        other => {
            decoder.refuse(
                Code::UnknownEnumValue,
                &text.at,
                &other,
                "a token binding",
                "use IGNORED, IF_PRESENT or REQUIRED",
            );
            TokenBinding::Required
        }
    }
}

impl CertificateRule {
    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(
            &object,
            &[
                "from",
                "trustedSenders",
                "issuers",
                "caBundle",
                "subjects",
                "uris",
                "dnsNames",
                "emails",
                "outputHeaders",
            ],
        );
        let Some(from) = object.field("from") else {
            decoder.missing(&object, "from");
            return None;
        };
        let source = CertificateSource::decode(decoder, &from)?;
        let rule = Self {
            at: field.at.clone(),
            senders: senders(decoder, &object, &source),
            issuers: names(decoder, &object, "issuers"),
            authorities: authorities(decoder, &object, &source),
            subjects: names(decoder, &object, "subjects"),
            uris: patterns(decoder, &object, "uris"),
            dns_names: patterns(decoder, &object, "dnsNames")
                .into_iter()
                .map(|name| name.to_ascii_lowercase())
                .collect(),
            emails: patterns(decoder, &object, "emails"),
            output_headers: output_headers(decoder, &object),
            source,
        };
        rule.check_fields(decoder, &object);
        Some(rule)
    }

    /// A condition on what the source never tells would refuse everybody.
    fn check_fields(&self, decoder: &mut Decoder, object: &Object<'_>) {
        let asked = [
            ("issuers", CertificateField::Issuer),
            ("subjects", CertificateField::Subject),
            ("uris", CertificateField::Uri),
            ("dnsNames", CertificateField::Dns),
            ("emails", CertificateField::Email),
        ];
        let CertificateSource::Headers(told) = &self.source else {
            return;
        };
        for (key, field) in asked {
            let is_told = told.iter().any(|(_, one)| *one == field);
            if object.field(key).is_some() && !is_told {
                decoder.error(
                    Code::ConflictingFields,
                    &object.at().key(key),
                    format!("`{key}` can never be met: no header under `from` tells the {field}"),
                    "name the header that does, or remove the condition",
                );
            }
        }
    }
}

/// The one field of `kinds` that an object has; `None` after a report of `what` is to be.
fn only_one<'k>(
    decoder: &mut Decoder,
    object: &Object<'_>,
    kinds: &[&'k str],
    what: &str,
) -> Option<&'k str> {
    let mut named = kinds.iter().filter(|kind| object.field(kind).is_some());
    if let (Some(kind), None) = (named.next(), named.next()) {
        return Some(kind);
    }
    let help = format!("give one of {}", kinds.join(", "));
    decoder.error(Code::ConflictingFields, object.at(), what, &help);
    None
}

impl CertificateSource {
    fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        const KINDS: [&str; 4] = ["connection", "forwardedClientCert", "clientCert", "headers"];
        let object = decoder.object(field)?;
        decoder.known_fields(&object, &KINDS);
        let what = "a rule has exactly one source";
        let kind = only_one(decoder, &object, &KINDS, what)?;
        let source = decoder.inner(&object, kind)?;
        match kind {
            "connection" | "clientCert" => {
                decoder.known_fields(&source, &[]);
                Some(if kind == "connection" {
                    Self::Connection
                } else {
                    Self::ClientCert
                })
            }
            "headers" => headers(decoder, &source),
            _ => forwarded(decoder, &source),
        }
    }
}

fn forwarded(decoder: &mut Decoder, object: &Object<'_>) -> Option<CertificateSource> {
    decoder.known_fields(object, &["trustedHops", "format"]);
    let form = match decoder.string(object, "format") {
        None => ForwardedForm::Text,
        Some(text) => match text.text.as_str() {
            "TEXT" => ForwardedForm::Text,
            "JSON" => ForwardedForm::Json,
            other => {
                decoder.refuse(
                    Code::UnknownEnumValue,
                    &text.at,
                    &other,
                    "a format",
                    "use TEXT or JSON",
                );
                return None;
            }
        },
    };
    if object.field("trustedHops").is_none() {
        decoder.missing(object, "trustedHops");
    }
    let hops = decoder.number(object, "trustedHops")?;
    if hops.fract() != 0.0 || !(1.0..=MAX_HOPS).contains(&hops) {
        decoder.refuse(
            Code::InvalidValue,
            &object.at().key("trustedHops"),
            &hops,
            "a number of hops",
            "write how many proxies, this one included, add to the header: 1 to 16",
        );
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked"
    )]
    let trusted_hops = hops as usize;
    Some(CertificateSource::Forwarded { form, trusted_hops })
}

fn headers(decoder: &mut Decoder, object: &Object<'_>) -> Option<CertificateSource> {
    const FIELDS: [(&str, CertificateField); 6] = [
        ("subject", CertificateField::Subject),
        ("issuer", CertificateField::Issuer),
        ("uri", CertificateField::Uri),
        ("dns", CertificateField::Dns),
        ("sha256", CertificateField::Sha256),
        ("serial", CertificateField::Serial),
    ];
    decoder.known_fields(object, &FIELDS.each_ref().map(|(name, _)| *name));
    let mut headers: Vec<(String, CertificateField)> = Vec::new();
    for (key, field) in FIELDS {
        let Some(name) = decoder.string(object, key) else {
            continue;
        };
        let name = header_name(decoder, &name)?;
        if headers.iter().any(|(one, _)| *one == name) {
            decoder.error(
                Code::ConflictingFields,
                &object.at().key(key),
                format!("`{name}` cannot tell two things"),
                "name another header",
            );
        }
        headers.push((name, field));
    }
    if headers.is_empty() {
        decoder.error(
            Code::EmptyValue,
            object.at(),
            "no header is named",
            "name at least the one with the subject: `subject: X-Client-Ssl-Cn`",
        );
    }
    Some(CertificateSource::Headers(headers))
}

fn senders(
    decoder: &mut Decoder,
    object: &Object<'_>,
    source: &CertificateSource,
) -> TrustedSenders {
    let mut senders = TrustedSenders::default();
    let is_connection = *source == CertificateSource::Connection;
    let at = object.at().key("trustedSenders");
    let Some(inner) = decoder.inner(object, "trustedSenders") else {
        if !is_connection {
            decoder.error(
                Code::MissingField,
                &at,
                "anybody can send such a header, and `trustedSenders` does not say who is believed",
                "name the proxy in front by its `principals` or its `ipBlocks`",
            );
        }
        return senders;
    };
    if is_connection {
        decoder.error(
            Code::ConflictingFields,
            &at,
            "a certificate of the connection has no sender but its owner",
            "remove `trustedSenders`",
        );
    }
    decoder.known_fields(&inner, &["principals", "ipBlocks"]);
    senders.principals = decoder.plain_strings(&inner, "principals");
    let mut is_bad = false;
    for text in decoder.strings(&inner, "ipBlocks") {
        if let Some(block) = Cidr::parse(&text.text) {
            senders.ip_blocks.push(block);
        } else {
            is_bad = true;
            decoder.refuse(
                Code::InvalidCidr,
                &text.at,
                &text.text,
                "an IP address or a CIDR range",
                "write 10.1.2.3 or 10.1.0.0/16",
            );
        }
    }
    if senders.principals.is_empty() && senders.ip_blocks.is_empty() && !is_bad {
        decoder.error(
            Code::EmptyValue,
            inner.at(),
            "`trustedSenders` names nobody",
            "name the proxy in front by its `principals` or its `ipBlocks`",
        );
    }
    for (index, principal) in senders.principals.iter().enumerate() {
        if principal == "*" {
            decoder.error(
                Code::InvalidValue,
                &inner.at().key("principals").index(index),
                "`*` believes every workload of the mesh",
                "name the principal of the proxy in front",
            );
        }
    }
    senders
}

fn authorities(
    decoder: &mut Decoder,
    object: &Object<'_>,
    source: &CertificateSource,
) -> Vec<Certificate> {
    let Some(text) = decoder.filled_string(object, "caBundle") else {
        return Vec::new();
    };
    if matches!(source, CertificateSource::Headers(_)) {
        decoder.error(
            Code::ConflictingFields,
            &text.at,
            "a signature needs the certificate itself, which these headers do not tell",
            "take it from the connection, forwardedClientCert or clientCert, or remove `caBundle`",
        );
    }
    match Certificate::all_from_pem(text.text.as_bytes()) {
        Some(all) if all.iter().any(Certificate::has_name_constraints) => {
            decoder.error(
                Code::InvalidValue,
                &text.at,
                "a CA in it has name constraints (RFC 5280 section 4.2.1.10), which are not compared",
                "ask for the names by `subjects`, `uris` or `dnsNames`, and give a CA without constraints",
            );
            Vec::new()
        }
        Some(all) if !all.is_empty() && all.iter().all(Certificate::is_authority) => all,
        Some(_) => {
            decoder.error(
                Code::InvalidValue,
                &text.at,
                "a certificate in it is no CA's (RFC 5280 section 4.2.1.9)",
                "give the certificates of the CAs that sign clients",
            );
            Vec::new()
        }
        None => {
            decoder.error(
                Code::InvalidValue,
                &text.at,
                "it is not PEM of certificates that can be read without doubt (RFC 5280)",
                "give text with -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----, of CAs without critical extensions beyond usages, names and basic constraints",
            );
            Vec::new()
        }
    }
}

fn names(decoder: &mut Decoder, object: &Object<'_>, key: &str) -> Vec<NameMatch> {
    let mut names = Vec::new();
    for field in decoder.list(object, key).unwrap_or_default() {
        names.extend(name_match(decoder, &field));
    }
    names
}

fn name_match(decoder: &mut Decoder, field: &Field<'_>) -> Option<NameMatch> {
    const KINDS: [&str; 4] = ["exact", "prefix", "suffix", "attributes"];
    let object = decoder.object(field)?;
    decoder.known_fields(
        &object,
        &["exact", "prefix", "suffix", "attributes", "order"],
    );
    let what = "an entry asks in exactly one way";
    let kind = only_one(decoder, &object, &KINDS, what)?;
    if kind == "attributes" {
        return attributes(decoder, &object);
    }
    let text = decoder.filled_string(&object, kind)?;
    let order = match decoder.string(&object, "order") {
        None => NameOrder::Reverse,
        Some(order) => match order.text.as_str() {
            "RFC4514" => NameOrder::Reverse,
            "OPENSSL" => NameOrder::Certificate,
            other => {
                decoder.refuse(
                    Code::UnknownEnumValue,
                    &order.at,
                    &other,
                    "an order",
                    "use RFC4514 (CN first as a rule, the default) or OPENSSL (as `openssl x509 -subject` prints)",
                );
                return None;
            }
        },
    };
    let Some(name) = DistinguishedName::parse(&text.text, order).filter(|name| !name.is_empty())
    else {
        refuse_name(decoder, &text);
        return None;
    };
    Some(match kind {
        "exact" => NameMatch::Exact(name),
        "prefix" => NameMatch::Prefix(name),
        _ => NameMatch::Suffix(name),
    })
}

/// Reports a text that is no distinguished name.
pub(super) fn refuse_name(decoder: &mut Decoder, text: &Text) {
    decoder.refuse(
        Code::InvalidValue,
        &text.at,
        &text.text,
        "a distinguished name (RFC 4514)",
        NAME_HELP,
    );
}

/// How to write a distinguished name.
pub(crate) const NAME_HELP: &str =
    "write `CN=a.example,O=example`, with a backslash before , + \" \\ < > ; within a value";

fn attributes(decoder: &mut Decoder, object: &Object<'_>) -> Option<NameMatch> {
    let mut attributes: Vec<(AttributeType, String)> = Vec::new();
    for (name, value) in decoder.string_map(object, "attributes")? {
        let Some(kind) = AttributeType::parse(&name) else {
            decoder.refuse(
                Code::InvalidValue,
                &value.at,
                &name,
                "a type of attribute",
                "use CN, O, OU, C, ST, L, UID, DC, emailAddress and the like, or an OID",
            );
            return None;
        };
        if attributes.iter().any(|(one, _)| *one == kind) {
            decoder.error(
                Code::ConflictingFields,
                &value.at,
                format!("{kind} is named twice"),
                "remove one",
            );
        }
        check_pattern(decoder, &value);
        attributes.push((kind, value.text));
    }
    if attributes.is_empty() {
        decoder.error(
            Code::EmptyValue,
            &object.at().key("attributes"),
            "no attribute is named",
            "name one: `attributes: {O: example}`",
        );
        return None;
    }
    Some(NameMatch::Attributes(attributes))
}

fn patterns(decoder: &mut Decoder, object: &Object<'_>, key: &str) -> Vec<String> {
    let texts = decoder.strings(object, key);
    for text in &texts {
        check_pattern(decoder, text);
    }
    texts.into_iter().map(|text| text.text).collect()
}

/// A `*` elsewhere would stand for itself, which no name has.
fn check_pattern(decoder: &mut Decoder, text: &Text) {
    let ends = text.text.strip_prefix('*').unwrap_or(&text.text);
    let inner = ends.strip_suffix('*').unwrap_or(ends);
    let has_both = text.text.len() > 1 && text.text.starts_with('*') && text.text.ends_with('*');
    if text.text.is_empty() || inner.contains('*') || has_both {
        decoder.refuse(
            Code::InvalidValue,
            &text.at,
            &text.text,
            "a value to compare with",
            WILDCARDS,
        );
    }
}

fn output_headers(decoder: &mut Decoder, object: &Object<'_>) -> Vec<(String, CertificateField)> {
    let mut headers = Vec::new();
    for field in decoder.list(object, "outputHeaders").unwrap_or_default() {
        let Some(entry) = decoder.object(&field) else {
            continue;
        };
        decoder.known_fields(&entry, &["header", "field"]);
        let name = decoder.required_string(&entry, "header");
        let text = decoder.required_string(&entry, "field");
        let (Some(name), Some(text)) = (name, text) else {
            continue;
        };
        let Some(name) = header_name(decoder, &name) else {
            continue;
        };
        match CertificateField::parse(&text.text) {
            Some(field) => headers.push((name, field)),
            None => decoder.refuse(
                Code::InvalidValue,
                &text.at,
                &text.text,
                "a field of a certificate",
                FIELD_HELP,
            ),
        }
    }
    headers
}

/// The fields of a certificate.
pub(crate) const FIELD_HELP: &str = "use subject, subject[CN], issuer, issuer[O], uri, dns, email, sha256, serial, notBefore, notAfter or certificate";

fn header_names(decoder: &mut Decoder, object: &Object<'_>, key: &str) -> Vec<String> {
    let texts = decoder.strings(object, key);
    texts
        .iter()
        .filter_map(|text| header_name(decoder, text))
        .collect()
}

/// The name of a header (RFC 9110 section 5.6.2), lower case. Those that route a request are no place for names.
fn header_name(decoder: &mut Decoder, text: &Text) -> Option<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = text.text.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_token) || name == "host" {
        decoder.refuse(
            Code::InvalidHeaderName,
            &text.at,
            &text.text,
            "the name of a header to write",
            "use letters, digits and hyphens",
        );
        return None;
    }
    Some(name)
}
