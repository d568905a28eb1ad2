//! Google Cloud Pub/Sub push: a token of Google's in `Authorization`, signed with a key out of Google's key set.

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use relay_core::time::Wall;
use serde_json::{Value, json as value};

use super::{
    fetched, json, jwt, names, unreadable_key,
    x509::{self, Hash, RsaKey},
};
use crate::{
    Acknowledgement, ByHead, DeliveryId, Draft, Genuine, Name, Parameter, Provider, Refusal, Request, Sample,
    SignError, UNKNOWN_KEY, Verdict,
    parameters::Parameters,
    proof::{Code, Proof},
    scheme::PrivateKey,
};

pub(super) const PROVIDER: Provider = Provider {
    name: "google-pubsub",
    title: "Google Cloud Pub/Sub push",
    parameters: &[
        Parameter::required(
            "audience",
            "the audience of the push subscription, its endpoint URL unless you chose another: Pub/Sub, Subscriptions, \
             Edit, Enable authentication",
        ),
        Parameter::public_key(
            "email",
            "the service account of the push subscription, like push@project.iam.gserviceaccount.com: same place",
        ),
    ],
    sending: &[Parameter::signing_key(
        "an RSA private key in PEM, whose public key the receiver finds in Google's key set",
    )],
    // Of 2xx these and no others confirm: 200, 201, 202, 204.
    acknowledgement: Acknowledgement::Fixed { status: 204, content_type: None, body: "" },
    answer_within: Duration::from_secs(10),
    // The token does not cover the body, so whoever has seen one could choose ids.
    // The header field stands for a body without its wrapper: https://docs.cloud.google.com/pubsub/docs/payload-unwrapping
    delivery: DeliveryId::First(&[
        DeliveryId::Json(&["message.messageId", "subscription"]),
        DeliveryId::Header("x-goog-pubsub-message-id"),
    ]),
    // Counts up where the subscription has a dead letter topic: https://cloud.google.com/pubsub/docs/push
    attempts: &["deliveryAttempt"],
    event: Name::Json("message.attributes.eventType"),
    order: Name::Json("message.orderingKey"),
    docs: "https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions",
    checked: "`authorization` is `Bearer ` and a JWT that Google signed (RS256): the server fetches Google's keys. \
        Its `aud` is `audience`, its verified `email` is `email`, and it has not expired.",
    unproven: "The token says who sends and to whom, and holds for an hour; the body is not covered. Whoever has seen one \
        request can send any body with its token until then.",
    sample: Sample::json(include_str!("../../samples/google-pubsub.json")),
    proof: Proof::Code(|parameters| Box::new(GooglePubsub::read(parameters))),
    ..Provider::BASE
};

const KEY_SET: &str = "https://www.googleapis.com/oauth2/v3/certs";
const ISSUERS: [&str; 2] = ["https://accounts.google.com", "accounts.google.com"];
const RS256: &str = "RS256";
/// The key a draft says it is signed with.
const SAMPLE_KEY: &str = "sample";

#[derive(Clone, Debug)]
struct GooglePubsub {
    audience: String,
    emails: Vec<String>,
    signing_key: Option<PrivateKey>,
}

impl GooglePubsub {
    fn read(parameters: &mut Parameters<'_>) -> Self {
        let audience = parameters.one("audience").to_owned();
        let emails: Vec<String> = parameters.all("email").into_iter().map(str::to_owned).collect();
        if !emails.iter().all(|email| email.contains('@')) {
            parameters.fault("email", "must be a service account's address, with an @");
        }
        let signing_key = PrivateKey::given(parameters);
        if emails.is_empty() && signing_key.is_some() {
            parameters.fault("email", "missing; the token is made out to it");
        }
        Self { audience, emails, signing_key }
    }

    fn check(&self, request: &Request<'_>) -> Result<Verdict, Refusal> {
        let token = jwt::Token::read(jwt::presented(request)?, RS256)?;
        let key_id = token.key_id.as_deref();
        let key_id = key_id.ok_or_else(|| Refusal::new("malformed_token", "the token names no key: it has no kid"))?;
        let Some(keys) = fetched(request, KEY_SET) else { return Ok(Verdict::NeedsKey { url: KEY_SET.to_owned() }) };
        let key = key(keys, key_id)?.ok_or_else(|| {
            Refusal::new(UNKNOWN_KEY, "the token is signed with a key that is not in Google's key set")
        })?;
        if !key.verifies(Hash::Sha256, token.message, &token.signature) {
            return Err(Refusal::new("bad_signature", "the token's signature is not that of Google's key"));
        }
        token.check_times(request.now)?;
        token.check_audience(&self.audience)?;
        self.check_sender(&token)?;
        Ok(Verdict::Genuine(Genuine::default()))
    }

    /// Every customer of Google can have tokens made for this audience: what counts is who asked for it.
    fn check_sender(&self, token: &jwt::Token<'_>) -> Result<(), Refusal> {
        let [issuer, email, verified] = token.claims(["iss", "email", "email_verified"])?;
        if !issuer.as_ref().and_then(Value::as_str).is_some_and(|issuer| ISSUERS.contains(&issuer)) {
            return Err(Refusal::new("wrong_issuer", format!("the token's iss must be {}", ISSUERS[0])));
        }
        let email = email.as_ref().and_then(Value::as_str).unwrap_or_default();
        if !self.emails.iter().any(|known| known == email) {
            let known = self.emails.join(" or ");
            let detail = format!("the token is of {}, this source's email is {known}", jwt::shown(email));
            return Err(Refusal::new("wrong_email", detail));
        }
        if verified != Some(Value::Bool(true)) {
            return Err(Refusal::new("wrong_email", "the token's email_verified is not true"));
        }
        Ok(())
    }
}

impl Code for GooglePubsub {
    fn judge(&self, request: &Request<'_>) -> Verdict {
        self.check(request).unwrap_or_else(Verdict::Refused)
    }

    /// Nothing of the proof is in the body.
    fn judge_head(&self, request: &Request<'_>) -> ByHead {
        self.judge(request).into()
    }

    fn sign(&self, mut draft: Draft, _: &str, now: Wall) -> Result<Draft, SignError> {
        let key = self.signing_key.as_ref().ok_or(SignError::Key)?;
        let seconds = now.as_micros().div_euclid(1_000_000);
        let head = value!({"alg": RS256, "kid": SAMPLE_KEY, "typ": "JWT"});
        let claims = value!({
            "aud": self.audience, "azp": "113774264463038321964", "email": self.emails.first(), "email_verified": true,
            "exp": seconds + 3_600, "iat": seconds, "iss": ISSUERS[0], "sub": "113774264463038321964",
        });
        let token = jwt::make(&head, &claims, |message| x509::rsa_sign(key, message))?;
        draft.set_header("authorization", format!("Bearer {token}"));
        Ok(draft)
    }

    fn reads(&self) -> Vec<String> {
        names(&["authorization"])
    }
}

/// The RSA key of that id in a key set (RFC 7517).
fn key(set: &[u8], id: &str) -> Result<Option<RsaKey>, Refusal> {
    let unreadable = || unreadable_key(KEY_SET, "key set");
    let [keys] = json::members(set, "the key set", ["keys"]).map_err(|_| unreadable())?;
    let keys = json::items(keys.ok_or_else(unreadable)?, "the key set").map_err(|_| unreadable())?;
    Ok(keys.into_iter().find_map(|key| {
        let found = json::members(key.as_bytes(), "a key", ["kid", "kty", "use", "alg", "n", "e"]).ok()?;
        let [kid, kind, usage, algorithm, n, e] = found.map(|member| member.and_then(json::string));
        let fits = |value: Option<String>, expected: &str| value.is_none_or(|value| value == expected);
        let is_it = kid.as_deref() == Some(id) && kind.as_deref() == Some("RSA");
        let decode = |part: Option<String>| URL_SAFE_NO_PAD.decode(part?).ok().filter(|bytes| !bytes.is_empty());
        (is_it && fits(usage, "sig") && fits(algorithm, RS256)).then_some(())?;
        Some(RsaKey::Components(decode(n)?, decode(e)?))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_rsa_signing_key_of_that_id_is_taken() {
        let found = |fields: Value| key(value!({"keys": [{}, 1, fields]}).to_string().as_bytes(), "a");
        let good = Ok(Some(RsaKey::Components(vec![1], vec![1, 0, 1])));
        assert_eq!(found(value!({"kid": "a", "kty": "RSA", "n": "AQ", "e": "AQAB"})), good);
        assert_eq!(
            found(value!({"kid": "a", "kty": "RSA", "use": "sig", "alg": "RS256", "n": "AQ", "e": "AQAB"})),
            good
        );
        for other in [
            value!({"kid": "b", "kty": "RSA", "n": "AQ", "e": "AQAB"}),
            value!({"kid": "a", "kty": "oct", "k": "AQ"}),
            value!({"kid": "a", "kty": "RSA", "use": "enc", "n": "AQ", "e": "AQAB"}),
            value!({"kid": "a", "kty": "RSA", "alg": "RS512", "n": "AQ", "e": "AQAB"}),
            value!({"kid": "a", "kty": "RSA", "n": "", "e": "AQAB"}),
            value!({"kid": "a", "kty": "RSA", "n": "=", "e": "AQAB"}),
        ] {
            assert_eq!(found(other.clone()), Ok(None), "{other}");
        }
        for set in [&b""[..], b"<html>", b"{}", b"{\"keys\": {}}"] {
            assert_eq!(key(set, "a").expect_err("no key set").status, 503);
        }
    }
}
