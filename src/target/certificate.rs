//! The certificate that a target shows over RDP, before anything is sent to it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// What a target shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The SHA-256 of its certificate, in lower-case hex.
    pub sha256: String,
    /// Whether it speaks NLA.
    pub nla: bool,
}

/// An X.224 Connection Request that offers TLS and NLA (MS-RDPBCGR section 2.2.1.1).
const REQUEST: [u8; 19] = [3, 0, 0, 19, 14, 0xe0, 0, 0, 0, 0, 0, 1, 0, 8, 0, 0x0b, 0, 0, 0];
/// The most bytes of an answer.
const ANSWER_BYTES_MAX: usize = 128;
/// Of an answer: where its negotiation begins, and what kind it is (section 2.2.1.2.1).
const NEGOTIATION_AT: usize = 11;
const NEGOTIATED: u8 = 2;
const FAILED: u8 = 3;
/// Protocols that go over TLS with NLA in it.
const NLA: u32 = 0x02 | 0x08;

/// Asks a target for its certificate. Whatever it is, the handshake ends there.
///
/// # Errors
/// Why there is none.
pub async fn scan(address: &str, limit: Duration) -> Result<Shown, String> {
    let looking = async {
        let mut stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
        stream.write_all(&REQUEST).await.map_err(|error| error.to_string())?;
        let chosen = chosen(&read_answer(&mut stream).await?)?;
        let seen = Arc::new(Seen::default());
        let verifier: Arc<dyn ServerCertVerifier> = Arc::<Seen>::clone(&seen);
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        // No name is looked for in the certificate: it is shown to an operator, who compares.
        let name = ServerName::try_from("target.invalid").map_err(|error| error.to_string())?;
        let ended = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let why = ended.err().map_or_else(|| String::from("no certificate"), |error| error.to_string());
        let sha256 = seen.0.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or(why)?;
        Ok(Shown { sha256, nla: chosen & NLA != 0 })
    };
    timeout(limit, looking).await.map_err(|_| format!("no answer within {} s", limit.as_secs()))?
}

/// One whole TPKT.
async fn read_answer(stream: &mut TcpStream) -> Result<Vec<u8>, String> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(|error| error.to_string())?;
    let [version, _, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if version != 3 || !(head.len()..=ANSWER_BYTES_MAX).contains(&length) {
        return Err(String::from("it does not speak RDP"));
    }
    let mut answer = head.to_vec();
    answer.resize(length, 0);
    let rest = answer.get_mut(head.len()..).unwrap_or_default();
    stream.read_exact(rest).await.map_err(|error| error.to_string())?;
    Ok(answer)
}

/// The protocol that a target has chosen.
fn chosen(answer: &[u8]) -> Result<u32, String> {
    let negotiation: Option<[u8; 8]> = answer.get(NEGOTIATION_AT..).and_then(|rest| rest.try_into().ok());
    match negotiation {
        Some([NEGOTIATED, _, _, _, protocol @ ..]) => match u32::from_le_bytes(protocol) {
            0 => Err(String::from("it speaks RDP without TLS only, which is never used")),
            protocol => Ok(protocol),
        },
        Some([FAILED, _, _, _, code @ ..]) => {
            Err(format!("it refuses TLS and NLA (failure {})", u32::from_le_bytes(code)))
        }
        Some(_) | None => Err(String::from("it speaks RDP without TLS only, which is never used")),
    }
}

/// Keeps the certificate, and refuses it.
#[derive(Debug, Default)]
struct Seen(Mutex<Option<String>>);

impl ServerCertVerifier for Seen {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let digest = ring::digest::digest(&ring::digest::SHA256, end_entity);
        let hex = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(hex);
        Err(Error::General(String::from("only looked at")))
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General(String::from("only looked at")))
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General(String::from("only looked at")))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(kind: u8, value: u32) -> Vec<u8> {
        let mut bytes = vec![3, 0, 0, 19, 14, 0xd0, 0, 0, 0, 0, 0, kind, 0, 8, 0];
        bytes.extend(value.to_le_bytes());
        bytes
    }

    #[test]
    fn only_a_target_that_chooses_tls_is_looked_at() {
        assert_eq!(chosen(&answer(NEGOTIATED, 1)), Ok(1));
        assert_eq!(chosen(&answer(NEGOTIATED, 2)), Ok(2));
        for none in [answer(NEGOTIATED, 0), answer(FAILED, 2), answer(9, 1), vec![3, 0, 0, 11], Vec::new()] {
            assert!(chosen(&none).is_err(), "{none:?}");
        }
    }

    #[tokio::test]
    async fn a_target_that_says_something_else_or_nothing_is_told() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 19];
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, REQUEST);
            stream.write_all(b"SSH-2.0-x\r\n").await.unwrap();
        });
        let error = scan(&address, Duration::from_secs(5)).await.unwrap_err();
        assert!(error.contains("does not speak RDP"), "{error}");
        answering.await.unwrap();
    }
}
