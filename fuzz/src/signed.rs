//! Any body, signed as a provider signs it: what is read only behind a good signature, like ids and names in JSON, forms
//! and XML. The first line names the provider, the rest is the body.

use relay_providers::Verdict;

use super::{
    agree::agree,
    request::{self, NOW},
};

/// Signs and judges.
pub fn run(data: &[u8]) {
    let Some((provider, body)) = request::line(data) else { return };
    let Some(acting) = request::acting(provider) else { return };
    let mut draft = request::sample(acting);
    draft.body = body.to_vec().into();
    // Not everything is a body that the provider could send.
    let Ok(signed) = acting.signer.sign(draft, "wh_1", NOW) else { return };
    agree(&acting.verifier, &signed.request(NOW, &acting.fetched));
    let verdict = acting.judge(&signed, NOW);
    request::check(&verdict, signed.headers.len());
    match verdict {
        Verdict::Refused(refusal) => {
            assert!(refusal.check != "bad_signature", "{}: {}", acting.provider.name, refusal.detail);
        }
        Verdict::NeedsKey { url } => panic!("{}: {url} was fetched", acting.provider.name),
        Verdict::Genuine(_)
        | Verdict::Handshake(_)
        | Verdict::Confirm { .. }
        | Verdict::Adopt { .. }
        | Verdict::Malformed(_) => {}
    }
}
