//! A body without what counts the platform's attempts: the same over the retries of one webhook.

use aws_lc_rs::digest;

/// SHA-256 of the body without the values of these members of its objects, wherever they stand. Only numbers, words and texts
/// are left out; lists and objects stay. All other bytes count as they are.
pub(crate) fn digest_without(body: &[u8], members: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut kept_from = 0;
    let mut at = 0;
    while let Some(quote) = body[at..].iter().position(|byte| *byte == b'"') {
        at += quote + 1;
        let Some(value) = members.iter().find_map(|member| value_of(body, at, member)) else { continue };
        context.update(&body[kept_from..value.0]);
        (kept_from, at) = (value.1, value.1);
    }
    context.update(&body[kept_from..]);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// Where the value of a member begins and ends whose name begins at `at`, behind its quote. Inside a text the name's last quote
/// would be escaped, so what is found is a member.
fn value_of(body: &[u8], at: usize, member: &str) -> Option<(usize, usize)> {
    let rest = body[at..].strip_prefix(member.as_bytes())?.strip_prefix(b"\"")?;
    let value = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let begin = body.len() - value.len();
    let length = match value.first()? {
        b'"' => text(value)?,
        b'[' | b'{' => return None,
        _ => value.iter().position(|byte| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace())?,
    };
    Some((begin, begin + length))
}

/// The length of the JSON text that begins here, with its quotes.
fn text(value: &[u8]) -> Option<usize> {
    let mut is_escaped = false;
    let end = value.iter().skip(1).position(|byte| {
        let ends = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        ends
    })?;
    Some(end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) -> bool {
        let digest = |body: &str| digest_without(body.as_bytes(), &["attempt", "sent_at"]);
        digest(left) == digest(right)
    }

    #[test]
    fn retries_of_one_webhook_are_the_same_and_nothing_else_is() {
        assert!(same(r#"{"id":1,"attempt":1}"#, r#"{"id":1,"attempt":27}"#));
        assert!(same(r#"[{"meta":{"attempt" : false, "a":2}}]"#, r#"[{"meta":{"attempt" : true, "a":2}}]"#));
        assert!(same(r#"{"sent_at":"2026\"a","b":1}"#, r#"{"sent_at":"2027","b":1}"#));
        assert!(!same(r#"{"id":1,"attempt":1}"#, r#"{"id":2,"attempt":1}"#));
        assert!(!same(r#"{"attempts":1}"#, r#"{"attempts":2}"#));
        assert!(!same(r#"{"text":"\"attempt\":1"}"#, r#"{"text":"\"attempt\":2"}"#));
        assert!(!same(r#"{"attempt":[1]}"#, r#"{"attempt":[2]}"#));
        assert!(!same(r#"{"attempt":1,"x":1}"#, r#"{"attempt":1,"x":2}"#));
        assert!(!same("attempt", r#"{"attempt":1}"#));
    }

    #[test]
    fn odd_bodies_are_taken_as_they_are() {
        for body in ["", "\"", "\"attempt\"", "\"attempt\":", "\"attempt\":\"", "\"attempt\":\"\\", "\"attempt\":1"] {
            assert_eq!(digest_without(body.as_bytes(), &["attempt"]), crate::secret_digest(body.as_bytes()), "{body}");
        }
    }
}
