//! `CertificateAuthentication`s, and the conditions on what they accept.

use super::rules::{Values, strings};
use super::{Diagnostics, Enforcer, Mesh, Setting, identity};
use crate::authenticate::output;
use crate::certificate::{AttributeType, CertificateField, DistinguishedName, NameOrder};
use crate::diagnostic::{Code, Diagnostic, Location, Severity};
use crate::identify::{serial, thumbprint};
use crate::matcher::{PeerNameMatcher, StringMatcher};
use crate::policy_set::{
    CertificateRules, CertificateTest, IdentityRule, IdentitySource, NameMatcher, Provider,
    Senders, Test, TimeMatcher,
};
use crate::resource::{
    self, CertificateAuthentication, CertificateSource, FIELD_HELP, NAME_HELP, NameMatch, Text,
};
use crate::sorted::sorted;
use crate::time::parse_time;

/// What every key of a condition on a certificate starts with.
pub(super) const PREFIX: &str = "request.auth.certificate";

/// Reports what contradicts itself.
pub(super) fn check(
    resource: &CertificateAuthentication,
    setting: &Setting,
    diagnostics: &mut Diagnostics,
) {
    if setting.enforcer == Enforcer::Istio {
        diagnostics.push(
            resource,
            Code::NotForIstio,
            Severity::Error,
            &resource.metadata.at.path.key("kind"),
            "Istio has no CertificateAuthentication",
            "enforce it with the Portcullis filter",
        );
    }
    for rule in &resource.rules {
        if let CertificateSource::Forwarded {
            trusted_hops: 1, ..
        } = rule.source
            && !rule.senders.principals.is_empty()
        {
            diagnostics.push(
                resource,
                Code::SenderIsClient,
                Severity::Warning,
                &rule.at.key("from").key("forwardedClientCert").key("trustedHops"),
                "a proxy that writes an element for its own client writes it about the sender, not about the sender's client",
                "behind one gateway write 2; for the sender itself, use `connection`",
            );
        }
        let CertificateSource::Headers(headers) = &rule.source else {
            continue;
        };
        let reserved =
            |name: &&(String, CertificateField)| resource.reserved_headers.contains(&name.0);
        if let Some((name, _)) = headers.iter().find(reserved) {
            diagnostics.push(
                resource,
                Code::ConflictingFields,
                Severity::Error,
                &rule.at.key("from"),
                format!("`{name}` is read here, and removed as one of `reservedHeaders`"),
                "reserve it where it is written, and read it behind that proxy",
            );
        }
    }
}

/// The rules of all selected resources; `None` without any.
pub(super) fn rules(
    resources: &[&CertificateAuthentication],
    setting: &Setting,
) -> Option<CertificateRules> {
    let first = resources.iter().find(|resource| resource.required);
    let written = resources.iter().flat_map(|resource| {
        let outputs = resource.rules.iter().flat_map(|rule| &rule.output_headers);
        let outputs = outputs.map(|(name, _)| name);
        resource.reserved_headers.iter().chain(outputs)
    });
    let written = written.map(|name| name.as_bytes().into()).collect();
    let mut written: Vec<Box<[u8]>> = sorted(written, Ord::cmp);
    written.dedup();
    let rules = resources.iter().flat_map(|resource| {
        let at = &resource.metadata.at;
        let rules = resource.rules.iter();
        rules.map(|one| rule(one, at, &setting.mesh))
    });
    (!resources.is_empty()).then(|| CertificateRules {
        required: first.map(|resource| Location {
            path: resource.metadata.at.path.key("spec").key("required"),
            ..resource.metadata.at.clone()
        }),
        binding: resources
            .iter()
            .map(|resource| resource.token_binding)
            .max()
            .unwrap_or_default(),
        written: written.into(),
        rules: rules.collect(),
    })
}

/// Reports headers that tokens write too: whoever writes later would speak for the other.
pub(super) fn report_shared(
    certificates: &CertificateRules,
    providers: &[Provider],
    diagnostics: &mut Diagnostics,
) {
    for rule in &certificates.rules {
        let is_shared = |name: &[u8]| {
            let mut headers = providers.iter().flat_map(output::headers);
            headers.any(|header| header == name)
        };
        let names = rule.output.iter().map(|(name, _)| name);
        for name in names.filter(|name| is_shared(name)) {
            let name = String::from_utf8_lossy(name);
            diagnostics.0.push(Diagnostic {
                code: Code::ConflictingFields,
                severity: Severity::Error,
                message: format!("a RequestAuthentication writes `{name}` from tokens, in place of what is written here"),
                help: Some("give each a header of its own".into()),
                at: Location {
                    path: rule.at.path.key("outputHeaders"),
                    ..rule.at.clone()
                },
                span: None,
            });
        }
    }
}

fn rule(rule: &resource::CertificateRule, at: &Location, mesh: &Mesh) -> IdentityRule {
    let named = |headers: &[(String, CertificateField)]| {
        let headers = headers.iter();
        headers
            .map(|(name, field)| (name.as_bytes().into(), field.clone()))
            .collect()
    };
    let principals = rule.senders.principals.iter();
    let principals = principals.flat_map(|value| identity::principals(value, mesh));
    let distinguished = |names: &[NameMatch]| names.iter().map(name_matcher).collect();
    let texts = |texts: &[String]| texts.iter().map(|text| pattern(text)).collect();
    IdentityRule {
        at: Location {
            path: rule.at.clone(),
            ..at.clone()
        },
        source: match &rule.source {
            CertificateSource::Connection => IdentitySource::Connection,
            CertificateSource::Forwarded { form, trusted_hops } => IdentitySource::Forwarded {
                form: *form,
                trusted_hops: *trusted_hops,
            },
            CertificateSource::ClientCert => IdentitySource::ClientCert,
            CertificateSource::Headers(headers) => IdentitySource::Headers(named(headers)),
        },
        senders: Senders {
            principals: principals
                .map(|value| PeerNameMatcher::principal(&value))
                .collect(),
            ranges: rule.senders.ip_blocks.clone().into(),
        },
        issuers: distinguished(&rule.issuers),
        authorities: rule.authorities.clone().into(),
        subjects: distinguished(&rule.subjects),
        uris: texts(&rule.uris),
        dns_names: texts(&rule.dns_names),
        emails: texts(&rule.emails),
        output: named(&rule.output_headers),
    }
}

fn name_matcher(name: &NameMatch) -> NameMatcher {
    match name {
        NameMatch::Exact(name) => NameMatcher::Exact(name.clone()),
        NameMatch::Prefix(name) => NameMatcher::Prefix(name.clone()),
        NameMatch::Suffix(name) => NameMatcher::Suffix(name.clone()),
        NameMatch::Attributes(wanted) => {
            let wanted = wanted.iter();
            let wanted = wanted.map(|(kind, value)| (kind.clone(), pattern(value)));
            NameMatcher::Attributes(wanted.collect())
        }
    }
}

/// A value with a `*` at one of its ends, as elsewhere in Istio's policies.
fn pattern(text: &str) -> StringMatcher {
    StringMatcher::new(text, StringMatcher::NonEmpty)
}

/// The test of `request.auth.certificate.FIELD`; `None` after a report.
pub(super) fn test(values: &mut Values<'_>, key: &Text, texts: &[Text]) -> Option<Test> {
    let name = key
        .text
        .strip_prefix(PREFIX)?
        .strip_prefix('.')
        .unwrap_or_default();
    let field =
        CertificateField::parse(name).filter(|field| *field != CertificateField::Certificate);
    let Some(field) = field else {
        values.has_unknown_key = true;
        values.error(
            Code::UnknownConditionKey,
            key,
            format!("`{}` is not an attribute", key.text),
            FIELD_HELP,
        );
        return None;
    };
    if values.setting.enforcer == Enforcer::Istio {
        values.error(
            Code::NotForIstio,
            key,
            format!("Istio does not know `{}`", key.text),
            "enforce the policy with the Portcullis filter, or compare a header that a trusted proxy sets",
        );
        return None;
    }
    let lower = |text: &Text| pattern(&text.text.to_ascii_lowercase());
    let test = match &field {
        CertificateField::Subject => CertificateTest::Subject(distinguished(values, texts)?),
        CertificateField::Issuer => CertificateTest::Issuer(distinguished(values, texts)?),
        CertificateField::SubjectAttribute(kind) => {
            CertificateTest::Subject(attribute(kind, texts))
        }
        CertificateField::IssuerAttribute(kind) => CertificateTest::Issuer(attribute(kind, texts)),
        CertificateField::Uri => CertificateTest::Uri(strings(texts, &StringMatcher::NonEmpty)),
        CertificateField::Dns => CertificateTest::Dns(texts.iter().map(lower).collect()),
        CertificateField::Email => CertificateTest::Email(strings(texts, &StringMatcher::NonEmpty)),
        CertificateField::Sha256 => {
            const HELP: &str = "write its 64 hexadecimal digits, with or without colons";
            let what = "a SHA-256 fingerprint";
            CertificateTest::Sha256(all(values, texts, thumbprint, what, HELP)?)
        }
        CertificateField::Serial => {
            const HELP: &str = "write it in hexadecimal, with or without colons";
            let read = |text: &str| serial(text).map(Vec::into_boxed_slice);
            CertificateTest::Serial(all(values, texts, read, "a serial number", HELP)?)
        }
        CertificateField::NotBefore => CertificateTest::NotBefore(times(values, texts)?),
        CertificateField::NotAfter => CertificateTest::NotAfter(times(values, texts)?),
        CertificateField::Certificate => return None,
    };
    Some(Test::Certificate { field, test })
}

fn attribute(kind: &AttributeType, texts: &[Text]) -> Box<[NameMatcher]> {
    let texts = texts.iter();
    texts
        .map(|text| NameMatcher::Attributes([(kind.clone(), pattern(&text.text))].into()))
        .collect()
}

fn distinguished(values: &mut Values<'_>, texts: &[Text]) -> Option<Box<[NameMatcher]>> {
    let read = |text: &str| {
        let name = DistinguishedName::parse(text, NameOrder::Reverse);
        name.filter(|name| !name.is_empty()).map(NameMatcher::Exact)
    };
    all(
        values,
        texts,
        read,
        "a distinguished name (RFC 4514)",
        NAME_HELP,
    )
}

fn times(values: &mut Values<'_>, texts: &[Text]) -> Option<Box<[TimeMatcher]>> {
    let read = |text: &str| {
        let before = text
            .strip_prefix('<')
            .map(|text| (text, TimeMatcher::Before as fn(u64) -> _));
        let after = text
            .strip_prefix('>')
            .map(|text| (text, TimeMatcher::After as fn(u64) -> _));
        let (time, matcher) = before.or(after)?;
        Some(matcher(parse_time(time.trim_start())?))
    };
    let help = "write `<2027-01-01T00:00:00Z` for before, `>2027-01-01T00:00:00Z` for after";
    all(values, texts, read, "a bound in time", help)
}

fn all<T>(
    values: &mut Values<'_>,
    texts: &[Text],
    read: impl Fn(&str) -> Option<T>,
    what: &str,
    help: &str,
) -> Option<Box<[T]>> {
    let mut read_all = Vec::new();
    let mut is_whole = true;
    for text in texts {
        if let Some(value) = read(&text.text) {
            read_all.push(value);
        } else {
            is_whole = false;
            let message = format!("`{}` is not {what}", text.text);
            values.error(Code::InvalidValue, text, message, help);
        }
    }
    is_whole.then(|| read_all.into())
}
