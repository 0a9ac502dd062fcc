use super::whole;
use crate::diagnostic::Code;
use crate::resource::{Decoder, Field, Object};
use crate::source::{Node, Value};

/// A request as a scenario states it.
#[derive(Debug, Clone)]
pub struct RequestSpec {
    /// The method.
    pub method: String,
    /// The value of `:authority`.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// Header lines in order.
    pub headers: Vec<(String, String)>,
    /// Tokens to mint and place.
    pub tokens: Vec<Token>,
    /// `None` is plain text.
    pub certificate: Option<Certificate>,
    /// The TCP peer.
    pub source_ip: String,
    /// The address that is connected to.
    pub destination_ip: String,
    /// The port that is connected to.
    pub destination_port: u16,
    /// The server name of the TLS handshake; `None` sends none.
    pub sni: Option<String>,
    /// Seconds after the scenario's `now`.
    pub at: u64,
}

/// The client's side of TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Certificate {
    /// TLS without a client certificate.
    None,
    /// A fixture.
    Named(String),
    /// A certificate with these names.
    Inline {
        /// URI SANs.
        uri: Vec<String>,
        /// DNS SANs.
        dns: Vec<String>,
        /// E-mail SANs.
        email: Vec<String>,
        /// Attributes of the subject in the certificate's order.
        subject: Vec<(String, String)>,
    },
}

/// A token and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// The token.
    pub source: TokenSource,
    /// Where.
    pub place: TokenPlace,
}

/// Where a token goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenPlace {
    /// A header line: the prefix, then the token.
    Header {
        /// The header.
        name: String,
        /// What comes before the token.
        prefix: String,
    },
    /// A query parameter, behind those that the path has.
    Param(String),
    /// A cookie.
    Cookie(String),
}

/// How a token comes to be.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenSource {
    /// As it is.
    Raw(String),
    /// Minted with a fixture key.
    Minted {
        /// The key's name.
        key: String,
        /// `kid` of the header; `None` leaves it out.
        key_id: Option<String>,
        /// A JSON object; `exp`, `nbf` and `iat` may be `+1h`.
        claims: String,
        /// A signature that takes the place of the right one.
        signature: Option<String>,
    },
    /// The bytes of header and payload as given, signed with HMAC-SHA256.
    Forged {
        /// The key's name.
        key: String,
        /// The header's bytes.
        header: String,
        /// The payload's bytes.
        payload: String,
        /// A signature that takes the place of the right one.
        signature: Option<String>,
    },
}

impl Default for RequestSpec {
    fn default() -> Self {
        Self {
            method: "GET".into(),
            host: "example.com".into(),
            path: "/".into(),
            headers: Vec::new(),
            tokens: Vec::new(),
            certificate: None,
            source_ip: "127.0.0.1".into(),
            destination_ip: "10.0.0.2".into(),
            destination_port: 8080,
            sni: None,
            at: 0,
        }
    }
}

impl RequestSpec {
    pub(super) fn decode(decoder: &mut Decoder, field: &Field<'_>) -> Option<Self> {
        let object = decoder.object(field)?;
        decoder.known_fields(
            &object,
            &[
                "method",
                "host",
                "path",
                "headers",
                "token",
                "certificate",
                "sourceIp",
                "destinationIp",
                "destinationPort",
                "sni",
                "at",
            ],
        );
        let mut request = Self::default();
        for (key, value) in [
            ("method", &mut request.method),
            ("host", &mut request.host),
            ("path", &mut request.path),
            ("sourceIp", &mut request.source_ip),
            ("destinationIp", &mut request.destination_ip),
        ] {
            if let Some(text) = decoder.string(&object, key) {
                *value = text.text;
            }
        }
        request.sni = decoder.plain_string(&object, "sni");
        if let Some(port) = decoder.number(&object, "destinationPort") {
            match whole(port) {
                Some(port) => request.destination_port = port,
                None => decoder.refuse(
                    Code::InvalidPort,
                    &object.at().key("destinationPort"),
                    &port,
                    "a port",
                    "write a number from 0 to 65535",
                ),
            }
        }
        if let Some(at) = decoder.string(&object, "at") {
            match duration(&at.text) {
                Some(seconds) => request.at = seconds,
                None => decoder.refuse(
                    Code::InvalidValue,
                    &at.at,
                    &at.text,
                    "a time span",
                    "write `+65s`, `+2m` or `+1h`",
                ),
            }
        }
        if let Some(headers) = decoder.inner(&object, "headers") {
            for (name, field) in headers.fields() {
                for value in values(decoder, &field) {
                    request.headers.push((name.to_owned(), value));
                }
            }
        }
        if let Some(field) = object.field("token") {
            request.tokens = tokens(decoder, &field);
        }
        if let Some(field) = object.field("certificate") {
            request.certificate = certificate(decoder, &field);
        }
        Some(request)
    }
}

/// `+65s`, `+2m`, `+1h` or `+2d` in seconds.
fn duration(text: &str) -> Option<u64> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let scale = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86400,
        _ => return None,
    };
    let number: u64 = text.get(..unit_at)?.strip_prefix('+')?.parse().ok()?;
    number.checked_mul(scale)
}

/// A string, or a list of them.
pub(super) fn values(decoder: &mut Decoder, field: &Field<'_>) -> Vec<String> {
    match &field.node.value {
        Value::Sequence(items) => items
            .iter()
            .enumerate()
            .filter_map(|(index, node)| {
                decoder.text(&Field {
                    node,
                    at: field.at.index(index),
                })
            })
            .map(|text| text.text)
            .collect(),
        _ => decoder
            .text(field)
            .map(|text| text.text)
            .into_iter()
            .collect(),
    }
}

fn tokens(decoder: &mut Decoder, field: &Field<'_>) -> Vec<Token> {
    match &field.node.value {
        Value::Sequence(items) => items
            .iter()
            .enumerate()
            .filter_map(|(index, node)| {
                token(
                    decoder,
                    &Field {
                        node,
                        at: field.at.index(index),
                    },
                )
            })
            .collect(),
        _ => token(decoder, field).into_iter().collect(),
    }
}

fn token(decoder: &mut Decoder, field: &Field<'_>) -> Option<Token> {
    let bearer = || TokenPlace::Header {
        name: "authorization".into(),
        prefix: "Bearer ".into(),
    };
    if let Value::String(raw) = &field.node.value {
        return Some(Token {
            source: TokenSource::Raw(raw.clone()),
            place: bearer(),
        });
    }
    let object = decoder.object(field)?;
    decoder.known_fields(
        &object,
        &[
            "key",
            "kid",
            "claims",
            "raw",
            "rawHeader",
            "rawPayload",
            "signature",
            "header",
            "prefix",
            "param",
            "cookie",
        ],
    );
    let text = |decoder: &mut Decoder, key: &str| decoder.plain_string(&object, key);
    let place = match (
        text(decoder, "header"),
        text(decoder, "param"),
        text(decoder, "cookie"),
    ) {
        (Some(name), None, None) => TokenPlace::Header {
            name,
            prefix: text(decoder, "prefix").unwrap_or_default(),
        },
        (None, Some(name), None) => TokenPlace::Param(name),
        (None, None, Some(name)) => TokenPlace::Cookie(name),
        (None, None, None) => bearer(),
        _ => {
            decoder.error(
                Code::ConflictingFields,
                &field.at,
                "`header`, `param` and `cookie` exclude each other",
                "make two tokens of it",
            );
            return None;
        }
    };
    Some(Token {
        source: source(decoder, &object)?,
        place,
    })
}

fn source(decoder: &mut Decoder, object: &Object<'_>) -> Option<TokenSource> {
    if let Some(raw) = decoder.string(object, "raw") {
        return Some(TokenSource::Raw(raw.text));
    }
    let key = decoder.required_string(object, "key")?.text;
    let signature = decoder.plain_string(object, "signature");
    if object.names("rawHeader") || object.names("rawPayload") {
        return Some(TokenSource::Forged {
            key,
            header: decoder.required_string(object, "rawHeader")?.text,
            payload: decoder.required_string(object, "rawPayload")?.text,
            signature,
        });
    }
    let key_id = if object.names("kid") {
        decoder.plain_string(object, "kid")
    } else {
        Some(key.clone())
    };
    let claims = object
        .field("claims")
        .map_or_else(|| "{}".to_owned(), |field| Node::to_json(field.node));
    Some(TokenSource::Minted {
        key,
        key_id,
        claims,
        signature,
    })
}

fn certificate(decoder: &mut Decoder, field: &Field<'_>) -> Option<Certificate> {
    match field.node.as_str() {
        Some("none") => return Some(Certificate::None),
        Some(name) => return Some(Certificate::Named(name.to_owned())),
        None => {}
    }
    let object = decoder.object(field)?;
    decoder.known_fields(&object, &["uri", "dns", "email", "subject"]);
    let texts =
        |decoder: &mut Decoder, key: &str| -> Vec<String> { decoder.plain_strings(&object, key) };
    let uri = texts(decoder, "uri");
    let dns = texts(decoder, "dns");
    let email = texts(decoder, "email");
    let mut subject = Vec::new();
    for field in decoder.list(&object, "subject").unwrap_or_default() {
        match <[String; 2]>::try_from(values(decoder, &field)) {
            Ok([attribute, value]) => subject.push((attribute, value)),
            Err(_) => decoder.wrong_type(&field, "an attribute and its value"),
        }
    }
    Some(Certificate::Inline {
        uri,
        dns,
        email,
        subject,
    })
}
