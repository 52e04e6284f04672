//! Tls: how a check over TLS trusts.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::config::TlsCheck;

use super::{Conversation, Obstacle};

/// A check that could never pass, whatever the backends do.
#[derive(Debug)]
pub enum Unusable {
    /// The file of authorities gives none.
    Authorities {
        /// Whose check it is.
        pool: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The system knows no authorities.
    NoAuthorities {
        /// Whose check it is.
        pool: String,
        /// What was met on the way.
        why: String,
    },
    /// The name cannot be one of a certificate.
    Name {
        /// Whose check it is.
        pool: String,
        /// The name.
        name: String,
    },
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unusable::Authorities { pool, path, why } => write!(
                f,
                "pool {pool}: the authorities of its health check cannot be read from {}: {why}; give a PEM file with at \
                 least one certificate that this user may read, or leave it out to trust the system's authorities",
                path.display()
            ),
            Unusable::NoAuthorities { pool, why } => write!(
                f,
                "pool {pool}: its health check trusts the system's authorities, and there are none{why}; install the \
                 package ca-certificates, give a PEM file of authorities, or turn verification off"
            ),
            Unusable::Name { pool, name } => write!(
                f,
                "pool {pool}: the name of its health check ({name}) is neither a DNS name nor an address, so that no \
                 certificate can have it; give the name that the backends' certificate has"
            ),
        }
    }
}

impl std::error::Error for Unusable {}

/// One side of TLS, for all checks of a pool.
pub(super) struct Client {
    connector: TlsConnector,
    /// What the certificate must have; `None` is the address.
    name: Option<ServerName<'static>>,
}

impl Client {
    /// Reads the authorities.
    pub(super) fn new(pool: &str, trust: &TlsCheck) -> Result<Client, Unusable> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .expect("the provider has cipher suites for the default versions");
        let mut config = if trust.verify {
            builder
                .with_root_certificates(authorities(pool, trust.authorities.as_deref())?)
                .with_no_client_auth()
        } else {
            let verifier = Arc::new(Trusting(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        };
        // A session that is resumed shows no certificate: each check is to see one.
        config.resumption = Resumption::disabled();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = trust.name.as_ref().map(|name| {
            let unusable = |_| Unusable::Name { pool: pool.to_owned(), name: name.clone() };
            ServerName::try_from(name.clone()).map_err(unusable)
        });
        Ok(Client { connector: TlsConnector::from(Arc::new(config)), name: name.transpose()? })
    }

    /// The handshake.
    pub(super) async fn connect(
        &self,
        stream: Box<dyn Conversation>,
        address: Option<IpAddr>,
    ) -> Result<TlsStream<Box<dyn Conversation>>, Obstacle> {
        let unnamed =
            || Obstacle::Backend("TLS: a Unix socket has no address to verify; give health.tls_name".into());
        let name = self.name.clone().or(address.map(ServerName::from)).ok_or_else(unnamed)?;
        let connected = self.connector.connect(name, stream).await;
        connected.map_err(|error| Obstacle::Backend(format!("TLS: {error}")))
    }
}

fn authorities(pool: &str, path: Option<&Path>) -> Result<RootCertStore, Unusable> {
    let mut store = RootCertStore::empty();
    let Some(path) = path else {
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return if store.is_empty() {
            Err(Unusable::NoAuthorities { pool: pool.to_owned(), why })
        } else {
            Ok(store)
        };
    };
    let unusable = |why| Unusable::Authorities { pool: pool.to_owned(), path: path.to_owned(), why };
    let certificates = CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| unusable(error.to_string()))?;
        store.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(unusable("it has no certificate in it".into()));
    }
    Ok(store)
}

/// Takes any certificate, as it was asked to. The peer must have the key of the one that it shows.
#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
