//! Mailgun: time, token and their signature inside the body, as JSON or as fields of a form.

use std::time::Duration;

use relay_core::time::Wall;
use serde_json::json as value;

use super::{bad_signature, first, hex_signature, is_signed, json, names, object, secrets, set_body, verdict};
use crate::{
    DedupeKey, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample, SignError, Tries,
    Verdict,
    form::{self, Pairs},
    header, multipart,
    parameters::Parameters,
    proof::{Code, Proof},
    pruned::unmarked,
    scheme::{
        Algorithm,
        stamp::{self, Unit},
    },
    secret::{self, Secret},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "mailgun",
    title: "Mailgun",
    parameters: &[
        Parameter::key("signing_key_http", "the HTTP webhook signing key: app.mailgun.com, Send, Sending, Webhooks"),
        // Retries come for eight hours.
        Parameter::tolerance(
            "12h",
            "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-retries",
        ),
    ],
    once: true,
    tries_for: Some(Tries::minutes(
        8 * 60,
        "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/webhook-retries",
    )),
    again: "not after 406",
    delivery: DeliveryId::Documented(
        &DeliveryId::Code("`token` of the signature"),
        "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
    ),
    event: Name::First(&[Name::Json("event-data.event"), Name::Form("event")]),
    docs: "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
    checked: "`signature.signature` of the body is the HMAC-SHA256, in hex, of `signature.timestamp` and \
        `signature.token`; in forms the fields are of the same names. Where an account has subaccounts, \
        `signature.parent-signature` counts as well. The key is `signing_key_http`, used as the \
        text it is. The timestamp is whole seconds since 1970, and may be off by `tolerance` (12h).",
    unproven: "The signature covers a time and a random token, not the event: whoever has seen one request can send any \
        event with its signature. The relay takes each token once within its dedupe window, so this is open only to \
        somebody who is faster than Mailgun. Retries come for hours, hence the wide default tolerance.",
    sample: Sample::json(include_str!("../../samples/mailgun.json")),
    proof: Proof::Code(|parameters| Box::new(Mailgun::read(parameters))),
    ..Provider::BASE
};

/// What proves a request. The last is there where the event is of a subaccount: documentation.mailgun.com, "Securing Webhooks".
const FIELDS: [&str; 4] = ["timestamp", "token", "signature", "parent-signature"];

#[derive(Clone, Debug)]
struct Mailgun {
    keys: Vec<Secret>,
    tolerance: Option<Duration>,
}

/// What proves a request.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Proven {
    timestamp: String,
    token: String,
    /// Of the account itself, and of the account above it: either may be the one whose key the source has.
    signatures: Vec<String>,
}

impl Mailgun {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        Self { keys: secrets(parameters, "signing_key_http"), tolerance: stamp::tolerance(parameters) }
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let Proven { timestamp, token, signatures } =
            Proven::read(header::first(request.headers, "content-type").unwrap_or_default(), request.body)?;
        // Time and token stand side by side in what is signed: that the time is all digits and the token no more than
        // a word of its usual kind keeps the border where it is.
        if token.is_empty() || token.len() > 255 || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Refusal::new("malformed_body", "token must be 1 to 255 printable ASCII characters"));
        }
        let signed = [timestamp.as_bytes(), token.as_bytes()];
        let presented: Vec<_> = signatures.iter().map(|signature| hex_signature(signature, "signature")).collect();
        // One that cannot be read is passed over, if there is another.
        if let [Err(refusal), rest @ ..] = &presented[..]
            && rest.iter().all(Result::is_err)
        {
            return Err(refusal.clone());
        }
        let is_good = presented
            .iter()
            .flatten()
            .fold(false, |found, presented| is_signed(Algorithm::HmacSha256, &self.keys, &signed, presented) | found);
        if !is_good {
            return Err(bad_signature("signature"));
        }
        stamp::check_window(timestamp.as_bytes(), Unit::Seconds, "timestamp", self.tolerance, request.now)?;
        // The event's own id is not signed; the token is, and each event has one of its own.
        Ok(Genuine { dedupe: Some(DedupeKey::documented(token.into_bytes())), ..Genuine::default() })
    }
}

impl Code for Mailgun {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn sign(&self, mut draft: Draft, id: &str, now: Wall) -> Result<Draft, SignError> {
        let timestamp = Unit::Seconds.write(now);
        let token = secret::to_hex(&secret::secret_digest(id.as_bytes())[..25]);
        let mac = Algorithm::HmacSha256.mac(first(&self.keys)?, &[timestamp.as_bytes(), token.as_bytes()]);
        let signature = secret::to_hex(&mac);
        if is_json(&draft.body) {
            let mut body = object(&draft)?;
            let signed = value!({"timestamp": timestamp, "token": token, "signature": signature});
            body.insert("signature".to_owned(), signed);
            set_body(&mut draft, body);
            return Ok(draft);
        }
        let fields = form::all(&draft.body).ok_or(SignError::Body("a form of fewer fields, or a JSON object"))?;
        let kept = fields.iter().filter(|(name, _)| !FIELDS.iter().any(|field| name == field.as_bytes()));
        let mut pairs: Vec<String> =
            kept.map(|(name, value)| format!("{}={}", form::encode(name), form::encode(value))).collect();
        pairs.push(format!("timestamp={timestamp}&token={token}&signature={signature}"));
        draft.body = pairs.join("&").into();
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[])
    }
}

impl Proven {
    fn read(content_type: &[u8], body: &[u8]) -> Result<Self, Refusal> {
        // Routes post an inbound mail with attachments as multipart.
        if let Some(fields) = multipart::texts(content_type, body) {
            return Self::of_fields(&fields);
        }
        if is_json(body) { Self::of_json(body) } else { Self::of_form(body) }
    }

    fn of_json(body: &[u8]) -> Result<Self, Refusal> {
        let [signature] = json::members(body, "the body", ["signature"])?;
        let signature = signature.ok_or_else(missing)?;
        let [timestamp, token, own, parent] = FIELDS;
        let found = json::members(signature.as_bytes(), "signature", [timestamp, token, own, parent])?;
        let [Some(timestamp), Some(token), Some(signature), parent] = found.map(|member| member.and_then(json::scalar))
        else {
            return Err(missing());
        };
        let signatures = [signature].into_iter().chain(parent).collect();
        Ok(Self { timestamp, token, signatures })
    }

    fn of_form(body: &[u8]) -> Result<Self, Refusal> {
        let too_many = || Refusal::new("malformed_body", "the body is a form of too many fields");
        Self::of_fields(&form::all(body).ok_or_else(too_many)?)
    }

    fn of_fields(fields: &Pairs) -> Result<Self, Refusal> {
        let [timestamp, token, signature, parent] = FIELDS.map(|name| one(fields, name));
        let (Some(timestamp), Some(token), Some(signature)) = (timestamp?, token?, signature?) else {
            return Err(missing());
        };
        Ok(Self { timestamp, token, signatures: [signature].into_iter().chain(parent?).collect() })
    }
}

/// The field's value. With two of them, the application might take the other.
fn one(fields: &Pairs, name: &str) -> Result<Option<String>, Refusal> {
    let mut found = fields.iter().filter(|(other, _)| other == name.as_bytes());
    let Some((_, value)) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(Refusal::new("malformed_body", format!("the form has {name} more than once")));
    }
    Ok(String::from_utf8(value.clone()).ok())
}

fn is_json(body: &[u8]) -> bool {
    unmarked(body).trim_ascii_start().first() == Some(&b'{')
}

fn missing() -> Refusal {
    Refusal::new("missing_signature", "the body has no signature with timestamp, token and signature")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &[u8]) -> Result<Proven, Refusal> {
        Proven::read(b"", body)
    }

    #[test]
    fn a_mail_with_attachments_says_it_in_parts() {
        let part = |name: &str, value: &str| {
            format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
        };
        let mut body = part("recipient", "a@example.com") + &part("timestamp", "1") + &part("token", "t");
        body += &part("signature", "00");
        body += "--B\r\nContent-Disposition: form-data; name=\"signature\"; filename=\"a\"\r\n\r\nff\r\n--B--\r\n";
        let found = Proven::read(b"multipart/form-data; boundary=B", body.as_bytes());
        assert_eq!(found, read(b"timestamp=1&token=t&signature=00"));
        let twice = part("token", "u") + &body;
        let refused =
            Proven::read(b"multipart/form-data; boundary=B", twice.as_bytes()).map_err(|refusal| refusal.check);
        assert_eq!(refused, Err("malformed_body"));
    }

    #[test]
    fn the_account_above_signs_too() {
        let source = Mailgun { keys: vec![Secret::new("parent")], tolerance: None };
        let mac = |key: &str| secret::to_hex(&Algorithm::HmacSha256.mac(&Secret::new(key), &[b"1", b"t"]));
        let judge = |body: String| {
            let draft = Draft::post("https://h/", body);
            source.check(&draft.request(Wall::from_micros(0), &[])).map(drop).map_err(|refusal| refusal.check)
        };
        let body = |own: &str, parent: &str| {
            let signed =
                value!({"timestamp": "1", "token": "t", "signature": mac(own), "parent-signature": mac(parent)});
            value!({"signature": signed}).to_string()
        };
        assert_eq!(judge(body("child", "parent")), Ok(()));
        assert_eq!(judge(body("parent", "other")), Ok(()));
        assert_eq!(judge(body("child", "other")), Err("bad_signature"));
        let form = format!("timestamp=1&token=t&signature={}&parent-signature={}", mac("child"), mac("parent"));
        assert_eq!(judge(form), Ok(()));
    }

    #[test]
    fn json_and_form_say_the_same() {
        let json = read(br#" {"signature": {"timestamp": "1", "token": "t", "signature": "00"}, "event-data": {}}"#);
        let form = read(b"timestamp=1&token=t&signature=00&x=%FF");
        assert_eq!(json, form);
        assert_eq!(json.map(|proven| proven.token).as_deref(), Ok("t"));
        let number = read(br#"{"signature": {"timestamp": 1, "token": "t", "signature": "00"}}"#);
        assert_eq!(number, form);
    }

    #[test]
    fn what_counts_stands_once() {
        for (body, check) in [
            (&b""[..], "missing_signature"),
            (b"timestamp=1&token=t", "missing_signature"),
            (b"timestamp=1&token=t&signature=00&token=u", "malformed_body"),
            (b"timestamp=1&t%6Fken=t&signature=00&token=u", "malformed_body"),
            (br#"{"signature": null}"#, "malformed_body"),
            (br#"{"signature": {"timestamp": "1", "token": "t"}}"#, "missing_signature"),
            (
                br#"{"signature": {"timestamp": "1", "token": "t", "signature": "00"}, "signature": {}}"#,
                "malformed_body",
            ),
            (br#"{"signature": {"timestamp": "1", "token": "t", "Token": "u", "signature": "00"}}"#, "malformed_body"),
            (b"{", "malformed_body"),
        ] {
            assert_eq!(read(body).map_err(|refusal| refusal.check), Err(check), "{body:?}");
        }
    }
}
