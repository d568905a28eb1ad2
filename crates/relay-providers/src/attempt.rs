//! A body without what counts the platform's attempts: the same over the retries of one webhook.

use aws_lc_rs::digest;

/// Containers within each other that are kept track of; no path is as long.
const DEPTH_MAX: usize = 8;

/// SHA-256 of the body without the values that stand at these places of it: `retry`, `meta.attempt`, `[].attemptNumber`,
/// `events[].context.isRedelivery`. A member of the same name elsewhere is the sender's own. Only numbers, words and texts are
/// left out; lists and objects stay. All other bytes count as they are.
pub(crate) fn digest_without(body: &[u8], paths: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    let mut kept_from = 0;
    let mut walk = Walk { body, at: 0, trail: Vec::new(), deeper: 0 };
    while let Some((begin, end)) = walk.next_value() {
        if walk.deeper == 0 && paths.iter().any(|path| leads(path, &walk.trail)) {
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

/// Where a value stands within one container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step<'a> {
    /// Behind this name of an object.
    Member(&'a [u8]),
    /// In a list.
    Item,
}

/// A walk over the numbers, words and texts of a JSON body, in one pass. What is no JSON is walked over all the same: it only
/// has to be walked over alike each time.
struct Walk<'a> {
    body: &'a [u8],
    at: usize,
    trail: Vec<Step<'a>>,
    /// Containers that are open beyond those of the trail.
    deeper: usize,
}

impl<'a> Walk<'a> {
    /// Where the next value begins and ends; `None` at the end.
    fn next_value(&mut self) -> Option<(usize, usize)> {
        loop {
            let begin = self.at;
            match self.body.get(begin)? {
                b'{' => self.open(Step::Member(b"")),
                b'[' => self.open(Step::Item),
                b'}' | b']' => self.close(),
                b'"' => {
                    self.at += text(&self.body[begin..])?;
                    let Some(value) = self.behind_colon() else { return Some((begin, self.at)) };
                    self.name(&self.body[begin + 1..self.at - 1]);
                    self.at = value;
                }
                b',' | b':' => self.at += 1,
                byte if byte.is_ascii_whitespace() => self.at += 1,
                _ => {
                    self.at += word(&self.body[begin..]);
                    return Some((begin, self.at));
                }
            }
        }
    }

    /// Where the value begins whose name ends here; `None`: it was no name.
    fn behind_colon(&self) -> Option<usize> {
        let rest = self.body[self.at..].trim_ascii_start().strip_prefix(b":")?;
        Some(self.body.len() - rest.len())
    }

    fn name(&mut self, name: &'a [u8]) {
        if self.deeper == 0
            && let Some(step @ Step::Member(_)) = self.trail.last_mut()
        {
            *step = Step::Member(name);
        }
    }

    fn open(&mut self, step: Step<'a>) {
        self.at += 1;
        if self.deeper > 0 || self.trail.len() == DEPTH_MAX {
            self.deeper += 1;
        } else {
            self.trail.push(step);
        }
    }

    fn close(&mut self) {
        self.at += 1;
        if self.deeper > 0 {
            self.deeper -= 1;
        } else {
            self.trail.pop();
        }
    }
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

/// The length of the number or word that begins here; 1 at least.
fn word(value: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']') || byte.is_ascii_whitespace();
    value.iter().position(ends).unwrap_or(value.len()).max(1)
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
