//! What a platform's secret is made of, where that is known: what is made of anything else is something else.

/// What a value is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Its characters.
    pub of: Characters,
    /// How many at least.
    pub min: usize,
    /// How many at most.
    pub max: usize,
    /// The same in words: `128 hex digits`.
    pub words: &'static str,
}

/// Characters of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Characters {
    /// Hex digits of either case.
    Hex,
    /// Capital letters and digits.
    Capitals,
    /// Letters, digits, `_` and `-`.
    Word,
    /// Printable ASCII.
    Printable,
}

impl Shape {
    /// What is wrong with a value that has another shape; never the value.
    pub(crate) fn fault(&self, value: &str) -> Option<String> {
        let is_one = |byte: u8| match self.of {
            Characters::Hex => byte.is_ascii_hexdigit(),
            Characters::Capitals => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
            Characters::Word => byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-',
            Characters::Printable => byte.is_ascii_graphic() || byte == b' ',
        };
        let words = self.words;
        if let Some((at, odd)) = value.char_indices().find(|(at, _)| !is_one(value.as_bytes()[*at])) {
            // Where it can be no secret of that kind, one character of it tells nobody anything.
            let odd = if odd.is_ascii_punctuation() { format!("a {odd}") } else { "something else".to_owned() };
            return Some(format!("holds {odd} after {at} characters, and must be {words}"));
        }
        let found = value.len();
        (!(self.min..=self.max).contains(&found)).then(|| format!("has {found} characters, and must be {words}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_told_without_the_value() {
        let shape = Shape { of: Characters::Hex, min: 4, max: 4, words: "4 hex digits" };
        assert_eq!(shape.fault("aF09"), None);
        for (value, says) in [
            ("aF0", "has 3 characters, and must be 4 hex digits"),
            ("aF09a", "has 5 characters, and must be 4 hex digits"),
            ("aF:9", "holds a : after 2 characters, and must be 4 hex digits"),
            ("aFg9", "holds something else after 2 characters, and must be 4 hex digits"),
            ("aé09", "holds something else after 1 characters, and must be 4 hex digits"),
            ("", "has 0 characters, and must be 4 hex digits"),
        ] {
            assert_eq!(shape.fault(value).as_deref(), Some(says), "{value}");
        }
    }
}
