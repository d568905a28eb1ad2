//! Any request at a source of any provider: see [`request`](super::request) for the form of the bytes.

use bytes::Bytes;
use relay_providers::{Fetched, Verdict};

use super::request::Case;

/// Judges the request, and where a key has to be fetched first, once with the right one and once with the body as one.
pub fn run(data: &[u8]) {
    let Some(case) = Case::read(data) else { return };
    if let Verdict::NeedsKey { url } = case.judge(&[]) {
        case.judge(&case.acting.fetched);
        let again = case.judge(&[Fetched { url, body: Bytes::copy_from_slice(case.body) }]);
        assert!(!matches!(again, Verdict::NeedsKey { .. }), "asks for a key that is there");
    }
}

/// Whether the request is genuine, with the right keys fetched. For seeds, which are worth something only as long as they
/// get past the signature.
pub fn is_genuine(data: &[u8]) -> bool {
    let verdict = Case::read(data).map(|case| case.judge(&case.acting.fetched));
    matches!(verdict, Some(Verdict::Genuine(_)))
}
