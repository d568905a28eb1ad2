//! JSON Web Tokens, as far as webhooks carry them: three parts in compact form, one algorithm that the source's provider
//! fixes and the token has no say in.
//!
//! **Source:** RFC 7515, RFC 7519, RFC 8725 (best current practices).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use relay_core::time::Wall;
use serde_json::Value;

use super::json;
use crate::{Refusal, Request, header};

/// Longest token that is looked at.
const TOKEN_BYTES_MAX: usize = 16 * 1024;
/// How far the clocks may be apart.
const LEEWAY_SECONDS: i64 = 300;

/// A token whose signature has yet to be checked.
#[derive(Clone, Debug)]
pub(crate) struct Token<'a> {
    /// What is signed: header and claims as they came.
    pub(crate) message: &'a [u8],
    pub(crate) signature: Vec<u8>,
    pub(crate) key_id: Option<String>,
    claims: Vec<u8>,
}

/// The token of the `Authorization` field, with or without `Bearer`.
pub(crate) fn presented<'a>(request: &Request<'a>) -> Result<&'a [u8], Refusal> {
    let value = header::required(request, "authorization", "missing_token")?;
    Ok(match value.split_at_checked(7) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token.trim_ascii(),
        _ => value,
    })
}

impl<'a> Token<'a> {
    /// Takes a token apart that says it is signed with `algorithm`.
    pub(crate) fn read(token: &'a [u8], algorithm: &str) -> Result<Self, Refusal> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(malformed());
        }
        let parts: Vec<&[u8]> = token.splitn(4, |byte| *byte == b'.').collect();
        let [head, claims, signature] = parts[..] else { return Err(malformed()) };
        let message = &token[..head.len() + 1 + claims.len()];
        let decode = |part: &[u8]| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
        let (head, claims, signature) = (decode(head)?, decode(claims)?, decode(signature)?);
        let [alg, kid, crit] = json::members(&head, "the token's header", ["alg", "kid", "crit"])?;
        // The token's own word for it is compared, never followed: `none` or a public key taken for a shared secret
        // are the two oldest forgeries.
        if alg.and_then(json::string).as_deref() != Some(algorithm) {
            return Err(Refusal::new("unsupported_algorithm", format!("the token must be signed with {algorithm}")));
        }
        if crit.is_some() {
            return Err(Refusal::new("unsupported_algorithm", "the token demands extensions that are not known here"));
        }
        Ok(Self { message, signature, key_id: kid.and_then(json::string), claims })
    }

    /// The values of these claims; for use after the signature was found good.
    pub(crate) fn claims<const N: usize>(&self, names: [&str; N]) -> Result<[Option<Value>; N], Refusal> {
        let found = json::members(&self.claims, "the token's claims", names)?;
        Ok(found.map(|claim| claim.and_then(|claim| serde_json::from_str(claim).ok())))
    }

    /// Refuses a token that has expired, or is not valid yet.
    pub(crate) fn check_times(&self, now: Wall) -> Result<(), Refusal> {
        let [expires, from, issued] = self.claims(["exp", "nbf", "iat"])?;
        let now = now.as_micros().div_euclid(1_000_000);
        let Some(expires) = expires.as_ref().and_then(seconds) else {
            return Err(Refusal::new("missing_expiry", "the token has no exp claim"));
        };
        let late = now.saturating_sub(expires);
        if late > LEEWAY_SECONDS {
            let detail = format!("token expired {late} s ago, leeway {LEEWAY_SECONDS} s");
            return Err(Refusal::new("expired_token", detail));
        }
        for start in [from, issued].iter().flatten().filter_map(seconds) {
            let early = start.saturating_sub(now);
            if early > LEEWAY_SECONDS {
                let detail = format!("token valid in {early} s, leeway {LEEWAY_SECONDS} s");
                return Err(Refusal::new("future_token", detail));
            }
        }
        Ok(())
    }

    /// Refuses a token for somebody else. `aud` is a text or a list of texts.
    pub(crate) fn check_audience(&self, audience: &str) -> Result<(), Refusal> {
        let [claim] = self.claims(["aud"])?;
        let is_ours = match &claim {
            Some(Value::String(aud)) => aud == audience,
            Some(Value::Array(list)) => list.iter().any(|aud| aud.as_str() == Some(audience)),
            _ => false,
        };
        if is_ours {
            return Ok(());
        }
        let detail = match claim.as_ref().and_then(Value::as_str) {
            Some(other) => format!("token is for {}, this source's audience is {audience}", shown(other)),
            None => format!("token has no aud of this source, which is {audience}"),
        };
        Err(Refusal::new("wrong_audience", detail))
    }
}

/// A token signed by `sign`, which gets what is to be signed.
pub(crate) fn make<E>(
    head: &Value,
    claims: &Value,
    sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
) -> Result<String, E> {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let message = format!("{}.{}", encode(head), encode(claims));
    let signature = sign(message.as_bytes())?;
    Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

/// What a stranger says of itself, short enough for a log line and with nothing in it that a terminal could act on.
pub(crate) fn shown(text: &str) -> String {
    text.chars().take(200).map(|character| if character.is_ascii_graphic() { character } else { '?' }).collect()
}

fn seconds(claim: &Value) -> Option<i64> {
    claim.as_i64().or_else(|| claim.as_f64().map(|seconds| seconds as i64))
}

fn malformed() -> Refusal {
    Refusal::new("malformed_token", "Authorization is no JSON Web Token: three parts in base64url with dots between")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);

    fn token(head: &Value, claims: &Value) -> String {
        make(head, claims, |_| Ok::<_, ()>(vec![1])).expect("signed")
    }

    fn check(read: Result<Token<'_>, Refusal>) -> &'static str {
        read.expect_err("refused").check
    }

    #[test]
    fn the_algorithm_is_not_the_tokens_to_choose() {
        for head in [
            json!({"alg": "none"}),
            json!({"alg": "None"}),
            json!({"alg": "HS256"}),
            json!({"alg": "RS512"}),
            json!({"alg": ["RS256"]}),
            json!({"typ": "JWT"}),
            json!({"alg": "RS256", "crit": ["b64"], "b64": false}),
        ] {
            let token = token(&head, &json!({}));
            assert_eq!(check(Token::read(token.as_bytes(), "RS256")), "unsupported_algorithm", "{head}");
        }
        let twice = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","alg":"none"}"#));
        assert_eq!(check(Token::read(twice.as_bytes(), "RS256")), "malformed_body");
    }

    #[test]
    fn what_is_no_token_is_malformed() {
        let long = "a".repeat(TOKEN_BYTES_MAX + 1);
        for token in
            ["", "a.b", "e30.e30.e30.e30", "e30=.e30.AA", "e30.e30.A+/A", "e30.e30.AB", "...", "\0.\0.\0", &long]
        {
            assert_eq!(check(Token::read(token.as_bytes(), "HS256")), "malformed_token", "{token:.20}");
        }
    }

    #[test]
    fn a_token_holds_from_its_start_to_its_end_with_leeway() {
        let good = |claims: Value| {
            let token = token(&json!({"alg": "HS256"}), &claims);
            Token::read(token.as_bytes(), "HS256").and_then(|token| token.check_times(NOW)).map_err(|r| r.check)
        };
        let now = 1_700_000_000;
        assert_eq!(good(json!({"exp": now})), Ok(()));
        assert_eq!(good(json!({"exp": now - 300})), Ok(()));
        assert_eq!(good(json!({"exp": 1_700_000_000.5})), Ok(()));
        assert_eq!(good(json!({"exp": now - 301})), Err("expired_token"));
        assert_eq!(good(json!({})), Err("missing_expiry"));
        assert_eq!(good(json!({"exp": "1800000000"})), Err("missing_expiry"));
        assert_eq!(good(json!({"exp": null})), Err("missing_expiry"));
        assert_eq!(good(json!({"exp": -1e300})), Err("expired_token"));
        assert_eq!(good(json!({"exp": now + 60, "nbf": now + 301})), Err("future_token"));
        assert_eq!(good(json!({"exp": now + 60, "iat": now + 301})), Err("future_token"));
        assert_eq!(good(json!({"exp": now + 60, "iat": now + 300})), Ok(()));
    }

    #[test]
    fn the_audience_is_a_text_or_a_list() {
        let good = |aud: Value| {
            let token = token(&json!({"alg": "HS256"}), &json!({"aud": aud}));
            Token::read(token.as_bytes(), "HS256").and_then(|token| token.check_audience("https://a/"))
        };
        assert_eq!(good(json!("https://a/")), Ok(()));
        assert_eq!(good(json!(["x", "https://a/"])), Ok(()));
        for other in [json!("https://a"), json!("https://a/x"), json!([]), json!(null), json!({"https://a/": 1})] {
            assert_eq!(good(other.clone()).map_err(|refusal| refusal.check), Err("wrong_audience"), "{other}");
        }
    }

    #[test]
    fn what_a_stranger_says_is_harmless_in_a_log() {
        assert_eq!(shown("a\u{1b}[31m\r\nb\u{202e}c"), "a?[31m??b?c");
        assert_eq!(shown(&"x".repeat(10_000)).len(), 200);
    }

    #[test]
    fn bearer_may_stand_in_front() {
        for value in ["abc", "Bearer abc", "bearer  abc"] {
            let headers = [("authorization".into(), bytes::Bytes::from(value))];
            let request = crate::Draft::post("https://h/", "");
            let request = Request { headers: &headers, ..request.request(NOW, &[]) };
            assert_eq!(presented(&request), Ok(&b"abc"[..]), "{value}");
        }
    }
}
