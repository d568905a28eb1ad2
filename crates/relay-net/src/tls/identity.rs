//! What a listener shows of itself: its certificate, those that lead from there to an authority, and the key to it.

use std::{fmt, io, path::Path, sync::Arc};

use rustls::{
    crypto::aws_lc_rs::sign::any_supported_type,
    pki_types::{CertificateDer, PrivateKeyDer},
    sign::CertifiedKey,
};

use super::{
    certificate::Certificate,
    pem::{self, CertificatesFault, KeyFault},
};

/// A certificate with its chain, and its key.
#[derive(Clone)]
pub struct Identity {
    key: Arc<CertifiedKey>,
    /// In seconds since the epoch.
    not_before: i64,
    /// The same.
    not_after: i64,
    hosts: Vec<String>,
}

/// Why two files are no identity, with the way out. No text of it holds anything of a key.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// One of them cannot be read.
    #[error("failed to read {file}: {source}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The one for certificates holds something else.
    #[error("{file}: {source}")]
    Certificates {
        /// Which.
        file: String,
        /// What it holds.
        source: CertificatesFault,
    },
    /// The one for the key holds something else.
    #[error("{file}: {source}")]
    Key {
        /// Which.
        file: String,
        /// What it holds.
        source: KeyFault,
    },
    /// The key is of a kind that TLS has no use for.
    #[error(
        "{file}: a key of a kind that TLS does not take; want RSA of 2048 bits or more, ECDSA on P-256, P-384 or P-521, or Ed25519"
    )]
    Kind {
        /// Which.
        file: String,
    },
    /// The TLS library takes none of its own defaults.
    #[error("failed to set up TLS")]
    Rustls(#[from] rustls::Error),
    /// The key is that of another certificate.
    #[error("the key in {key} does not belong to the first certificate in {certificates}{hint}")]
    Strangers {
        /// The file with certificates.
        certificates: String,
        /// The file with the key.
        key: String,
        /// What may have been meant.
        hint: &'static str,
    },
}

impl IdentityError {
    /// There are no files for what needs some.
    pub fn nothing() -> Self {
        Self::File { file: "the file of a certificate".to_owned(), source: io::ErrorKind::NotFound.into() }
    }
}

impl Identity {
    /// Reads two files.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn in_files(certificates: &Path, key: &Path) -> Result<Self, IdentityError> {
        let read = |path: &Path| {
            std::fs::read(path).map_err(|source| IdentityError::File { file: path.display().to_string(), source })
        };
        Self::of((&read(certificates)?, certificates), (&read(key)?, key))
    }

    /// Of what stands in two files, with their names.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn of(certificates: (&[u8], &Path), key: (&[u8], &Path)) -> Result<Self, IdentityError> {
        let name = |path: &Path| path.display().to_string();
        let chain = pem::certificates(certificates.0)
            .map_err(|source| IdentityError::Certificates { file: name(certificates.1), source })?;
        let private = pem::private_key(key.0).map_err(|source| IdentityError::Key { file: name(key.1), source })?;
        let signer = any_supported_type(&private).map_err(|_| IdentityError::Kind { file: name(key.1) })?;
        let certified = CertifiedKey::new(chain, signer);
        if certified.keys_match().is_err() {
            let hint = hint(&certified, &private);
            return Err(IdentityError::Strangers { certificates: name(certificates.1), key: name(key.1), hint });
        }
        let first = certified.cert.first().and_then(|der| Certificate::read(der));
        let not_after = first.as_ref().map_or(i64::MAX, |first| first.not_after);
        let not_before = first.as_ref().map_or(i64::MIN, |first| first.not_before);
        Ok(Self {
            not_before,
            not_after,
            hosts: first.map(Certificate::hosts).unwrap_or_default(),
            key: Arc::new(certified),
        })
    }

    /// When its certificate begins, in seconds since the epoch.
    pub const fn not_before(&self) -> i64 {
        self.not_before
    }

    /// When its certificate ends, in seconds since the epoch.
    pub const fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The hosts that its certificate is for, in lower case; `*.` stands for one label.
    pub fn hosts(&self) -> &[String] {
        &self.hosts
    }

    pub(super) fn key(&self) -> &Arc<CertifiedKey> {
        &self.key
    }
}

/// Whether the key belongs to another certificate of the file: authorities hand them out in either order.
fn hint(certified: &CertifiedKey, private: &PrivateKeyDer<'static>) -> &'static str {
    let belongs = |der: &CertificateDer<'static>| {
        let Ok(signer) = any_supported_type(private) else { return false };
        CertifiedKey::new(vec![der.clone()], signer).keys_match().is_ok()
    };
    if certified.cert.iter().skip(1).any(belongs) {
        ", but to a later one: the server's own has to come first, then those that lead to its authority"
    } else {
        ": want the key that its request was made with"
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("not_after", &self.not_after).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn made(name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn of(certificates: &str, key: &str) -> Result<Identity, String> {
        let (cert_file, key_file) = (Path::new("tls.pem"), Path::new("tls.key"));
        Identity::of((certificates.as_bytes(), cert_file), (key.as_bytes(), key_file))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_key_and_its_certificate_are_one() {
        let (certificate, key) = made("relay.test");
        let (other, other_key) = made("other.test");
        assert!(of(&certificate, &key).is_ok());
        assert!(of(&format!("{certificate}{other}"), &key).is_ok(), "a chain");
        let together = format!("{key}{certificate}");
        assert!(of(&together, &together).is_ok(), "as some tools write them");
        for (certificates, key, want) in [
            (certificate.clone(), other_key.clone(), "want the key that its request was made with"),
            (format!("{other}{certificate}"), key.clone(), "the server's own has to come first"),
            (key.clone(), key.clone(), "tls.pem: it holds PRIVATE KEY and no certificate"),
            (certificate.clone(), certificate.clone(), "tls.key: it holds CERTIFICATE and no private key"),
            (certificate.clone(), String::new(), "tls.key: it holds no private key"),
        ] {
            let said = of(&certificates, &key).unwrap_err();
            assert!(said.contains(want), "{said}");
        }
    }

    #[test]
    fn nothing_of_a_key_is_shown() {
        let (certificate, key) = made("relay.test");
        let secret = key.lines().nth(1).unwrap();
        assert!(!format!("{:?}", of(&certificate, &key)).contains(secret));
        let cut = key.replace("-----END", "");
        assert!(!of(&certificate, &cut).unwrap_err().contains(secret));
    }
}
