//! Sample events: what `send` sends.

use bytes::Bytes;
use relay_core::time::Wall;

use crate::{Draft, scheme::stamp, secret};

/// A realistic event. In header values, query and body these stand for what differs from one to the next: `{{id}}`,
/// `{{uuid}}`, `{{hex}}`, `{{number}}`, `{{seconds}}`, `{{millis}}`, `{{rfc3339}}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Header fields beside those that prove it, names in lower case.
    pub headers: &'static [(&'static str, &'static str)],
    /// What is added to the query of the URL.
    pub query: &'static str,
    /// Body.
    pub body: &'static str,
}

impl Sample {
    pub(crate) const EMPTY: Self = Self { headers: &[], query: "", body: "" };

    /// A JSON event.
    pub(crate) const fn json(body: &'static str) -> Self {
        Self { headers: &[("content-type", "application/json")], query: "", body }
    }

    pub(crate) fn draft(&self, url: &str, id: &str, now: Wall) -> Draft {
        let fill = Filling::new(id, now);
        let mut draft = Draft::post(url, fill.fill(self.body));
        if !self.query.is_empty() {
            let separator = if url.contains('?') { '&' } else { '?' };
            draft.url = format!("{url}{separator}{}", fill.fill(self.query));
        }
        draft.headers = self
            .headers
            .iter()
            .map(|(name, value)| (Bytes::from_static(name.as_bytes()), Bytes::from(fill.fill(value))))
            .collect();
        draft
    }
}

struct Filling([(&'static str, String); 7]);

impl Filling {
    fn new(id: &str, now: Wall) -> Self {
        let digest = secret::secret_digest(id.as_bytes());
        let hex = secret::to_hex(&digest[..16]);
        // 42 bits: exact in every JSON reader, and few enough digits for a reader with eyes.
        let number = digest[..8].iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte)) >> 22;
        let uuid = format!("{}-{}-4{}-8{}-{}", &hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]);
        Self([
            ("{{id}}", id.to_owned()),
            ("{{uuid}}", uuid),
            ("{{hex}}", hex),
            ("{{number}}", number.to_string()),
            ("{{seconds}}", (now.as_millis() / 1_000).to_string()),
            ("{{millis}}", now.as_millis().to_string()),
            ("{{rfc3339}}", stamp::rfc3339(now)),
        ])
    }

    fn fill(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }
}
