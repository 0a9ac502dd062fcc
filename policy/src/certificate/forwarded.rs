//! `x-forwarded-client-cert`, by which Envoy tells the next hop what it saw of a client's certificate.
//!
//! Envoy writes an element for each hop, the nearest last, and neither quotes nor escapes URI and DNS names. So a
//! name in a certificate can look like structure. Whatever is not exactly what Envoy writes is refused whole, and
//! what a name may have forged is left out.

use std::fmt::Write;

use super::name::{DistinguishedName, NameOrder};
use super::{Certificate, Identity, hex};
use crate::authenticate::Json;

/// The header's name.
pub(crate) const NAME: &[u8] = b"x-forwarded-client-cert";

/// The two forms of the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardedForm {
    /// `Hash=…;Subject="…"`
    #[default]
    Text,
    /// `[{"hash":"…"}]`
    Json,
}

const CONTROL_CHARACTERS: &str = "a name in it has control characters";
const NO_HASH: &str = "a hash is not SHA-256 in hexadecimal";
/// A longer header is none.
const MAX_LENGTH: usize = 64 * 1024;

/// Reads the header of exactly `hops` elements and returns the first, which tells of the outermost hop's client.
///
/// `Ok(None)`: fewer elements, so that hop's client had no certificate.
///
/// # Errors
/// What leaves a doubt, in words.
pub fn read(
    value: &[u8],
    form: ForwardedForm,
    hops: usize,
) -> Result<Option<Identity>, &'static str> {
    let mut elements = elements(value, form)?;
    if elements.len() > hops {
        return Err("it has more elements than hops are trusted");
    }
    if elements.len() < hops {
        return Ok(None);
    }
    if elements.iter().any(|element| element.digest().is_none()) {
        return Err(NO_HASH);
    }
    let first = elements.swap_remove(0);
    first.identity().map(Some)
}

/// What each element tells, that of the outermost hop first, or what leaves a doubt about it.
///
/// # Errors
/// What leaves a doubt about the header as a whole, in words.
pub fn read_all(
    value: &[u8],
    form: ForwardedForm,
) -> Result<Vec<Result<Identity, &'static str>>, &'static str> {
    let elements = elements(value, form)?;
    if elements.iter().any(|element| element.digest().is_none()) {
        return Err(NO_HASH);
    }
    Ok(elements.into_iter().map(Element::identity).collect())
}

fn elements(value: &[u8], form: ForwardedForm) -> Result<Vec<Element>, &'static str> {
    if value.len() > MAX_LENGTH {
        return Err("it is longer than 64 KiB");
    }
    let text = std::str::from_utf8(value).map_err(|_| "it is no text")?;
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err("it has control characters");
    }
    match form {
        ForwardedForm::Text => read_text(text),
        ForwardedForm::Json => read_json(text),
    }
    .ok_or("it is not in the form that Envoy writes")
}

/// One element, as written.
#[derive(Debug, Default)]
struct Element {
    hash: String,
    pem: Option<String>,
    subject: Option<String>,
    issuer: Option<String>,
    uri: Option<Vec<String>>,
    dns: Option<Vec<String>>,
}

impl Element {
    fn digest(&self) -> Option<[u8; 32]> {
        hex::decode(&self.hash)?.try_into().ok()
    }

    /// The certificate tells best; without it, what the element says.
    fn identity(self) -> Result<Identity, &'static str> {
        let hash = self.digest().ok_or(NO_HASH)?;
        if let Some(pem) = self.pem {
            let certificate = Certificate::from_pem(pem.as_bytes());
            let certificate = certificate.ok_or("its certificate cannot be read")?;
            if certificate.sha256() != hash {
                return Err("its certificate has another hash");
            }
            return Identity::of(&certificate).ok_or(CONTROL_CHARACTERS);
        }
        let name = |text: Option<String>| {
            let read = |text: String| DistinguishedName::parse(&text, NameOrder::Reverse);
            text.map(|text| read(text).ok_or("a distinguished name in it cannot be read"))
                .transpose()
        };
        let identity = Identity {
            subject: name(self.subject)?,
            issuer: name(self.issuer)?,
            uri: self.uri,
            dns: self.dns,
            sha256: Some(hash),
            ..Identity::default()
        };
        identity.checked().ok_or(CONTROL_CHARACTERS)
    }
}

/// The keys of a text element in Envoy's order, and which may come again.
const KEYS: [(&str, bool); 8] = [
    ("By", true),
    ("Hash", false),
    ("Cert", false),
    ("Chain", false),
    ("Subject", false),
    ("URI", true),
    ("DNS", true),
    ("Issuer", false),
];

fn read_text(text: &str) -> Option<Vec<Element>> {
    let mut elements = Vec::new();
    let mut rest = text;
    loop {
        let mut element = Element::default();
        let mut reached = 0;
        // Names that are written as they are; one of them may hold the text of the next.
        let mut raw_names = 0;
        loop {
            let (key, value) = rest.split_once('=')?;
            let at = KEYS.iter().position(|(known, _)| *known == key)?;
            let may_repeat = KEYS.get(at).is_some_and(|(_, may_repeat)| *may_repeat);
            if at + usize::from(may_repeat) < reached {
                return None;
            }
            reached = at + 1;
            let is_quoted = matches!(key, "Cert" | "Chain" | "Subject" | "Issuer");
            let (value, behind) = if is_quoted {
                quoted(value)?
            } else {
                value.split_at_checked(value.find([';', ',']).unwrap_or(value.len()))?
            };
            match key {
                "Hash" => value.clone_into(&mut element.hash),
                "Cert" => element.pem = Some(percent_decoded(value)?),
                "Subject" => element.subject = Some(value.to_owned()),
                "Issuer" => element.issuer = Some(value.to_owned()),
                "URI" => element.uri.get_or_insert_default().push(value.to_owned()),
                "DNS" => element.dns.get_or_insert_default().push(value.to_owned()),
                _ => {}
            }
            // An issuer behind a name may be a part of it.
            raw_names += usize::from(matches!(key, "URI" | "DNS"))
                + usize::from(key == "Issuer" && raw_names > 0);
            if let Some(next) = behind.strip_prefix(';') {
                rest = next;
                continue;
            }
            rest = behind;
            break;
        }
        if element.hash.is_empty() {
            return None;
        }
        if raw_names > 1 {
            // One of them may have been written to look like several.
            element.uri = None;
            element.dns = None;
            element.issuer = None;
        }
        for names in [&mut element.uri, &mut element.dns].into_iter().flatten() {
            names.retain(|name| !name.is_empty());
        }
        elements.push(element);
        if rest.is_empty() {
            return Some(elements);
        }
        rest = rest.strip_prefix(',')?;
    }
}

/// What stands between the quotes that a text begins with, its escapes kept, and what follows.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut bytes = inner.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next()?;
            }
            b'"' => return Some((inner.get(..at)?, inner.get(at + 1..)?)),
            _ => {}
        }
    }
    None
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::new();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex::byte(bytes.next()?, bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(decoded).ok()
}

fn read_json(text: &str) -> Option<Vec<Element>> {
    let wrapped = format!("{{\"elements\":{text}}}");
    match Json::parse_object(wrapped.as_bytes(), true)
        .ok()?
        .as_slice()
    {
        [(_, Json::Array(items))] => items.iter().map(json_element).collect(),
        _ => None,
    }
}

fn json_element(item: &Json) -> Option<Element> {
    let Json::Object(members) = item else {
        return None;
    };
    let mut element = Element::default();
    for (key, value) in members {
        let text = || value.as_str().map(str::to_owned);
        let texts = || match value {
            Json::Array(items) => items
                .iter()
                .map(|item| item.as_str().map(str::to_owned))
                .collect::<Option<Vec<_>>>(),
            _ => None,
        };
        match key.as_str() {
            "hash" => element.hash = text()?,
            "cert" => element.pem = Some(text()?),
            "subject" => element.subject = Some(text()?),
            "issuer" => element.issuer = Some(text()?),
            "uri" => element.uri = Some(texts()?),
            "dns" => element.dns = Some(texts()?),
            "by" | "chain" => drop(texts()?),
            _ => return None,
        }
    }
    (!element.hash.is_empty()).then_some(element)
}

/// What a proxy writes about its client's certificate.
#[derive(Debug, Clone, Copy)]
pub struct Details<'a> {
    /// The URI names in the proxy's own certificate.
    pub by: &'a [String],
    /// Whether the certificate itself is shown.
    pub with_certificate: bool,
}

/// The element that Envoy writes with subject, URI and DNS names, as Istio has it configured.
pub fn write_element(certificate: &Certificate, details: Details<'_>) -> String {
    let mut element = String::new();
    for by in details.by {
        let _written = write!(element, "By={by};");
    }
    let _written = write!(element, "Hash={}", hex::encode(&certificate.sha256()));
    if details.with_certificate {
        let _written = write!(
            element,
            ";Cert=\"{}\"",
            percent_encoded(&certificate.to_pem())
        );
    }
    let _written = write!(element, ";Subject=\"{}\"", certificate.subject);
    if certificate.uri.is_empty() {
        element.push_str(";URI=");
    }
    for uri in &certificate.uri {
        let _written = write!(element, ";URI={uri}");
    }
    for dns in &certificate.dns {
        let _written = write!(element, ";DNS={dns}");
    }
    element
}

/// PEM as it stands in the header.
pub fn percent_encoded(pem: &str) -> String {
    let mut text = String::new();
    for character in pem.chars() {
        match character {
            '\n' => text.push_str("%0A"),
            ' ' => text.push_str("%20"),
            '+' => text.push_str("%2B"),
            '/' => text.push_str("%2F"),
            '=' => text.push_str("%3D"),
            plain => text.push(plain),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    use super::*;
    use crate::certificate::{AttributeType, CertificateField};

    const HASH: &str = "269d8c80411226e3d867699542b860d030da826aa5172a402572b486d04e31e8";
    const OTHER: &str = "eb7bc6749d2b65c19ae0600fee7a9e34fbe1d24527efc78180448361da02aaef";

    fn certificate(name: &str, uri: &[&str], dns: &[&str]) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        let uri = uri
            .iter()
            .map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let dns = dns
            .iter()
            .map(|dns| SanType::DnsName((*dns).try_into().unwrap()));
        params.subject_alt_names = uri.chain(dns).collect();
        let key = KeyPair::generate().unwrap();
        Certificate::from_der(params.self_signed(&key).unwrap().der()).unwrap()
    }

    fn text(value: &str, hops: usize) -> Result<Option<Identity>, &'static str> {
        read(value.as_bytes(), ForwardedForm::Text, hops)
    }

    fn json(value: &str) -> Result<Option<Identity>, &'static str> {
        read(value.as_bytes(), ForwardedForm::Json, 1)
    }

    fn names(identity: &Identity, field: &str) -> Option<Vec<String>> {
        identity.values(&CertificateField::parse(field).unwrap())
    }

    #[test]
    fn reads_what_istio_s_proxies_write() {
        let client = certificate("client2.example.com", &[], &["a.example"]);
        let gateway = certificate("", &["spiffe://cluster.local/ns/istio-system/sa/gw"], &[]);
        let by = ["spiffe://cluster.local/ns/mtls-test/sa/httpbin".to_owned()];
        let value = [
            write_element(
                &client,
                Details {
                    by: &[],
                    with_certificate: true,
                },
            ),
            write_element(
                &gateway,
                Details {
                    by: &by,
                    with_certificate: false,
                },
            ),
        ]
        .join(",");
        let identity = text(&value, 2).unwrap().unwrap();
        assert_eq!(Some(&identity), Identity::of(&client).as_ref());
        let nearest = value
            .split_once(",By=")
            .map(|(_, rest)| format!("By={rest}"))
            .unwrap();
        let identity = text(&nearest, 1).unwrap().unwrap();
        assert_eq!(names(&identity, "uri").unwrap(), gateway.uri);
        assert_eq!(
            names(&identity, "issuer"),
            None,
            "Istio does not ask for it"
        );
        assert_eq!(text(&nearest, 2), Ok(None));
        assert!(text(&value, 1).is_err());
        let all = read_all(value.as_bytes(), ForwardedForm::Text).unwrap();
        let uri: Vec<_> = all.iter().flatten().map(|one| names(one, "uri")).collect();
        assert_eq!(uri, [Some(Vec::new()), Some(gateway.uri.clone())]);
        let changed = value
            .replacen("Hash=", "Hash=00", 1)
            .replacen("Hash=00", "Hash=", 1);
        assert!(text(&changed, 2).is_ok());
        let other = value.replacen(&hex::encode(&client.sha256()), HASH, 1);
        assert_eq!(text(&other, 2), Err("its certificate has another hash"));
    }

    #[test]
    fn a_pem_is_fit_for_a_header() {
        let pem = "-----BEGIN CERTIFICATE-----\na+/=\n";
        let encoded = percent_encoded(pem);
        assert_eq!(encoded, "-----BEGIN%20CERTIFICATE-----%0Aa%2B%2F%3D%0A");
        assert_eq!(percent_decoded(&encoded).as_deref(), Some(pem));
    }

    #[test]
    fn refuses_what_envoy_does_not_write() {
        let good = format!("Hash={HASH};Subject=\"CN=a\";URI=spiffe://td/a");
        assert!(text(&good, 1).unwrap().is_some());
        for value in [
            String::new(),
            ",".into(),
            format!("{good},"),
            format!(",{good}"),
            format!("{good};"),
            format!("\"{good}"),
            format!("URI=\"a,{good}"),
            format!("URI=spiffe://td/a;Hash={HASH}"),
            format!("Hash={HASH};Hash={OTHER}"),
            format!("Hash={HASH};Subject=\"CN=a\";Subject=\"CN=b\""),
            format!("Hash={HASH};Subject=\"CN=a\"x"),
            format!("Hash={HASH};Subject=CN=a"),
            format!("Hash={HASH};Subject=\"CN=a"),
            format!("Hash={HASH};Subject=\"CN=a\\\""),
            format!("Hash={HASH};Subject=\"a\""),
            format!("Hash={HASH};Unknown=x"),
            format!("hash={HASH}"),
            format!("Hash ={HASH}"),
            format!("Hash={HASH}0"),
            "Hash=269d8c80411226e3d867699542b860d030da826a".into(),
            format!("Hash={}", HASH.replace('2', "g")),
            format!("Hash={HASH};Cert=\"%2\""),
            format!("Hash={HASH};Cert=\"x\""),
            format!("Hash={HASH};URI=a\u{7f}"),
            format!("Hash={HASH};URI=\u{e9}"),
            "[]".into(),
            format!("[{{\"hash\":\"{HASH}\"}}]"),
        ] {
            assert!(text(&value, 1).is_err(), "{value}");
        }
        assert!(text(&format!("{good},{good}"), 2).is_ok());
        assert!(text(&format!("{good},Hash=00"), 2).is_err());
        let long = format!("Hash={HASH};URI={}", "a".repeat(MAX_LENGTH));
        assert!(text(&long, 1).is_err());
    }

    #[test]
    fn a_name_forges_nothing() {
        let kind = AttributeType::parse("CN").unwrap();
        for uri in [
            "spiffe://td/real,By=evil;URI=spiffe://td/admin",
            &format!("spiffe://td/real,Hash={OTHER};URI=spiffe://td/admin"),
            &format!("x;Subject=\"CN=admin\",Hash={OTHER}"),
            "x;Subject=\"CN=admin\"",
            "x;Cert=\"\"",
            "x;URI=spiffe://td/admin",
            ";URI=spiffe://td/admin",
            ";DNS=admin.example",
            "x;Issuer=\"CN=admin\"",
            "spiffe://td/admin;Issuer=\"CN=x\"",
        ] {
            let evil = certificate("x\";URI=spiffe://td/admin;Q=\"", &[uri], &[]);
            let value = write_element(
                &evil,
                Details {
                    by: &[],
                    with_certificate: false,
                },
            );
            let Ok(Some(identity)) = text(&value, 1) else {
                continue;
            };
            let subject = identity.subject.as_ref().unwrap();
            assert_eq!(subject.attribute(&kind), evil.subject.attribute(&kind));
            for field in ["uri", "dns", "issuer", "issuer[CN]"] {
                let forged = names(&identity, field).unwrap_or_default();
                assert!(
                    !forged
                        .iter()
                        .any(|name| name.contains("admin") && *name != uri),
                    "{uri}: {forged:?}"
                );
            }
        }
        let plain = certificate("a", &["spiffe://td/a"], &["a.example", "b.example"]);
        let value = write_element(
            &plain,
            Details {
                by: &[],
                with_certificate: false,
            },
        );
        let identity = text(&value, 1).unwrap().unwrap();
        assert_eq!(
            (names(&identity, "uri"), names(&identity, "dns")),
            (None, None),
            "in doubt"
        );
    }

    #[test]
    fn json_is_read_as_json() {
        let value = format!(
            r#"[{{"hash":"{HASH}","subject":"CN=a\\,b","uri":["x,y;z"],"dns":["A.example"],"issuer":"CN=c"}}]"#
        );
        let identity = json(&value).unwrap().unwrap();
        assert_eq!(names(&identity, "subject[CN]").unwrap(), ["a,b"]);
        assert_eq!(names(&identity, "uri").unwrap(), ["x,y;z"]);
        assert_eq!(names(&identity, "dns").unwrap(), ["a.example"]);
        assert_eq!(names(&identity, "issuer[CN]").unwrap(), ["c"]);
        let element = format!(r#"{{"hash":"{HASH}"}}"#);
        assert_eq!(json("[]"), Ok(None));
        for value in [
            element.clone(),
            format!("[,{element}]"),
            format!("[{element},{element}]"),
            format!(r#"[{{"x":"]{element}"}}]"#),
            format!(r#"[{element}],"x":[{element}]"#),
            format!(r#"[{{"hash":"{HASH}","hash":"{OTHER}"}}]"#),
            format!(r#"[{{"hash":"{HASH}","uri":"a"}}]"#),
            format!(r#"[{{"hash":"{HASH}","uri":["a\u0000"]}}]"#),
            format!(r#"[{{"hash":"{HASH}","role":"admin"}}]"#),
            format!("Hash={HASH}"),
        ] {
            assert!(json(&value).is_err(), "{value}");
        }
    }

    proptest! {
        #[test]
        fn takes_any_bytes(bytes: Vec<u8>, hops in 0_usize..3) {
            let _ = read(&bytes, ForwardedForm::Text, hops);
            let _ = read(&bytes, ForwardedForm::Json, hops);
        }

        /// Whatever stands in a name, the hops are counted right or the header is refused.
        #[test]
        fn names_never_move_the_hops(uri in r#"([a-z:/;,="]|,Hash=|;URI=|By=){0,12}"#, name in "[a-z,;\"=+ ]{0,9}") {
            let client = certificate(&name, &[&uri], &[]);
            let gateway = certificate("gateway", &["spiffe://td/gw"], &[]);
            let of = |certificate| write_element(certificate, Details { by: &[], with_certificate: false });
            let value = [of(&client), of(&gateway)].join(",");
            if let Ok(identity) = text(&value, 2) {
                prop_assert_eq!(identity.unwrap().subject, Some(client.subject));
            }
        }
    }
}
