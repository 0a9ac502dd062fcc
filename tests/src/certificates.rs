//! Certificates for mutual TLS, made when a test needs them: one authority, servers, clients.
//!
//! Keys are new in every run; names and validity are fixed, so nothing expires.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use portcullis_policy::certificate::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};
use serde::Deserialize;

use crate::scratch::Scratch;

/// What a certificate says about its holder.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spec {
    /// URI subject alternative names, in order.
    pub uri: Vec<String>,
    /// DNS subject alternative names, in order.
    pub dns: Vec<String>,
    /// E-mail subject alternative names, in order.
    pub email: Vec<String>,
    /// The subject's attributes in the order of the certificate, `[["CN", "a"], ["O", "b"]]`.
    /// Envoy prints them in reverse. Empty: an empty subject.
    pub subject: Vec<(String, String)>,
    /// The name of a published certificate of `examples/certificates`, which has those names; `None` makes one.
    #[serde(skip)]
    pub published: Option<String>,
}

/// A certificate and its private key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// DER.
    pub certificate: Vec<u8>,
    /// PKCS #8 DER.
    pub key: Vec<u8>,
    /// The certificate as PEM, lines ending in `\n`.
    pub certificate_pem: String,
    /// The key as PEM.
    pub key_pem: String,
}

/// The authority that signs all certificates of a run.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// What it signed for clients: one certificate for each wish.
    clients: Mutex<BTreeMap<Spec, Identity>>,
}

/// What one side of TLS reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Its certificate, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authority that the other side's certificate must come from, PEM.
    pub trusted_ca: PathBuf,
}

impl Spec {
    /// The named certificates of `tests/fixtures/certificates.json`, and the published ones.
    pub fn fixtures() -> Result<BTreeMap<String, Self>> {
        let mut all: BTreeMap<String, Self> =
            serde_json::from_str(include_str!("../fixtures/certificates.json"))
                .context("tests/fixtures/certificates.json")?;
        for file in std::fs::read_dir(published()).context("examples/certificates")? {
            let path = file?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if path.extension().is_some_and(|end| end == "pem") {
                all.insert(name.clone().into_owned(), Self::of_published(&name)?);
            }
        }
        Ok(all)
    }

    fn of_published(name: &str) -> Result<Self> {
        let certificate = read_published(name)?;
        Ok(Self {
            uri: certificate.uri,
            dns: certificate.dns,
            email: certificate.email,
            subject: Vec::new(),
            published: Some(name.to_owned()),
        })
    }

    /// The subject as Envoy prints it: RFC 2253, last attribute first.
    pub fn envoy_subject(&self) -> String {
        if let Some(certificate) = self
            .published
            .as_ref()
            .and_then(|name| read_published(name).ok())
        {
            return certificate.subject.to_string();
        }
        let attributes: Vec<_> = self
            .subject
            .iter()
            .rev()
            .map(|(kind, value)| format!("{kind}={}", escape(value)))
            .collect();
        attributes.join(",")
    }
}

fn published() -> PathBuf {
    crate::root().join("examples/certificates")
}

fn read_published(name: &str) -> Result<Certificate> {
    let path = published().join(format!("{name}.pem"));
    let pem = std::fs::read(&path).with_context(|| path.display().to_string())?;
    Certificate::from_pem(&pem).with_context(|| format!("{} is no certificate", path.display()))
}

fn published_identity(name: &str) -> Result<Identity> {
    let certificate = read_published(name)?;
    let path = published().join(format!("{name}.key"));
    let key_pem = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(Identity {
        certificate_pem: certificate.to_pem(),
        certificate: certificate.der,
        key: KeyPair::from_pem(&key_pem)?.serialize_der(),
        key_pem,
    })
}

impl Authority {
    /// Makes the authority.
    pub fn new() -> Result<Self> {
        let mut params = params(&Spec {
            subject: vec![pair("O", "example Inc."), pair("CN", "ClientRootCA")],
            ..Spec::default()
        })?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("cannot make the authority's key")?;
        let issuer = CertifiedIssuer::self_signed(params, key)
            .context("cannot make the authority's certificate")?;
        Ok(Self {
            issuer,
            clients: Mutex::default(),
        })
    }

    /// The authority of this process. Drivers that share it present the same certificates, so that what they make
    /// of one can be compared byte by byte.
    ///
    /// # Panics
    /// When the system gives no key.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Authority> = OnceLock::new();
        SHARED.get_or_init(|| Self::new().expect("an authority can be made"))
    }

    /// The authority's own certificate, PEM.
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// All authorities that a listener trusts: this one, and the published ones of the examples.
    fn trusted(&self) -> Result<String> {
        let partners = ["partner-a-ca", "partner-b-ca"];
        partners
            .into_iter()
            .try_fold(self.certificate_pem(), |all, name| {
                Ok(all + &read_published(name)?.to_pem())
            })
    }

    /// A server certificate for `example.com` and these URIs.
    pub fn server(&self, uri: &[String]) -> Result<Identity> {
        let spec = Spec {
            uri: uri.to_vec(),
            dns: vec!["example.com".into(), "*.example.com".into()],
            ..Spec::default()
        };
        self.sign(&spec, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate, the same for the same names.
    ///
    /// # Errors
    /// A subject with an attribute type that is unknown or comes three times (rcgen cannot write it), a
    /// name that is not ASCII.
    pub fn client(&self, spec: &Spec) -> Result<Identity> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = clients.get(spec) {
            return Ok(known.clone());
        }
        let identity = match &spec.published {
            Some(name) => published_identity(name)?,
            None => self.sign(spec, ExtendedKeyUsagePurpose::ClientAuth)?,
        };
        clients.insert(spec.clone(), identity.clone());
        Ok(identity)
    }

    /// Writes what a listener needs: a server certificate for `example.com` and this authority.
    pub fn write(&self, folder: &Scratch) -> Result<TlsFiles> {
        let server = self.server(&[])?;
        self.write_identity(folder, "server", &server)
    }

    /// Writes an identity, under a name of its own, and this authority.
    pub fn write_identity(
        &self,
        folder: &Scratch,
        name: &str,
        identity: &Identity,
    ) -> Result<TlsFiles> {
        Ok(TlsFiles {
            certificate: folder.write(&format!("{name}.pem"), &identity.certificate_pem)?,
            key: folder.write(&format!("{name}-key.pem"), &identity.key_pem)?,
            trusted_ca: folder.write("authority.pem", self.trusted()?)?,
        })
    }

    fn sign(&self, spec: &Spec, usage: ExtendedKeyUsagePurpose) -> Result<Identity> {
        let mut params = params(spec)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params
            .signed_by(&key, &self.issuer)
            .context("cannot sign a certificate")?;
        Ok(Identity {
            certificate: certificate.der().to_vec(),
            key: key.serialize_der(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }
}

fn params(spec: &Spec) -> Result<CertificateParams> {
    let mut params = CertificateParams::default();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2100, 1, 1);
    params.distinguished_name = subject(&spec.subject)?;
    for uri in &spec.uri {
        params.subject_alt_names.push(SanType::URI(
            uri.as_str()
                .try_into()
                .with_context(|| format!("`{uri}`"))?,
        ));
    }
    for dns in &spec.dns {
        params.subject_alt_names.push(SanType::DnsName(
            dns.as_str()
                .try_into()
                .with_context(|| format!("`{dns}`"))?,
        ));
    }
    for email in &spec.email {
        params.subject_alt_names.push(SanType::Rfc822Name(
            email
                .as_str()
                .try_into()
                .with_context(|| format!("`{email}`"))?,
        ));
    }
    Ok(params)
}

fn subject(attributes: &[(String, String)]) -> Result<DistinguishedName> {
    let mut name = DistinguishedName::new();
    for (kind, value) in attributes {
        let (plain, oid) = attribute(kind)?;
        // The crate keeps one of each kind, and takes an OID for a kind of its own.
        let kind = match name.get(&plain) {
            None => plain,
            Some(_) => DnType::CustomDnType(oid.to_vec()),
        };
        if name.get(&kind).is_some() {
            bail!("a subject with {kind:?} three times cannot be made here");
        }
        name.push(kind, value.as_str());
    }
    Ok(name)
}

/// An attribute and its OID (X.520).
fn attribute(kind: &str) -> Result<(DnType, [u64; 4])> {
    Ok(match kind {
        "C" => (DnType::CountryName, [2, 5, 4, 6]),
        "ST" => (DnType::StateOrProvinceName, [2, 5, 4, 8]),
        "L" => (DnType::LocalityName, [2, 5, 4, 7]),
        "O" => (DnType::OrganizationName, [2, 5, 4, 10]),
        "OU" => (DnType::OrganizationalUnitName, [2, 5, 4, 11]),
        "CN" => (DnType::CommonName, [2, 5, 4, 3]),
        _ => {
            return Err(anyhow!(
                "`{kind}` is no subject attribute; use one of C, ST, L, O, OU, CN"
            ));
        }
    })
}

/// RFC 2253 section 2.4, with bytes beyond ASCII as `\XX`, as Envoy writes them.
fn escape(value: &str) -> String {
    let last = value.len().saturating_sub(1);
    let escaped = value.bytes().enumerate().map(|(index, byte)| match byte {
        b',' | b'+' | b'"' | b'\\' | b'<' | b'>' | b';' => format!("\\{}", char::from(byte)),
        b'#' if index == 0 => "\\#".to_owned(),
        b' ' if index == 0 || index == last => "\\ ".to_owned(),
        b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\{byte:02X}"),
    });
    escaped.collect()
}

fn pair(kind: &str, value: &str) -> (String, String) {
    (kind.to_owned(), value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(subject: &[(&str, &str)], expected: &str) {
        let subject = subject
            .iter()
            .map(|&(kind, value)| pair(kind, value))
            .collect();
        assert_eq!(
            Spec {
                subject,
                ..Spec::default()
            }
            .envoy_subject(),
            expected
        );
    }

    #[test]
    fn a_subject_is_printed_last_attribute_first() {
        check(
            &[("CN", "client2.example.com"), ("O", "example")],
            "O=example,CN=client2.example.com",
        );
        check(
            &[("O", "Acme, \"Q\"; Corp=1")],
            r#"O=Acme\, \"Q\"\; Corp=1"#,
        );
        check(
            &[("L", "München"), ("CN", " #a ")],
            r"CN=\ #a\ ,L=M\C3\BCnchen",
        );
        check(&[], "");
    }

    #[test]
    fn every_fixture_can_be_signed() {
        let authority = Authority::new().unwrap();
        for (name, spec) in Spec::fixtures().unwrap() {
            authority
                .client(&spec)
                .unwrap_or_else(|error| panic!("{name}: {error:#}"));
        }
    }

    #[test]
    fn an_attribute_may_come_twice_but_must_be_known() {
        let authority = Authority::new().unwrap();
        let client = |subject| {
            authority.client(&Spec {
                subject,
                ..Spec::default()
            })
        };
        let twice = client(vec![pair("OU", "a"), pair("OU", "b")]).unwrap();
        let certificate = Certificate::from_der(&twice.certificate).unwrap();
        assert_eq!(certificate.subject.to_string(), "OU=b,OU=a");
        assert!(client(vec![pair("X", "a")]).is_err());
    }
}
