//! TLS of both legs, by rustls: the listener's own certificate, and a target's that must be the one that is pinned.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, IpAddr, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use crate::rdp::control::{Pin, Start};

/// Why there is no TLS.
#[derive(Debug)]
pub(super) enum NoTls {
    /// The certificate or its key, which the bastion gave, cannot be used.
    Own(Error),
    /// The authority's certificate cannot be read.
    Authority(String),
    /// The target's certificate is not the pinned one. Nothing was sent to it.
    WrongCertificate {
        /// Its SHA-256, in lower-case hex.
        got: String,
    },
    /// The handshake failed otherwise.
    Handshake(std::io::Error),
    /// The peer's certificate has no key that can be read.
    NoKey,
}

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own(error) => write!(f, "the listener's certificate cannot be used: {error}"),
            Self::Authority(why) => write!(f, "the authority's certificate cannot be used: {why}"),
            Self::WrongCertificate { got } => write!(f, "the target's certificate is not the pinned one: sha256:{got}"),
            Self::Handshake(error) => write!(f, "TLS failed: {error}"),
            Self::NoKey => f.write_str("the certificate's public key cannot be read"),
        }
    }
}

impl std::error::Error for NoTls {}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Speaks TLS with a user's program.
pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    start: &Start,
) -> Result<server::TlsStream<S>, NoTls> {
    let chain = vec![CertificateDer::from(start.certificate.clone())];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(start.key.expose().clone()));
    let config = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.and_then(|config| config.with_no_client_auth().with_single_cert(chain, key));
    let acceptor = TlsAcceptor::from(Arc::new(config.map_err(NoTls::Own)?));
    acceptor.accept(socket).await.map_err(NoTls::Handshake)
}

/// A target behind TLS, whose certificate is the pinned one.
#[derive(Debug)]
pub(super) struct Checked<S> {
    pub(super) stream: client::TlsStream<S>,
    /// The SHA-256 of its certificate, in lower-case hex.
    pub(super) certificate: String,
    /// Its public key, to which CredSSP binds.
    pub(super) public_key: Vec<u8>,
}

/// Speaks TLS with a target.
pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    host: &str,
    pin: &Pin,
) -> Result<Checked<S>, NoTls> {
    let verifier = Arc::new(Verifier::new(pin)?);
    let config = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let config = config.map_err(NoTls::Own)?.dangerous();
    let checks: Arc<dyn ServerCertVerifier> = Arc::<Verifier>::clone(&verifier);
    let mut config = config.with_custom_certificate_verifier(checks).with_no_client_auth();
    // Each connection is checked anew, certificate and all.
    config.resumption = rustls::client::Resumption::disabled();
    let name = match pin {
        Pin::Authority { name, .. } => name.as_str(),
        Pin::Fingerprints(_) => host,
    };
    // A name that is none for TLS is not sent; what counts is the pin.
    let name = ServerName::try_from(name.to_owned()).unwrap_or(ServerName::IpAddress(IpAddr::V4([0, 0, 0, 0].into())));
    let stream = match TlsConnector::from(Arc::new(config)).connect(name, socket).await {
        Ok(stream) => stream,
        Err(error) => {
            return Err(verifier.wrong().map_or(NoTls::Handshake(error), |got| NoTls::WrongCertificate { got }));
        }
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first).ok_or(NoTls::NoKey)?;
    let (certificate, public_key) = (fingerprint(leaf), public_key(leaf).ok_or(NoTls::NoKey)?);
    Ok(Checked { stream, certificate, public_key })
}

/// The SHA-256 of a certificate, in lower-case hex.
fn fingerprint(der: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bits of a certificate's public key (MS-CSSP section 3.1.5: SubjectPublicKey).
pub(super) fn public_key(der: &[u8]) -> Option<Vec<u8>> {
    let certificate = Certificate::from_der(der).ok()?;
    Some(certificate.tbs_certificate.subject_public_key_info.subject_public_key.raw_bytes().to_vec())
}

/// Whether a target's certificate is the pinned one.
#[derive(Debug)]
struct Verifier {
    check: Check,
    provider: Arc<CryptoProvider>,
    wrong: Mutex<Option<String>>,
}

#[derive(Debug)]
enum Check {
    Fingerprints(Vec<String>),
    Authority(Arc<WebPkiServerVerifier>, ServerName<'static>),
}

impl Verifier {
    fn new(pin: &Pin) -> Result<Self, NoTls> {
        let provider = provider();
        let bad = |error: &dyn fmt::Display| NoTls::Authority(error.to_string());
        let check = match pin {
            Pin::Fingerprints(known) => Check::Fingerprints(known.clone()),
            Pin::Authority { pem, name } => {
                let mut roots = RootCertStore::empty();
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    roots.add(certificate.map_err(|error| bad(&error))?).map_err(|error| bad(&error))?;
                }
                let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
                let name = ServerName::try_from(name.clone()).map_err(|error| bad(&error))?;
                Check::Authority(verifier.build().map_err(|error| bad(&error))?, name)
            }
        };
        Ok(Self { check, provider, wrong: Mutex::new(None) })
    }

    fn wrong(&self) -> Option<String> {
        self.wrong.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let got = fingerprint(end_entity);
        let checked = match &self.check {
            Check::Fingerprints(known) if known.contains(&got) => Ok(ServerCertVerified::assertion()),
            Check::Fingerprints(_) => Err(CertificateError::ApplicationVerificationFailure.into()),
            Check::Authority(verifier, name) => {
                verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
            }
        };
        if checked.is_err() {
            *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(got);
        }
        checked
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
