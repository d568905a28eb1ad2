//! Secrets of the relay itself: API keys, tokens of clients, the admin token. What they look like is known, so that whatever
//! was pasted around one can be left out.

use crate::{pasted, secret::secret_fault};

/// What a generated API key starts with.
pub const KEY_PREFIX: &str = "crk_";
/// What a generated token starts with.
pub const TOKEN_PREFIX: &str = "crt_";
/// What a generated admin token starts with.
pub const ADMIN_PREFIX: &str = "cra_";

const PREFIXES: [&str; 3] = [KEY_PREFIX, TOKEN_PREFIX, ADMIN_PREFIX];
/// Header fields that carry one, in front of it.
const FIELDS: [&str; 2] = ["authorization:", "x-api-key:"];
/// Layers around a secret: `- 'export NAME="Bearer <...>",'` has five.
const LAYERS_MAX: usize = 8;

/// A secret that was given for the setting or parameter `name`, without what cannot be meant: white space and marks of byte
/// order around it, quotes, `NAME=`, `Bearer`.
///
/// # Errors
/// What is wrong with it and what would be right; never the value.
pub fn own_secret<'a>(name: &str, text: &'a str) -> Result<&'a str, String> {
    let value = unwrapped(name, text);
    if value.is_empty() {
        return Err("is empty".to_owned());
    }
    if pasted::is_placeholder(value) {
        return Err("is a placeholder that nobody filled in; variables are not expanded here".to_owned());
    }
    if let Some((at, odd)) = value.chars().enumerate().find(|(_, char)| char.is_control() || char.is_whitespace()) {
        let what = match odd {
            '\n' | '\r' => "a line break".to_owned(),
            odd if odd.is_whitespace() => "a space".to_owned(),
            odd => format!("a control character (U+{:04X})", u32::from(odd)),
        };
        return Err(format!("holds {what} after {at} characters; want the secret alone, in one piece on one line"));
    }
    if let Some((at, hidden)) = pasted::hidden(value) {
        let code = u32::from(hidden);
        return Err(format!("holds an invisible character (U+{code:04X}) after {at} others: copy it as plain text"));
    }
    if pasted::has_quote_at_an_end(value) {
        return Err("begins or ends with a quote; want what is between the quotes".to_owned());
    }
    if value.starts_with('@') {
        return Err(
            "begins with @, which stands for a file on the command line only; want the secret itself".to_owned()
        );
    }
    if value.starts_with('{') || value.starts_with('[') {
        return Err("looks like JSON; want the secret alone".to_owned());
    }
    if let (true, Some(at)) = (is_prefixed(value), value.chars().position(|char| !is_of_generated(char))) {
        return Err(format!(
            "begins like a secret of the relay, and holds what none does after {at} characters: copy it anew"
        ));
    }
    secret_fault(value).map_or(Ok(value), |fault| Err(fault.to_owned()))
}

/// Each layer around the next, in whatever order.
fn unwrapped<'a>(name: &str, text: &'a str) -> &'a str {
    let mut value = pasted::trimmed(text);
    for _ in 0..LAYERS_MAX {
        let Some(inner) = inner(name, value) else { break };
        value = pasted::trimmed(inner);
    }
    value
}

fn inner<'a>(name: &str, value: &'a str) -> Option<&'a str> {
    let is_named = |given: &str| given.eq_ignore_ascii_case(name) || pasted::is_variable(given);
    let assigned = || pasted::assigned(value).filter(|(given, _)| is_named(given)).map(|(_, inner)| inner);
    let bracketed = || value.strip_prefix('<')?.strip_suffix('>').filter(|inner| is_prefixed(inner));
    // Behind quotes, or behind what cannot hold one, a comma or a semicolon is of a list or a program.
    let listed = || {
        let inner = value.strip_suffix([',', ';'])?;
        (is_prefixed(inner) || pasted::unquoted(inner).is_some()).then_some(inner)
    };
    pasted::unquoted(value).or_else(assigned).or_else(|| behind_a_word(value)).or_else(bracketed).or_else(listed)
}

/// What follows the name of a header field, or the scheme `Bearer`.
fn behind_a_word(value: &str) -> Option<&str> {
    let behind = |word: &str| {
        let (begin, rest) = value.split_at_checked(word.len())?;
        begin.eq_ignore_ascii_case(word).then_some(rest)
    };
    let bearer = || behind("bearer").filter(|rest| rest.starts_with(char::is_whitespace));
    FIELDS.into_iter().find_map(behind).or_else(bearer)
}

fn is_prefixed(value: &str) -> bool {
    PREFIXES.iter().any(|prefix| value.starts_with(prefix))
}

fn is_of_generated(char: char) -> bool {
    char.is_ascii_alphanumeric() || char == '_' || char == '-'
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "crk_0123456789abcdef0123456789abcdef";
    /// One that an operator made up.
    const OTHER: &str = "a+secret/of=somebody!";

    #[test]
    fn what_is_around_a_secret_of_ours_is_left_out() {
        for layers in [
            "VALUE",
            " VALUE \r\n",
            "\u{feff}VALUE\n\n",
            "VALUE\u{a0}",
            "VALUE\u{1a}",
            "\"VALUE\"",
            "'VALUE'",
            "`VALUE`",
            "\u{201c}VALUE\u{201d}",
            "\u{201e}VALUE\u{201c}",
            "\" VALUE \"\n",
            "API_KEY=VALUE",
            "api_key = VALUE",
            "export API_KEY=\"VALUE\"\n",
            "$env:API_KEY = 'VALUE'",
            "RELAY_SECRET='VALUE'",
            "Bearer VALUE",
            "bearer  VALUE",
            "Authorization: Bearer VALUE",
            "X-API-Key: VALUE",
            "\"Bearer VALUE\"",
            "\"VALUE\",",
            "API_KEY=\"VALUE\";",
        ] {
            for secret in [KEY, OTHER] {
                let given = layers.replace("VALUE", secret);
                assert_eq!(own_secret("API_KEY", &given), Ok(secret), "{given:?}");
            }
        }
        for layers in ["VALUE,", "VALUE;", "<VALUE>"] {
            assert_eq!(own_secret("API_KEY", &layers.replace("VALUE", KEY)), Ok(KEY), "{layers}");
        }
    }

    #[test]
    fn what_cannot_be_a_secret_of_ours_is_refused_without_the_value() {
        for (given, want) in [
            ("", "empty"),
            (" \r\n", "empty"),
            ("\"\"", "quote"),
            ("crk_0123456789 abcdef0123456789abcdef", "a space after 14"),
            ("crk_0123456789\nabcdef0123456789abcdef", "a line break after 14"),
            ("crk_0123456789\0abcdef0123456789abcdef", "U+0000"),
            ("crk_0123456789\u{200b}abcdef0123456789abcdef", "U+200B"),
            ("crk_0123456789=abcdef0123456789abcdef", "copy it anew"),
            ("my passphrase of words", "a space after 2"),
            ("\"a-secret-of-somebody", "a quote"),
            ("a-secret-of-somebody'", "a quote"),
            ("@/run/secrets/api_key", "stands for a file"),
            ("{\"key\":\"a-secret-of-ours\"}", "JSON"),
            ("${A_SECRET_OF_SOMEBODY}", "placeholder"),
            ("<your-api-key-goes-here>", "placeholder"),
            ("\u{fc}mlaut-\u{fc}mlaut-\u{fc}mlaut", "printable ASCII"),
            ("short", "16 to 256"),
        ] {
            let fault = own_secret("API_KEY", given).expect_err(given);
            assert!(fault.contains(want), "{given:?}: {fault}");
            assert!(given.len() < 8 || !fault.contains(given.trim()), "{fault}");
        }
    }
}
