//! A body without what counts the platform's attempts: the same over the retries of one webhook.

use aws_lc_rs::digest;

use crate::walk::{Step, Walk};

/// SHA-256 of the body without the values that stand at these places of it: `retry`, `meta.attempt`, `[].attemptNumber`,
/// `events[].context.isRedelivery`. A member of the same name elsewhere is the sender's own. Only numbers, words and texts are
/// left out; lists and objects stay. All other bytes count as they are.
pub(crate) fn digest_without(body: &[u8], paths: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut kept_from = 0;
    let mut walk = Walk::over(body);
    while let Some((begin, end)) = walk.next_value() {
        if walk.trail().is_some_and(|trail| paths.iter().any(|path| leads(path, trail))) {
            context.update(&body[kept_from..begin]);
            kept_from = end;
        }
    }
    context.update(&body[kept_from..]);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(context.finish().as_ref());
    bytes
}

/// Whether a path leads to a value that stands there.
fn leads(path: &str, trail: &[Step<'_>]) -> bool {
    let mut trail = trail.iter();
    let follows = path.split('.').all(|segment| {
        let name = segment.strip_suffix("[]");
        let member = name.unwrap_or(segment);
        (member.is_empty() || trail.next() == Some(&Step::Member(member.as_bytes())))
            && (name.is_none() || trail.next() == Some(&Step::Item))
    });
    follows && trail.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) -> bool {
        let paths = ["attempt", "sent_at", "[].meta.attempt", "events[].context.again"];
        let digest = |body: &str| digest_without(body.as_bytes(), &paths);
        digest(left) == digest(right)
    }

    #[test]
    fn retries_of_one_webhook_are_the_same_and_nothing_else_is() {
        assert!(same(r#"{"id":1,"attempt":1}"#, r#"{"id":1,"attempt":27}"#));
        assert!(same(r#"[{"meta":{"attempt" : false, "a":2}}]"#, r#"[{"meta":{"attempt" : true, "a":2}}]"#));
        assert!(same(r#"{"sent_at":"2026\"a","b":1}"#, r#"{"sent_at":"2027","b":1}"#));
        assert!(same(
            r#"{"events":[{"context":{"again":false}},{"context":{"again":false}}]}"#,
            r#"{"events":[{"context":{"again":true}},{"context":{"again":true}}]}"#
        ));
        assert!(!same(r#"{"id":1,"attempt":1}"#, r#"{"id":2,"attempt":1}"#));
        assert!(!same(r#"{"attempts":1}"#, r#"{"attempts":2}"#));
        assert!(!same(r#"{"text":"\"attempt\":1"}"#, r#"{"text":"\"attempt\":2"}"#));
        assert!(!same(r#"{"attempt":[1]}"#, r#"{"attempt":[2]}"#));
        assert!(!same(r#"{"attempt":1,"x":1}"#, r#"{"attempt":1,"x":2}"#));
        assert!(!same("attempt", r#"{"attempt":1}"#));
    }

    /// I20: a field that a customer has called like it is no count of attempts.
    #[test]
    fn what_is_called_alike_elsewhere_counts() {
        for (left, right) in [
            (r#"{"data":{"attempt":1}}"#, r#"{"data":{"attempt":2}}"#),
            (r#"[{"attempt":1}]"#, r#"[{"attempt":2}]"#),
            (r#"[{"meta":{"meta":{"attempt":1}}}]"#, r#"[{"meta":{"meta":{"attempt":2}}}]"#),
            (r#"{"a":{},"b":{"attempt":1}}"#, r#"{"a":{},"b":{"attempt":2}}"#),
            (r#"{"events":{"context":{"again":1}}}"#, r#"{"events":{"context":{"again":2}}}"#),
            (r#"{"events":[[{"context":{"again":1}}]]}"#, r#"{"events":[[{"context":{"again":2}}]]}"#),
            (r#"{"a":[[[[[[[[[{"attempt":1}]]]]]]]]]}"#, r#"{"a":[[[[[[[[[{"attempt":2}]]]]]]]]]}"#),
        ] {
            assert!(!same(left, right), "{left}");
        }
        assert!(same(
            r#"{"a":[[[[[[[[[{"attempt":1}]]]]]]]]],"attempt":1}"#,
            r#"{"a":[[[[[[[[[{"attempt":1}]]]]]]]]],"attempt":2}"#
        ));
    }

    #[test]
    fn odd_bodies_are_taken_as_they_are() {
        for body in [
            "",
            "\"",
            "\"attempt\"",
            "\"attempt\":",
            "\"attempt\":\"",
            "\"attempt\":\"\\",
            "\"attempt\":1",
            "{\"attempt\"",
            "]]}",
            "{{{:::",
            "\\",
        ] {
            assert_eq!(digest_without(body.as_bytes(), &["attempt"]), crate::secret_digest(body.as_bytes()), "{body}");
        }
    }
}
