//! The certificate authorities that may sign the certificate of Postgres.
//!
//! There is no TLS without a check of the certificate: anyone who can answer in the place of Postgres could read it. A
//! connection either verifies the chain and the host name, or uses no TLS.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{
        CertificateDer,
        pem::{self, PemObject as _},
    },
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// At least one authority.
#[derive(Debug, Clone)]
pub struct Authorities(Arc<RootCertStore>);

/// Authorities that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The file cannot be read, or is not PEM.
    #[error("cannot read certificates from {}, expected PEM", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A certificate of the file is malformed.
    #[error("{} has a certificate that cannot be used", path.display())]
    Certificate {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The file has no certificate.
    #[error("{} has no certificate, expected PEM", .0.display())]
    Empty(PathBuf),
    /// The system has no authority.
    #[error("this system has no certificate authorities: name those of your Postgres with --database-ca")]
    System,
}

impl Authorities {
    /// The authorities of a PEM file.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn read(path: &Path) -> Result<Self, AuthorityError> {
        let unreadable = |source| AuthorityError::Read { path: path.to_owned(), source };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            let added = roots.add(certificate.map_err(unreadable)?);
            added.map_err(|source| AuthorityError::Certificate { path: path.to_owned(), source })?;
        }
        if roots.is_empty() {
            return Err(AuthorityError::Empty(path.to_owned()));
        }
        Ok(Self(Arc::new(roots)))
    }

    /// The authorities that the system trusts, or that the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` name.
    ///
    /// # Errors
    /// When there is none.
    pub fn system() -> Result<Self, AuthorityError> {
        let mut roots = RootCertStore::empty();
        // A system may have authorities that rustls cannot use. They are left out.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            return Err(AuthorityError::System);
        }
        Ok(Self(Arc::new(roots)))
    }

    /// Makes connections that verify Postgres against these authorities.
    pub fn connector(&self) -> MakeRustlsConnect {
        connector(Arc::clone(&self.0))
    }
}

/// A connector for connections that use no TLS.
pub fn unused() -> MakeRustlsConnect {
    connector(Arc::new(RootCertStore::empty()))
}

fn connector(roots: Arc<RootCertStore>) -> MakeRustlsConnect {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("ring has cipher suites for all of them");
    MakeRustlsConnect::new(config.with_root_certificates(roots).with_no_client_auth())
}
