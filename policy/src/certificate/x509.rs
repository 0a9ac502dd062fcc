//! X.509 certificates (RFC 5280). Read strictly: what could be understood in two ways is not understood at all.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::der::{
    BIT_STRING, GENERALIZED_TIME, INTEGER, NULL, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE,
    UTC_TIME, only,
};
use super::name::DistinguishedName;
use crate::crypto::{Algorithm, Curve, Hash, PublicKey, SignatureVerifier};
use crate::time;

/// A certificate.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Its DER.
    pub der: Vec<u8>,
    /// Whom it is for.
    pub subject: DistinguishedName,
    /// Who signed it.
    pub issuer: DistinguishedName,
    /// Its URI alternative names, SPIFFE IDs among them.
    pub uri: Vec<String>,
    /// Its DNS alternative names.
    pub dns: Vec<String>,
    /// Its e-mail alternative names.
    pub email: Vec<String>,
    /// Its serial number, big-endian, without leading zeros.
    pub serial: Vec<u8>,
    /// The first second in which it is valid, since the epoch.
    pub not_before: u64,
    /// The last one.
    pub not_after: u64,
    is_authority: bool,
    has_name_constraints: bool,
    /// Whether its key may sign handshakes, and certificates: the `KeyUsage` extension; `None` without it.
    key_usage: Option<KeyUsage>,
    /// Whether it may be a client's: the `ExtendedKeyUsage` extension; without it, yes.
    is_for_clients: bool,
    key: Option<PublicKey>,
    signed: Vec<u8>,
    signature_algorithm: Vec<u8>,
    signature: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct KeyUsage {
    digital_signature: bool,
    certificate_signature: bool,
}

impl KeyUsage {
    /// A string of bits, some of them set (RFC 5280 section 4.2.1.3). What pads its last byte is zero.
    fn read(value: &[u8]) -> Option<Self> {
        let mut usage = Reader(value);
        let (unused, bits) = usage.take(BIT_STRING)?.split_first()?;
        let padding = 1_u8
            .checked_shl(u32::from(*unused))
            .filter(|_| *unused < 8)?
            - 1;
        let is_padded = bits.last().is_some_and(|last| last & padding == 0);
        let is_set = bits.iter().any(|byte| *byte != 0);
        let [flags, ..] = bits else {
            return None;
        };
        (usage.is_empty() && is_padded && is_set).then_some(Self {
            digital_signature: flags & 0x80 != 0,
            certificate_signature: flags & 0x04 != 0,
        })
    }
}

pub(super) const VERSION: u8 = 0xa0;
const ISSUER_ID: u8 = 0x81;
const SUBJECT_ID: u8 = 0x82;
pub(super) const EXTENSIONS: u8 = 0xa3;
const EXPLICIT: u8 = 0xa0;
/// The kinds of alternative names (RFC 5280 section 4.2.1.6).
const OTHER_NAME: u8 = 0xa0;
const EMAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const X400_ADDRESS: u8 = 0xa3;
const DIRECTORY_NAME: u8 = 0xa4;
const EDI_PARTY_NAME: u8 = 0xa5;
pub(super) const URI: u8 = 0x86;
const IP_ADDRESS: u8 = 0x87;
const REGISTERED_ID: u8 = 0x88;

pub(super) const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 17];
const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 19];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 30];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 15];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 37];
/// id-kp-clientAuth and anyExtendedKeyUsage (RFC 5280 section 4.2.1.12)
const FOR_CLIENTS: [&[u8]; 2] = [&[0x2b, 6, 1, 5, 5, 7, 3, 2], &[0x55, 0x1d, 37, 0]];

/// The parameters of an algorithm that has none but must say so.
const NO_PARAMETERS: &[u8] = &[NULL, 0];
/// rsaEncryption (RFC 8017 appendix A.1)
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
/// id-ecPublicKey (RFC 5480 section 2.1.1)
const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
/// Its curves (section 2.1.1.1), and the width of their numbers.
const CURVES: [(&[u8], Curve, usize); 3] = [
    (&[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7], Curve::P256, 32),
    (&[0x2b, 0x81, 4, 0, 34], Curve::P384, 48),
    (&[0x2b, 0x81, 4, 0, 35], Curve::P521, 66),
];
/// id-Ed25519 (RFC 8410 section 3)
pub(super) const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// What signs certificates (RFC 5758 section 3.2, RFC 8017 appendix A.2.4, RFC 8410). SHA-1 and less do not.
const SIGNATURES: [(&[u8], Algorithm); 7] = [
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2],
        Algorithm::Es(Hash::Sha256),
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3],
        Algorithm::Es(Hash::Sha384),
    ),
    (
        &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4],
        Algorithm::Es(Hash::Sha512),
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11],
        Algorithm::Rs(Hash::Sha256),
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 12],
        Algorithm::Rs(Hash::Sha384),
    ),
    (
        &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 13],
        Algorithm::Rs(Hash::Sha512),
    ),
    (ED25519, Algorithm::EdDsa),
];

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

impl Certificate {
    /// Reads exactly one certificate in PEM form (RFC 7468 section 5).
    pub fn from_pem(pem: &[u8]) -> Option<Self> {
        match Self::all_from_pem(pem)?.as_slice() {
            [only] => Some(only.clone()),
            _ => None,
        }
    }

    /// Reads certificates in PEM form, one after the other with nothing but white space around them.
    pub fn all_from_pem(pem: &[u8]) -> Option<Vec<Self>> {
        let mut rest = std::str::from_utf8(pem).ok()?.trim_ascii();
        let mut all = Vec::new();
        while !rest.is_empty() {
            let (body, behind) = rest.strip_prefix(BEGIN)?.split_once(END)?;
            let digits: String = body.split_ascii_whitespace().collect();
            all.push(Self::from_der(&STANDARD.decode(digits).ok()?)?);
            rest = behind.trim_ascii_start();
        }
        Some(all)
    }

    /// Reads DER with nothing behind it, nor behind anything in it. `None` for what RFC 5280 does not allow and might
    /// mislead: a critical extension that nothing here evaluates (section 4.2), one that comes twice, alternative names
    /// that are not ASCII, a serial number below zero, more than one encoding.
    ///
    /// Evaluated are key usages, basic constraints and alternative names. Name constraints are read as being there.
    pub fn from_der(der: &[u8]) -> Option<Self> {
        let mut outer = only(SEQUENCE, der)?;
        let signed = outer.next().filter(|element| element.tag == SEQUENCE)?;
        let signature_algorithm = outer.take(SEQUENCE)?;
        let signature = bits(outer.take(BIT_STRING)?)?;
        let mut fields = Reader(signed.content);
        let version = match fields.optional(VERSION) {
            None => 1,
            Some([INTEGER, 1, 1]) => 2,
            Some([INTEGER, 1, 2]) => 3,
            Some(_) => return None,
        };
        let serial = fields.natural()?;
        let is_same = fields.take(SEQUENCE)? == signature_algorithm;
        AlgorithmIdentifier::read(Reader(signature_algorithm))?;
        let issuer = DistinguishedName::from_der(fields.enter(SEQUENCE)?)?;
        let mut validity = fields.enter(SEQUENCE)?;
        let not_before = read_time(&mut validity)?;
        let not_after = read_time(&mut validity)?;
        let subject = DistinguishedName::from_der(fields.enter(SEQUENCE)?)?;
        let SubjectKey(key) = read_key(fields.enter(SEQUENCE)?)?;
        for id in [ISSUER_ID, SUBJECT_ID] {
            if fields.optional(id).is_some() && version < 2 {
                return None;
            }
        }
        let extensions = fields.optional(EXTENSIONS);
        let is_whole = outer.is_empty() && fields.is_empty() && validity.is_empty() && is_same;
        if !is_whole || (extensions.is_some() && version < 3) {
            return None;
        }
        let mut certificate = Self {
            der: der.to_vec(),
            subject,
            issuer,
            uri: Vec::new(),
            dns: Vec::new(),
            email: Vec::new(),
            serial: serial.to_vec(),
            not_before,
            not_after,
            is_authority: false,
            has_name_constraints: false,
            key_usage: None,
            is_for_clients: true,
            key,
            signed: signed.whole.to_vec(),
            signature_algorithm: signature_algorithm.to_vec(),
            signature: signature.to_vec(),
        };
        certificate.read_extensions(extensions)?;
        Some(certificate)
    }

    fn read_extensions(&mut self, extensions: Option<&[u8]>) -> Option<()> {
        let Some(extensions) = extensions else {
            return Some(());
        };
        let mut list = filled(extensions)?;
        let mut seen = BTreeSet::new();
        while !list.is_empty() {
            let mut extension = list.enter(SEQUENCE)?;
            let kind = extension.object_identifier()?;
            let is_critical = extension.flag()?;
            let value = extension.take(OCTET_STRING)?;
            if !extension.is_empty() || !seen.insert(kind) {
                return None;
            }
            match kind {
                SUBJECT_ALTERNATIVE_NAME => self.read_names(filled(value)?)?,
                BASIC_CONSTRAINTS => {
                    let mut constraints = only(SEQUENCE, value)?;
                    self.is_authority = constraints.flag()?;
                    // How many CAs may stand between this one and a client: a bundle's CA signs clients itself.
                    if self.is_authority && !constraints.is_empty() {
                        constraints.natural()?;
                    }
                    constraints.is_empty().then_some(())?;
                }
                NAME_CONSTRAINTS => {
                    filled(value)?;
                    self.has_name_constraints = true;
                }
                KEY_USAGE => self.key_usage = Some(KeyUsage::read(value)?),
                EXTENDED_KEY_USAGE => {
                    let mut purposes = filled(value)?;
                    self.is_for_clients = false;
                    while !purposes.is_empty() {
                        let purpose = purposes.object_identifier()?;
                        self.is_for_clients |= FOR_CLIENTS.contains(&purpose);
                    }
                }
                _ if is_critical => return None,
                _ => {}
            }
        }
        // Only a CA limits names (RFC 5280 section 4.2.1.10); for anybody else nothing here evaluates it.
        (self.is_authority || !self.has_name_constraints).then_some(())
    }

    fn read_names(&mut self, mut names: Reader<'_>) -> Option<()> {
        while !names.is_empty() {
            let name = names.next()?;
            let mut inner = Reader(name.content);
            let list = match name.tag {
                EMAIL => &mut self.email,
                DNS => &mut self.dns,
                URI => &mut self.uri,
                OTHER_NAME => {
                    inner.object_identifier()?;
                    inner.take(EXPLICIT)?;
                    inner.is_empty().then_some(())?;
                    continue;
                }
                DIRECTORY_NAME => {
                    DistinguishedName::from_der(only(SEQUENCE, name.content)?)?;
                    continue;
                }
                X400_ADDRESS | EDI_PARTY_NAME | IP_ADDRESS | REGISTERED_ID => continue,
                _ => return None,
            };
            let text = std::str::from_utf8(name.content).ok()?;
            list.push(text.is_ascii().then(|| text.to_owned())?);
        }
        Some(())
    }

    /// SHA-256 of the DER: what Envoy calls its hash, and RFC 8705 its thumbprint.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(&self.der).into()
    }

    /// PEM with a line feed at the end of each line.
    pub fn to_pem(&self) -> String {
        let digits = STANDARD.encode(&self.der);
        let mut pem = format!("{BEGIN}\n");
        for line in digits.as_bytes().chunks(64) {
            pem.extend(line.iter().map(|byte| char::from(*byte)));
            pem.push('\n');
        }
        pem + END + "\n"
    }

    /// Whether it may be shown by a client: neither of the extensions on its key's usage says otherwise.
    pub fn is_for_clients(&self) -> bool {
        self.is_for_clients && self.key_usage.is_none_or(|usage| usage.digital_signature)
    }

    /// Whether it is valid at a time, in seconds since the epoch.
    pub fn is_valid_at(&self, now: u64) -> bool {
        (self.not_before..=self.not_after).contains(&now)
    }

    /// Whether it may sign other certificates.
    pub fn is_authority(&self) -> bool {
        self.is_authority
            && self
                .key_usage
                .is_none_or(|usage| usage.certificate_signature)
    }

    /// Whether it limits the names of what it signs (RFC 5280 section 4.2.1.10), which nothing here compares.
    pub fn has_name_constraints(&self) -> bool {
        self.has_name_constraints
    }

    /// Whether `authority` signed it, by name and by signature.
    pub fn is_signed_by(&self, authority: &Self, verifier: &impl SignatureVerifier) -> bool {
        let Some((algorithm, key)) = self.signature_algorithm().zip(authority.key.as_ref()) else {
            return false;
        };
        let fits = match key {
            PublicKey::Rsa(_) => matches!(algorithm, Algorithm::Rs(_)),
            PublicKey::Ed25519(_) => algorithm == Algorithm::EdDsa,
            PublicKey::Hmac(_) => false,
            _ => matches!(algorithm, Algorithm::Es(_)),
        };
        let signature = match key {
            PublicKey::P256(_) => numbers(&self.signature, 32),
            PublicKey::P384(_) => numbers(&self.signature, 48),
            PublicKey::P521(_) => numbers(&self.signature, 66),
            _ => Some(self.signature.clone()),
        };
        fits && self.issuer == authority.subject
            && signature
                .is_some_and(|signature| verifier.verify(key, algorithm, &self.signed, &signature))
    }

    fn signature_algorithm(&self) -> Option<Algorithm> {
        let identifier = AlgorithmIdentifier::read(Reader(&self.signature_algorithm))?;
        let mut known = SIGNATURES.iter();
        let (_, algorithm) = known.find(|(oid, _)| *oid == identifier.name)?;
        let is_plain = match algorithm {
            // RFC 4055 section 5: NULL, and to be taken without it.
            Algorithm::Rs(_) => matches!(identifier.parameters, None | Some(NO_PARAMETERS)),
            _ => identifier.parameters.is_none(),
        };
        is_plain.then_some(*algorithm)
    }
}

/// The key of a certificate that nobody judges otherwise: a look past the fields in front of it.
pub(crate) fn public_key(der: &[u8]) -> Option<PublicKey> {
    let mut fields = Reader(der).enter(SEQUENCE)?.enter(SEQUENCE)?;
    fields.optional(VERSION);
    // Serial number, signature, issuer, validity and subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        fields.take(tag)?;
    }
    read_key(fields.enter(SEQUENCE)?)?.0
}

/// An `AlgorithmIdentifier` (RFC 5280 section 4.1.1.2).
struct AlgorithmIdentifier<'a> {
    name: &'a [u8],
    /// One element, tag and length included.
    parameters: Option<&'a [u8]>,
}

impl<'a> AlgorithmIdentifier<'a> {
    fn read(mut fields: Reader<'a>) -> Option<Self> {
        let name = fields.object_identifier()?;
        let parameters = if fields.is_empty() {
            None
        } else {
            Some(fields.next()?.whole)
        };
        fields.is_empty().then_some(Self { name, parameters })
    }
}

/// The key of a certificate in its form; `None` if it is of a kind, or a size, that verifies nothing here.
struct SubjectKey(Option<PublicKey>);

/// A `SubjectPublicKeyInfo` (RFC 5280 section 4.1.2.7); `None` for what is not in its form.
fn read_key(mut info: Reader<'_>) -> Option<SubjectKey> {
    let algorithm = AlgorithmIdentifier::read(info.enter(SEQUENCE)?)?;
    let key = info.take(BIT_STRING)?;
    info.is_empty().then_some(())?;
    let parameters = algorithm.parameters;
    match algorithm.name {
        RSA => {
            let mut numbers = only(SEQUENCE, bits(key)?)?;
            let [modulus, exponent] = [numbers.natural()?, numbers.natural()?];
            let is_whole = numbers.is_empty() && parameters == Some(NO_PARAMETERS);
            is_whole.then(|| SubjectKey(PublicKey::rsa(modulus, exponent)))
        }
        EC => {
            let name = Reader(parameters?).next()?;
            let mut known = CURVES.into_iter();
            let is_known = |oid: &[u8]| name.tag == OBJECT_IDENTIFIER && oid == name.content;
            let Some((_, curve, width)) = known.find(|(oid, ..)| is_known(oid)) else {
                return Some(SubjectKey(None));
            };
            // A point as it is, or shortened (SEC 1 section 2.3.3).
            match bits(key)? {
                [4, point @ ..] if point.len() == 2 * width => {
                    let (x, y) = point.split_at_checked(width)?;
                    Some(SubjectKey(PublicKey::ec(curve, x, y)))
                }
                [2 | 3, x @ ..] if x.len() == width => Some(SubjectKey(None)),
                _ => None,
            }
        }
        ED25519 => {
            let key = bits(key)?.try_into().ok()?;
            let key = SubjectKey(Some(PublicKey::Ed25519(key)));
            parameters.is_none().then_some(key)
        }
        _ => Some(SubjectKey(None)),
    }
}

/// A list that is all of an element and has entries.
fn filled(der: &[u8]) -> Option<Reader<'_>> {
    only(SEQUENCE, der).filter(|list| !list.is_empty())
}

/// A bit string of whole bytes.
fn bits(content: &[u8]) -> Option<&[u8]> {
    content.strip_prefix(&[0])
}

/// An `Ecdsa-Sig-Value` (RFC 3279 section 2.2.3) as two numbers of a width.
fn numbers(signature: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut pair = only(SEQUENCE, signature)?;
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let digits = pair.natural()?;
        numbers.resize(numbers.len() + width.checked_sub(digits.len())?, 0);
        numbers.extend_from_slice(digits);
    }
    pair.is_empty().then_some(numbers)
}

/// `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ` (RFC 5280 section 4.1.2.5). What is before 1970 is 1970.
fn read_time(validity: &mut Reader<'_>) -> Option<u64> {
    let element = validity.next()?;
    let digits = element.content.strip_suffix(b"Z")?;
    let is_digits = digits.iter().all(u8::is_ascii_digit);
    let wanted = match element.tag {
        UTC_TIME => 12,
        GENERALIZED_TIME => 14,
        _ => return None,
    };
    if !is_digits || digits.len() != wanted {
        return None;
    }
    let mut pairs = digits.chunks(2).map(|pair| {
        pair.iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    });
    let mut next = || pairs.next();
    let year = match element.tag {
        UTC_TIME => {
            let year = next()?;
            year + if year < 50 { 2000 } else { 1900 }
        }
        _ => next()? * 100 + next()?,
    };
    let date = [year.max(1970), next()?, next()?];
    let seconds = time::seconds(date, [next()?, next()?, next()?])?;
    Some(if year < 1970 { 0 } else { seconds })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType,
        ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair, KeyUsagePurpose, NameConstraints,
        PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SanType,
        date_time_ymd,
    };

    use super::*;
    use crate::certificate::NameOrder;
    use crate::crypto::RustVerifier;

    fn params(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2024, 2, 29);
        params.not_after = date_time_ymd(2051, 1, 1);
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, "example Inc.");
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    fn authority(name: &str, key: KeyPair) -> CertifiedIssuer<'static, KeyPair> {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        CertifiedIssuer::self_signed(params, key).unwrap()
    }

    fn leaf(params: &CertificateParams) -> Vec<u8> {
        let issuer = authority("ClientRootCA", KeyPair::generate().unwrap());
        let key = KeyPair::generate().unwrap();
        params.signed_by(&key, &issuer).unwrap().der().to_vec()
    }

    #[test]
    fn tells_what_is_written() {
        let mut params = params("client2.example.com");
        params.serial_number = Some(vec![0x80, 1].into());
        params.subject_alt_names = vec![
            SanType::URI("spiffe://td/a".try_into().unwrap()),
            SanType::DnsName("a.example".try_into().unwrap()),
            SanType::Rfc822Name("a@b.example".try_into().unwrap()),
            SanType::URI("urn:b,c;d=\"".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        let der = leaf(&params);
        let certificate = Certificate::from_der(&der).unwrap();
        assert_eq!(
            certificate.subject.to_string(),
            "CN=client2.example.com,O=example Inc."
        );
        assert_eq!(
            certificate.issuer.to_string(),
            "CN=ClientRootCA,O=example Inc."
        );
        assert_eq!(certificate.uri, ["spiffe://td/a", "urn:b,c;d=\""]);
        assert_eq!(certificate.dns, ["a.example"]);
        assert_eq!(certificate.email, ["a@b.example"]);
        assert_eq!(certificate.serial, [0x80, 1]);
        assert_eq!(
            [certificate.not_before, certificate.not_after].map(Some),
            ["2024-02-29T00:00:00Z", "2051-01-01T00:00:00Z"].map(time::parse_time)
        );
        let pem = certificate.to_pem();
        assert_eq!(Certificate::from_pem(pem.as_bytes()).unwrap().der, der);
        assert_eq!(
            Certificate::all_from_pem(pem.repeat(2).as_bytes())
                .unwrap()
                .len(),
            2
        );
        for text in [
            pem.repeat(2),
            format!("{pem}x"),
            pem.replace("CERTIFICATE", "KEY"),
            String::new(),
        ] {
            assert!(Certificate::from_pem(text.as_bytes()).is_none());
        }
        assert!(Certificate::from_der(&[&der[..], &[0]].concat()).is_none());
    }

    #[test]
    fn knows_who_signed_it() {
        let rsa = include_str!("../../../examples/keys/rsa-1.pem");
        let keys = [
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap(),
            KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap(),
            KeyPair::generate_for(&PKCS_ED25519).unwrap(),
            KeyPair::from_pem_and_sign_algo(rsa, &PKCS_RSA_SHA256).unwrap(),
        ];
        let issuers = keys.map(|key| authority("one name for all", key));
        let read = |der: &[u8]| Certificate::from_der(der).unwrap();
        for (at, issuer) in issuers.iter().enumerate() {
            let key = KeyPair::generate().unwrap();
            let mut leaf = read(params("leaf").signed_by(&key, issuer).unwrap().der());
            for (other, candidate) in issuers.iter().enumerate() {
                let candidate = read(candidate.der());
                assert!(candidate.is_authority());
                assert_eq!(leaf.is_signed_by(&candidate, &RustVerifier), at == other);
            }
            let stranger = read(authority("another name", KeyPair::generate().unwrap()).der());
            assert!(!leaf.is_signed_by(&stranger, &RustVerifier));
            leaf.signed[20] ^= 1;
            assert!(!leaf.is_signed_by(&read(issuer.der()), &RustVerifier));
        }
    }

    #[test]
    fn says_what_it_may_be_used_for() {
        let mut params = params("a");
        assert!(
            Certificate::from_der(&leaf(&params))
                .unwrap()
                .is_for_clients()
        );
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        assert!(
            !Certificate::from_der(&leaf(&params))
                .unwrap()
                .is_for_clients()
        );
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ClientAuth);
        assert!(
            Certificate::from_der(&leaf(&params))
                .unwrap()
                .is_for_clients()
        );
        params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
        let certificate = Certificate::from_der(&leaf(&params)).unwrap();
        assert!(!certificate.is_for_clients() && !certificate.is_authority());
        assert!(certificate.is_valid_at(certificate.not_after));
        assert!(!certificate.is_valid_at(certificate.not_after + 1));
        assert!(!certificate.is_valid_at(certificate.not_before - 1));
    }

    #[test]
    fn says_whether_it_limits_names() {
        let mut params = params("a");
        let read = |params: &CertificateParams| Certificate::from_der(&leaf(params)).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        assert!(!read(&params).has_name_constraints());
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("a.example".into())],
            excluded_subtrees: Vec::new(),
        });
        assert!(read(&params).has_name_constraints());
    }

    #[test]
    fn an_extension_comes_once() {
        let mut params = params("a");
        params.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())];
        let names = [0x30, 3, DNS, 1, b'b'].to_vec();
        let second = CustomExtension::from_oid_content(&[2, 5, 29, 17], names);
        params.custom_extensions.push(second);
        assert!(Certificate::from_der(&leaf(&params)).is_none());
    }

    fn sample() -> Vec<u8> {
        let mut params = params("h\u{e9}llo, \"world\"");
        params.subject_alt_names = vec![SanType::DnsName("a.example".try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf(&params)
    }

    proptest! {
        #[test]
        fn takes_any_bytes(bytes: Vec<u8>) {
            let _ = Certificate::from_der(&bytes);
            let _ = Certificate::from_pem(&bytes);
        }

        /// The x509-cert crate is another reader: whatever both take, they take for the same.
        #[test]
        fn agrees_with_another_reader(at: prop::sample::Index, byte: u8) {
            use x509_cert::der::Decode;
            let mut der = sample();
            let at = at.index(der.len());
            der[at] = byte;
            let Some(ours) = Certificate::from_der(&der) else { return Ok(()) };
            let printed = ours.subject.to_string();
            prop_assert_eq!(
                super::super::DistinguishedName::parse(&printed, NameOrder::Reverse),
                Some(ours.subject)
            );
            let Ok(theirs) = x509_cert::Certificate::from_der(&der) else { return Ok(()) };
            let tbs = theirs.tbs_certificate();
            let serial = tbs.serial_number().as_bytes();
            let serial: Vec<u8> = serial.iter().copied().skip_while(|byte| *byte == 0).collect();
            prop_assert_eq!(serial, ours.serial);
            prop_assert_eq!(
                tbs.validity().not_after.to_unix_duration().as_secs(),
                ours.not_after
            );
            let names = tbs.get_extension::<x509_cert::ext::pkix::SubjectAltName>();
            if let Ok(Some((_, names))) = names {
                let dns: Vec<String> = names.0.iter().filter_map(|name| match name {
                    x509_cert::ext::pkix::name::GeneralName::DnsName(dns) => Some(dns.to_string()),
                    _ => None,
                }).collect();
                prop_assert_eq!(dns, ours.dns);
            }
        }
    }
}
