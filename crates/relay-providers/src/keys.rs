//! Keys that open a source: `X-API-Key` or `Authorization: Bearer`, several valid at once.

use std::{fmt, sync::Arc};

use relay_core::limits::IDEMPOTENCY_KEY_BYTES_MAX;

use crate::{DedupeKey, Genuine, Refusal, Request, Verdict, parameters::Parameters, secret};

/// Header fields that may carry a key, and the dedupe key beside it.
pub(crate) const READ: &[&str] = &["authorization", "idempotency-key", "x-api-key"];
/// Header fields that may hold a key in one request; more than a sender needs, few enough to hash.
const CANDIDATES_MAX: usize = 8;

/// A key of which only the digest is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredKey {
    /// Its name, for logs and audit.
    pub name: Arc<str>,
    /// [`crate::secret_digest`] of the key.
    pub digest: [u8; 32],
}

/// The keys of a source.
#[derive(Clone, Debug)]
pub(crate) struct Keys(pub(crate) Vec<StoredKey>);

impl Keys {
    /// Reads the parameter `name` and its `_sha256` form, and adds the keys that a store holds.
    pub(crate) fn read(name: &str, parameters: &mut Parameters<'_>, stored: Vec<StoredKey>) -> Self {
        let mut keys = Vec::new();
        let named: Arc<str> = name.into();
        for value in parameters.own_secrets(name) {
            keys.push(StoredKey { name: Arc::clone(&named), digest: secret::secret_digest(value.as_bytes()) });
        }
        let digest_name = format!("{name}_sha256");
        for value in parameters.all(&digest_name) {
            match secret::from_hex(value).and_then(|bytes| <[u8; 32]>::try_from(bytes).ok()) {
                Some(digest) => keys.push(StoredKey { name: Arc::clone(&named), digest }),
                None => {
                    parameters.fault(&digest_name, "must be 64 hex digits; make it with: printf %s KEY | sha256sum");
                }
            }
        }
        keys.extend(stored);
        Self(keys)
    }

    /// Looks for a field whose value is one of the keys. Every field is compared with every key, so the time taken
    /// tells neither which key nor how much of it matched.
    pub(crate) fn judge(&self, request: &Request<'_>) -> Verdict {
        let mut candidates = 0;
        let mut strip = Vec::new();
        let mut matched: Option<&StoredKey> = None;
        for (index, (name, value)) in request.headers.iter().enumerate() {
            let Some(presented) = presented(name, value) else { continue };
            candidates += 1;
            if candidates > CANDIDATES_MAX {
                return refused("ambiguous_key", format!("more than {CANDIDATES_MAX} header fields hold a key"));
            }
            if let Some(key) = self.find(presented) {
                strip.push(index);
                matched.get_or_insert(key);
            }
        }
        let Some(key) = matched else {
            return if candidates == 0 {
                refused("missing_key", "no X-API-Key and no Authorization: Bearer header field")
            } else {
                refused("wrong_key", "the key presented is none of this source's keys")
            };
        };
        match idempotency_key(request, key) {
            Ok(dedupe) => {
                let dedupe = dedupe.map(DedupeKey::documented);
                Verdict::Genuine(Genuine { dedupe, strip, key: Some(Arc::clone(&key.name)), ..Genuine::default() })
            }
            Err(malformed) => Verdict::Malformed(malformed),
        }
    }

    fn find(&self, presented: &[u8]) -> Option<&StoredKey> {
        let digest = secret::secret_digest(presented);
        // No early end: the position of a key in the list must not show in the time.
        self.0.iter().fold(None, |found, key| if secret::equal(&key.digest, &digest) { Some(key) } else { found })
    }
}

impl fmt::Debug for StoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The key in a header field, if it is one that may carry a key.
pub(crate) fn presented<'a>(name: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    match name {
        b"x-api-key" => Some(value.trim_ascii()),
        b"authorization" => {
            let (scheme, credentials) = value.split_at_checked(b"bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"bearer ").then(|| credentials.trim_ascii())
        }
        _ => None,
    }
}

/// The dedupe key: a digest over API key and `Idempotency-Key`, so that two senders never meet in one.
fn idempotency_key(request: &Request<'_>, key: &StoredKey) -> Result<Option<Vec<u8>>, Refusal> {
    let mut values = request.headers.iter().filter(|(name, _)| &name[..] == b"idempotency-key").map(|(_, value)| value);
    let Some(value) = values.next() else { return Ok(None) };
    if values.any(|other| other != value) {
        return Err(malformed("Idempotency-Key is given twice with different values".to_owned()));
    }
    if value.is_empty() || value.len() > IDEMPOTENCY_KEY_BYTES_MAX {
        let length = value.len();
        return Err(malformed(format!(
            "Idempotency-Key of {length} bytes, allowed are 1 to {IDEMPOTENCY_KEY_BYTES_MAX}"
        )));
    }
    Ok(Some(idempotency_id(key, value)))
}

/// What a webhook is known by that came with this key and this `Idempotency-Key`.
pub(crate) fn idempotency_id(key: &StoredKey, value: &[u8]) -> Vec<u8> {
    secret::secret_digest(&[&key.digest[..], value].concat()).to_vec()
}

fn malformed(detail: String) -> Refusal {
    Refusal::new("malformed_idempotency_key", detail)
}

fn refused(check: &'static str, detail: impl Into<String>) -> Verdict {
    Verdict::Refused(Refusal::new(check, detail))
}
