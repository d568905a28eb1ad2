//! Signing again at the last hop, so that a webhook that was delivered late still passes the target's check of its age.
//!
//! The signature says that this client forwarded the webhook just now; that the relay found it genuine when it came in is
//! why the client has it.

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use relay_core::{client::Forward, time::Wall};
use relay_providers::{Draft, Signer};

/// Every field of Standard Webhooks begins with this.
const PREFIX: &str = "webhook-";
const ID: &str = "webhook-id";
/// Longest `webhook-id` that is taken over; longer ones are no sender's way to name a webhook.
const ID_BYTES_MAX: usize = 255;

/// Puts the header fields of Standard Webhooks on requests, with a secret that client and target share.
#[derive(Clone, Debug)]
pub struct Resigner(Signer);

/// What is wrong with a secret. The text never holds it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ResignFault(String);

/// The header fields cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the webhook cannot be signed again")]
pub(crate) struct ResignError;

impl Resigner {
    /// With a secret: `whsec_` and 24 to 64 bytes in base64.
    ///
    /// # Errors
    /// It is none.
    pub fn new(secret: &str) -> Result<Self, ResignFault> {
        // What is made up here is as long as the specification has it.
        let digits = secret.strip_prefix("whsec_").unwrap_or_default().trim_end_matches('=').len();
        if !(32..=86).contains(&digits) {
            return Err(ResignFault("must be whsec_ followed by 24 to 64 bytes in base64".to_owned()));
        }
        let parameters = [("secret".to_owned(), secret.to_owned())];
        let signer = Signer::new("standard-webhooks", &parameters);
        signer.map(Self).map_err(|faults| {
            let details: Vec<String> = faults.into_iter().map(|fault| fault.detail).collect();
            ResignFault(details.join("; "))
        })
    }

    /// The fields for one try: the webhook's id, the same over all of them, this moment, and a signature over both and the
    /// body.
    pub(crate) fn fields(
        &self,
        forward: &Forward,
        now: Wall,
    ) -> Result<impl Iterator<Item = (HeaderName, HeaderValue)>, ResignError> {
        let id = received_id(forward).map_or_else(|| forward.event.to_string(), str::to_owned);
        let draft = self.0.sign(Draft::post("", forward.body.clone()), &id, now).map_err(|_| ResignError)?;
        let fields: Option<Vec<_>> = draft.headers.into_iter().map(field).collect();
        fields.map(Vec::into_iter).ok_or(ResignError)
    }
}

/// Whether re-signing replaces this field: a target must not find two signatures, one of them old.
pub(crate) fn is_replaced(name: &HeaderName) -> bool {
    name.as_str().starts_with(PREFIX)
}

/// The id that the sender gave the webhook, under which the target may know it already.
fn received_id(forward: &Forward) -> Option<&str> {
    let (_, value) = forward.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(ID.as_bytes()))?;
    let is_plain = (1..=ID_BYTES_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    std::str::from_utf8(value).ok().filter(|_| is_plain)
}

fn field((name, value): (Bytes, Bytes)) -> Option<(HeaderName, HeaderValue)> {
    let value = HeaderValue::from_maybe_shared(value).ok()?;
    HeaderName::from_bytes(&name).ok().filter(is_replaced).map(|name| (name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_whsec_and_24_to_64_bytes_in_base64() {
        let of = |bytes: usize| format!("whsec_{}", "QUJD".repeat(bytes / 3));
        assert!(Resigner::new(&of(24)).is_ok() && Resigner::new(&of(63)).is_ok());
        let unmarked = of(24)["whsec_".len()..].to_owned();
        for bad in ["", "whsec_", "whsec_not base64!", &of(21), &of(66), &unmarked, "whpk_QUJD", "a long enough secret"]
        {
            let fault = Resigner::new(bad).expect_err(bad).to_string();
            assert!(fault.contains("whsec_") || fault.contains("missing"), "{fault}");
            assert!(bad.len() < 10 || !fault.contains(bad), "{fault}");
        }
    }

    /// S27: not even by accident.
    #[test]
    fn debug_shows_no_secret() {
        let resigner = Resigner::new("whsec_QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVow").unwrap();
        let shown = format!("{resigner:?}");
        assert!(!shown.contains("QUJDR") && !shown.contains("ABCD") && !shown.contains("65, 66"), "{shown}");
    }
}
