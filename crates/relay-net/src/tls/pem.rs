//! Certificates as they stand in files of operators: PEM, with whatever editors and tools put around it.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer,
    PrivateSec1KeyDer,
};
use x509_parser::{certificate::X509CertificateParser, nom::Parser as _};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";
/// What a block with a certificate calls itself; the second is what old tools write.
const LABELS: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];

/// What a block with a list of revoked certificates calls itself.
const LIST: &str = "X509 CRL";

/// Why a file gives no certificates, with the way out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificatesFault {
    /// It is binary.
    #[error(
        "it is no text; want PEM: `openssl x509 -inform der -in FILE -out FILE.pem` makes it of a certificate in DER"
    )]
    Binary,
    /// It is UTF-16, as some editors and shells write it.
    #[error("it is UTF-16; want PEM in ASCII or UTF-8: save it anew")]
    Utf16,
    /// It holds none.
    #[error("it holds no certificate; want one or several blocks that begin with -----BEGIN CERTIFICATE-----")]
    Nothing,
    /// It holds other things and no certificate.
    #[error("it holds {0} and no certificate; want blocks that begin with -----BEGIN CERTIFICATE-----")]
    Other(String),
    /// A block has no end.
    #[error("its certificate {0} has no line -----END CERTIFICATE-----: it is cut short")]
    Unended(usize),
    /// A block is no certificate.
    #[error("its certificate {0} does not read; copy it anew, whole, from line BEGIN to line END")]
    Unread(usize),
}

/// The certificates in a file, in DER.
///
/// # Errors
/// What it is instead. One certificate that does not read is a fault: somebody wants it trusted.
pub fn certificates(file: &[u8]) -> Result<Vec<CertificateDer<'static>>, CertificatesFault> {
    let text = text(file)?;
    let (mut found, mut other) = (Vec::new(), None);
    for block in blocks(&text) {
        if !LABELS.contains(&block.label) {
            other.get_or_insert(block.label);
            continue;
        }
        let number = found.len() + 1;
        let content = block.content.ok_or(CertificatesFault::Unended(number))?;
        let der = decode(content).filter(|der| is_certificate(der));
        found.push(CertificateDer::from(der.ok_or(CertificatesFault::Unread(number))?));
    }
    match (found.is_empty(), other) {
        (false, _) => Ok(found),
        (true, None) => Err(CertificatesFault::Nothing),
        (true, Some(label)) => Err(CertificatesFault::Other(label.to_owned())),
    }
}

/// The lists of revoked certificates in a file, in DER; it may hold none.
///
/// # Errors
/// The how-manieth of them does not read.
pub(super) fn revocations(file: &[u8]) -> Result<Vec<CertificateRevocationListDer<'static>>, usize> {
    let text = String::from_utf8_lossy(file);
    let lists = blocks(&text).filter(|block| block.label == LIST).enumerate();
    let read = |(at, block): (usize, Block<'_>)| {
        block.content.and_then(decode).map(CertificateRevocationListDer::from).ok_or(at + 1)
    };
    lists.map(read).collect()
}

/// Why a file gives no private key, with the way out. It says nothing of what stands in it but what its blocks call themselves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It is binary.
    #[error("it is no text; want PEM: `openssl pkey -inform der -in FILE -out FILE.pem` makes it of a key in DER")]
    Binary,
    /// It is UTF-16.
    #[error("it is UTF-16; want PEM in ASCII or UTF-8: save it anew")]
    Utf16,
    /// It holds none.
    #[error("it holds no private key; want a block that begins with -----BEGIN PRIVATE KEY-----")]
    Nothing,
    /// It holds other things and no key.
    #[error("it holds {0} and no private key; want a block that begins with -----BEGIN PRIVATE KEY-----")]
    Other(String),
    /// A passphrase is needed for it, and nobody is there to type it.
    #[error(
        "its key has a passphrase; `openssl pkey -in FILE -out FILE.plain` writes it without, for this server's user alone"
    )]
    Encrypted,
    /// It holds several.
    #[error("it holds several private keys; want one")]
    Several,
    /// It has no end, or is none.
    #[error("its key does not read; copy it anew, whole, from line BEGIN to line END")]
    Unread,
}

/// The private key in a file; what stands beside it, such as certificates and parameters of curves, is passed over.
///
/// # Errors
/// What it is instead.
pub fn private_key(file: &[u8]) -> Result<PrivateKeyDer<'static>, KeyFault> {
    let text = text(file).map_err(|fault| match fault {
        CertificatesFault::Utf16 => KeyFault::Utf16,
        _ => KeyFault::Binary,
    })?;
    let (mut found, mut other) = (None, None);
    for block in blocks(&text) {
        if !block.label.ends_with("PRIVATE KEY") {
            other.get_or_insert(block.label);
            continue;
        }
        let content = block.content.ok_or(KeyFault::Unread)?;
        // Older tools say so in the block.
        if block.label == "ENCRYPTED PRIVATE KEY" || content.contains("Proc-Type:") {
            return Err(KeyFault::Encrypted);
        }
        let der = decode(content).ok_or(KeyFault::Unread)?;
        let key = match block.label {
            "RSA PRIVATE KEY" => PrivatePkcs1KeyDer::from(der).into(),
            "EC PRIVATE KEY" => PrivateSec1KeyDer::from(der).into(),
            "PRIVATE KEY" => PrivatePkcs8KeyDer::from(der).into(),
            _ => return Err(KeyFault::Other(block.label.to_owned())),
        };
        if found.replace(key).is_some() {
            return Err(KeyFault::Several);
        }
    }
    found.ok_or_else(|| other.map_or(KeyFault::Nothing, |label| KeyFault::Other(label.to_owned())))
}

/// Base64, however it is broken into lines.
fn decode(base64: &str) -> Option<Vec<u8>> {
    let compact: Vec<u8> = base64.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(compact).ok()
}

struct Block<'a> {
    label: &'a str,
    /// `None`: it does not end.
    content: Option<&'a str>,
}

/// Blocks one behind the other, with any text before, between and behind them.
fn blocks(mut text: &str) -> impl Iterator<Item = Block<'_>> {
    std::iter::from_fn(move || {
        let (_, rest) = text.split_once(BEGIN)?;
        let (label, rest) = rest.split_once(DASHES).filter(|(label, _)| !label.contains(['\n', '\r']))?;
        match rest.split_once(&format!("-----END {label}{DASHES}")) {
            // What has lost its end must not take the next one's.
            Some((content, rest)) if !content.contains(BEGIN) => {
                text = rest;
                Some(Block { label, content: Some(content) })
            }
            _ => {
                text = rest;
                Some(Block { label, content: None })
            }
        }
    })
}

/// Latin-1 around certificates, in a comment or a name, is no fault: they themselves are ASCII.
fn text(file: &[u8]) -> Result<Cow<'_, str>, CertificatesFault> {
    if file.starts_with(&[0xff, 0xfe]) || file.starts_with(&[0xfe, 0xff]) {
        return Err(CertificatesFault::Utf16);
    }
    if file.contains(&0) || is_certificate(file) {
        return Err(CertificatesFault::Binary);
    }
    Ok(String::from_utf8_lossy(file))
}

fn is_certificate(der: &[u8]) -> bool {
    let read = X509CertificateParser::new().with_deep_parse_extensions(false).parse(der);
    read.is_ok_and(|(rest, _)| rest.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = include_str!("../../../../fixtures/providers/keys/rsa.crt.pem");

    fn der() -> Vec<u8> {
        let (_, rest) = RSA.split_once("-----BEGIN CERTIFICATE-----").expect("it begins");
        decode(rest.split_once("-----END").expect("it ends").0).expect("base64")
    }

    fn check(file: &[u8], want: &Result<usize, CertificatesFault>) {
        let found = certificates(file);
        assert_eq!(&found.as_ref().map(Vec::len).map_err(Clone::clone), want, "{}", String::from_utf8_lossy(file));
        let der = der();
        assert!(found.into_iter().flatten().all(|found| *found == *der));
    }

    #[test]
    fn what_editors_and_tools_put_around_certificates_is_no_fault() {
        let windows = RSA.replace('\n', "\r\n");
        for (file, count) in [
            (RSA.to_owned(), 1),
            (format!("\u{feff}{RSA}"), 1),
            (format!("\u{feff}{windows}"), 1),
            (RSA.replace('\n', "\r"), 1),
            (format!("{RSA}{RSA}{windows}"), 3),
            (format!("{}{}", RSA.trim_end(), RSA.trim_end()), 2),
            (format!("# Größe\nsubject=/CN=a\n{RSA}\nBag Attributes\n    friendlyName: b\n{RSA}--- end ---\n"), 2),
            (format!("    {}\n", RSA.trim_end().replace('\n', "\n    ")), 1),
            (RSA.replace("CERTIFICATE", "X509 CERTIFICATE"), 1),
            (format!("-----BEGIN DH PARAMETERS-----\nMAA=\n-----END DH PARAMETERS-----\n{RSA}"), 1),
        ] {
            check(file.as_bytes(), &Ok(count));
        }
        check(&[b"# J\xfcrgen\n", RSA.as_bytes()].concat(), &Ok(1));
    }

    #[test]
    fn what_is_no_certificate_is_refused_with_the_way_out() {
        let der = der();
        let key = "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n";
        let cut = &RSA[..RSA.len() / 2];
        for (file, want) in [
            (&b""[..], CertificatesFault::Nothing),
            (b"nothing\n", CertificatesFault::Nothing),
            (b"-----BEGIN CERTIFICATE", CertificatesFault::Nothing),
            (key.as_bytes(), CertificatesFault::Other("PRIVATE KEY".into())),
            (&der, CertificatesFault::Binary),
            (b"\xff\xfe-\0-\0", CertificatesFault::Utf16),
            (cut.as_bytes(), CertificatesFault::Unended(1)),
            (format!("{RSA}{cut}").as_bytes(), CertificatesFault::Unended(2)),
            (format!("{cut}\n{RSA}").as_bytes(), CertificatesFault::Unended(1)),
            (RSA.replacen("MII", "MI!", 1).as_bytes(), CertificatesFault::Unread(1)),
            (key.replace("PRIVATE KEY", "CERTIFICATE").as_bytes(), CertificatesFault::Unread(1)),
        ] {
            check(file, &Err(want));
        }
    }
}
