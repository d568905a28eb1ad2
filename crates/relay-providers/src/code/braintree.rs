//! Braintree: a form with a payload and its signatures, one per key of the account.

use std::time::Duration;

use aws_lc_rs::digest;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;

use super::{bad_signature, first, is_signed, names, secrets, verdict};
use crate::{
    ByHead, DedupeKey, DeliveryId, Draft, Exchange, Genuine, Handshake, Name, On, Parameter, Provider, Refusal,
    Request, Sample, SignError, Verdict,
    form::{self, Pairs},
    handshake::is_bt_challenge,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::{Algorithm, SIGNATURES_MAX},
    secret::{self, Secret},
};

pub(super) const PROVIDER: Provider = Provider {
    name: "braintree",
    title: "Braintree",
    parameters: &[
        Parameter::key("private_key", "the API private key: Control Panel, Settings, API, API Keys"),
        Parameter::required(
            "public_key",
            "the API public key that belongs to it: same place. Of the pairs that a signature may hold the one \
             with this key is looked at",
        ),
    ],
    answer_within: Duration::from_secs(30),
    methods: &["GET", "POST"],
    handshakes: &[Handshake {
        method: "GET",
        on: &[On::Query("bt_challenge")],
        signed: false,
        exchange: Exchange::BtChallenge { public: "public_key", private: "private_key" },
    }],
    delivery: DeliveryId::Code("the digest of bt_payload"),
    event: Name::Code("`kind` of the XML in `bt_payload`", |request| kind(&form::value(request.body, PAYLOAD)?)),
    docs: "https://developer.paypal.com/braintree/docs/guides/webhooks/parse",
    checked: "`bt_signature` of the form holds `public_key`, `|` and the HMAC-SHA1, in hex, of `bt_payload`. The key \
        is the SHA-1 of `private_key`.",
    unproven: "The signature covers the payload; its time stands inside and is not checked: whoever has seen one request \
        can send it again. The relay recognises repeats by the payload.",
    sample: Sample {
        headers: &[("content-type", "application/x-www-form-urlencoded")],
        query: "",
        // As XML; signing encodes it.
        body: "bt_payload=%3Cnotification%3E%3Ctimestamp+type%3D%22datetime%22%3E{{rfc3339}}%3C%2Ftimestamp%3E%3Ckind%3E\
            subscription_charged_successfully%3C%2Fkind%3E%3Csubject%3E%3Csubscription%3E%3Cid%3E{{hex}}%3C%2Fid%3E\
            %3C%2Fsubscription%3E%3C%2Fsubject%3E%3C%2Fnotification%3E",
    },
    proof: Proof::Code(|parameters| Box::new(Braintree::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "bt_signature";
const PAYLOAD: &str = "bt_payload";

#[derive(Clone, Debug)]
struct Braintree {
    public_key: String,
    /// Hashes of the private keys.
    keys: Vec<Secret>,
}

impl Braintree {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let public_key = parameters.one("public_key").to_owned();
        if public_key.contains(['|', '&']) {
            parameters.fault("public_key", "must be the key alone, without | and &");
        }
        let hash = |key: Secret| Secret::new(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, key.expose()).as_ref());
        Self { public_key, keys: secrets(parameters, "private_key").into_iter().map(hash).collect() }
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        head(request)?;
        let fields = form::all(request.body);
        let fields = fields.ok_or_else(|| Refusal::new("malformed_body", "the body is a form of too many fields"))?;
        let (signatures, payload) = (one(&fields, SIGNATURE)?, one(&fields, PAYLOAD)?);
        if !is_base64(payload) {
            return Err(Refusal::new("malformed_body", format!("{PAYLOAD} must be base64 with line ends")));
        }
        // Anybody is given the signature of a challenge of theirs.
        if is_bt_challenge(payload.trim_ascii_end()) {
            return Err(Refusal::new("malformed_body", format!("{PAYLOAD} is no payload but a challenge")));
        }
        let presented = self.ours(signatures)?;
        // A line end at the payload's end gets lost on some ways.
        let found = presented.iter().fold(false, |found, presented| {
            let signed = |end: &[u8]| is_signed(Algorithm::HmacSha1, &self.keys, &[payload, end], presented);
            signed(b"") | signed(b"\n") | found
        });
        if !found {
            return Err(bad_signature(SIGNATURE));
        }
        let dedupe = secret::secret_digest(payload.trim_ascii_end()).to_vec();
        Ok(Genuine { dedupe: Some(DedupeKey::with_body(dedupe)), ..Genuine::default() })
    }

    /// The signatures made with our key, out of `PUBLIC_KEY|SIGNATURE` pairs.
    fn ours(&self, pairs: &[u8]) -> Result<Vec<Vec<u8>>, Refusal> {
        let ours: Vec<Vec<u8>> = pairs
            .split(|byte| *byte == b'&')
            .filter_map(|pair| pair.strip_prefix(self.public_key.as_bytes())?.strip_prefix(b"|"))
            .filter_map(|signature| str::from_utf8(signature).ok().and_then(secret::from_hex))
            .filter(|signature| !signature.is_empty())
            .take(SIGNATURES_MAX)
            .collect();
        if ours.is_empty() {
            return Err(Refusal::new(
                "missing_signature",
                format!("{SIGNATURE} has no pair of this source's public_key"),
            ));
        }
        Ok(ours)
    }
}

/// A GET is for challenges alone.
fn head(request: &Request<'_>) -> Result<(), Refusal> {
    if request.method == "GET" {
        let detail = "a GET must have bt_challenge in its query";
        return Err(Refusal { status: 400, ..Refusal::new("malformed_handshake", detail) });
    }
    Ok(())
}

impl Code for Braintree {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        ByHead::of(head(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        const FORM: SignError = SignError::Body("a form with one bt_payload in base64, or as XML");
        let fields = form::all(&draft.body).ok_or(FORM)?;
        let payload = one(&fields, PAYLOAD).map_err(|_| FORM)?;
        let payload = &*if payload.starts_with(b"<") { encoded(payload) } else { payload.to_vec() };
        if !is_base64(payload) {
            return Err(FORM);
        }
        let mac = Algorithm::HmacSha1.mac(first(&self.keys)?, &[payload]);
        let signature = format!("{}|{}", self.public_key, secret::to_hex(&mac));
        let body = format!("{SIGNATURE}={}&{PAYLOAD}={}", form::encode(signature.as_bytes()), form::encode(payload));
        draft.body = body.into();
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[])
    }
}

fn is_base64(payload: &[u8]) -> bool {
    payload.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+/=\n".contains(byte))
}

/// Base64 with a line end after every 60 characters, as Ruby makes it.
fn encoded(xml: &[u8]) -> Vec<u8> {
    STANDARD.encode(xml).as_bytes().chunks(60).flat_map(|line| [line, b"\n"].concat()).collect()
}

/// The field's value. With two of them, the application might take the other.
fn one<'a>(fields: &'a Pairs, name: &str) -> Result<&'a [u8], Refusal> {
    let mut found = fields.iter().filter(|(other, _)| other == name.as_bytes());
    match (found.next(), found.next()) {
        (Some((_, value)), None) => Ok(value),
        (Some(_), Some(_)) => Err(Refusal::new("malformed_body", format!("the form has {name} more than once"))),
        (None, _) => Err(Refusal::new("missing_signature", format!("the body must be a form with {name}"))),
    }
}

/// What happened: `<kind>` of the XML in the payload.
fn kind(payload: &[u8]) -> Option<String> {
    const PAYLOAD_BYTES_MAX: usize = 1024 * 1024;
    if payload.len() > PAYLOAD_BYTES_MAX {
        return None;
    }
    // A sample is not encoded before it is signed.
    let xml = if payload.starts_with(b"<") {
        payload.to_vec()
    } else {
        let compact: Vec<u8> = payload.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
        STANDARD.decode(compact).ok()?
    };
    let xml = String::from_utf8(xml).ok()?;
    let (kind, _) = xml.split_once("<kind>")?.1.split_once("</kind>")?;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    ((1..=64).contains(&kind.len()) && kind.bytes().all(is_word)).then(|| kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pairs_of_our_key_count() {
        let braintree = Braintree { public_key: "pk".to_owned(), keys: Vec::new() };
        let ours = |pairs: &[u8]| braintree.ours(pairs).map_err(|refusal| refusal.check);
        assert_eq!(ours(b"other|00&pk|ff&pk|01"), Ok(vec![vec![255], vec![1]]));
        for none in [&b""[..], b"pk", b"pk|", b"pk|zz", b"other|00", b"xpk|00", b"pk2|00", b"\xff|00"] {
            assert_eq!(ours(none), Err("missing_signature"), "{none:?}");
        }
    }

    #[test]
    fn the_kind_is_read_out_of_the_payload() {
        let payload = STANDARD.encode("<notification><kind>check</kind></notification>");
        assert_eq!(kind(payload.as_bytes()).as_deref(), Some("check"));
        assert_eq!(kind(STANDARD.encode("<kind><b></kind>").as_bytes()), None);
        assert_eq!(kind(b"="), None);
    }
}
