//! What a certificate says that is trusted as it stands: in which time, for which name, with which key. It is the operator's
//! own, byte for byte, so nothing here decides whom to believe.
//!
//! **Source** RFC 5280, section 4.1.

use rustls::pki_types::{ServerName, UnixTime};
use x509_parser::{
    certificate::X509CertificateParser,
    extensions::{GeneralName, SubjectAlternativeName},
    nom::Parser as _,
    oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
    prelude::FromDer as _,
    x509::X509Version,
};

/// A certificate, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    not_before: i64,
    /// In seconds since the epoch.
    pub(super) not_after: i64,
    common_name: Option<String>,
    /// It has names of its own kind, beside which the common one means nothing (RFC 6125, section 6.4.4).
    pub(super) has_alt_names: bool,
    /// Those of them that are of hosts, in lower case.
    alt_names: Vec<String>,
    /// It is of the first version, which has no extensions, and which the TLS library does not read.
    pub(super) is_first_version: bool,
    /// Its `SubjectPublicKeyInfo`.
    pub(super) key: Vec<u8>,
}

impl Certificate {
    /// Nothing if it is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        // Extensions are not taken apart, but for one: the TLS library reads them.
        let (_, certificate) = X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).ok()?;
        let validity = certificate.validity();
        // Whatever kind of text it calls itself.
        let common_name = certificate.subject().iter_common_name().last();
        let common_name = common_name.and_then(|name| String::from_utf8(name.attr_value().data.to_vec()).ok());
        let alt_names = certificate.iter_extensions().find(|extension| extension.oid == OID_X509_EXT_SUBJECT_ALT_NAME);
        Some(Self {
            not_before: validity.not_before.timestamp(),
            not_after: validity.not_after.timestamp(),
            common_name,
            has_alt_names: alt_names.is_some(),
            alt_names: alt_names.map(|extension| hosts(extension.value)).unwrap_or_default(),
            is_first_version: certificate.version() == X509Version::V1,
            key: certificate.public_key().raw.to_vec(),
        })
    }

    /// The hosts that it is for, in lower case; `*.` stands for one label.
    pub(super) fn hosts(self) -> Vec<String> {
        let common = self.common_name.map(|name| name.to_ascii_lowercase());
        if self.has_alt_names { self.alt_names } else { common.into_iter().collect() }
    }

    /// Whether it is too early for it (`Less`), too late (`Greater`), or neither.
    pub(super) fn age(&self, now: UnixTime) -> std::cmp::Ordering {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < self.not_before {
            std::cmp::Ordering::Less
        } else if now > self.not_after {
            std::cmp::Ordering::Greater
        } else {
            std::cmp::Ordering::Equal
        }
    }

    /// Whether its common name is this one; `*.` stands for one label.
    pub(super) fn is_common_name(&self, name: &ServerName<'_>) -> bool {
        let (Some(common), name) = (&self.common_name, name.to_str()) else { return false };
        let matches = |other: &str| common.eq_ignore_ascii_case(other);
        matches(name.trim_end_matches('.'))
            || name.split_once('.').is_some_and(|(_, parent)| matches(&format!("*.{}", parent.trim_end_matches('.'))))
    }
}

/// The names of hosts in that extension.
fn hosts(extension: &[u8]) -> Vec<String> {
    let Ok((_, names)) = SubjectAlternativeName::from_der(extension) else { return Vec::new() };
    let host = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    names.general_names.iter().filter_map(host).collect()
}

#[cfg(test)]
mod tests {
    use std::{cmp::Ordering, time::Duration};

    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    /// As plain `openssl x509 -req -signkey` makes one.
    const FIRST_VERSION: &str = "\
        MIIBJjCBzQIUNngHBwPdfI+Ppml4zC3cYrwwnV8wCgYIKoZIzj0EAwIwFTETMBEGA1UEAwwKcmVsYXkudGVzdDAgFw0yNjExMjgwOTMxNDlaGA\
        8yMTI2MTEwNDA5MzE0OVowFTETMBEGA1UEAwwKcmVsYXkudGVzdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABFkICIIYsScQtBFUqkYccePh\
        4B0BNGCGl++Fm/zWMeoRPgyV6sWRVchs/KUY/6u/jtCjI79Z+e4OnDo8EHqwURowCgYIKoZIzj0EAwIDSAAwRQIgSwdcUX2X+/SsAjlVI5xEL1\
        1RyQH3HNJXTgbBfuowL/4CIQCk2XwA1siTQyXDBVOyScB7wymP79Pfv2K7ElZVD0pYLw==";

    fn made(names: &[&str], common: &str) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, common);
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2100, 3, 1);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn name(text: &'static str) -> ServerName<'static> {
        ServerName::try_from(text).unwrap()
    }

    #[test]
    fn a_certificate_has_its_time_and_its_names() {
        let certificate = Certificate::read(&made(&[], "Crm.Local")).unwrap();
        assert_eq!((certificate.not_before, certificate.not_after), (1_577_836_800, 4_107_542_400));
        assert!(!certificate.has_alt_names && !certificate.is_first_version);
        assert!(certificate.is_common_name(&name("crm.local")) && !certificate.is_common_name(&name("a.crm.local")));
        let at = |seconds| certificate.age(UnixTime::since_unix_epoch(Duration::from_secs(seconds)));
        assert_eq!(at(1_577_836_799), Ordering::Less);
        assert_eq!([at(1_577_836_800), at(4_107_542_400)], [Ordering::Equal; 2]);
        assert_eq!(at(4_107_542_401), Ordering::Greater);
        let certificate = Certificate::read(&made(&["a.local"], "*.local")).unwrap();
        assert!(certificate.has_alt_names);
        assert!(certificate.is_common_name(&name("a.local")) && !certificate.is_common_name(&name("a.b.local")));
        assert_eq!(certificate.hosts(), ["a.local"]);
        let several = Certificate::read(&made(&["A.local", "*.b.local", "192.0.2.7"], "c.local")).unwrap();
        assert_eq!(several.hosts(), ["a.local", "*.b.local"]);
        assert_eq!(Certificate::read(&made(&[], "C.local")).unwrap().hosts(), ["c.local"]);
    }

    #[test]
    fn a_certificate_of_the_first_version_reads_too() {
        let certificate = Certificate::read(&STANDARD.decode(FIRST_VERSION).unwrap()).unwrap();
        assert!(certificate.is_first_version && !certificate.has_alt_names);
        assert!(certificate.is_common_name(&name("relay.test")));
        assert_eq!((certificate.key.len(), certificate.key[0]), (91, 0x30), "a key of P-256");
    }

    #[test]
    fn what_is_cut_short_or_flipped_is_none_or_another_and_never_a_panic() {
        let der = made(&["a.local"], "a.local");
        for length in 0..der.len() {
            assert_eq!(Certificate::read(&der[..length]), None);
        }
        for bit in 0..der.len() * 8 {
            let mut changed = der.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let _ = Certificate::read(&changed);
        }
    }
}
