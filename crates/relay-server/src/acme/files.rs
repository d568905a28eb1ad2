//! What is kept of an authority, below the data directory and for its owner alone: `acme-account.json` and `acme-certificate.pem`,
//! which holds the key, the certificate and those that lead to the authority, so that they change at once.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use instant_acme::AccountCredentials;
use rcgen::{CertificateParams, KeyPair};
use relay_core::time::Wall;
use relay_net::tls::{Identity, IdentityError, certificates};
use relay_store::private;
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::certificate::TlsFiles;

/// Where the certificate stands, and its key.
pub(super) fn of(data_dir: &Path) -> TlsFiles {
    let file = data_dir.join("acme-certificate.pem");
    TlsFiles { certificate: file.clone(), key: file }
}

/// The files of the certificate: if there is none, or something else, one is there then that nobody takes, whose time is long over.
///
/// # Errors
/// Those of the system: one that cannot be read is not replaced.
pub(crate) fn prepare(data_dir: &Path, domains: &[String]) -> io::Result<TlsFiles> {
    let files = of(data_dir);
    match Identity::in_files(&files.certificate, &files.key) {
        Ok(_) => {}
        Err(IdentityError::File { source, .. }) if source.kind() != io::ErrorKind::NotFound => return Err(source),
        Err(_) => {
            let made = nobodys(domains).map_err(io::Error::other)?;
            private::replace(&files.certificate, made.as_bytes())?;
        }
    }
    Ok(files)
}

/// Whether a certificate can be put there, by putting there what is there: authorities count those that they hand out, also those
/// that are lost for want of room.
///
/// # Errors
/// In words, those of the system.
pub(super) fn try_to_write(data_dir: &Path) -> Result<(), String> {
    let file = of(data_dir).certificate;
    let written = match fs::read(&file) {
        // It was removed, so that another is obtained.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let probe = data_dir.join("acme-certificate.probe");
            private::replace(&probe, b"").and_then(|()| fs::remove_file(&probe))
        }
        read => read.and_then(|kept| private::replace(&file, &kept)),
    };
    written.map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// Puts a certificate in the place of the one of before.
///
/// # Errors
/// In words: it does not belong to the key; or those of the system.
pub(super) fn replace(data_dir: &Path, key: &str, chain: &str) -> Result<(), String> {
    let files = of(data_dir);
    let whole = format!("{key}{chain}");
    let named = |bytes| (bytes, files.certificate.as_path());
    Identity::of(named(whole.as_bytes()), named(whole.as_bytes())).map_err(|error| error.to_string())?;
    private::replace(&files.certificate, whole.as_bytes())
        .map_err(|error| format!("cannot write {}: {error}", files.certificate.display()))
}

/// A certificate that was obtained.
pub(super) struct Known {
    pub(super) der: CertificateDer<'static>,
    pub(super) from: Wall,
    pub(super) until: Wall,
    /// From 0 to 1, the same each time.
    pub(super) roll: f64,
}

/// The one that there is, if it is for all of these names.
///
/// # Errors
/// Those of the system: whether there is one is not known.
pub(super) fn known(files: &TlsFiles, domains: &[String]) -> io::Result<Option<Known>> {
    let bytes = match fs::read(&files.certificate) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    Ok(in_file(&bytes, &files.certificate, domains))
}

fn in_file(bytes: &[u8], file: &Path, domains: &[String]) -> Option<Known> {
    let identity = Identity::of((bytes, file), (bytes, file)).ok()?;
    if !domains.iter().all(|domain| identity.hosts().contains(&domain.to_ascii_lowercase())) {
        return None;
    }
    let der = certificates(bytes).ok()?.into_iter().next()?;
    let seconds = |at: i64| Wall::from_micros(at.saturating_mul(1_000_000));
    let sum = digest(&SHA256, &der);
    let first = sum.as_ref().first_chunk::<4>().copied().map_or(0, u32::from_be_bytes);
    let roll = f64::from(first) / f64::from(u32::MAX);
    Some(Known { der, from: seconds(identity.not_before()), until: seconds(identity.not_after()), roll })
}

fn account_file(data_dir: &Path) -> PathBuf {
    data_dir.join("acme-account.json")
}

/// The account at this authority with this address, if there is one.
pub(super) fn account(data_dir: &Path, directory: &str, email: Option<&str>) -> Option<AccountCredentials> {
    let mut kept: Value = serde_json::from_slice(&fs::read(account_file(data_dir)).ok()?).ok()?;
    if kept.get("directory")?.as_str()? != directory || kept.get("email")?.as_str() != email {
        return None;
    }
    let credentials = kept.get_mut("credentials")?;
    // What is said twice is the same, or spoilt.
    if credentials.get("directory").is_some_and(|told| told != directory) {
        return None;
    }
    serde_json::from_value(credentials.take()).ok()
}

/// Keeps an account.
///
/// # Errors
/// In words, those of the system.
pub(super) fn keep_account(
    data_dir: &Path,
    directory: &str,
    email: Option<&str>,
    credentials: &AccountCredentials,
) -> Result<(), String> {
    let text = json!({ "directory": directory, "email": email, "credentials": credentials }).to_string();
    let file = account_file(data_dir);
    private::replace(&file, text.as_bytes()).map_err(|error| format!("cannot write {}: {error}", file.display()))
}

/// A certificate that nobody takes, with its key.
fn nobodys(domains: &[String]) -> Result<String, rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(domains.to_vec())?;
    (params.not_before, params.not_after) = (rcgen::date_time_ymd(1970, 1, 1), rcgen::date_time_ymd(1970, 1, 2));
    Ok(format!("{}{}", key.serialize_pem(), params.self_signed(&key)?.pem()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// A key and a certificate for these names that holds until 4096.
    fn made(domains: &[String]) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(domains.to_vec()).unwrap().self_signed(&key).unwrap();
        (key.serialize_pem(), made.pem())
    }

    #[test]
    fn what_is_there_is_kept_and_what_is_none_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (wanted, others) = (names(&["relay.test", "hooks.test"]), names(&["relay.test", "other.test"]));
        let files = prepare(dir.path(), &wanted).unwrap();
        let until = known(&files, &wanted).unwrap().expect("one is there").until;
        assert_eq!(until, Wall::from_micros(86_400_000_000), "that nobody takes");
        let mode = fs::metadata(&files.certificate).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let (key, chain) = made(&wanted);
        replace(dir.path(), &key, &chain).unwrap();
        let kept = fs::read(&files.certificate).unwrap();
        assert!(replace(dir.path(), &made(&wanted).0, &chain).unwrap_err().contains("does not belong"));
        try_to_write(dir.path()).unwrap();
        prepare(dir.path(), &others).unwrap();
        assert_eq!(fs::read(&files.certificate).unwrap(), kept, "also where it is for other names");
        assert!(known(&files, &others).unwrap().is_none());
        assert!(known(&files, &names(&["HOOKS.test"])).unwrap().is_some_and(|known| (0.0..=1.0).contains(&known.roll)));

        fs::write(&files.certificate, &kept[..kept.len() / 2]).unwrap();
        prepare(dir.path(), &wanted).unwrap();
        assert!(known(&files, &wanted).unwrap().is_some(), "half of one is none");
        fs::remove_file(&files.certificate).unwrap();
        assert!(known(&files, &wanted).unwrap().is_none());
        fs::create_dir(&files.certificate).unwrap();
        assert!(prepare(dir.path(), &wanted).is_err(), "what cannot be read may be one");
        assert!(try_to_write(dir.path()).is_err());
        assert!(known(&files, &wanted).is_err(), "which is no reason to order another");
    }

    #[test]
    fn an_account_is_that_of_its_authority_and_address() {
        let dir = tempfile::tempdir().unwrap();
        let text = r#"{"id":"https://ca.test/1","key_pkcs8":"MDA","directory":"https://ca.test/dir"}"#;
        let credentials: AccountCredentials = serde_json::from_str(text).unwrap();
        let (ca, email) = ("https://ca.test/dir", Some("a@relay.test"));
        assert!(account(dir.path(), ca, email).is_none());
        keep_account(dir.path(), ca, email, &credentials).unwrap();
        assert!(account(dir.path(), ca, email).is_some());
        assert!(account(dir.path(), "https://other.test/dir", email).is_none());
        assert!(account(dir.path(), ca, None).is_none());
        keep_account(dir.path(), ca, None, &credentials).unwrap();
        assert!(account(dir.path(), ca, None).is_some());
        let kept = fs::read_to_string(account_file(dir.path())).unwrap();
        fs::write(account_file(dir.path()), kept.replace("ca.test/dir\",\"id", "ca .test/dir\",\"id")).unwrap();
        assert!(account(dir.path(), ca, None).is_none(), "a spoilt one is none");
        fs::write(account_file(dir.path()), "{").unwrap();
        assert!(account(dir.path(), ca, None).is_none(), "half of one is none");
    }
}
