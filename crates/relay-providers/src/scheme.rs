//! Signatures over a request, described by data: where the signature stands, what is signed, with which key.
//!
//! One engine verifies and signs; a provider is a value of [`Scheme`]. What a scheme needs beyond this is code of its
//! own, in a file of its own.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use relay_core::time::Wall;

use crate::{Genuine, Refusal, Request, Verdict, parameters::Parameters, secret, secret::Secret};

/// Signatures looked at in one request: more than any rotation needs, few enough to compute.
const SIGNATURES_MAX: usize = 16;
/// How old or how far ahead a signed timestamp may be.
const TOLERANCE: Duration = Duration::from_mins(5);
/// Longest delivery id.
const ID_BYTES_MAX: usize = 255;

/// How the requests of one source are signed.
#[derive(Clone, Debug)]
pub(crate) struct Scheme {
    /// Field with the signatures, in lower case.
    header: String,
    style: Style,
    encoding: Encoding,
    algorithm: Algorithm,
    /// Keys as the algorithm takes them; any of them may match.
    keys: Vec<Secret>,
    /// What is signed, in order.
    message: &'static [Part],
    timestamp: Option<Timestamp>,
    /// Field with the delivery id, in lower case.
    id: &'static str,
}

/// How signatures stand in their header field.
#[derive(Clone, Debug)]
enum Style {
    /// One, behind a fixed text, which may be empty.
    Prefixed(String),
    /// Several, separated by spaces, each `version,signature`; other versions are passed over.
    Versioned(&'static str),
}

#[derive(Clone, Copy, Debug)]
enum Encoding {
    Hex,
    Base64,
}

#[derive(Clone, Copy, Debug)]
enum Algorithm {
    HmacSha1,
    HmacSha256,
    HmacSha512,
}

/// A piece of what is signed.
#[derive(Clone, Copy, Debug)]
enum Part {
    Body,
    /// The delivery id, as its field has it.
    Id,
    /// The timestamp, as its field has it.
    Timestamp,
    Literal(&'static [u8]),
}

/// A signed timestamp in seconds since the epoch.
#[derive(Clone, Copy, Debug)]
struct Timestamp {
    header: &'static str,
    tolerance: Duration,
}

impl Scheme {
    /// A signature over the raw body.
    pub(crate) fn hmac(parameters: &mut Parameters<'_>) -> Self {
        let header = parameters.one("header").to_ascii_lowercase();
        if !header.is_empty() && !is_field_name(&header) {
            parameters.fault("header", format!("{header:?} is not a header field's name; like X-Signature"));
        }
        let algorithm = match parameters.one("algorithm") {
            "sha1" => Algorithm::HmacSha1,
            "sha256" => Algorithm::HmacSha256,
            "sha512" => Algorithm::HmacSha512,
            other => {
                parameters.fault("algorithm", format!("{other:?} must be sha1, sha256 or sha512"));
                Algorithm::HmacSha256
            }
        };
        let encoding = match parameters.one("encoding") {
            "hex" => Encoding::Hex,
            "base64" => Encoding::Base64,
            other => {
                parameters.fault("encoding", format!("{other:?} must be hex or base64"));
                Encoding::Hex
            }
        };
        let prefix = parameters.one("prefix").to_owned();
        if !prefix.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            parameters.fault("prefix", "must be printable ASCII, like sha256=");
        }
        let keys = parameters.agreed_secrets("secret").into_iter().map(Secret::new).collect();
        let style = Style::Prefixed(prefix);
        Self { header, style, encoding, algorithm, keys, message: &[Part::Body], timestamp: None, id: "webhook-id" }
    }

    /// `webhook-id`, `webhook-timestamp` and `webhook-signature` with one or several `v1,` signatures.
    ///
    /// **Source:** the Standard Webhooks specification, version 1.0.0.
    pub(crate) fn standard_webhooks(parameters: &mut Parameters<'_>) -> Self {
        let mut keys = Vec::new();
        for secret in parameters.all("secret") {
            match standard_key(secret) {
                Ok(key) => keys.push(Secret::new(key)),
                Err(fault) => parameters.fault("secret", fault),
            }
        }
        Self {
            header: "webhook-signature".to_owned(),
            style: Style::Versioned("v1"),
            encoding: Encoding::Base64,
            algorithm: Algorithm::HmacSha256,
            keys,
            message: &[Part::Id, Part::Literal(b"."), Part::Timestamp, Part::Literal(b"."), Part::Body],
            timestamp: Some(Timestamp { header: "webhook-timestamp", tolerance: TOLERANCE }),
            id: "webhook-id",
        }
    }

    pub(crate) fn judge(&self, request: &Request<'_>) -> Verdict {
        match self.verify(request) {
            Err(refusal) => Verdict::Refused(refusal),
            Ok(Some(id)) if id.is_empty() || id.len() > ID_BYTES_MAX => {
                let detail = format!("{} of {} bytes, allowed are 1 to {ID_BYTES_MAX}", self.id, id.len());
                Verdict::Malformed(refusal("malformed_id", detail))
            }
            Ok(id) => Verdict::Genuine(Genuine { dedupe: id.map(<[u8]>::to_vec), ..Genuine::default() }),
        }
    }

    /// The header fields that make a request genuine. `id` is used if the request has no field for it yet.
    pub(crate) fn sign(&self, request: &Request<'_>, id: &str) -> Vec<(Bytes, Bytes)> {
        let Some(key) = self.keys.first() else { return Vec::new() };
        let mut added: Vec<(Bytes, Bytes)> = Vec::new();
        if !request.headers.iter().any(|(name, _)| &name[..] == self.id.as_bytes()) {
            added.push((Bytes::from_static(self.id.as_bytes()), Bytes::from(id.to_owned())));
        }
        if let Some(timestamp) = self.timestamp {
            let seconds = (request.now.as_millis() / 1_000).to_string();
            added.push((Bytes::from_static(timestamp.header.as_bytes()), Bytes::from(seconds)));
        }
        let headers: Vec<(Bytes, Bytes)> = request.headers.iter().chain(&added).cloned().collect();
        let fields = Fields {
            id: first(&headers, self.id),
            timestamp: self.timestamp.and_then(|timestamp| first(&headers, timestamp.header)),
        };
        let signature = self.encoding.encode(self.mac(key, &fields, request.body).as_ref());
        let value = match &self.style {
            Style::Prefixed(prefix) => format!("{prefix}{signature}"),
            Style::Versioned(version) => format!("{version},{signature}"),
        };
        added.push((Bytes::from(self.header.clone()), Bytes::from(value)));
        added
    }

    pub(crate) fn reads(&self) -> Vec<String> {
        let timestamp = self.timestamp.map(|timestamp| timestamp.header.to_owned());
        [self.header.clone(), self.id.to_owned()].into_iter().chain(timestamp).collect()
    }

    /// The delivery id, if the request has one and is genuine.
    fn verify<'a>(&self, request: &Request<'a>) -> Result<Option<&'a [u8]>, Refusal> {
        let value = required(request, &self.header, "missing_signature")?;
        let id = single(request, self.id)?;
        if self.message.iter().any(|part| matches!(part, Part::Id)) && id.is_none() {
            return Err(refusal("missing_id", format!("no {} header field", self.id)));
        }
        let timestamp = match self.timestamp {
            Some(Timestamp { header, tolerance }) => {
                let text = required(request, header, "missing_timestamp")?;
                check_window(text, header, tolerance, request.now)?;
                Some(text)
            }
            None => None,
        };
        self.compare(value, &Fields { id, timestamp }, request.body)?;
        Ok(id)
    }

    /// Whether a signature in `value` is one that a key makes. All are computed and compared, match or no match.
    fn compare(&self, value: &[u8], fields: &Fields<'_>, body: &[u8]) -> Result<(), Refusal> {
        let presented = self.signatures(value)?;
        let mut found = false;
        for key in &self.keys {
            let valid = self.mac(key, fields, body);
            for signature in &presented {
                found |= secret::equal(signature, valid.as_ref());
            }
        }
        if found {
            return Ok(());
        }
        let detail = format!("{} is not the signature of these bytes with this source's secret", self.header);
        Err(refusal("bad_signature", detail))
    }

    fn signatures(&self, value: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
        let found: Vec<Vec<u8>> = match &self.style {
            Style::Prefixed(prefix) => {
                let encoded = value.strip_prefix(prefix.as_bytes());
                encoded.and_then(|encoded| self.encoding.decode(encoded)).into_iter().collect()
            }
            Style::Versioned(version) => value
                .split(|byte| *byte == b' ')
                .filter_map(|item| item.strip_prefix(version.as_bytes())?.strip_prefix(b","))
                .filter_map(|encoded| self.encoding.decode(encoded))
                .take(SIGNATURES_MAX)
                .collect(),
        };
        if found.is_empty() {
            return Err(refusal("malformed_signature", format!("{} must be {}", self.header, self.shape())));
        }
        Ok(found)
    }

    /// The form of the signature's field, in words.
    fn shape(&self) -> String {
        let (name, length) = (self.encoding.name(), self.algorithm.mac_bytes());
        match &self.style {
            Style::Prefixed(prefix) if prefix.is_empty() => format!("{length} bytes in {name}"),
            Style::Prefixed(prefix) => format!("{prefix} and {length} bytes in {name}"),
            Style::Versioned(version) => format!("{version},SIGNATURE in {name}, several with spaces between"),
        }
    }

    fn mac(&self, key: &Secret, fields: &Fields<'_>, body: &[u8]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&hmac::Key::new(self.algorithm.hmac(), key.expose()));
        for part in self.message {
            context.update(match part {
                Part::Body => body,
                Part::Id => fields.id.unwrap_or_default(),
                Part::Timestamp => fields.timestamp.unwrap_or_default(),
                Part::Literal(text) => text,
            });
        }
        context.sign()
    }
}

/// The header fields that go into what is signed.
struct Fields<'a> {
    id: Option<&'a [u8]>,
    timestamp: Option<&'a [u8]>,
}

impl Encoding {
    fn decode(self, encoded: &[u8]) -> Option<Vec<u8>> {
        let bytes = match self {
            Self::Hex => secret::from_hex(str::from_utf8(encoded).ok()?)?,
            Self::Base64 => STANDARD.decode(encoded).ok()?,
        };
        (!bytes.is_empty()).then_some(bytes)
    }

    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => secret::to_hex(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Base64 => "base64",
        }
    }
}

impl Algorithm {
    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::HmacSha256 => hmac::HMAC_SHA256,
            Self::HmacSha512 => hmac::HMAC_SHA512,
        }
    }

    fn mac_bytes(self) -> usize {
        self.hmac().digest_algorithm().output_len()
    }
}

/// The key bytes of a `whsec_` secret.
fn standard_key(secret: &str) -> Result<Vec<u8>, &'static str> {
    const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
    if secret.starts_with("whpk_") || secret.starts_with("whsk_") {
        return Err("is a key for asymmetric signatures, which are not supported; a whsec_ secret is");
    }
    let encoded = secret.strip_prefix("whsec_").unwrap_or(secret);
    let key = STANDARD.decode(encoded).map_err(|_| "must be whsec_ followed by base64, as the sender shows it")?;
    if KEY_BYTES.contains(&key.len()) { Ok(key) } else { Err("must hold 24 to 64 bytes in base64 after whsec_") }
}

/// Refuses a timestamp that is no canonical number of seconds, too old, or too far ahead.
fn check_window(text: &[u8], header: &str, tolerance: Duration, now: Wall) -> Result<(), Refusal> {
    let seconds = str::from_utf8(text).ok().filter(|text| is_canonical(text)).and_then(|text| text.parse::<i64>().ok());
    let Some(seconds) = seconds else {
        return Err(refusal("malformed_timestamp", format!("{header} must be whole seconds since 1970")));
    };
    let now = (now.as_millis() / 1_000) as i64;
    let limit = tolerance.as_secs();
    let apart = now.abs_diff(seconds);
    if apart <= limit {
        return Ok(());
    }
    if seconds < now {
        Err(refusal("stale_timestamp", format!("timestamp {apart} s old, limit {limit} s")))
    } else {
        Err(refusal("future_timestamp", format!("timestamp {apart} s ahead, limit {limit} s")))
    }
}

fn is_canonical(number: &str) -> bool {
    number.bytes().all(|byte| byte.is_ascii_digit()) && (number.len() == 1 || !number.starts_with('0'))
}

/// The value of a field that must be there.
fn required<'a>(request: &Request<'a>, name: &str, check: &'static str) -> Result<&'a [u8], Refusal> {
    single(request, name)?.ok_or_else(|| refusal(check, format!("no {name} header field")))
}

/// The value of a field that must not have two different ones, without the spaces around it.
fn single<'a>(request: &Request<'a>, name: &str) -> Result<Option<&'a [u8]>, Refusal> {
    let mut values = request.headers.iter().filter(|(n, _)| &n[..] == name.as_bytes()).map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.any(|other| other != value) {
        return Err(refusal("ambiguous_header", format!("{name} is given twice with different values")));
    }
    Ok(Some(value.trim_ascii()))
}

fn first<'a>(headers: &'a [(Bytes, Bytes)], name: &str) -> Option<&'a [u8]> {
    headers.iter().find(|(n, _)| &n[..] == name.as_bytes()).map(|(_, value)| value.trim_ascii())
}

fn is_field_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn refusal(check: &'static str, detail: String) -> Refusal {
    Refusal::new(check, detail)
}
