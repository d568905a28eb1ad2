//! What mends that a source refuses something: of each check one thing to look at, for whoever set the platform up.

/// What to look at where this check refused.
pub(crate) fn cure(check: &str) -> &'static str {
    match check {
        "bad_signature" => {
            "compare the secret here with the platform's, and enter it anew if they differ; else something on the way changes requests"
        }
        "stale_timestamp" | "future_timestamp" => {
            "compare this machine's clock with the time (timedatectl); if it is right, an old request was sent again"
        }
        "missing_key" | "wrong_key" | "no_key" | "unknown_key" | "ambiguous_key" => {
            "have the sender show a key of this source as X-API-Key or Authorization: Bearer"
        }
        "missing_signature" | "missing_timestamp" | "missing_header" => {
            "nothing is signed: at the platform, give the webhook its secret; else it came from somebody else"
        }
        "wrong_secret" | "wrong_credentials" | "wrong_verify_token" | "no_verify_token" | "wrong_token" => {
            "enter at the platform what is kept here, or have this source take what is entered there"
        }
        "awaiting_secret" | "missing_secret" | "secret_not_awaited" | "not_adopted" | "second_handover" => {
            "let the platform hand over its secret: crm-relay source await-secret, then save the webhook there again"
        }
        "missing_url" => "set PUBLIC_URL on the server to the URL that the platform has: its signature covers it",
        "method_not_allowed" => "the platform's form has another method: it is to be POST",
        "too_large" => "raise BODY_MAX on the server, if webhooks of that size are meant",
        "address_refused" => "the sender's address is not among those that the source allows",
        "too_many_guesses" | "rate_limited" | "address_rate_limited" | "quota_reached" => {
            "it came too often; it is taken again in a while"
        }
        _ => "compare secret and URL at the platform with those here",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_has_a_cure() {
        assert!(cure("bad_signature").contains("secret") && cure("missing_url").contains("PUBLIC_URL"));
        assert!(!cure("whatever comes").is_empty());
    }
}
