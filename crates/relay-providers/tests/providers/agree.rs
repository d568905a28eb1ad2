//! Head and whole of one request, judged apart: what is said of the head holds.

use relay_providers::{ByHead, HANDSHAKE_BODY_BYTES_MAX, Request, Verdict, Verifier};

/// Bodies that say nothing of what any body says.
const OTHERS: [&[u8]; 3] = [b"", b"{}", b"another=body"];

/// Judges both; the head's verdict.
///
/// # Panics
/// If they do not agree.
pub(crate) fn agree(verifier: &Verifier, request: &Request<'_>) -> ByHead {
    let name = verifier.provider().name;
    let by_head = verifier.judge_head(request);
    assert_eq!(
        verifier.judge_head(&Request { body: b"{\"another\": 1}", ..*request }),
        by_head,
        "{name}: reads a body"
    );
    let is_bounded = matches!(by_head, ByHead::Refused { or_handshake: true, .. });
    let large = if is_bounded { vec![b' '; HANDSHAKE_BODY_BYTES_MAX + 1] } else { Vec::new() };
    for body in OTHERS.into_iter().chain([request.body, &large]) {
        let whole = verifier.judge(&Request { body, ..*request });
        let refused = match &whole {
            Verdict::Refused(refusal) => Some(refusal),
            _ => None,
        };
        match &by_head {
            ByHead::Open => {}
            ByHead::Proven => assert!(refused.is_none(), "{name}: proven by its head, but {refused:?}"),
            ByHead::NeedsKey { url } => assert_eq!(whole, Verdict::NeedsKey { url: url.clone() }, "{name}"),
            ByHead::Refused { refusal, or_handshake } => {
                let may_differ = *or_handshake && body.len() <= HANDSHAKE_BODY_BYTES_MAX;
                let is_other = refused.is_none_or(|other| other != refusal);
                assert!(!is_other || may_differ, "{name}: {refusal:?} by its head, but {whole:?}");
                assert!(!matches!(whole, Verdict::Genuine(_) | Verdict::Malformed(_)), "{name}: {whole:?}");
            }
        }
    }
    by_head
}
