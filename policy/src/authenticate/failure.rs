/// Why a token does not authenticate its bearer: Envoy's statuses, with Envoy's words, so that what people
/// search for is what they find. The order of the variants is not the order of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TokenFailure {
    /// No token is there. Never an answer under Istio's configuration, which lets such requests pass.
    Missing,
    /// Not three parts between dots.
    Form,
    /// The header is not base64url.
    HeaderBase64,
    /// The header is not JSON.
    HeaderJson,
    /// The header has no `alg` string.
    AlgorithmMissing,
    /// The header's `alg` is not one of Envoy's thirteen.
    AlgorithmUnsupported,
    /// The header's `kid` is not a string.
    KeyIdType,
    /// The payload is not base64url.
    PayloadBase64,
    /// The payload is not JSON.
    PayloadJson,
    /// The claim is not a string.
    ClaimNotString(TextClaim),
    /// The claim is not a number.
    ClaimNotInteger(TimeClaim),
    /// The claim is below 0 or at least 2^64.
    ClaimNotPositive(TimeClaim),
    /// `aud` is neither a string nor a list of strings.
    AudienceType,
    /// The signature is not base64url.
    SignatureBase64,
    /// No rule knows the issuer.
    UnknownIssuer,
    /// Before `nbf`, beyond the clock skew.
    NotYetValid,
    /// After `exp`, beyond the clock skew.
    Expired,
    /// `aud` names none of the rule's audiences. The one failure that answers 403.
    AudienceNotAllowed,
    /// The key set could not be fetched.
    KeysUnavailable,
    /// No key of the set fits the token's `kid` and `alg`.
    NoMatchingKey,
    /// An Ed25519 key met a signature that is not 64 bytes long.
    Ed25519Length,
    /// No key that fits verifies the signature.
    Verification,
    /// No key verified the signature until the request had cost as much as one may.
    TooManyTrials,
    /// The token names no client certificate, and a `CertificateAuthentication` asks that it does.
    Unbound,
    /// `cnf` is not exactly one SHA-256 thumbprint.
    BindingForm,
    /// The token is bound, and no certificate of the client is known.
    BoundWithoutCertificate,
    /// The token is bound to another certificate than the client's.
    BoundToAnother,
}

/// A registered claim that is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TextClaim {
    /// `iss`
    Issuer,
    /// `sub`
    Subject,
    /// `jti`
    TokenId,
}

/// A registered claim that is a time in seconds since the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeClaim {
    /// `iat`
    IssuedAt,
    /// `nbf`
    NotBefore,
    /// `exp`
    Expiration,
}

impl TokenFailure {
    /// The body of the reply.
    pub fn message(self) -> &'static str {
        match self {
            Self::Missing => "Jwt is missing",
            Self::Form => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::HeaderBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderJson => "Jwt header is an invalid JSON",
            Self::AlgorithmMissing => "Jwt header [alg] field is required and must be a string",
            Self::AlgorithmUnsupported => "Jwt header [alg] is not supported",
            Self::KeyIdType => "Jwt header [kid] field is not a string",
            Self::PayloadBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadJson => "Jwt payload is an invalid JSON",
            Self::ClaimNotString(TextClaim::Issuer) => "Jwt payload [iss] field is not a string",
            Self::ClaimNotString(TextClaim::Subject) => "Jwt payload [sub] field is not a string",
            Self::ClaimNotString(TextClaim::TokenId) => "Jwt payload [jti] field is not a string",
            Self::ClaimNotInteger(TimeClaim::IssuedAt) => {
                "Jwt payload [iat] field is not an integer"
            }
            Self::ClaimNotInteger(TimeClaim::NotBefore) => {
                "Jwt payload [nbf] field is not an integer"
            }
            Self::ClaimNotInteger(TimeClaim::Expiration) => {
                "Jwt payload [exp] field is not an integer"
            }
            Self::ClaimNotPositive(TimeClaim::IssuedAt) => {
                "Jwt payload [iat] field is not a positive 64 bit integer"
            }
            Self::ClaimNotPositive(TimeClaim::NotBefore) => {
                "Jwt payload [nbf] field is not a positive 64 bit integer"
            }
            Self::ClaimNotPositive(TimeClaim::Expiration) => {
                "Jwt payload [exp] field is not a positive 64 bit integer"
            }
            Self::AudienceType => "Jwt payload [aud] field is not a string or string list",
            Self::SignatureBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::UnknownIssuer => "Jwt issuer is not configured",
            Self::NotYetValid => "Jwt not yet valid",
            Self::Expired => "Jwt is expired",
            Self::AudienceNotAllowed => "Audiences in Jwt are not allowed",
            Self::KeysUnavailable => "Jwks remote fetch is failed",
            Self::NoMatchingKey => "Jwks doesn't have key to match kid or alg from Jwt",
            Self::Ed25519Length => "Jwt ED25519 signature is wrong length",
            Self::Verification | Self::TooManyTrials => "Jwt verification fails",
            Self::Unbound => "Jwt is not bound to a client certificate",
            Self::BindingForm => "Jwt payload [cnf] field is not a certificate thumbprint",
            Self::BoundWithoutCertificate => {
                "Jwt is bound to a client certificate and none is known"
            }
            Self::BoundToAnother => "Jwt is bound to another client certificate",
        }
    }

    /// Whether newer keys could change it.
    pub fn is_for_lack_of_keys(self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::NoMatchingKey)
    }

    /// The status of the reply.
    pub fn status(self) -> u16 {
        if self == Self::AudienceNotAllowed {
            403
        } else {
            401
        }
    }
}
