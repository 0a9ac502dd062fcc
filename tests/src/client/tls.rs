//! The client's side of TLS.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use super::Error;
use crate::certificates::Identity;

/// How a client opens TLS.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// The certificate it presents; `None` presents none.
    pub identity: Option<Identity>,
    /// The server name it asks for; `None` sends no server name.
    pub sni: Option<String>,
}

impl Tls {
    pub(super) fn session(&self) -> Result<ClientConnection, Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyServer(provider)));
        let config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = vec![CertificateDer::from(identity.certificate.clone())];
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(identity.key.clone()));
                builder.with_client_auth_cert(chain, key)?
            }
        };
        let name = match &self.sni {
            Some(name) => ServerName::try_from(name.clone())
                .map_err(|error| Error::Tls(format!("`{name}`: {error}")))?,
            // An address is never sent as a server name (RFC 6066 section 3).
            None => ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into()),
        };
        ClientConnection::new(Arc::new(config), name).map_err(Error::from)
    }
}

/// Accepts any server certificate: who the proxy claims to be is not what the tests are about, and
/// they ask for names (or none) that its certificate does not carry.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.0.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
