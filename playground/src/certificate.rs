//! What is in a certificate, or in a header that tells of some.

use portcullis_policy::certificate::forwarded::{self, ForwardedForm};
use portcullis_policy::certificate::{Certificate, Identity};

use crate::wire::{CertificateRead, Header, ToldCertificate};

const NO_PEM: &str = "this is not one certificate in PEM form: paste it from `-----BEGIN CERTIFICATE-----` to \
    `-----END CERTIFICATE-----`, without the rest of its chain and without text around it";
const NOTHING: &str = "there is none: paste one in PEM form";
const KEY: &str = "this has a private key in it: paste the certificate alone";

/// The certificate of a PEM text.
///
/// # Errors
/// Why there is none, and what to do, in words.
pub(crate) fn from_pem(pem: &str) -> Result<Certificate, &'static str> {
    let why = if pem.trim().is_empty() {
        NOTHING
    } else if pem.contains("PRIVATE KEY") {
        KEY
    } else {
        NO_PEM
    };
    Certificate::from_pem(pem.as_bytes()).ok_or(why)
}

/// Reads `x-forwarded-client-cert` in either form, and everything else as PEM.
pub(crate) fn read(text: &str, is_header: bool) -> CertificateRead {
    let value = text.trim();
    let form = if value.starts_with('[') {
        ForwardedForm::Json
    } else {
        ForwardedForm::Text
    };
    let read = if is_header {
        forwarded::read_all(value.as_bytes(), form)
    } else {
        let identity =
            |certificate| Identity::of(&certificate).ok_or("a name in it has control characters");
        from_pem(text).map(|certificate| vec![identity(certificate)])
    };
    let (certificates, doubt) = match read {
        Ok(all) => (all.into_iter().map(told).collect(), None),
        Err(doubt) => (Vec::new(), Some(doubt.to_owned())),
    };
    CertificateRead {
        certificates,
        doubt,
    }
}

fn told(identity: Result<Identity, &'static str>) -> ToldCertificate {
    let doubt = identity.as_ref().err().map(|doubt| (*doubt).to_owned());
    let fields = identity.map(|identity| identity.told()).unwrap_or_default();
    let header = |(name, value): (&str, String)| Header {
        name: name.into(),
        value,
    };
    ToldCertificate {
        fields: fields.into_iter().map(header).collect(),
        doubt,
    }
}
