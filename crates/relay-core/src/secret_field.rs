//! Which header fields hold a secret of their sender, by their names: who shows them to people masks their values.
//!
//! It is one list for all who do. A signature is no secret: it proves one body, and nothing is made with it.

/// Words that a name is made of, where it names a secret.
const WORDS: [&str; 12] = [
    "authorization",
    "cookie",
    "credential",
    "credentials",
    "jwt",
    "passwd",
    "password",
    "secret",
    "session",
    "sessionid",
    "token",
    "apikey",
];
/// What a key is called that lets somebody in; others, as `idempotency-key`, say what is meant.
const KEYS: [&str; 8] = ["access", "api", "auth", "client", "functions", "master", "private", "subscription"];

/// Whether the value of a field of this name is a secret.
pub fn is_secret(name: &[u8]) -> bool {
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    let words: Vec<&str> = name.split(['-', '_', '.']).collect();
    let is_key = |two: &[&str]| two[1] == "key" && KEYS.contains(&two[0]);
    words.iter().any(|word| WORDS.contains(word)) || words.windows(2).any(is_key) || words == ["set", "cookie2"]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lets_somebody_in_is_masked_and_what_says_something_is_not() {
        for secret in [
            "Authorization",
            "proxy-authorization",
            "cookie",
            "Set-Cookie",
            "x-api-key",
            "X_API_KEY",
            "x-gitlab-token",
            "x-auth-token",
            "x-telegram-bot-api-secret-token",
            "x-amz-security-token",
            "x-functions-key",
            "ocp-apim-subscription-key",
            "apikey",
        ] {
            assert!(is_secret(secret.as_bytes()), "{secret}");
        }
        for said in [
            "idempotency-key",
            "stripe-signature",
            "x-hub-signature-256",
            "content-type",
            "x-shopify-topic",
            "x-github-delivery",
            "keynote",
            "x-tokenizer",
            "webhook-id",
            "",
        ] {
            assert!(!is_secret(said.as_bytes()), "{said}");
        }
    }
}
