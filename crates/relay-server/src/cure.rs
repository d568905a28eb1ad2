//! What mends that a source refuses something: of each check one thing to look at, for whoever set the platform up.

/// What to look at where this check refused.
pub(crate) fn cure(check: &str) -> &'static str {
    match check {
        "bad_signature" | "bad_body_hash" => {
            "compare the secret here with the platform's, and enter it anew if they differ; else something on the way changes requests"
        }
        "stale_timestamp" | "future_timestamp" | "expired_token" | "future_token" => {
            "compare this machine's clock with the time (timedatectl); if it is right, an old request was sent again"
        }
        "missing_key" | "wrong_key" => {
            "have the sender show a key of this source as X-API-Key or Authorization: Bearer"
        }
        "missing_signature" | "missing_timestamp" | "missing_token" | "missing_body_hash" => {
            "nothing is signed: at the platform, give the webhook its secret; else it came from somebody else"
        }
        "wrong_secret" | "wrong_credentials" | "wrong_verify_token" | "wrong_token" => {
            "enter at the platform what is kept here, or have this source take what is entered there"
        }
        "awaiting_secret" | "secret_not_awaited" => {
            "let the platform hand over its secret: crm-relay source await-secret, then save the webhook there again"
        }
        "missing_url" => "set PUBLIC_URL on the server to the URL that the platform has: its signature covers it",
        "method_not_allowed" => "the platform's form has another method: it is to be POST",
        "too_large" => "raise MAX_BODY_BYTES on the server, if webhooks of that size are meant",
        "address_refused" => "the sender's address is not among those that the source allows",
        "quota_reached" => "it is taken again tomorrow (UTC), or raise what the source takes in a day",
        "too_many_guesses" | "rate_limited" | "address_rate_limited" => {
            "it came too often; it is taken again in a while"
        }
        // Its detail says it, or nobody can say it from here.
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    /// What their own details say: what is malformed and where, whose token it is, what may be a stranger's.
    const SAID: [&str; 25] = [
        "ambiguous_header",
        "ambiguous_query",
        "encoded_event",
        "malformed_body",
        "malformed_handshake",
        "malformed_header",
        "malformed_idempotency_key",
        "malformed_query",
        "malformed_signature",
        "malformed_timestamp",
        "malformed_token",
        "missing_expiry",
        "missing_organization",
        "no_json_object",
        "no_verify_token",
        "second_handover",
        "unknown_key",
        "unknown_origin",
        "unknown_subscription",
        "unreadable_key",
        "unsupported_algorithm",
        "untrusted_url",
        "wrong_audience",
        "wrong_email",
        "wrong_issuer",
    ];
    const SAID_TOO: [&str; 3] = ["no_key", "wrong_organization", "wrong_topic"];

    /// The checks of providers, as their source names them.
    fn checks(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                checks(&entry, found);
                continue;
            }
            let text = fs::read_to_string(&entry).unwrap();
            for rest in text.split("Refusal::new(").skip(1) {
                let word = rest.trim_start().strip_prefix('"').and_then(|rest| rest.split('"').next());
                found.extend(word.map(str::to_owned));
            }
        }
    }

    #[test]
    fn each_check_has_a_cure_or_says_it_itself() {
        let mut found = BTreeSet::new();
        checks(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../relay-providers/src"), &mut found);
        assert!(found.len() > 30, "the checks are somewhere else: {found:?}");
        for check in &found {
            let is_said = SAID.iter().chain(&SAID_TOO).any(|said| said == check);
            assert_ne!(is_said, !cure(check).is_empty(), "{check}");
        }
        let settings = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.env.example")).unwrap();
        assert!(settings.contains("MAX_BODY_BYTES") && cure("too_large").contains("MAX_BODY_BYTES"));
    }
}
