//! Certificates for tests that speak TLS.

use std::{io::Write as _, path::PathBuf, sync::Arc};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    RootCertStore, ServerConfig, SupportedProtocolVersion, crypto::aws_lc_rs, pki_types::PrivateKeyDer,
    server::WebPkiClientVerifier,
};
use tokio_rustls::TlsAcceptor;

/// A certificate authority, a file with its certificate, and an acceptor whose certificate it signed.
pub(crate) fn authority(dir: &tempfile::TempDir) -> (PathBuf, TlsAcceptor) {
    authority_for(dir, false, rustls::ALL_VERSIONS)
}

/// The same, and who comes has to show a certificate of that authority too, as `client.pem` with `client.key` is one.
pub(crate) fn demanding(dir: &tempfile::TempDir, version: &'static SupportedProtocolVersion) -> (PathBuf, TlsAcceptor) {
    authority_for(dir, true, &[version])
}

fn authority_for(
    dir: &tempfile::TempDir,
    demands: bool,
    versions: &[&'static SupportedProtocolVersion],
) -> (PathBuf, TlsAcceptor) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let own = KeyPair::generate().unwrap();
    let shown = CertificateParams::new(vec!["client".to_owned()]).unwrap().signed_by(&own, &authority).unwrap();
    std::fs::write(dir.path().join("client.pem"), shown.pem()).unwrap();
    std::fs::write(dir.path().join("client.key"), own.serialize_pem()).unwrap();
    let file = dir.path().join("ca.pem");
    std::fs::File::create(&file).unwrap().write_all(authority.pem().as_bytes()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions).unwrap();
    let config = if demands {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        config.with_client_cert_verifier(verifier)
    } else {
        config.with_no_client_auth()
    };
    let config = config.with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()));
    (file, TlsAcceptor::from(Arc::new(config.unwrap())))
}
