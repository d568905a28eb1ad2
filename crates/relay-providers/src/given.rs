//! What an operator gives for a source's parameters: cleaned of what editors, shells and web pages add, and judged, before
//! any of it is kept. A secret that can never be right is refused here, and not by a 401 to every webhook.

use crate::{Parameter, ParameterFault, Provider, Verifier, provider};

/// Shortest secret that is taken, in characters.
const SECRET_CHARS_MIN: usize = 8;

/// Parameters as they are to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// Names and values, in order.
    pub parameters: Vec<(String, String)>,
    /// What looks wrong and may yet be right: to be refused where a person can be asked, else to be told.
    pub doubts: Vec<ParameterFault>,
}

impl Given {
    /// Cleans and judges what was given for a source of this provider.
    ///
    /// # Errors
    /// Every fault, all together: those of [`Verifier::new`], and secrets that cannot be.
    pub fn read(name: &str, given: &[(String, String)]) -> Result<Self, Vec<ParameterFault>> {
        let cleaned = |(name, value): &(String, String)| {
            // What stands before a signature may end in a space.
            let value = if name == "prefix" { value.as_str() } else { trimmed(value) };
            (name.trim().to_owned(), value.to_owned())
        };
        let mut parameters: Vec<(String, String)> = given.iter().map(cleaned).collect();
        let (mut faults, mut doubts) = (Vec::new(), Vec::new());
        if let Some(provider) = provider(name) {
            for (name, value) in &mut parameters {
                let Some(parameter) = named(provider, name) else { continue };
                match judge(provider, parameter, value) {
                    Ok(()) => {}
                    Err(Wrong::Quoted(inner)) => *value = inner,
                    Err(Wrong::Fault(detail)) => faults.push(ParameterFault::of(name, detail)),
                    Err(Wrong::Doubt(detail)) => doubts.push(ParameterFault::of(name, detail)),
                }
            }
        }
        let others = Verifier::new(name, &parameters).err().unwrap_or_default();
        let is_new = |other: &ParameterFault| !faults.iter().any(|known| known.parameter == other.parameter);
        let others: Vec<ParameterFault> = others.into_iter().filter(is_new).collect();
        faults.extend(others);
        if faults.is_empty() { Ok(Self { parameters, doubts }) } else { Err(faults) }
    }
}

/// What is not right about a value.
enum Wrong {
    /// It stands in quotes that cannot be meant; without them it is this.
    Quoted(String),
    Fault(String),
    Doubt(String),
}

fn named(provider: &'static Provider, name: &str) -> Option<&'static Parameter> {
    provider.parameters.iter().find(|parameter| parameter.name == provider.known_as(name))
}

fn judge(provider: &Provider, parameter: &Parameter, value: &str) -> Result<(), Wrong> {
    let fault = |detail: String| Err(Wrong::Fault(detail));
    if value.is_empty() || !(parameter.secret || parameter.key) {
        return Ok(());
    }
    let title = provider.title;
    if let Some(inner) = unquoted(value) {
        let is_shaped = parameter.begins.iter().any(|begin| inner.starts_with(begin));
        return if is_shaped {
            judge(provider, parameter, inner)?;
            Err(Wrong::Quoted(inner.to_owned()))
        } else {
            fault("stands in quotes: give what is between them".to_owned())
        };
    }
    if let Some((at, hidden)) = value.chars().enumerate().find(|(_, char)| is_hidden(*char)) {
        let code = u32::from(hidden);
        return fault(format!(
            "holds an invisible character (U+{code:04X}) after {at} others, as web pages and word processors add them: \
             copy it as plain text, or type it"
        ));
    }
    if let Some((_, what)) = parameter.not.iter().find(|(begin, _)| value.starts_with(begin)) {
        return fault(format!("is {what}; {title}'s {}", shape(parameter)));
    }
    if let Some((_, what)) = parameter.known.iter().find(|(known, _)| *known == value) {
        return fault(format!(
            "is {what}, which everybody knows: who signs with it would be taken for {title}; give {}",
            parameter.help
        ));
    }
    if let Some(detail) = parameter.shape.and_then(|shape| shape.fault(value)) {
        return fault(format!("{detail}: {}", parameter.help));
    }
    if parameter.secret && value.chars().count() < SECRET_CHARS_MIN {
        let wanted = if parameter.begins.is_empty() {
            format!("at least {SECRET_CHARS_MIN} characters guard anything; make one with: openssl rand -hex 32")
        } else {
            format!("{title}'s {}", shape(parameter))
        };
        return fault(format!("is too short: {wanted}"));
    }
    if parameter.begins.is_empty() || parameter.begins.iter().any(|begin| value.starts_with(begin)) {
        return Ok(());
    }
    Err(Wrong::Doubt(format!("does not look like one: {title}'s {}", shape(parameter))))
}

/// `begin with whsec_`, and where it is to be found.
fn shape(parameter: &Parameter) -> String {
    let begins = match parameter.begins {
        [] => String::new(),
        begins => format!("begin with {}: ", begins.join(" or ")),
    };
    format!("{begins}{}", parameter.help)
}

/// Without what stands at the ends and cannot be meant: white space of any kind, line ends, marks of byte order.
fn trimmed(value: &str) -> &str {
    value.trim_matches(|char: char| char.is_whitespace() || is_hidden(char))
}

/// The text between quotes of the same kind.
fn unquoted(value: &str) -> Option<&str> {
    const QUOTES: [(char, char); 7] = [
        ('"', '"'),
        ('\'', '\''),
        ('`', '`'),
        ('\u{201c}', '\u{201d}'),
        ('\u{2018}', '\u{2019}'),
        ('<', '>'),
        ('\u{ab}', '\u{bb}'),
    ];
    let inner = |(open, close): (char, char)| value.strip_prefix(open)?.strip_suffix(close).map(trimmed);
    QUOTES.into_iter().find_map(inner).filter(|inner| !inner.is_empty())
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

    fn read(name: &str, parameter: &str, value: &str) -> Result<Given, String> {
        let given = [(parameter.to_owned(), value.to_owned())];
        Given::read(name, &given)
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
    }

    #[test]
    fn what_a_shell_an_editor_or_a_web_page_adds_at_the_ends_is_left_out() {
        for given in [
            "whsec_abcdefgh1234",
            " whsec_abcdefgh1234\r\n",
            "\u{feff}whsec_abcdefgh1234",
            "\u{200b}whsec_abcdefgh1234\u{a0}",
            "\"whsec_abcdefgh1234\"",
            "'whsec_abcdefgh1234'\n",
            "\u{201c}whsec_abcdefgh1234\u{201d}",
        ] {
            for name in ["endpoint_secret", "secret"] {
                let read = read("stripe", name, given).unwrap_or_else(|fault| panic!("{given:?}: {fault}"));
                assert_eq!(read.parameters, [(name.to_owned(), "whsec_abcdefgh1234".to_owned())], "{given:?}");
                assert!(read.doubts.is_empty());
            }
        }
        let kept = read("hmac", "prefix", "sha256= ").err().unwrap_or_default();
        assert!(!kept.contains("prefix"), "what a prefix ends in may be meant: {kept}");
    }

    #[test]
    fn what_may_be_meant_is_refused_with_the_remedy() {
        for (name, parameter, value, words) in [
            ("github", "secret", "\"a-secret-of-ours\"", "between them"),
            ("github", "secret", "a-secret\u{200b}-of-ours", "U+200B) after 8 others"),
            ("github", "secret", "a\u{a0}secret of ours", "U+00A0"),
            ("github", "secret", "x", "8 characters"),
            ("stripe", "endpoint_secret", "abc", "begin with whsec_"),
            ("stripe", "endpoint_secret", "sk_test_51H7abcdefghijkl", "API key; Stripe's begin with whsec_"),
            ("stripe", "secret", "we_1H7abcdefghijkl", "begin with whsec_"),
            ("slack", "signing_secret", "xoxb-1234567890-abcdef", "a bot token"),
            ("zendesk", "signing_secret", "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ==", "everybody knows"),
            ("mandrill", "webhook_key", "test-webhook", "everybody knows"),
            ("mandrill", "secret", "test-webhook", "everybody knows"),
            ("paypal", "webhook_id", "WEBHOOK_ID", "everybody knows"),
            ("paypal", "secret", "WEBHOOK_ID", "everybody knows"),
            ("paypal", "webhook_id", "WH-2WR32451HC0233532-67976317FL4543714", "the id of an event"),
            (
                "paypal",
                "webhook_id",
                "AYSq3RDGsmBLJE-otTkBtM-jBRd1TCQwFf9RGfwddNXWz0uFU9ztymylOhRS",
                "capital letters and digits",
            ),
            (
                "telegram",
                "secret_token",
                "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw",
                "holds a : after 9 characters",
            ),
            ("telegram", "secret_token", "It's a Secret to Everybody", "holds a ' after 2"),
            ("authorize_net", "signature_key", "5KP3u95bQpvx", "128 hex digits"),
            ("authorize_net", "signature_key", "A1B2C3D4E5F60718293A4B5C6D7E8F90", "has 32 characters"),
            ("gitlab", "token", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "the signing token"),
            ("gitlab", "secret", "glpat-0123456789abcdefghij", "an access token"),
            ("hubspot", "client_secret", "pat-na1-11111111-2222-3333-4444-555555555555", "an access token"),
            ("razorpay", "secret", "rzp_live_0123456789abcd", "the id of an API key"),
            ("square", "signature_key", "EAAAEOuLQObrVwJvCvoio3H13b8Ssqz1ighmTBKZvIENW9qxirHGHkqs", "an access token"),
            ("square", "signature_key", "sq0idp-0123456789abcdefghijkl", "id or the secret of an application"),
            ("dropbox", "app_secret", "sl.0123456789abcdefghijkl", "an access token"),
            ("notion", "verification_token", "ntn_0123456789abcdefghijkl", "an integration"),
            ("calendly", "secret", "eyJraWQiOiIxY2UxZTEzNjE3ZGNm", "an access token"),
            ("zoom", "secret_token", "eyJhbGciOiJIUzI1NiJ9.e30.abc", "an access token"),
        ] {
            let fault = read(name, parameter, value).err().unwrap_or_else(|| panic!("{name} took {value:?}"));
            assert!(fault.contains(words), "{name} {value:?}: {fault}");
            assert!(value.len() < 4 || !fault.contains(value), "a secret is shown: {fault}");
        }
    }

    #[test]
    fn what_only_looks_wrong_is_a_doubt() {
        let read = read("stripe", "endpoint_secret", "a-secret-of-no-one-in-particular")
            .unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(read.doubts.len(), 1);
        assert!(read.doubts[0].detail.contains("begin with whsec_"), "{:?}", read.doubts);
    }

    #[test]
    fn the_older_token_of_gitlab_is_asked_for_under_its_own_name() {
        let token = "9f86d081884c7d659a2feaa0c55ad0159f86d081884c7d659a2feaa0c55ad015";
        let doubted = read("gitlab", "secret", token).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(doubted.doubts[0].detail.contains("goes into token"), "{:?}", doubted.doubts);
        let good = read("gitlab", "token", token).unwrap_or_else(|fault| panic!("{fault}"));
        assert!(good.doubts.is_empty());
    }

    /// What a table refuses is never what a platform's own example of that secret looks like.
    #[test]
    fn genuine_shapes_are_taken() {
        for (name, parameter, value) in [
            ("paypal", "webhook_id", "4JH86294D6297924G"),
            ("paypal", "webhook_id", "0EH40505U7160970P"),
            ("telegram", "secret_token", "a-Secret_of_1"),
            ("notion", "verification_token", "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl"),
            ("gitlab", "secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ] {
            let read = read(name, parameter, value).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert!(read.doubts.is_empty(), "{name}: {:?}", read.doubts);
        }
        let key = "A6214F6105625D5ED957CF02E749BB44".repeat(4);
        assert!(read("authorize_net", "signature_key", &key).is_ok());
    }
}
