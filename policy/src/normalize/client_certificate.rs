//! `x-forwarded-client-cert`, as Istio's proxies write it: a gateway puts what it saw in the place of what came, a
//! sidecar adds it behind.
//!
//! URI and DNS names are neither quoted nor escaped in the text form, as in Envoy: a name may look like structure.

use std::fmt::Write;

use super::{Header, Incoming, ProxyKind};
use crate::certificate::{Certificate, hex};

const NAME: &[u8] = b"x-forwarded-client-cert";

/// What a proxy tells of the certificate that it saw. Without one nothing arrives: not what the client sent, nor
/// when the certificate is known by its names only or cannot be read.
pub(super) fn forward(request: &mut Incoming, proxy: ProxyKind) {
    let came = take(&mut request.headers);
    let certificate = request.certificate.as_ref();
    let certificate = certificate.and_then(|known| Certificate::from_der(known.der.as_deref()?));
    let Some(certificate) = certificate else {
        return;
    };
    let is_gateway = proxy != ProxyKind::Sidecar;
    let seen = Seen {
        server: &request.server_uri,
        // `set_current_client_cert_details`, as istiod sets it.
        pem: is_gateway.then(|| url_encoded(&certificate.to_pem())),
        certificate: &certificate,
    };
    let value = match came.filter(|came| !is_gateway && !came.is_empty()) {
        None => seen.text().into_bytes(),
        // The form of what came decides how this is written, and whoever sent it chose that.
        Some(mut list) if list.starts_with(b"[") && list.ends_with(b"]") => {
            list.pop();
            [list, format!(",{}]", seen.json()).into_bytes()].concat()
        }
        Some(text) => [text, b",".to_vec(), seen.text().into_bytes()].concat(),
    };
    request.headers.push((NAME.to_vec(), value));
}

fn take(headers: &mut Vec<Header>) -> Option<Vec<u8>> {
    let position = headers.iter().position(|(name, _)| name == NAME)?;
    Some(headers.remove(position).1)
}

struct Seen<'c> {
    /// The URI names of the proxy's own certificate.
    server: &'c [String],
    pem: Option<String>,
    certificate: &'c Certificate,
}

impl Seen<'_> {
    /// `By=…;Hash=…;Cert="…";Subject="…";URI=…;DNS=…`
    fn text(&self) -> String {
        let certificate = self.certificate;
        let mut text = String::new();
        for name in self.server {
            let _ = write!(text, "By={name};");
        }
        let _ = write!(text, "Hash={}", hex::encode(&certificate.sha256()));
        if let Some(pem) = &self.pem {
            let _ = write!(text, ";Cert=\"{pem}\"");
        }
        let _ = write!(text, ";Subject=\"{}\"", certificate.subject);
        if certificate.uri.is_empty() {
            text += ";URI=";
        }
        for name in &certificate.uri {
            let _ = write!(text, ";URI={name}");
        }
        for name in &certificate.dns {
            let _ = write!(text, ";DNS={name}");
        }
        text
    }

    /// `{"by":[…],"hash":"…",…}`, without what is empty. Only sidecars write it, so there is no `cert`.
    fn json(&self) -> String {
        let certificate = self.certificate;
        let subject = certificate.subject.to_string();
        let list = |names: &[String]| {
            let quoted: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            (!names.is_empty()).then(|| format!("[{}]", quoted.join(",")))
        };
        let members = [
            ("by", list(self.server)),
            ("hash", Some(quoted(&hex::encode(&certificate.sha256())))),
            ("subject", (!subject.is_empty()).then(|| quoted(&subject))),
            ("uri", list(&certificate.uri)),
            ("dns", list(&certificate.dns)),
        ];
        let members: Vec<String> = members
            .into_iter()
            .filter_map(|(name, value)| Some(format!("\"{name}\":{}", value?)))
            .collect();
        format!("{{{}}}", members.join(","))
    }
}

/// A JSON string. Names of certificates and what is printed of a subject are ASCII.
fn quoted(text: &str) -> String {
    let mut json = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..='\x1f' => {
                let _ = write!(json, "\\u{:04x}", u32::from(character));
            }
            _ => json.push(character),
        }
    }
    json + "\""
}

/// PEM without the characters that a URL has other uses for.
pub(crate) fn url_encoded(pem: &str) -> String {
    let mut encoded = String::with_capacity(pem.len() + pem.len() / 16);
    for byte in pem.bytes() {
        match byte {
            b'\n' | b' ' | b'+' | b'/' | b'=' => {
                let _ = write!(encoded, "%{byte:02X}");
            }
            _ => encoded.push(char::from(byte)),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n\x7f/<"), "\"a\\\"b\\\\c\\u000a\x7f/<\"");
    }

    #[test]
    fn a_pem_is_fit_for_a_header() {
        let pem = "-----BEGIN CERTIFICATE-----\na+/=\n";
        assert_eq!(
            url_encoded(pem),
            "-----BEGIN%20CERTIFICATE-----%0Aa%2B%2F%3D%0A"
        );
    }
}
