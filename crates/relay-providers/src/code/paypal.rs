//! `PayPal`: an RSA signature over a line of header values and the body's CRC-32, with a certificate at a URL.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;

use super::{
    base64_field, fetched, names,
    pin::Https,
    unreadable_key,
    x509::{self, Hash, RsaKey},
};
use crate::{
    Answer, ByHead, Characters, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample,
    SignError, Tries, Verdict, header,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::{PrivateKey, Unit, stamp},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "paypal",
    title: "PayPal",
    parameters: &[
        Parameter::public_key(
            "webhook_id",
            "the webhook's ID, like 4JH86294D6297924G: developer.paypal.com, Apps & Credentials, your app, Webhooks",
        )
        .known(&[(SIMULATOR, "the id of PayPal's simulator")])
        .not(&[("WH-", "the id of an event")])
        .made_of(Characters::Capitals, 8, 32, "capital letters and digits, 17 as a rule"),
        // It goes on trying for three days, and nothing says that the time is that of the try. As long as a transmission is
        // remembered, so that its header fields never carry another body.
        Parameter::tolerance("3d", "https://developer.paypal.com/api/rest/webhooks/"),
    ],
    sending: &[Parameter::signing_key(
        "an RSA private key in PEM, whose certificate the receiver finds at PAYPAL-CERT-URL",
    )],
    answer_within: Duration::from_secs(30),
    once: true,
    tries_for: Some(Tries::minutes(3 * 24 * 60, "https://developer.paypal.com/api/rest/webhooks/")),
    // Of the body only a checksum is signed, so a delivery id from the body would be anybody's to choose.
    delivery: DeliveryId::Documented(
        &DeliveryId::Header(TRANSMISSION_ID),
        "https://developer.paypal.com/api/rest/webhooks/rest/",
    ),
    event: Name::Json("event_type"),
    docs: "https://developer.paypal.com/api/rest/webhooks/rest/",
    checked: "`paypal-transmission-sig` is an RSA signature (SHA-256) of `paypal-transmission-id`, \
        `paypal-transmission-time`, `webhook_id` and the CRC-32 of the body, with `|` between. The server fetches \
        the certificate from `paypal-cert-url`, which must be one of PayPal's API. `paypal-transmission-time`, a date and time as in \
        RFC 3339, may be off by `tolerance` (3d). What its simulator sends has the id \
        `WEBHOOK_ID` in that line, for everybody: it is answered and not stored.",
    unproven: "Of the body only the CRC-32 is signed, and another body with the same CRC-32 is made in no time: whoever \
        has seen one request can send any body with its headers. The relay takes each transmission once within its dedupe \
        window (`DEDUPE_WINDOW`, 3d: no shorter than `tolerance`); before money moves, fetch the event from PayPal by its id.",
    sample: Sample::json(include_str!("../../samples/paypal.json")),
    proof: Proof::Code(|parameters| Box::new(PayPal::read(parameters))),
    ..Provider::BASE
};

const TRANSMISSION_ID: &str = "paypal-transmission-id";
const TRANSMISSION_TIME: &str = "paypal-transmission-time";
const SIGNATURE: &str = "paypal-transmission-sig";
const CERTIFICATE_URL: &str = "paypal-cert-url";
/// In place of a webhook's id in what the simulator sends, to whatever URL anybody types in:
/// <https://developer.paypal.com/api/rest/webhooks/simulator/>
const SIMULATOR: &str = "WEBHOOK_ID";
const ALGORITHM: &str = "paypal-auth-algo";
/// All that a request has to have.
const FIELDS: [&str; 5] = [SIGNATURE, TRANSMISSION_ID, TRANSMISSION_TIME, ALGORITHM, CERTIFICATE_URL];
const SHA256_WITH_RSA: &str = "SHA256withRSA";
/// Where the certificate of a draft is said to be.
const SAMPLE_CERTIFICATE: &str = "https://api.paypal.com/v1/notifications/certs/CERT-00000000-00000000-00000000";

#[derive(Clone, Debug)]
struct PayPal {
    webhook_ids: Vec<String>,
    tolerance: Option<Duration>,
    signing_key: Option<PrivateKey>,
}

impl PayPal {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let webhook_ids: Vec<String> = parameters.all("webhook_id").into_iter().map(str::to_owned).collect();
        if webhook_ids.iter().any(|id| id.contains('|')) {
            parameters.fault("webhook_id", "must be an ID like 4JH86294D6297924G");
        }
        let signing_key = PrivateKey::given(parameters);
        if webhook_ids.is_empty() && signing_key.is_some() {
            parameters.fault("webhook_id", "missing; it is signed along");
        }
        Self { webhook_ids, tolerance: stamp::tolerance(parameters), signing_key }
    }

    fn check(&self, request: &Request<'_>) -> Result<Verdict, Refusal> {
        let Head { signature, id, time, url } = Head::read(request, self.tolerance)?;
        let Some(certificate) = fetched(request, url) else { return Ok(Verdict::NeedsKey { url: url.to_owned() }) };
        let key = RsaKey::of_certificate(certificate);
        let key = key.ok_or_else(|| unreadable_key(url, "certificate with an RSA key"))?;
        let verifies =
            |webhook: &String| key.verifies(Hash::Sha256, line(id, time, webhook, request.body).as_bytes(), &signature);
        if !self.webhook_ids.iter().any(verifies) {
            if verifies(&SIMULATOR.to_owned()) {
                return Ok(Verdict::Handshake(Answer { status: 200, ..Answer::default() }));
            }
            let detail = format!("{SIGNATURE} is not that of this request for this source's webhook_id");
            return Err(Refusal::new("bad_signature", detail));
        }
        Ok(Verdict::Genuine(Genuine::default()))
    }
}

/// What the header fields of a request present.
struct Head<'a> {
    signature: Vec<u8>,
    id: &'a str,
    time: &'a str,
    /// Of the certificate.
    url: &'a str,
}

impl<'a> Head<'a> {
    fn read(request: &Request<'a>, tolerance: Option<Duration>) -> Result<Self, Refusal> {
        Self::first_fault(request, tolerance).map_err(|refusal| header::all_missing(refusal, request, &FIELDS))
    }

    fn first_fault(request: &Request<'a>, tolerance: Option<Duration>) -> Result<Self, Refusal> {
        let signature = base64_field(request, SIGNATURE)?;
        let id = part(request, TRANSMISSION_ID)?;
        let time = part(request, TRANSMISSION_TIME)?;
        if !part(request, ALGORITHM)?.eq_ignore_ascii_case(SHA256_WITH_RSA) {
            let detail = format!("{ALGORITHM} must be {SHA256_WITH_RSA}");
            return Err(Refusal::new("unsupported_algorithm", detail));
        }
        let url = part(request, CERTIFICATE_URL)?;
        if !is_certificate_url(url) {
            let detail = format!(
                "{CERTIFICATE_URL} must be under https://api.paypal.com/v1/notifications/certs/ or its sandbox"
            );
            return Err(Refusal::new("untrusted_url", detail));
        }
        stamp::check_window(time.as_bytes(), Unit::Rfc3339, TRANSMISSION_TIME, tolerance, request.now)?;
        Ok(Self { signature, id, time, url })
    }
}

impl Code for PayPal {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        self.check(request).unwrap_or_else(Verdict::Refused)
    }

    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        ByHead::of(Head::read(request, self.tolerance))
    }

    fn sign(&self, mut draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError> {
        let key = self.signing_key.as_ref().ok_or(SignError::Key)?;
        let webhook = self.webhook_ids.first().ok_or(SignError::Key)?;
        let taken = draft.header(TRANSMISSION_ID).and_then(|value| str::from_utf8(value).ok());
        let id = taken.unwrap_or(id).replace(|character: char| !character.is_ascii_graphic() || character == '|', "-");
        let id = if id.is_empty() { "transmission".to_owned() } else { id };
        let time = stamp::rfc3339(now);
        let signature = x509::rsa_sign(key, line(&id, &time, webhook, &draft.body).as_bytes())?;
        draft.set_header(TRANSMISSION_ID, id);
        draft.set_header(TRANSMISSION_TIME, time);
        draft.set_header(SIGNATURE, STANDARD.encode(signature));
        draft.set_header(CERTIFICATE_URL, SAMPLE_CERTIFICATE);
        draft.set_header(ALGORITHM, SHA256_WITH_RSA);
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&FIELDS)
    }
}

/// What is signed.
fn line(id: &str, time: &str, webhook: &str, body: &[u8]) -> String {
    format!("{id}|{time}|{webhook}|{}", crc32fast::hash(body))
}

/// A header field that is a part of the line, or decides how it is checked.
fn part<'a>(request: &Request<'a>, name: &str) -> Result<&'a str, Refusal> {
    let value = header::required(request, name, "missing_header")?;
    let text = str::from_utf8(value).ok().filter(|text| {
        !text.is_empty() && text.len() <= 2_048 && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'|')
    });
    text.ok_or_else(|| Refusal::new("malformed_header", format!("{name} must be printable ASCII without |")))
}

fn is_certificate_url(url: &str) -> bool {
    let Some(Https { host, path, query: None }) = Https::read(url) else { return false };
    let id = path.strip_prefix("/v1/notifications/certs/").unwrap_or_default();
    ["api.paypal.com", "api.sandbox.paypal.com"].contains(&host) && !id.is_empty() && !id.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_comes_from_paypal_alone() {
        for good in [SAMPLE_CERTIFICATE, "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-360caa42-fca2"] {
            assert!(is_certificate_url(good), "{good}");
        }
        for bad in [
            "http://api.paypal.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com.evil.example/v1/notifications/certs/CERT-1",
            "https://api.paypal.com@evil.example/v1/notifications/certs/CERT-1",
            "https://evil.example/https://api.paypal.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com:444/v1/notifications/certs/CERT-1",
            "https://www.paypal.com/v1/notifications/certs/CERT-1",
            "https://api.paypal.com/v1/notifications/certs/",
            "https://api.paypal.com/v1/notifications/certs/../../x",
            "https://api.paypal.com/v1/notifications/certs/a/b",
            "https://api.paypal.com/v1/notifications/certs/CERT-1?x=1",
            "https://api.paypal.com/v1/notifications/certs%2fCERT-1",
            "https://api.paypal.com/v2/notifications/certs/CERT-1",
            "https://API.paypal.com/v1/notifications/certs/CERT-1",
        ] {
            assert!(!is_certificate_url(bad), "{bad}");
        }
    }

    #[test]
    fn the_checksum_is_written_in_decimal() {
        assert_eq!(line("i", "t", "w", b"123456789"), "i|t|w|3421780262");
        assert_eq!(line("i", "t", "w", b""), "i|t|w|0");
    }
}
