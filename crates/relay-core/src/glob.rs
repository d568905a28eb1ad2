//! Patterns of names: `*` stands for any text, `?` for one character, all else for itself.

use std::{fmt, str::FromStr};

use crate::limits;

/// A pattern. The empty one is the name of what has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(Box<str>);

/// Text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "want at most {max} bytes without control characters, such as invoice.*",
    max = limits::EVENT_NAME_BYTES_MAX
)]
pub struct GlobError;

impl Glob {
    /// Whether it holds for all of the text. Takes at most as many steps as pattern and text have bytes, multiplied.
    pub fn matches(&self, text: &str) -> bool {
        let (mut pattern, mut left) = (&*self.0, text);
        // Behind the last star, and what it has not taken yet.
        let mut star: Option<(&str, &str)> = None;
        loop {
            let (mut ahead, mut there) = (pattern.chars(), left.chars());
            match (ahead.next(), there.next()) {
                (Some('*'), _) => {
                    pattern = ahead.as_str();
                    star = Some((pattern, left));
                    continue;
                }
                (None, None) => return true,
                (Some(want), Some(found)) if want == '?' || want == found => {
                    (pattern, left) = (ahead.as_str(), there.as_str());
                    continue;
                }
                _ => {}
            }
            let Some((behind, taken)) = star else { return false };
            let mut taken = taken.chars();
            if taken.next().is_none() {
                return false;
            }
            (pattern, left) = (behind, taken.as_str());
            star = Some((behind, left));
        }
    }

    /// As it was given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Glob {
    type Err = GlobError;

    fn from_str(text: &str) -> Result<Self, GlobError> {
        if text.len() > limits::EVENT_NAME_BYTES_MAX || text.contains(char::is_control) {
            return Err(GlobError);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn glob(text: &str) -> Glob {
        text.parse().expect("a pattern")
    }

    #[test]
    fn stars_and_question_marks_stand_for_what_is_there() {
        for (pattern, text, expected) in [
            ("invoice.*", "invoice.paid", true),
            ("invoice.*", "invoice.", true),
            ("invoice.*", "xinvoice.paid", false),
            ("*.paid", "invoice.paid", true),
            ("*.paid", "invoice.paid.late", false),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("??", "äö", true),
            ("??", "ä", false),
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("?", "", false),
            ("a", "A", false),
            ("**", "anything", true),
        ] {
            assert_eq!(glob(pattern).matches(text), expected, "{pattern} {text}");
        }
        assert_eq!("a\nb".parse::<Glob>(), Err(GlobError));
        assert_eq!("x".repeat(256).parse::<Glob>(), Err(GlobError));
    }

    /// As a search that tries everything has it.
    fn reference(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|taken| reference(rest, &text[taken..])),
            Some((want, rest)) => {
                text.split_first().is_some_and(|(found, left)| (*want == '?' || want == found) && reference(rest, left))
            }
        }
    }

    proptest! {
        #[test]
        fn it_is_as_the_reference_has_it(pattern in "[ab*?]{0,8}", text in "[abc]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(glob(&pattern).matches(&text), reference(&chars(&pattern), &chars(&text)));
        }
    }
}
