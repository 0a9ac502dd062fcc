//! `x-forwarded-client-cert`, as Istio's proxies write it: a gateway puts what it saw in the place of what came, a
//! sidecar adds it behind.
//!
//! URI and DNS names are neither quoted nor escaped in the text form, as in Envoy: a name may look like structure.

use std::fmt::Write;

use super::{Header, Incoming, ProxyKind};
use crate::certificate::forwarded::{Details, NAME, write_element};
use crate::certificate::{Certificate, hex};

/// What a proxy tells of the certificate that it saw. Without one nothing arrives: not what the client sent, nor
/// when the certificate is known by its names only or cannot be read.
pub(super) fn forward(request: &mut Incoming, proxy: ProxyKind) {
    let came = take(&mut request.headers);
    let Some(certificate) = request.whole_certificate() else {
        return;
    };
    let is_gateway = proxy != ProxyKind::Sidecar;
    let seen = Seen {
        server: &request.server_uri,
        // `set_current_client_cert_details`, as istiod sets it.
        with_certificate: is_gateway,
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
    with_certificate: bool,
    certificate: &'c Certificate,
}

impl Seen<'_> {
    /// `By=…;Hash=…;Cert="…";Subject="…";URI=…;DNS=…`
    fn text(&self) -> String {
        let details = Details {
            by: self.server,
            with_certificate: self.with_certificate,
        };
        write_element(self.certificate, details)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_strings_are_escaped() {
        assert_eq!(quoted("a\"b\\c\n\x7f/<"), "\"a\\\"b\\\\c\\u000a\x7f/<\"");
    }
}
