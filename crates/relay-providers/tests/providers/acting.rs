//! Both sides of every provider: parameters of a source, and of a signer that its verifier believes.

use relay_core::time::Wall;
use relay_providers::{BodyShare, DedupeKey, Draft, Fetched, Provider, Signer, Verdict, Verifier};

/// Where samples go.
pub(crate) const URL: &str = "https://relay.example.com/webhook/x?y=1";
const SECRET: &str = "It's a Secret to Everybody";
const WHSEC: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const KEY: &str = "crk_9f86d081884c7d659a2feaa0c55ad015";
/// Seed and public key of RFC 8032, section 7.1, test 1.
const ED25519: (&str, &str) = (
    include_str!("../../../../fixtures/providers/keys/ed25519.seed.txt").trim_ascii(),
    include_str!("../../../../fixtures/providers/keys/ed25519.public.txt").trim_ascii(),
);
/// A P-256 key pair made for this test: PKCS#8, and the public key as platforms show it.
const P256: (&str, &str) = (
    include_str!("../../../../fixtures/providers/keys/p256.private.txt").trim_ascii(),
    include_str!("../../../../fixtures/providers/keys/p256.public.txt").trim_ascii(),
);

/// The public key of `P256` as an eBay source has it.
const EBAY_KEY: &str = "9936261a-7d7b-4621-a0f1-96ccb428af49:MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAETyKofZFTLJ3b6dqRCDJ0morkhvxw\
    kuSQo8U76gAttG3Y1UjJdDAGzlKEDiPIvQ+O/lyguwx31u3ipiQSkm/uLw==";
const EBAY_OTHER_KEY: &str = "other:MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEZhhxXKtR+TOvtDbgTPCkSof02qgBB7IsYOyf76ilExJ/upAa/vKIKheOoCyO\
    pcLmi4t0b4uepb7LLjmMr90FUg==";
/// An RSA key made for this test.
const RSA_KEY: &str = include_str!("../../../../fixtures/providers/keys/rsa.key.pem");

/// A provider with a source of it and what acts as it.
#[derive(Debug)]
pub(crate) struct Acting {
    pub(crate) provider: &'static Provider,
    pub(crate) verifier: Verifier,
    pub(crate) signer: Signer,
    /// What is at the URLs a verifier may ask for.
    pub(crate) fetched: Vec<Fetched>,
}

impl Acting {
    pub(crate) fn new(provider: &'static Provider) -> Self {
        let (source, sending) = parameters(provider);
        let verifier = Verifier::new(provider.name, &owned(&source));
        let verifier = verifier.unwrap_or_else(|faults| panic!("{}: {faults:?}", provider.name));
        let all: Vec<_> = source.iter().chain(&sending).copied().collect();
        let signer = Signer::new(provider.name, &owned(&all));
        let signer = signer.unwrap_or_else(|faults| panic!("{}: {faults:?}", provider.name));
        Self { provider, verifier, signer, fetched: fetched(provider.name) }
    }

    /// The same with one more parameter of the source.
    pub(crate) fn with(&self, name: &'static str, value: &'static str) -> Self {
        let (mut source, sending) = parameters(self.provider);
        let signer: Vec<_> = source.iter().chain(&sending).copied().collect();
        source.push((name, value));
        let verifier = Verifier::new(self.provider.name, &owned(&source));
        Self {
            provider: self.provider,
            verifier: verifier.unwrap_or_else(|faults| panic!("{}: {faults:?}", self.provider.name)),
            signer: Signer::new(self.provider.name, &owned(&signer)).expect("as before"),
            fetched: self.fetched.clone(),
        }
    }

    /// Another key that a source could have, and its name if it is not the first.
    pub(crate) fn other_key(&self) -> Option<(&'static str, &'static str)> {
        Some(match self.provider.name {
            "standard-webhooks" | "svix" | "gitlab" => ("", "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="),
            "airtable" => ("", "YW5vdGhlciBzZWNyZXQ="),
            "authorize_net" => ("", "00"),
            "postmark" | "freshdesk" => ("secret", "another secret of a source"),
            "discord" | "telnyx" => ("", "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
            "sendgrid" => return None,
            "adyen" => ("", "00112233445566778899AABBCCDDEEFF"),
            "aws-sns" => ("", "arn:aws:sns:us-east-2:123456789012:erp"),
            "ebay" => ("", EBAY_OTHER_KEY),
            "google-pubsub" => ("", "other@example.iam.gserviceaccount.com"),
            "salesforce" => ("", "00D5g000000zzzzEAA"),
            _ => ("", "another secret of a source"),
        })
    }

    /// The provider's sample, signed.
    pub(crate) fn sample(&self, id: &str, now: Wall) -> Draft {
        let draft = self.provider.draft(URL, id, now);
        self.signer.sign(draft, id, now).unwrap_or_else(|error| panic!("{}: {error}", self.provider.name))
    }

    pub(crate) fn judge(&self, draft: &Draft, now: Wall) -> Verdict {
        self.verifier.judge(&draft.request(now, &self.fetched))
    }

    /// What a repeat of this request is known by, all of it.
    pub(crate) fn key(&self, draft: &Draft, now: Wall) -> Option<Vec<u8>> {
        match self.judge(draft, now) {
            Verdict::Genuine(genuine) => genuine.dedupe.map(|key| whole(&key, draft)),
            other => panic!("{}: {other:?}", self.provider.name),
        }
    }

    pub(crate) fn is_genuine(&self, draft: &Draft, now: Wall) -> bool {
        matches!(self.judge(draft, now), Verdict::Genuine(_))
    }
}

/// A dedupe key with its share of the body.
pub(crate) fn whole(key: &DedupeKey, draft: &Draft) -> Vec<u8> {
    let share: &[u8] = match &key.body {
        BodyShare::Nothing => b"",
        BodyShare::Whole => &draft.body,
        BodyShare::ButAttempts(digest) => digest,
    };
    [&key.id[..], b"\n", share].concat()
}

/// The certificate or key set of `RSA_KEY`, where a verifier looks for it.
fn fetched(provider: &str) -> Vec<Fetched> {
    let (url, body) = match provider {
        "aws-sns" => (
            "https://sns.us-east-2.amazonaws.com/SimpleNotificationService-00000000000000000000000000000000.pem",
            include_str!("../../../../fixtures/providers/keys/rsa.crt.pem"),
        ),
        "paypal" => (
            "https://api.paypal.com/v1/notifications/certs/CERT-00000000-00000000-00000000",
            include_str!("../../../../fixtures/providers/keys/rsa.crt.pem"),
        ),
        "google-pubsub" => (
            "https://www.googleapis.com/oauth2/v3/certs",
            include_str!("../../../../fixtures/providers/keys/rsa.jwks.json"),
        ),
        _ => return Vec::new(),
    };
    vec![Fetched { url: url.to_owned(), body: body.into() }]
}

type Pairs = Vec<(&'static str, &'static str)>;

/// Parameters of a source, and those that only its signer takes.
fn parameters(provider: &Provider) -> (Pairs, Pairs) {
    let source = match provider.name {
        "api-key" | "bearer" => vec![("secret", KEY)],
        "basic" | "pipedrive" => vec![("username", "crm"), ("password", "correct horse battery")],
        "hmac" => vec![("secret", SECRET), ("header", "X-Signature")],
        "standard-webhooks" | "svix" | "gitlab" => vec![("secret", WHSEC)],
        "postmark" | "freshdesk" => vec![("header", "X-Relay-Secret"), ("secret", SECRET)],
        "bigcommerce" => vec![("client_secret", SECRET)],
        "airtable" => vec![("secret", "c2VjcmV0LWJ5dGVzLW9mLWEtd2ViaG9vaw==")],
        "authorize_net" => vec![("secret", "A1B2C3D4E5F60718293A4B5C6D7E8F90")],
        "azure-event-grid" => vec![("secret", SECRET), ("subscription", "crm")],
        "discord" | "telnyx" => vec![("secret", ED25519.1)],
        "sendgrid" => vec![("secret", P256.1)],
        "adyen" => vec![("secret", "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056")],
        "aws-sns" => vec![("secret", "arn:aws:sns:us-east-2:123456789012:crm")],
        "braintree" => vec![("secret", SECRET), ("public_key", "integration_public_key")],
        "ebay" => vec![("public_key", EBAY_KEY), ("verification_token", SECRET)],
        "google-pubsub" => vec![("audience", URL), ("email", "push@example.iam.gserviceaccount.com")],
        "monday" => vec![("secret", SECRET), ("audience", URL)],
        "paypal" => vec![("secret", "4JH86294D6297924G")],
        "salesforce" => vec![("secret", "00D5g000000abcdEAA")],
        _ => vec![("secret", SECRET)],
    };
    let sending = match provider.name {
        "discord" | "telnyx" => vec![("signing_key", ED25519.0)],
        "sendgrid" | "ebay" => vec![("signing_key", P256.0)],
        "aws-sns" | "google-pubsub" | "paypal" => vec![("signing_key", RSA_KEY)],
        _ => Vec::new(),
    };
    (source, sending)
}

pub(crate) fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
