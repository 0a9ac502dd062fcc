//! Certificates that are almost right, judged by the core and by OpenSSL: what OpenSSL refuses for its form, the core
//! refuses too.

use std::collections::BTreeSet;
use std::process::Command;

use portcullis_policy::certificate::Certificate;
use portcullis_policy::crypto::RustVerifier;
use portcullis_tests::scratch::Scratch;
use rcgen::{KeyPair, PublicKeyData, SigningKey};

const BOOLEAN: u8 = 0x01;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const NULL: u8 = 0x05;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const CONSTRUCTED: u8 = 0x20;

const TRUE: &[u8] = &[BOOLEAN, 1, 0xff];
const FALSE: &[u8] = &[BOOLEAN, 1, 0];
/// ecdsa-with-SHA256
const SIGNATURE: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
const ALTERNATIVE_NAME: u8 = 17;
const BASIC_CONSTRAINTS: u8 = 19;
const KEY_USAGE: u8 = 15;
const EXTENDED_KEY_USAGE: u8 = 37;
/// 1.3.6.1.5.5.7.3.2
const CLIENT_AUTH: &[u8] = &[OBJECT_IDENTIFIER, 8, 0x2b, 6, 1, 5, 5, 7, 3, 2];
/// Since 2026-01-01.
const NOW: u64 = 1_800_000_000;

/// What OpenSSL refuses and the core takes: where the mutations are, and why that is right. None is about the form of
/// what the core reads.
const TAKEN: [(&str, &str); 9] = [
    ("CA.3", "who issued a CA of a bundle is not asked"),
    ("CA.7.0.0 left out", "a CA may have any use of its key"),
    (
        "CA.7.0.1.1 left out",
        "basic constraints are read, critical or not",
    ),
    ("CA.7.0.2", "the identifier of the CA's key decides nothing"),
    (
        "client.5",
        "without a subject the alternative names are read, critical or not",
    ),
    (
        "client.6.0",
        "a client's key verifies nothing here, so its algorithm may be any",
    ),
    (
        "client.7 left out",
        "the identifier of the CA's key decides nothing",
    ),
    (
        "client.7.0.4",
        "the identifier of the client's key decides nothing",
    ),
    (
        "client.7.0.5",
        "the identifier of the CA's key decides nothing",
    ),
];

/// An element in DER.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let size = content.len();
    let mut whole = vec![tag];
    match u8::try_from(size) {
        Ok(size) if size < 0x80 => whole.push(size),
        Ok(size) => whole.extend([0x81, size]),
        Err(_) => {
            whole.push(0x82);
            whole.extend(u16::try_from(size).unwrap().to_be_bytes());
        }
    }
    whole.extend(content);
    whole
}

fn name(common_name: &str) -> Vec<u8> {
    let kind = [OBJECT_IDENTIFIER, 3, 0x55, 4, 3];
    let value = element(UTF8_STRING, &[common_name.as_bytes()]);
    let attribute = element(SEQUENCE, &[&kind, &value]);
    element(SEQUENCE, &[&element(SET, &[&attribute])])
}

/// An extension of `id-ce`.
fn extension(id: u8, critical: &[u8], value: &[u8]) -> Vec<u8> {
    of_type(&[0x55, 0x1d, id], critical, value)
}

fn of_type(oid: &[u8], critical: &[u8], value: &[u8]) -> Vec<u8> {
    let kind = element(OBJECT_IDENTIFIER, &[oid]);
    let value = element(OCTET_STRING, &[value]);
    element(SEQUENCE, &[&kind, critical, &value])
}

/// A certificate before it is signed; each part is a whole element, or none.
#[derive(Debug, Clone)]
struct Draft {
    version: Vec<u8>,
    serial: Vec<u8>,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    key: Vec<u8>,
    extensions: Vec<Vec<u8>>,
}

impl Draft {
    /// A client, with everything that RFC 5280 asks for.
    fn client(key: &[u8]) -> Self {
        let names = element(SEQUENCE, &[&element(0x82, &[b"a.example"])]);
        Self {
            version: element(0xa0, &[&[INTEGER, 1, 2]]),
            serial: element(INTEGER, &[&[0x11, 0x22]]),
            issuer: name("CA"),
            subject: name("client"),
            key: key.to_vec(),
            extensions: vec![
                extension(KEY_USAGE, TRUE, &[BIT_STRING, 2, 7, 0x80]),
                extension(BASIC_CONSTRAINTS, TRUE, &[SEQUENCE, 0]),
                extension(EXTENDED_KEY_USAGE, b"", &element(SEQUENCE, &[CLIENT_AUTH])),
                extension(ALTERNATIVE_NAME, b"", &names),
                extension(14, b"", &element(OCTET_STRING, &[&[0xaa; 20]])),
                extension(
                    35,
                    b"",
                    &element(SEQUENCE, &[&element(0x80, &[&[0xbb; 20]])]),
                ),
            ],
        }
    }

    /// A CA that signs itself.
    fn authority(key: &[u8]) -> Self {
        Self {
            subject: name("CA"),
            extensions: vec![
                extension(KEY_USAGE, TRUE, &[BIT_STRING, 2, 1, 0x06]),
                extension(BASIC_CONSTRAINTS, TRUE, &element(SEQUENCE, &[TRUE])),
                extension(14, b"", &element(OCTET_STRING, &[&[0xbb; 20]])),
            ],
            ..Self::client(key)
        }
    }

    fn with(&self, id: u8, extension: Vec<u8>) -> Self {
        let mut draft = self.clone();
        let oid = [OBJECT_IDENTIFIER, 3, 0x55, 0x1d, id];
        draft
            .extensions
            .retain(|known| !known.windows(5).any(|part| part == oid));
        draft.extensions.push(extension);
        draft
    }

    fn adding(&self, extension: Vec<u8>) -> Self {
        let mut draft = self.clone();
        draft.extensions.push(extension);
        draft
    }

    /// The part that is signed.
    fn to_be_signed(&self) -> Vec<u8> {
        let time = |text: &[u8]| element(UTC_TIME, &[text]);
        let validity = [time(b"260101000000Z"), time(b"490101000000Z")].concat();
        let parts: &[&[u8]] = &[
            &self.version,
            &self.serial,
            &algorithm(),
            &self.issuer,
            &element(SEQUENCE, &[&validity]),
            &self.subject,
            &self.key,
            &element(0xa3, &[&element(SEQUENCE, &[&self.extensions.concat()])]),
        ];
        element(SEQUENCE, parts)
    }
}

fn algorithm() -> Vec<u8> {
    element(SEQUENCE, &[&element(OBJECT_IDENTIFIER, &[SIGNATURE])])
}

fn signed(to_be_signed: &[u8], key: &KeyPair) -> Vec<u8> {
    let signature = key.sign(to_be_signed).unwrap();
    let signature = element(BIT_STRING, &[&[0], &signature]);
    element(SEQUENCE, &[to_be_signed, &algorithm(), &signature])
}

/// One element, and what is in it as far as that is DER.
#[derive(Debug, Clone)]
enum Node {
    Plain(u8, Vec<u8>),
    /// Tag, bytes before the elements, elements.
    Nested(u8, Vec<u8>, Vec<Node>),
}

impl Node {
    fn read(der: &mut &[u8]) -> Option<Self> {
        let (&tag, rest) = der.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (size, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => (usize::from(*rest.first()?), &rest[1..]),
            0x82 => (
                usize::from(*rest.first()?) << 8 | usize::from(*rest.get(1)?),
                &rest[2..],
            ),
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(size)?;
        *der = rest;
        let before = usize::from(tag == BIT_STRING && content.first() == Some(&0));
        let may_nest = tag & CONSTRUCTED != 0 || matches!(tag, OCTET_STRING | BIT_STRING);
        let nested = if may_nest {
            Self::read_all(&content[before..])
        } else {
            None
        };
        Some(match nested {
            Some(nodes) if !nodes.is_empty() || tag & CONSTRUCTED != 0 => {
                Self::Nested(tag, content[..before].to_vec(), nodes)
            }
            _ => Self::Plain(tag, content.to_vec()),
        })
    }

    fn read_all(mut der: &[u8]) -> Option<Vec<Self>> {
        let mut nodes = Vec::new();
        while !der.is_empty() {
            nodes.push(Self::read(&mut der)?);
        }
        Some(nodes)
    }

    fn write(&self) -> Vec<u8> {
        match self {
            Self::Plain(tag, content) => element(*tag, &[content]),
            Self::Nested(tag, before, nodes) => {
                let nodes: Vec<u8> = nodes.iter().flat_map(Self::write).collect();
                element(*tag, &[before, &nodes])
            }
        }
    }

    /// Calls `change` with every element in order, and `made` with each outcome that it wants.
    fn mutations(&self, path: &str, made: &mut dyn FnMut(String, Node)) {
        let null = Self::Plain(NULL, Vec::new());
        match self {
            Self::Plain(tag, content) => {
                let longer = [content.as_slice(), &[0]].concat();
                made(
                    format!("{path} with a zero behind"),
                    Self::Plain(*tag, longer),
                );
                let longer = [&[0], content.as_slice()].concat();
                made(
                    format!("{path} with a zero in front"),
                    Self::Plain(*tag, longer),
                );
                made(format!("{path} emptied"), Self::Plain(*tag, Vec::new()));
                made(
                    format!("{path} of another type"),
                    Self::Plain(OCTET_STRING, content.clone()),
                );
            }
            Self::Nested(tag, before, nodes) => {
                let rebuilt = |nodes: Vec<Self>| Self::Nested(*tag, before.clone(), nodes);
                let mut longer = nodes.clone();
                longer.push(null.clone());
                made(format!("{path} with a NULL behind"), rebuilt(longer));
                let mut longer = nodes.clone();
                longer.insert(0, null);
                made(format!("{path} with a NULL in front"), rebuilt(longer));
                made(format!("{path} emptied"), rebuilt(Vec::new()));
                for (at, node) in nodes.iter().enumerate() {
                    let inner = format!("{path}.{at}");
                    let mut twice = nodes.clone();
                    twice.insert(at, node.clone());
                    made(format!("{inner} twice"), rebuilt(twice));
                    let mut without = nodes.clone();
                    without.remove(at);
                    made(format!("{inner} left out"), rebuilt(without));
                    node.mutations(&inner, &mut |what, changed| {
                        let mut nodes = nodes.clone();
                        nodes[at] = changed;
                        made(what, rebuilt(nodes));
                    });
                }
            }
        }
    }
}

/// A certificate and the CA for it.
struct Case {
    name: String,
    client: Vec<u8>,
    authority: Vec<u8>,
}

struct Workshop {
    key: KeyPair,
    authority: Draft,
    client: Draft,
}

impl Workshop {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let info = key.subject_public_key_info();
        Self {
            authority: Draft::authority(&info),
            client: Draft::client(&info),
            key,
        }
    }

    fn client(&self, name: &str, client: &Draft) -> Case {
        Case {
            name: name.to_owned(),
            client: signed(&client.to_be_signed(), &self.key),
            authority: signed(&self.authority.to_be_signed(), &self.key),
        }
    }

    fn authority(&self, name: &str, authority: &Draft) -> Case {
        Case {
            name: name.to_owned(),
            client: signed(&self.client.to_be_signed(), &self.key),
            authority: signed(&authority.to_be_signed(), &self.key),
        }
    }

    /// Every element of client and CA, and what could be wrong with it.
    fn mutated(&self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (whose, draft) in [("client", &self.client), ("CA", &self.authority)] {
            let whole = Node::read(&mut draft.to_be_signed().as_slice()).unwrap();
            assert_eq!(whole.write(), draft.to_be_signed());
            let [mut client, mut authority] = [&self.client, &self.authority]
                .map(|draft| signed(&draft.to_be_signed(), &self.key));
            whole.mutations(whose, &mut |name, changed| {
                let changed = signed(&changed.write(), &self.key);
                if whose == "CA" {
                    authority = changed;
                } else {
                    client = changed;
                }
                cases.push(Case {
                    name,
                    client: client.clone(),
                    authority: authority.clone(),
                });
            });
        }
        cases
    }
}

fn is_taken_by_the_core(case: &Case) -> bool {
    let [client, authority] = [&case.client, &case.authority].map(|der| Certificate::from_der(der));
    client.zip(authority).is_some_and(|(client, authority)| {
        client.is_for_clients()
            && client.is_valid_at(NOW)
            && authority.is_authority()
            && !authority.has_name_constraints()
            && client.is_signed_by(&authority, &RustVerifier)
    })
}

/// The names of the cases that OpenSSL takes for a client's.
fn taken_by_openssl(cases: &[Case]) -> BTreeSet<String> {
    let folder = Scratch::new().unwrap();
    let pem = |name: &str, der: &[u8]| {
        let body = pem::encode(der);
        folder.write(name, body).unwrap()
    };
    let mut taken = BTreeSet::new();
    // OpenSSL reads all certificates of one CA in one go.
    let mut by_authority: Vec<(&[u8], Vec<&Case>)> = Vec::new();
    for case in cases {
        match by_authority
            .iter_mut()
            .find(|(authority, _)| *authority == case.authority)
        {
            Some((_, cases)) => cases.push(case),
            None => by_authority.push((&case.authority, vec![case])),
        }
    }
    for (at, (authority, cases)) in by_authority.into_iter().enumerate() {
        let authority = pem(&format!("ca-{at}.pem"), authority);
        let files: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(index, case)| pem(&format!("{at}-{index}.pem"), &case.client))
            .collect();
        let output = Command::new("openssl")
            .args([
                "verify",
                "-x509_strict",
                "-partial_chain",
                "-purpose",
                "sslclient",
                "-attime",
            ])
            .arg(NOW.to_string())
            .arg("-CAfile")
            .arg(authority)
            .args(["-no-CApath", "-no-CAstore"])
            .args(&files)
            .output()
            .expect("openssl is not there; `cargo xtask setup` installs it");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        for (case, file) in cases.iter().zip(&files) {
            if said.contains(&format!("{}: OK", file.display())) {
                taken.insert(case.name.clone());
            }
        }
    }
    taken
}

mod pem {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    pub(super) fn encode(der: &[u8]) -> String {
        let digits = STANDARD.encode(der);
        let lines: Vec<&str> = digits
            .as_bytes()
            .chunks(64)
            .map(|line| std::str::from_utf8(line).unwrap())
            .collect();
        format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            lines.join("\n")
        )
    }
}

/// Of the cases that the core takes, those that OpenSSL refuses.
fn refused_by_openssl(cases: &[Case]) -> Vec<&str> {
    let openssl = taken_by_openssl(cases);
    let taken = cases.iter().filter(|case| is_taken_by_the_core(case));
    let names = taken.map(|case| case.name.as_str());
    names.filter(|name| !openssl.contains(*name)).collect()
}

#[test]
fn what_openssl_refuses_for_its_form_is_refused() {
    let workshop = Workshop::new();
    let cases = workshop.mutated();
    assert!(cases.len() > 500, "{} mutations", cases.len());
    let is_allowed = |name: &&str| TAKEN.iter().any(|(place, _)| name.starts_with(place));
    let (allowed, taken): (Vec<&str>, Vec<&str>) =
        refused_by_openssl(&cases).into_iter().partition(is_allowed);
    assert_eq!(taken, Vec::<&str>::new());
    for (place, _) in TAKEN {
        assert!(
            allowed.iter().any(|name| name.starts_with(place)),
            "nothing is taken at {place}"
        );
    }
}

#[test]
fn what_authorities_issue_is_taken() {
    let workshop = Workshop::new();
    let (client, authority) = (&workshop.client, &workshop.authority);
    let names = element(SEQUENCE, &[&element(0x86, &[b"spiffe://td/a"])]);
    let purposes = element(SEQUENCE, &[CLIENT_AUTH]);
    let every_name = element(
        SEQUENCE,
        &[
            // A user principal name, as Active Directory writes it.
            &element(
                0xa0,
                &[
                    &element(
                        OBJECT_IDENTIFIER,
                        &[&[0x2b, 6, 1, 4, 1, 0x82, 0x37, 20, 2, 3]],
                    ),
                    &element(0xa0, &[&element(UTF8_STRING, &[b"a@b.example"])]),
                ],
            ),
            &element(0x81, &[b"a@b.example"]),
            &element(0x82, &[b"b.example"]),
            &element(0xa4, &[&name("a")]),
            &element(0x86, &[b"urn:a"]),
            &element(0x87, &[&[127, 0, 0, 1]]),
            &element(0x88, &[&[0x2a, 3]]),
        ],
    );
    let limited = element(SEQUENCE, &[TRUE, &[INTEGER, 1, 0]]);
    let mut of_rsa = client.clone();
    of_rsa.key = rsa_key();
    let cases = [
        workshop.client("as it is", client),
        workshop.client(
            "critical alternative names",
            &client.with(ALTERNATIVE_NAME, extension(ALTERNATIVE_NAME, TRUE, &names)),
        ),
        workshop.client(
            "every kind of alternative name",
            &client.with(
                ALTERNATIVE_NAME,
                extension(ALTERNATIVE_NAME, b"", &every_name),
            ),
        ),
        workshop.client(
            "critical purposes",
            &client.with(
                EXTENDED_KEY_USAGE,
                extension(EXTENDED_KEY_USAGE, TRUE, &purposes),
            ),
        ),
        workshop.client(
            "an extension of its own",
            &client.adding(of_type(&[0x2a, 3, 4], b"", b"anything")),
        ),
        workshop.client(
            "usages of two bytes",
            &client.with(
                KEY_USAGE,
                extension(KEY_USAGE, TRUE, &[BIT_STRING, 3, 7, 0x80, 0x80]),
            ),
        ),
        workshop.client("an RSA key", &of_rsa),
        workshop.authority(
            "a CA of clients only",
            &authority.with(
                BASIC_CONSTRAINTS,
                extension(BASIC_CONSTRAINTS, TRUE, &limited),
            ),
        ),
    ];
    for case in &cases {
        assert!(is_taken_by_the_core(case), "{}", case.name);
    }
    assert_eq!(refused_by_openssl(&cases), Vec::<&str>::new());
}

#[test]
fn what_is_not_understood_is_refused() {
    let workshop = Workshop::new();
    let (client, authority) = (&workshop.client, &workshop.authority);
    let behind = [NULL, 0];
    let usage = [BIT_STRING, 2, 7, 0x80];
    let usages = |value: &[u8]| client.with(KEY_USAGE, extension(KEY_USAGE, TRUE, value));
    let constraints = |value: &[u8]| {
        let extension = extension(BASIC_CONSTRAINTS, TRUE, value);
        authority.with(BASIC_CONSTRAINTS, extension)
    };
    let names = |value: &[u8]| {
        let extension = extension(ALTERNATIVE_NAME, b"", value);
        client.with(ALTERNATIVE_NAME, extension)
    };
    let policy_constraints = extension(36, TRUE, &element(SEQUENCE, &[&[0x80, 1, 0]]));
    let any_name = element(SEQUENCE, &[&element(0x82, &[b"a.example"])]);
    let subtree = element(0xa0, &[&any_name]);
    let name_constraints = extension(30, TRUE, &element(SEQUENCE, &[&subtree]));
    let mut negative = client.clone();
    negative.serial = element(INTEGER, &[&[0x80]]);
    let mut first_version = client.clone();
    first_version.version = element(0xa0, &[&[INTEGER, 1, 0]]);
    let cases = [
        workshop.client(
            "a critical extension that nobody knows",
            &client.adding(of_type(&[0x2a, 3, 4, 5, 6], TRUE, &behind)),
        ),
        workshop.authority(
            "the same of the CA",
            &authority.adding(of_type(&[0x2a, 3, 4, 5, 6], TRUE, &behind)),
        ),
        workshop.client(
            "critical policy constraints",
            &client.adding(policy_constraints.clone()),
        ),
        workshop.authority(
            "critical policy constraints of the CA",
            &authority.adding(policy_constraints),
        ),
        workshop.client(
            "name constraints of a client",
            &client.adding(name_constraints.clone()),
        ),
        workshop.authority("name constraints", &authority.adding(name_constraints)),
        workshop.client(
            "bytes behind usages",
            &usages(&[usage.as_slice(), &behind].concat()),
        ),
        workshop.client("bits in the padding", &usages(&[BIT_STRING, 2, 7, 0x81])),
        workshop.client("no usage", &usages(&[BIT_STRING, 2, 7, 0])),
        workshop.client("usages of no byte", &usages(&[BIT_STRING, 1, 0])),
        workshop.client("eight bits of padding", &usages(&[BIT_STRING, 2, 8, 0x80])),
        workshop.client(
            "critical, and FALSE",
            &client.with(KEY_USAGE, extension(KEY_USAGE, FALSE, &usage)),
        ),
        workshop.client(
            "critical, and neither TRUE nor FALSE",
            &client.with(KEY_USAGE, extension(KEY_USAGE, &[BOOLEAN, 1, 1], &usage)),
        ),
        workshop.authority(
            "bytes behind constraints",
            &constraints(&element(SEQUENCE, &[TRUE, &behind])),
        ),
        workshop.authority(
            "a negative length of path",
            &constraints(&element(SEQUENCE, &[TRUE, &[INTEGER, 1, 0xff]])),
        ),
        workshop.client(
            "a length of path without a CA",
            &client.with(
                BASIC_CONSTRAINTS,
                extension(
                    BASIC_CONSTRAINTS,
                    TRUE,
                    &element(SEQUENCE, &[&[INTEGER, 1, 0]]),
                ),
            ),
        ),
        workshop.client("no alternative name", &names(&element(SEQUENCE, &[]))),
        workshop.client(
            "an alternative name of no kind",
            &names(&element(SEQUENCE, &[&element(0x89, &[b"a"])])),
        ),
        workshop.client(
            "an alternative name that is none",
            &names(&element(SEQUENCE, &[&element(0xa4, &[b"a"])])),
        ),
        workshop.client("a negative serial number", &negative),
        workshop.client("a version that need not be told", &first_version),
    ];
    for case in &cases {
        assert!(!is_taken_by_the_core(case), "{}", case.name);
    }
}

#[test]
fn nothing_stands_behind_a_part_of_a_key() {
    let workshop = Workshop::new();
    let key = Node::read(&mut rsa_key().as_slice()).unwrap();
    let mut seen = 0;
    key.mutations("an RSA key", &mut |name, changed| {
        if name.ends_with("NULL behind") {
            let mut client = workshop.client.clone();
            client.key = changed.write();
            let case = workshop.client(&name, &client);
            assert!(!is_taken_by_the_core(&case), "{name}");
            seen += 1;
        }
    });
    assert_eq!(seen, 4);
}

/// The public key of a published key pair.
fn rsa_key() -> Vec<u8> {
    let pem = include_str!("../../examples/keys/rsa-1.pem");
    let key = KeyPair::from_pem_and_sign_algo(pem, &rcgen::PKCS_RSA_SHA256).unwrap();
    key.subject_public_key_info()
}
