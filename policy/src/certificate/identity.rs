//! What is known of a client's certificate, however it became known.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::name::{AttributeType, DistinguishedName, NameOrder};
use super::{Certificate, hex};

/// A client certificate as far as its source tells; `None` is what it does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// Whom it is for.
    pub subject: Option<DistinguishedName>,
    /// Who signed it.
    pub issuer: Option<DistinguishedName>,
    /// URI alternative names.
    pub uri: Option<Vec<String>>,
    /// DNS alternative names, lower case; one with a `*` is no name of anybody.
    pub dns: Option<Vec<String>>,
    /// Whether there was such a one.
    pub has_wildcard: bool,
    /// E-mail alternative names.
    pub email: Option<Vec<String>>,
    /// SHA-256 of the DER.
    pub sha256: Option<[u8; 32]>,
    /// The serial number, big-endian, without leading zeros.
    pub serial: Option<Vec<u8>>,
    /// The first and the last second of its validity, since the epoch.
    pub validity: Option<(u64, u64)>,
    /// The certificate itself.
    pub der: Option<Vec<u8>>,
}

/// A part of a certificate, by the name that conditions and outputs give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateField {
    /// `subject`
    Subject,
    /// `subject[CN]`
    SubjectAttribute(AttributeType),
    /// `issuer`
    Issuer,
    /// `issuer[O]`
    IssuerAttribute(AttributeType),
    /// `uri`
    Uri,
    /// `dns`
    Dns,
    /// `email`
    Email,
    /// `sha256`
    Sha256,
    /// `serial`
    Serial,
    /// `notBefore`
    NotBefore,
    /// `notAfter`
    NotAfter,
    /// `certificate`: the whole, as RFC 9440 writes it.
    Certificate,
}

const PLAIN: [(&str, CertificateField); 9] = [
    ("subject", CertificateField::Subject),
    ("issuer", CertificateField::Issuer),
    ("uri", CertificateField::Uri),
    ("dns", CertificateField::Dns),
    ("email", CertificateField::Email),
    ("sha256", CertificateField::Sha256),
    ("serial", CertificateField::Serial),
    ("notBefore", CertificateField::NotBefore),
    ("notAfter", CertificateField::NotAfter),
];

impl CertificateField {
    /// Reads `subject`, `subject[CN]` and the like.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "certificate" {
            return Some(Self::Certificate);
        }
        if let Some((_, field)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Some(field.clone());
        }
        let (name, rest) = text.split_once('[')?;
        let kind = AttributeType::parse(rest.strip_suffix(']')?)?;
        match name {
            "subject" => Some(Self::SubjectAttribute(kind)),
            "issuer" => Some(Self::IssuerAttribute(kind)),
            _ => None,
        }
    }
}

impl fmt::Display for CertificateField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SubjectAttribute(kind) => write!(f, "subject[{kind}]"),
            Self::IssuerAttribute(kind) => write!(f, "issuer[{kind}]"),
            Self::Certificate => f.write_str("certificate"),
            plain => {
                let known = PLAIN.iter().find(|(_, field)| field == plain);
                f.write_str(known.map_or("", |(name, _)| name))
            }
        }
    }
}

impl Identity {
    /// Everything, from the certificate itself; `None` if a name in it has control characters.
    pub fn of(certificate: &Certificate) -> Option<Self> {
        Self {
            subject: Some(certificate.subject.clone()),
            issuer: Some(certificate.issuer.clone()),
            uri: Some(certificate.uri.clone()),
            dns: Some(certificate.dns.clone()),
            has_wildcard: false,
            email: Some(certificate.email.clone()),
            sha256: Some(certificate.sha256()),
            serial: Some(certificate.serial.clone()),
            validity: Some((certificate.not_before, certificate.not_after)),
            der: Some(certificate.der.clone()),
        }
        .checked()
    }

    /// What these names tell, the subject in RFC 2253 form; `None` if one has control characters. A subject that
    /// cannot be read is not told.
    pub fn of_names(uri: &[String], dns: &[String], subject: &str) -> Option<Self> {
        Self {
            subject: DistinguishedName::parse(subject, NameOrder::Reverse),
            uri: Some(uri.to_vec()),
            dns: Some(dns.to_vec()),
            ..Self::default()
        }
        .checked()
    }

    /// The identity with names in the form in which they are compared; `None` if one is no name: nobody can
    /// have meant a control character, and comparing beyond ASCII needs rules that nobody gives.
    pub(crate) fn checked(mut self) -> Option<Self> {
        let is_graphic = |name: &String| name.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
        let lists = [&self.uri, &self.dns, &self.email];
        if !lists.iter().copied().flatten().flatten().all(is_graphic) {
            return None;
        }
        if let Some(dns) = &mut self.dns {
            self.has_wildcard = dns.iter().any(|name| name.contains('*'));
            dns.retain(|name| !name.contains('*'));
            for name in dns {
                name.make_ascii_lowercase();
            }
        }
        Some(self)
    }

    /// The values of a field in words; `None` if its source does not tell.
    pub fn values(&self, field: &CertificateField) -> Option<Vec<String>> {
        let name = |name: &Option<DistinguishedName>| Some(vec![name.as_ref()?.to_string()]);
        let attribute = |name: &Option<DistinguishedName>, kind| {
            let name = name.as_ref().filter(|name| !name.is_in_doubt(kind))?;
            Some(
                name.attribute(kind)
                    .map(str::to_owned)
                    .into_iter()
                    .collect(),
            )
        };
        let time = |pick: fn((u64, u64)) -> u64| {
            self.validity
                .map(|validity| vec![crate::time::to_text(pick(validity))])
        };
        match field {
            CertificateField::Subject => name(&self.subject),
            CertificateField::Issuer => name(&self.issuer),
            CertificateField::SubjectAttribute(kind) => attribute(&self.subject, kind),
            CertificateField::IssuerAttribute(kind) => attribute(&self.issuer, kind),
            CertificateField::Uri => self.uri.clone(),
            CertificateField::Dns => self.dns.clone(),
            CertificateField::Email => self.email.clone(),
            CertificateField::Sha256 => self.sha256.map(|hash| vec![hex::encode(&hash)]),
            CertificateField::Serial => Some(vec![hex::encode(self.serial.as_ref()?)]),
            CertificateField::NotBefore => time(|(first, _)| first),
            CertificateField::NotAfter => time(|(_, last)| last),
            CertificateField::Certificate => {
                Some(vec![format!(":{}:", STANDARD.encode(self.der.as_ref()?))])
            }
        }
    }

    /// Each value that is told, by the name of its field.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        let mut told = Vec::new();
        for (name, field) in &PLAIN {
            let values = self.values(field).unwrap_or_default();
            told.extend(values.into_iter().map(|value| (*name, value)));
        }
        told
    }

    /// Reads the header `client-cert` (RFC 9440 section 2.2): one byte sequence (RFC 8941 section 3.3.5) with one
    /// certificate.
    ///
    /// # Errors
    /// What leaves a doubt, in words.
    pub fn from_client_cert(value: &[u8]) -> Result<Self, &'static str> {
        let digits = value
            .trim_ascii()
            .strip_prefix(b":")
            .and_then(|rest| rest.strip_suffix(b":"))
            .ok_or("it is not one byte sequence between colons")?;
        let der = STANDARD.decode(digits).map_err(|_| "it is not base64")?;
        let certificate = Certificate::from_der(&der).ok_or("its certificate cannot be read")?;
        Self::of(&certificate).ok_or("its certificate has names with control characters")
    }

    /// The name to show for it: a URI, a DNS name or the subject.
    pub fn shown(&self) -> Cow<'_, str> {
        let names = [&self.uri, &self.dns].into_iter().flatten().flatten();
        match (names.into_iter().next(), &self.subject) {
            (Some(name), _) => name.into(),
            (None, Some(subject)) => subject.to_string().into(),
            (None, None) => "a certificate without names".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_alone_tell_no_more_than_they_do() {
        let text = |text: &str| vec![text.to_owned()];
        let identity = Identity::of_names(&text("urn:a"), &text("A.example"), "CN=a").unwrap();
        let told = [("subject", "CN=a"), ("uri", "urn:a"), ("dns", "a.example")];
        let told = told.map(|(name, value)| (name, value.to_owned()));
        assert_eq!(identity.told(), told);
        assert_eq!(identity.values(&CertificateField::Issuer), None);
        let garbled = Identity::of_names(&[], &[], "a").unwrap();
        assert_eq!(garbled.values(&CertificateField::Subject), None);
        assert_eq!(Identity::of_names(&text("a\n"), &[], ""), None);
    }
}
