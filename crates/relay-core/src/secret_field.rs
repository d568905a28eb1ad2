//! What of a request is a secret of its sender: fields and parameters, by their names, and values that begin as credentials do. Who shows them to
//! people masks their values.
//!
//! It is one list for the pages of the dashboard and what the admin API gives who signed in there; the command line prints all of it. A
//! signature in a field is no secret: it proves one body, and nothing is made with it. One in a query may be all that a signed URL needs.

use crate::target::decoded;

/// What stands in the place of a value that is masked.
pub const MASK: &str = "•••";

/// Words that a name is made of, where it names a secret.
const WORDS: [&str; 14] = [
    "apikey",
    "authorization",
    "cookie",
    "cookie2",
    "credential",
    "credentials",
    "jwt",
    "passphrase",
    "passwd",
    "password",
    "secret",
    "session",
    "sessionid",
    "token",
];
/// What a word ends with that is one of those run together with others.
const ENDS: [&str; 8] = ["apikey", "cookie", "passphrase", "passwd", "password", "secret", "secretkey", "token"];
/// Words that name a secret at the end of a name: `x-auth`, and not `x-auth-user`.
const LAST: [&str; 4] = ["auth", "authentication", "pass", "pwd"];
/// What a key is called that lets somebody in, wherever it stands in a name: `access-key-id`.
const KEYS: [&str; 8] = ["access", "api", "auth", "client", "functions", "master", "private", "subscription"];
/// What a key at the end of a name is called that says what is meant; any other lets somebody in.
const SAYING_KEYS: [&str; 24] = [
    "cache",
    "correlation",
    "dedup",
    "dedupe",
    "deduplication",
    "event",
    "group",
    "grouping",
    "idempotency",
    "idempotent",
    "issue",
    "kafka",
    "lookup",
    "message",
    "object",
    "order",
    "ordering",
    "partition",
    "project",
    "public",
    "request",
    "routing",
    "sort",
    "surrogate",
];
/// Names of secrets that have no word of those.
const NAMES: [&[&str]; 2] = [&["key"], &["x", "amzn", "oidc", "data"]];
/// What a value begins with that is a credential, whatever its field is called.
const SCHEMES: [&[u8]; 2] = [b"bearer", b"basic"];

/// A stretch of a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum QueryPart<'a> {
    /// It is shown as it is.
    Said(&'a [u8]),
    /// The value of a parameter of this name, decoded.
    Secret(Vec<u8>),
}

/// Whether a field of this name and value holds a secret. An empty value is none.
pub fn is_secret(name: &[u8], value: &[u8]) -> bool {
    !value.is_empty() && (names_secret(&words(name)) || is_credential(value))
}

/// A query as it is shown to who did not ask for its secrets: what is said, and what is masked between.
pub fn query_parts(query: &[u8]) -> Vec<QueryPart<'_>> {
    let (mut parts, mut said, mut at) = (Vec::new(), 0, 0);
    for parameter in query.split(|byte| *byte == b'&') {
        let end = at + parameter.len();
        if let Some(equals) = parameter.iter().position(|byte| *byte == b'=') {
            let name = decoded(&parameter[..equals]);
            if is_secret_parameter(&name, &parameter[equals + 1..]) {
                parts.extend([QueryPart::Said(&query[said..=at + equals]), QueryPart::Secret(name)]);
                said = end;
            }
        }
        at = end + 1;
    }
    if said < query.len() {
        parts.push(QueryPart::Said(&query[said..]));
    }
    parts
}

/// The query with [`MASK`] for each value that is a secret, and how many there are.
pub fn masked_query(query: &[u8]) -> (Vec<u8>, usize) {
    let (mut masked, mut secrets) = (Vec::with_capacity(query.len()), 0);
    for part in query_parts(query) {
        match part {
            QueryPart::Said(said) => masked.extend_from_slice(said),
            QueryPart::Secret(_) => {
                masked.extend_from_slice(MASK.as_bytes());
                secrets += 1;
            }
        }
    }
    (masked, secrets)
}

fn is_secret_parameter(name: &[u8], value: &[u8]) -> bool {
    let words = words(name);
    let is_signed_url = words.last().is_some_and(|word| word == "sig" || word == "signature");
    !value.is_empty() && (names_secret(&words) || is_signed_url || words == ["code"] || is_credential(&decoded(value)))
}

fn names_secret(words: &[String]) -> bool {
    let has = |word: &String| WORDS.contains(&&**word) || ENDS.iter().any(|end| word.ends_with(end));
    let is_known_key = |two: &[String]| two[1] == "key" && KEYS.contains(&&*two[0]);
    let ends = match words {
        [.., before, last] if last == "key" => !SAYING_KEYS.contains(&&**before),
        [.., last] => LAST.contains(&&**last),
        [] => false,
    };
    ends || words.iter().any(has) || words.windows(2).any(is_known_key) || NAMES.iter().any(|name| words == *name)
}

/// The words of a name, in lower case: `X-AccessToken` has three.
fn words(name: &[u8]) -> Vec<String> {
    let (mut words, mut before) = (vec![String::new()], ' ');
    for character in String::from_utf8_lossy(name).chars() {
        if !character.is_alphanumeric() || (before.is_lowercase() && character.is_uppercase()) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| character.is_alphanumeric()) {
            word.extend(character.to_lowercase());
        }
        before = character;
    }
    words.retain(|word| !word.is_empty());
    words
}

/// It begins as what is in `Authorization`, and has one word more.
fn is_credential(value: &[u8]) -> bool {
    let Some(blank) = value.iter().position(|byte| b" +".contains(byte)) else { return false };
    let (scheme, given) = (&value[..blank], value[blank + 1..].trim_ascii());
    let is_known = SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known));
    is_known && !given.is_empty() && !given.contains(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRETS: &str = "Authorization proxy-authorization cookie Set-Cookie x-api-key X_API_KEY x-gitlab-token x-auth-token apikey \
        x-telegram-bot-api-secret-token x-amz-security-token x-functions-key ocp-apim-subscription-key x-authtoken accesstoken \
        X-AccessToken x-apitoken x-csrftoken secretkey sessiontoken x-amzn-oidc-accesstoken x-amzn-oidc-data aeg-sas-key x-auth \
        authentication x-authentication x-pass x-pwd passphrase x-secret-key x-rapidapi-key x-app-key x-admin-key x-service-key \
        x-webhook-key x-signing-key x-license-key Cookie2 x-accessKeyId key";
    const SAID: &str = "idempotency-key x-partition-key routing-key Ce-PartitionKey message-key dedup-key stripe-signature \
        x-hub-signature-256 signature sig code content-type x-shopify-topic x-github-delivery keynote x-tokenizer webhook-id \
        x-auth-user authentication-results monkey country-code keyId";

    #[test]
    fn what_lets_somebody_in_is_masked_and_what_says_something_is_not() {
        for secret in SECRETS.split_whitespace() {
            assert!(is_secret(secret.as_bytes(), b"x"), "{secret}");
            assert!(!is_secret(secret.as_bytes(), b""), "{secret} without a value");
        }
        for said in SAID.split_whitespace().chain([""]) {
            assert!(!is_secret(said.as_bytes(), b"x"), "{said}");
        }
    }

    #[test]
    fn a_credential_is_a_secret_whatever_its_field_is_called() {
        for value in ["Bearer canary", "bearer  canary", "Basic Y2FuYXJ5"] {
            assert!(is_secret(b"x-original", value.as_bytes()), "{value}");
        }
        for value in ["Bearer", "Bearer ", "Basic plan for teams", "Bearers canary", "canary"] {
            assert!(!is_secret(b"x-original", value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn the_secrets_of_a_query_are_masked_and_all_else_stays_as_it_is() {
        for (query, masked) in [
            ("access_token=canary", "access_token=•••"),
            ("a=1&access%5Ftoken=canary&b=%20&b", "a=1&access%5Ftoken=•••&b=%20&b"),
            ("key=canary&api_key=canary", "key=•••&api_key=•••"),
            ("secret=can=ary", "secret=•••"),
            ("sig=canary&X-Amz-Signature=canary&code=canary", "sig=•••&X-Amz-Signature=•••&code=•••"),
            ("accessToken=canary&user[password]=canary", "accessToken=•••&user[password]=•••"),
            ("x=Bearer%20canary&y=basic+canary", "x=•••&y=•••"),
            ("&&token&token=&=&country_code=49&page=2&", "&&token&token=&=&country_code=49&page=2&"),
            ("%74oken=canary&%zz=%", "%74oken=•••&%zz=%"),
            ("", ""),
        ] {
            let (shown, secrets) = masked_query(query.as_bytes());
            assert_eq!(String::from_utf8_lossy(&shown), masked);
            assert_eq!(secrets, masked.matches(MASK).count(), "{query}");
        }
        assert_eq!(query_parts(b"%74oken=x"), [QueryPart::Said(b"%74oken="), QueryPart::Secret(b"token".to_vec())]);
    }
}
