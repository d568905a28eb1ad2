//! eBay: an ECDSA signature with a key that the request names; the keys are given as parameters.

use std::time::Duration;

use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, UnparsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use relay_core::time::Wall;
use serde_json::json as value;

use super::{base64_field, fetched, json, jwt, names, verdict, x509};
use crate::{
    ByHead, DeliveryId, Draft, Exchange, Genuine, Handshake, Name, On, Parameter, Provider, Refusal, Request, Sample,
    SignError, Verdict,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::PrivateKey,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "ebay",
    title: "eBay",
    parameters: &[
        Parameter::public_key(
            "public_key",
            "a notification key as KID:KEY, KEY in base64 or PEM: eBay's getPublicKey call with the kid that a refusal \
             names; may be given several times",
        )
        .or_none(),
        Parameter::secret(
            "verification_token",
            "the verification token, 32 to 80 characters of your choice: developer.ebay.com, Application Keys, Alerts & \
             Notifications",
        ).made_up()
        .or_none(),
        Parameter::optional(
            "endpoint",
            None,
            "the endpoint's URL exactly as it was given to eBay, if it is not PUBLIC_URL and the source's path",
        ),
    ],
    sending: &[Parameter::signing_key("a P-256 private key in PEM (PKCS#8)")],
    answer_within: Duration::from_secs(3),
    methods: &["GET", "POST"],
    // What the platform's own library answers: README.md of eBay/event-notification-nodejs-sdk.
    refusal: 412,
    handshakes: &[Handshake {
        method: "GET",
        on: &[On::Query("challenge_code")],
        signed: false,
        exchange: Exchange::ChallengeHash { token: "verification_token", endpoint: "endpoint" },
    }],
    delivery: DeliveryId::Json(&["notification.notificationId"]),
    attempts: &["notification.publishAttemptCount", "notification.publishDate"],
    event: Name::Json("metadata.topic"),
    docs: "https://developer.ebay.com/api-docs/commerce/notification/overview.html",
    checked: "`x-ebay-signature` is base64 of JSON with an ECDSA signature (P-256, SHA-1 or SHA-256) of the body and the id of \
        its key. The key is the `public_key` of that id; with an id that the source does not know the answer is 503, \
        and the refusal names it.",
    unproven: "The signature covers the body alone and no time: whoever has seen one request can send it again. It is made \
        with SHA-1. eBay's keys are those of the platform and nothing signed names the receiver: whoever has a developer \
        account there can send on what eBay signed for him. Choose a source name that nobody guesses, and fetch from eBay \
        what a notification speaks of.",
    sample: Sample::json(include_str!("../../samples/ebay.json")),
    proof: Proof::Code(|parameters| Box::new(Ebay::read(parameters))),
    ..Provider::BASE
};

const SIGNATURE: &str = "x-ebay-signature";
/// Where eBay has its keys, by id. Behind a login: the relay cannot fetch there, a program with one can.
const KEYS: &str = "https://api.ebay.com/commerce/notification/v1/public_key/";
/// The key a draft says it is signed with, if the source names none.
const SAMPLE_KEY: &str = "sample";

#[derive(Clone, Debug)]
struct Ebay {
    /// Id and point.
    keys: Vec<(String, Vec<u8>)>,
    signing_key: Option<PrivateKey>,
}

impl Ebay {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let mut keys = Vec::new();
        for given in parameters.all("public_key") {
            let key = given.split_once(':').and_then(|(id, key)| Some((id.trim(), x509::p256_point(key.trim())?)));
            match key {
                Some((id, point)) if is_key_id(id) => keys.push((id.to_owned(), point)),
                Some(_) | None => parameters.fault("public_key", "must be KID:KEY with a P-256 key in base64 or PEM"),
            }
        }
        Self { keys, signing_key: PrivateKey::given(parameters) }
    }

    fn check(&self, request: &Request<'_>) -> Result<Genuine, Refusal> {
        let Head { signature, points, is_sha1 } = self.head(request)?;
        let digest = if is_sha1 { digest_of(request.body)? } else { digest::digest(&digest::SHA256, request.body) };
        let verifies = |point: &Vec<u8>| {
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point).verify_digest(&digest, &signature).is_ok()
        };
        if !points.iter().any(verifies) {
            return Err(Refusal::new("bad_signature", format!("{SIGNATURE} is not that of this body with its key")));
        }
        Ok(Genuine::default())
    }

    /// Everything that can be refused whatever the body is.
    fn head(&self, request: &Request<'_>) -> Result<Head, Refusal> {
        let head = base64_field(request, SIGNATURE)?;
        let malformed = || {
            let detail = format!("{SIGNATURE} must be base64 of JSON with alg, kid, signature and digest");
            Refusal::new("malformed_signature", detail)
        };
        let found = json::members(&head, SIGNATURE, ["alg", "kid", "signature", "digest"]).map_err(|_| malformed())?;
        let [Some(algorithm), Some(kid), Some(signature), Some(hash)] =
            found.map(|member| member.and_then(json::string))
        else {
            return Err(malformed());
        };
        let unsupported =
            || Refusal::new("unsupported_algorithm", format!("{SIGNATURE} must be ECDSA with SHA1 or SHA256"));
        if !algorithm.eq_ignore_ascii_case("ecdsa") {
            return Err(unsupported());
        }
        // Documents of the platform have either; both are checked with the key of that id.
        let is_sha1 = match hash.to_ascii_uppercase().as_str() {
            "SHA1" => true,
            "SHA256" => false,
            _ => return Err(unsupported()),
        };
        let signature = STANDARD.decode(signature).map_err(|_| malformed())?;
        let points = self.points(request, &kid);
        if points.is_empty() {
            let detail = format!(
                "no public_key of this source has the kid {}: fetch it with eBay's getPublicKey call and add it",
                jwt::shown(&kid)
            );
            // Not the sender's fault: it is to try again when the key is there.
            return Err(Refusal { status: 503, ..Refusal::new("unknown_key", detail) });
        }
        Ok(Head { signature, points, is_sha1 })
    }

    /// The keys of that id: of the source, and what a program around this one fetched.
    fn points(&self, request: &Request<'_>, id: &str) -> Vec<Vec<u8>> {
        let own = self.keys.iter().filter(|(other, _)| other == id).map(|(_, point)| point.clone());
        let answer = is_key_id(id).then(|| fetched(request, &format!("{KEYS}{id}"))).flatten();
        let fetched = answer.and_then(|answer| x509::p256_point(&json::at(answer, &["key"])?));
        own.chain(fetched).collect()
    }
}

/// The signature that a request presents, and the keys that may have made it.
struct Head {
    signature: Vec<u8>,
    points: Vec<Vec<u8>>,
    /// Else it is made with SHA-256.
    is_sha1: bool,
}

impl Code for Ebay {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        verdict(self.check(request))
    }

    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        ByHead::of(self.head(request))
    }

    fn sign(&self, mut draft: Draft, _: &str, _: Wall) -> Result<Draft, SignError> {
        let key = self.signing_key.as_ref().ok_or(SignError::Key)?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.document());
        let pair = pair.map_err(|_| SignError::Key)?;
        let digest = digest_of(&draft.body).map_err(|_| SignError::Key)?;
        let signature = pair.sign_digest(&digest).map_err(|_| SignError::Key)?;
        let head = value!({
            "alg": "ecdsa",
            "kid": self.keys.first().map_or(SAMPLE_KEY, |(id, _)| id.as_str()),
            "signature": STANDARD.encode(signature.as_ref()),
            "digest": "SHA1",
        });
        draft.set_header(SIGNATURE, STANDARD.encode(head.to_string()));
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&[SIGNATURE])
    }
}

/// The body's SHA-1 as a digest of 32 bytes. ECDSA takes a digest for a number, and for P-256 one of 32 bytes whole, so
/// zeros in front change nothing; they make up for a library without ECDSA over SHA-1.
fn digest_of(body: &[u8]) -> Result<digest::Digest, Refusal> {
    let sha1 = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, body);
    let mut padded = [0; 32];
    padded[32 - sha1.as_ref().len()..].copy_from_slice(sha1.as_ref());
    let digest = digest::Digest::import_less_safe(&padded, &digest::SHA256);
    digest.map_err(|_| Refusal::new("unsupported_algorithm", "this build cannot check SHA-1 signatures"))
}

fn is_key_id(id: &str) -> bool {
    (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
