//! The names in a peer certificate. Envoy's attributes give only the first name of each kind, and a policy
//! may be about any.

use x509_cert::Certificate;
use x509_cert::der::DecodePem;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// The subject alternative names that policies read, in the certificate's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlternativeNames {
    /// URIs, SPIFFE IDs among them.
    pub uri: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
}

impl AlternativeNames {
    /// Reads a certificate in PEM form, as Envoy's `connection.peer_certificate` gives it.
    ///
    /// `None` when it is no certificate or has the extension twice: then nobody knows its names.
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        let certificate = Certificate::from_pem(pem).ok()?;
        let extension = certificate
            .tbs_certificate()
            .get_extension::<SubjectAltName>()
            .ok()?;
        let mut names = Self::default();
        for name in extension.map(|(_, names)| names.0).unwrap_or_default() {
            match name {
                GeneralName::UniformResourceIdentifier(uri) => names.uri.push(uri.to_string()),
                GeneralName::DnsName(dns) => names.dns.push(dns.to_string()),
                _ => {}
            }
        }
        Some(names)
    }
}
