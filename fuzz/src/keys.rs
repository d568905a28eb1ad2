//! Any document where a provider's certificate or key set is fetched from: PEM, X.509, JSON Web Keys.

use bytes::Bytes;
use relay_providers::{Fetched, Verdict};

use super::request::{self, NOW};

/// The providers whose keys are fetched.
const FETCHING: [&[u8]; 3] = [b"aws-sns", b"google-pubsub", b"paypal"];

/// Judges a good request of each with the document as its key.
pub fn run(data: &[u8]) {
    for name in FETCHING {
        let acting = request::acting(name).expect("a provider of the table");
        let signed = request::sample(acting);
        let Verdict::NeedsKey { url } = acting.verifier.judge(&signed.request(NOW, &[])) else {
            panic!("{} asks for no key", acting.provider.name);
        };
        let fetched = [Fetched { url, body: Bytes::copy_from_slice(data) }];
        let verdict = acting.verifier.judge(&signed.request(NOW, &fetched));
        request::check(&verdict, signed.headers.len());
        assert!(!matches!(verdict, Verdict::NeedsKey { .. }), "{} asks for a key that is there", acting.provider.name);
    }
}
