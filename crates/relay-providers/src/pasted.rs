//! Text as editors, shells, mail and web pages hand it over: what they put around it, and how that is told from what is
//! meant. Everything here is about any text; what a secret of a platform may be is for [`crate::Given`] to say.

/// Quotes around a value, straight and typographic.
const QUOTES: [(char, char); 7] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('\u{201c}', '\u{201d}'),
    ('\u{201e}', '\u{201c}'),
    ('\u{2018}', '\u{2019}'),
    ('\u{ab}', '\u{bb}'),
];
/// Shortest name before `=` that is one: a single letter and its `=` may be the beginning of a password.
const NAME_BYTES_MIN: usize = 2;

/// Without what stands at the ends and cannot be meant: white space of any kind, line ends, marks of byte order, and the
/// mark with which old programs of Windows end a file.
pub fn trimmed(text: &str) -> &str {
    text.trim_matches(|char: char| char.is_whitespace() || is_hidden(char) || char == '\u{1a}')
}

/// The text between quotes of the same kind, if there is any.
pub fn unquoted(text: &str) -> Option<&str> {
    let inner = |(open, close): (char, char)| text.strip_prefix(open)?.strip_suffix(close).map(trimmed);
    QUOTES.into_iter().find_map(inner).filter(|inner| !inner.is_empty())
}

/// Whether it begins or ends with a quote.
pub fn has_quote_at_an_end(text: &str) -> bool {
    let is_quote = |char: char| QUOTES.iter().any(|(open, close)| *open == char || *close == char);
    text.starts_with(is_quote) || text.ends_with(is_quote)
}

/// The first character that nobody sees, and how many stand before it.
pub fn hidden(text: &str) -> Option<(usize, char)> {
    text.chars().enumerate().find(|(_, char)| is_hidden(*char))
}

/// What a line of a shell or of a file of variables gives to a name: `NAME=value`, `export NAME="value"`, `$env:NAME =
/// 'value'`. Nothing where there is no name, or no value.
pub fn assigned(text: &str) -> Option<(&str, &str)> {
    let begun = ["export ", "set ", "$env:"].into_iter().find_map(|word| text.strip_prefix(word)).unwrap_or(text);
    let (name, value) = begun.split_once('=')?;
    let (name, value) = (name.trim(), trimmed(value));
    let is_name = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        && name.starts_with(|char: char| char.is_ascii_alphabetic() || char == '_');
    // Padding of base64 is no value.
    (is_name && name.len() >= NAME_BYTES_MIN && !value.trim_start_matches('=').is_empty()).then_some((name, value))
}

/// Whether a name is written as variables of the environment are.
pub fn is_variable(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        && name.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether all of it is a place that somebody was to fill in: `${NAME}`, `$NAME`, `%NAME%`, `{{ name }}`, `<your key>`.
pub fn is_placeholder(text: &str) -> bool {
    let between = |open: &str, close: &str| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let plain = |word: &str| is_word(word) && is_variable(word);
    text.strip_prefix('$').is_some_and(plain)
        || between("${", "}").is_some_and(|word| word.split([':', '-']).next().is_some_and(is_word))
        || between("%", "%").is_some_and(plain)
        || between("{{", "}}").is_some()
        || between("$(", ")").is_some()
        || between("<", ">").is_some()
}

/// Whether nobody sees it: no-break and zero-width spaces, joiners, marks of byte order and of direction, soft hyphens.
fn is_hidden(char: char) -> bool {
    matches!(
        char,
        '\u{a0}' | '\u{ad}' | '\u{180e}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{3000}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_to_a_name_is_told_from_a_value_that_holds_an_equals_sign() {
        for (text, want) in [
            ("API_KEY=abc", Some(("API_KEY", "abc"))),
            ("export API_KEY=\"abc\"", Some(("API_KEY", "\"abc\""))),
            ("$env:API_KEY = 'abc'", Some(("API_KEY", "'abc'"))),
            ("api-key=abc", Some(("api-key", "abc"))),
            ("API_KEY=", None),
            ("c2VjcmV0==", None),
            ("c2Vj+mV0=x", None),
            ("a=b", None),
            ("1a=b", None),
            ("no name at all", None),
        ] {
            assert_eq!(assigned(text), want, "{text}");
        }
    }

    #[test]
    fn a_place_that_nobody_filled_in_is_recognised() {
        for text in
            ["${API_KEY}", "${API_KEY:-x}", "$API_KEY", "%API_KEY%", "{{ api_key }}", "<your key>", "$(cat key)"]
        {
            assert!(is_placeholder(text), "{text}");
        }
        for text in ["$ecret", "$2b$12$abc", "50%", "{json}", "a${b}", "", "$", "<"] {
            assert!(!is_placeholder(text), "{text}");
        }
    }
}
