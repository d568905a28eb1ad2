//! What a certificate says that is trusted as it stands: in which time, for which name, with which key. It is the operator's
//! own, byte for byte, so nothing here decides whom to believe.
//!
//! **Source** RFC 5280, section 4.1.

use rustls::pki_types::{ServerName, UnixTime};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// `[0]`: the version, and `[3]`: the extensions.
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const DAY_SECONDS: i64 = 86_400;

/// A certificate, as far as it matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Certificate {
    not_before: i64,
    not_after: i64,
    common_name: Option<String>,
    /// It has names of its own kind, beside which the common one means nothing (RFC 6125, section 6.4.4).
    pub(crate) has_alt_names: bool,
    /// It is of the first version, which has no extensions, and which the TLS library does not read.
    pub(crate) is_first_version: bool,
    /// Its `SubjectPublicKeyInfo`.
    pub(crate) key: Vec<u8>,
}

impl Certificate {
    /// Nothing if it is none.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let mut certificate = Elements(content(der, SEQUENCE)?);
        let mut body = Elements(content(certificate.next()?.whole, SEQUENCE)?);
        let is_first_version = body.next()?.tag != VERSION;
        // Serial number, algorithm and issuer stand before its time.
        let mut body = body.skip(if is_first_version { 2 } else { 3 });
        let mut validity = Elements(content(body.next()?.whole, SEQUENCE)?);
        let (not_before, not_after) = (time(&validity.next()?)?, time(&validity.next()?)?);
        let common_name = common_name(content(body.next()?.whole, SEQUENCE)?);
        let key = body.next()?.whole.to_vec();
        let extensions = body.find(|element| element.tag == EXTENSIONS);
        let has_alt_names = extensions.is_some_and(|extensions| has_extension(extensions.content, SUBJECT_ALT_NAME));
        Some(Self { not_before, not_after, common_name, has_alt_names, is_first_version, key })
    }

    /// Whether it is too early for it (`Less`), too late (`Greater`), or neither.
    pub(crate) fn age(&self, now: UnixTime) -> std::cmp::Ordering {
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
    pub(crate) fn is_common_name(&self, name: &ServerName<'_>) -> bool {
        let (Some(common), name) = (&self.common_name, name.to_str()) else { return false };
        let matches = |other: &str| common.eq_ignore_ascii_case(other);
        matches(name.trim_end_matches('.'))
            || name.split_once('.').is_some_and(|(_, parent)| matches(&format!("*.{}", parent.trim_end_matches('.'))))
    }
}

/// One element of DER.
#[derive(Clone, Copy)]
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

/// Elements one behind the other; what cannot be read ends them.
struct Elements<'a>(&'a [u8]);

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        let (&tag, &first) = (self.0.first()?, self.0.get(1)?);
        let (length, begin) = if first < 0x80 {
            (usize::from(first), 2)
        } else {
            let digits = usize::from(first & 0x7f);
            let bytes = self.0.get(2..2 + digits).filter(|_| (1..=4).contains(&digits))?;
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), 2 + digits)
        };
        let end = begin.checked_add(length)?;
        let whole = self.0.get(..end)?;
        self.0 = &self.0[end..];
        Some(Element { tag, content: &whole[begin..], whole })
    }
}

/// The content of the element that begins here, if it is of that kind.
fn content(der: &[u8], tag: u8) -> Option<&[u8]> {
    Elements(der).next().filter(|element| element.tag == tag).map(|element| element.content)
}

/// The last common name in a subject: a list of sets of pairs.
fn common_name(subject: &[u8]) -> Option<String> {
    let pairs = Elements(subject).flat_map(|set| Elements(set.content));
    let texts = pairs.filter_map(|pair| {
        let mut pair = Elements(pair.content);
        let kind = pair.next()?;
        (kind.content == COMMON_NAME).then(|| pair.next())?
    });
    texts.last().and_then(|text| String::from_utf8(text.content.to_vec()).ok())
}

fn has_extension(extensions: &[u8], kind: &[u8]) -> bool {
    let list = content(extensions, SEQUENCE).unwrap_or_default();
    Elements(list).any(|extension| Elements(extension.content).next().is_some_and(|id| id.content == kind))
}

/// Seconds since 1970 of `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(element: &Element<'_>) -> Option<i64> {
    let text = std::str::from_utf8(element.content).ok()?.strip_suffix('Z')?;
    let (year, rest) = match element.tag {
        UTC_TIME => {
            let year: i64 = text.get(..2)?.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, text.get(2..)?)
        }
        GENERALIZED_TIME => (text.get(..4)?.parse().ok()?, text.get(4..)?),
        _ => return None,
    };
    if rest.len() != 10 || !rest.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let two = |at: usize| rest[at..at + 2].parse::<i64>().ok();
    let (month, day, hours, minutes, seconds) = (two(0)?, two(2)?, two(4)?, two(6)?, two(8)?);
    // Days of the Gregorian calendar: "chrono-compatible low-level date algorithms", Howard Hinnant.
    let shifted = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = shifted * 365 + shifted.div_euclid(4) - shifted.div_euclid(100) + shifted.div_euclid(400) + day_of_year;
    Some((days - 719_468) * DAY_SECONDS + hours * 3_600 + minutes * 60 + seconds)
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
    }

    #[test]
    fn a_certificate_of_the_first_version_reads_too() {
        let certificate = Certificate::read(&STANDARD.decode(FIRST_VERSION).unwrap()).unwrap();
        assert!(certificate.is_first_version && !certificate.has_alt_names);
        assert!(certificate.is_common_name(&name("relay.test")));
        assert_eq!((certificate.key.len(), certificate.key[0]), (91, SEQUENCE), "a key of P-256");
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
