//! Spoils a signed request, so that one can see it refused.

use bytes::Bytes;
use clap::ValueEnum;
use relay_providers::Draft;

/// A shorter run of letters and digits is more likely a name or a number than a proof.
const PROOF_BYTES_MIN: usize = 16;
/// In URL and body, when nothing as long is there: a word of a password.
const SHORT_PROOF_BYTES_MIN: usize = 3;

/// What is spoilt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Tamper {
    /// One bit of the body, after it was signed
    Body,
    /// The signature, key or password; it keeps its form
    Signature,
    /// Signed a week ago
    Timestamp,
}

/// The request with one bit of its body turned; an empty body gets one byte.
pub(crate) fn body(mut signed: Draft) -> Draft {
    let mut bytes = signed.body.to_vec();
    let middle = bytes.len() / 2;
    match bytes.get_mut(middle) {
        Some(byte) => *byte ^= 1,
        None => bytes.push(b'x'),
    }
    signed.body = bytes.into();
    signed
}

/// The request with what signing added spoilt, in header fields, URL and body; `None` if it added nothing. `id` was added
/// too and proves nothing.
pub(crate) fn signature(draft: &Draft, mut signed: Draft, id: &str) -> Option<Draft> {
    let untouched = signed.clone();
    let added = |name: &Bytes| draft.headers.iter().all(|(known, _)| known != name);
    for (_, value) in signed.headers.iter_mut().filter(|(name, _)| added(name)) {
        if &value[..] != id.as_bytes() {
            *value = spoilt(value, b"", PROOF_BYTES_MIN);
        }
    }
    spoil_elsewhere(draft, &mut signed, PROOF_BYTES_MIN)?;
    if signed == untouched {
        // A short password.
        for (_, value) in signed.headers.iter_mut().filter(|(name, _)| added(name)) {
            if &value[..] != id.as_bytes() {
                *value = spoilt(value, b"", 1);
            }
        }
        spoil_elsewhere(draft, &mut signed, SHORT_PROOF_BYTES_MIN)?;
    }
    (signed != untouched).then_some(signed)
}

/// The same for what signing added to URL and body.
fn spoil_elsewhere(draft: &Draft, signed: &mut Draft, min: usize) -> Option<()> {
    signed.url = String::from_utf8(spoilt(signed.url.as_bytes(), draft.url.as_bytes(), min).into()).ok()?;
    if signed.body != draft.body {
        signed.body = spoilt(&signed.body, &draft.body, min);
    }
    Some(())
}

/// Turns a letter in the middle of every run of at least `min` letters that `before` does not have.
fn spoilt(text: &[u8], before: &[u8], min: usize) -> Bytes {
    let mut out = text.to_vec();
    let mut start = 0;
    while start < text.len() {
        let length = text[start..].iter().take_while(|byte| is_proof(**byte)).count();
        let run = &text[start..start + length];
        let is_known = before.windows(length.max(1)).any(|known| known == run);
        // Before the middle there may be a sign that has no other of its kind.
        let letter = (start + length / 2..start + length).find(|at| text[*at].is_ascii_alphanumeric());
        if let Some(at) = letter.filter(|_| length >= min && !is_known) {
            out[at] = other(text[at]);
        }
        start += length + 1;
    }
    out.into()
}

/// What hex and base64 are made of, but for the sign at their end.
const fn is_proof(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'-' | b'_')
}

/// Another letter of the same kind: hex stays hex.
const fn other(byte: u8) -> u8 {
    match byte {
        b'9' => b'0',
        b'f' => b'a',
        b'F' => b'A',
        b'z' => b'g',
        b'Z' => b'G',
        _ => byte + 1,
    }
}

#[cfg(test)]
mod tests {
    use relay_core::time::Wall;
    use relay_providers::{Signer, Verdict, Verifier, provider};

    use super::*;

    const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);

    fn signed(name: &str, parameters: &[(&str, &str)]) -> (Draft, Draft, Verifier) {
        let parameters: Vec<(String, String)> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let draft = provider(name).unwrap().draft("https://relay.example.com/webhook/x", "msg_1", NOW);
        let signed = Signer::new(name, &parameters).unwrap().sign(draft.clone(), "msg_1", NOW).unwrap();
        (draft, signed, Verifier::new(name, &parameters).unwrap())
    }

    #[test]
    fn a_spoilt_sample_is_refused_and_a_whole_one_is_not() {
        for (name, parameters) in [
            ("standard-webhooks", &[("secret", "whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFhYWE=")][..]),
            ("meta", &[("app_secret", "0123456789abcdef0123456789abcdef")][..]),
            ("slack", &[("signing_secret", "0123456789abcdef0123456789abcdef")][..]),
            ("basic", &[("username", "ada"), ("password", "a-password-of-some-length")][..]),
            ("microsoft-graph", &[("client_state", "correct horse battery staple")][..]),
            ("zoho-crm", &[("token", "correct horse battery staple")][..]),
            ("azure-event-grid", &[("secret", "correct horse battery staple"), ("subscription", "crm")][..]),
        ] {
            let (draft, signed, verifier) = signed(name, parameters);
            let judge = |draft: &Draft| verifier.judge(&draft.request(NOW, &[]));
            assert!(matches!(judge(&signed), Verdict::Genuine(_)), "{name}");
            let spoilt = signature(&draft, signed.clone(), "msg_1").unwrap();
            assert!(matches!(judge(&spoilt), Verdict::Refused(_)), "{name}");
            if ["standard-webhooks", "meta", "slack"].contains(&name) {
                assert!(matches!(judge(&body(signed)), Verdict::Refused(_)), "{name}");
            }
        }
    }

    #[test]
    fn what_is_spoilt_keeps_its_form() {
        assert_eq!(&spoilt(b"sha256=ffffffffffffffff", b"", 16)[..], b"sha256=ffffffffafffffff");
        assert_eq!(&spoilt(b"t=1700000000,v1=0123456789abcdef", b"", 16)[..], b"t=1700000000,v1=0123456799abcdef");
        assert_eq!(
            &spoilt(b"{\"a\":\"0123456789abcdef\"}", b"0123456789abcdef", 16)[..],
            b"{\"a\":\"0123456789abcdef\"}"
        );
    }
}
