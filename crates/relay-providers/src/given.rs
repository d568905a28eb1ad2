//! What an operator gives for a source's parameters: cleaned of what editors, shells and web pages add, and judged, before
//! any of it is kept. A secret that can never be right is refused here, and not by a 401 to every webhook.

use crate::{
    Parameter, ParameterFault, Provider, Verifier, own_secret,
    pasted::{self, trimmed, unquoted},
    provider,
};

/// Shortest secret that is taken, in characters.
const SECRET_CHARS_MIN: usize = 8;
/// From this length on, a text of letters, digits and the signs of base64 was made by a platform, which puts no comma behind it.
const MADE_CHARS_MIN: usize = 16;

/// Parameters as they are to be kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Given {
    /// Names and values, in order.
    pub parameters: Vec<(String, String)>,
    /// What looks wrong and may yet be right: to be refused where a person can be asked, else to be told.
    pub doubts: Vec<ParameterFault>,
    /// What may be meant, and is to be told of: a key that everybody knows.
    pub remarks: Vec<ParameterFault>,
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
        let (mut faults, mut doubts, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        if let Some(provider) = provider(name) {
            for (name, value) in &mut parameters {
                let Some(parameter) = named(provider, name) else { continue };
                match judge(provider, parameter, value) {
                    Ok(()) => {}
                    Err(Wrong::Wrapped(inner)) => *value = inner,
                    Err(Wrong::Fault(detail)) => faults.push(ParameterFault::of(name, detail)),
                    Err(Wrong::Doubt(detail)) => doubts.push(ParameterFault::of(name, detail)),
                    Err(Wrong::Known(detail)) => remarks.push(ParameterFault::of(name, detail)),
                }
            }
        }
        let others = Verifier::new(name, &parameters).err().unwrap_or_default();
        let is_new = |other: &ParameterFault| !faults.iter().any(|known| known.parameter == other.parameter);
        let others: Vec<ParameterFault> = others.into_iter().filter(is_new).collect();
        faults.extend(others);
        if faults.is_empty() { Ok(Self { parameters, doubts, remarks }) } else { Err(faults) }
    }
}

/// What is not right about a value.
enum Wrong {
    /// Something stands around it that cannot be meant; without that it is this.
    Wrapped(String),
    Fault(String),
    Doubt(String),
    /// A key that everybody knows.
    Known(String),
}

fn named(provider: &'static Provider, name: &str) -> Option<&'static Parameter> {
    provider.parameters.iter().find(|parameter| parameter.name == provider.known_as(name))
}

fn judge(provider: &Provider, parameter: &Parameter, value: &str) -> Result<(), Wrong> {
    let fault = |detail: String| Err(Wrong::Fault(detail));
    if value.is_empty() || parameter.name == "prefix" {
        return Ok(());
    }
    if is_ours(provider, parameter) {
        return match own_secret(parameter.name, value) {
            Ok(inner) if inner == value => Ok(()),
            Ok(inner) => Err(Wrong::Wrapped(inner.to_owned())),
            Err(detail) => fault(detail),
        };
    }
    if let Some(inner) = inner(parameter, value) {
        judge(provider, parameter, inner)?;
        return Err(Wrong::Wrapped(inner.to_owned()));
    }
    if unquoted(value).is_some() {
        return fault("stands in quotes: give what is between them".to_owned());
    }
    if let Some((name, _)) = pasted::assigned(value).filter(|(name, _)| name.len() > 2 && pasted::is_variable(name)) {
        return fault(format!("begins with {name}=, as a line of a file of variables does: give what follows it"));
    }
    if pasted::is_placeholder(value) {
        return fault("is a placeholder that nobody filled in; variables are not expanded here".to_owned());
    }
    if !(parameter.secret || parameter.key) {
        return Ok(());
    }
    if parameter.secret && value.starts_with('{') && value.ends_with('}') && value.contains('"') {
        return fault("is JSON: give the secret alone".to_owned());
    }
    if let Some((at, hidden)) = pasted::hidden(value) {
        let code = u32::from(hidden);
        return fault(format!(
            "holds an invisible character (U+{code:04X}) after {at} others, as web pages and word processors add them: \
             copy it as plain text, or type it"
        ));
    }
    let title = provider.title;
    if let Some((_, what)) = parameter.not.iter().find(|(begin, _)| value.starts_with(begin)) {
        return fault(format!("is {what}; {title}'s {}", shape(parameter)));
    }
    if let Some((_, what)) = parameter.known.iter().find(|(known, _)| *known == value) {
        let detail = format!(
            "is {what}, which everybody knows: who signs with it is taken for {title}; give {}",
            parameter.help
        );
        // A key may be meant, for a test; an id of that kind belongs to nobody's endpoint.
        return if parameter.secret { Err(Wrong::Known(detail)) } else { fault(detail) };
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
    if listed(value).is_some_and(|made| made.len() >= MADE_CHARS_MIN) {
        return Err(Wrong::Doubt("ends in a comma or a semicolon, as it stands in a list: give it without".to_owned()));
    }
    if parameter.begins.is_empty() || is_shaped(parameter, value) {
        return Ok(());
    }
    Err(Wrong::Doubt(format!("does not look like one: {title}'s {}", shape(parameter))))
}

/// Whether it is a key or token that the relay itself asks for.
fn is_ours(provider: &Provider, parameter: &Parameter) -> bool {
    parameter.secret && matches!(provider.name, "api-key" | "bearer")
}

fn is_shaped(parameter: &Parameter, value: &str) -> bool {
    parameter.begins.iter().any(|begin| value.starts_with(begin))
}

/// The value within what cannot be meant: beneath quotes and the like where its shape shows, or behind its own name.
fn inner<'a>(parameter: &Parameter, value: &'a str) -> Option<&'a str> {
    let is_own_name = |name: &str| [parameter.name, "secret"].iter().any(|own| own.eq_ignore_ascii_case(name));
    let assigned = pasted::assigned(value).filter(|_| parameter.secret || parameter.key);
    let shows = |inner: &str| is_shaped(parameter, unquoted(inner).unwrap_or(inner));
    if let Some((_, inner)) = assigned.filter(|(name, inner)| is_own_name(name) || shows(inner)) {
        return Some(inner);
    }
    let shaped = |inner: &&str| shows(pasted::assigned(inner).map_or(inner, |(_, value)| value));
    let bracketed = || value.strip_prefix('<')?.strip_suffix('>').map(trimmed);
    let bearer = || value.strip_prefix("Bearer ").map(trimmed);
    let ways = [unquoted(value), bracketed(), bearer(), listed(value)];
    ways.into_iter().flatten().find(shaped)
}

/// What stands before a comma or a semicolon, if it was made by a machine.
fn listed(value: &str) -> Option<&str> {
    let inner = value.strip_suffix([',', ';'])?;
    let is_made = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=' | b'_' | b'-' | b'.');
    let stands_in_quotes = unquoted(inner).is_some();
    (stands_in_quotes || inner.bytes().all(is_made)).then_some(inner)
}

/// `begin with whsec_`, and where it is to be found.
fn shape(parameter: &Parameter) -> String {
    let begins = match parameter.begins {
        [] => String::new(),
        begins => format!("begin with {}: ", begins.join(" or ")),
    };
    format!("{begins}{}", parameter.help)
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
            "<whsec_abcdefgh1234>",
            "whsec_abcdefgh1234,",
            "whsec_abcdefgh1234\u{1a}",
            "ENDPOINT_SECRET=whsec_abcdefgh1234\n",
            "export STRIPE_WEBHOOK_SECRET=\"whsec_abcdefgh1234\"",
            "secret = whsec_abcdefgh1234",
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
            ("github", "secret", "WEBHOOK_SECRET=a-secret-of-ours", "begins with WEBHOOK_SECRET="),
            ("github", "secret", "export X_1=a-secret-of-ours", "begins with X_1="),
            ("github", "secret", "<a-secret-of-ours>", "placeholder"),
            ("github", "secret", "${WEBHOOK_SECRET}", "placeholder"),
            ("github", "secret", "{\"secret\":\"a-secret-of-ours\"}", "JSON"),
            ("github", "secret", "'SECRET=a-secret-of-ours'", "quotes"),
            ("basic", "username", "\"somebody\"", "quotes"),
            ("basic", "username", "USER_NAME=somebody", "begins with USER_NAME="),
            ("basic", "username", "<somebody>", "placeholder"),
            ("api-key", "key", "crk_0123456789 0123456789", "a space after 14"),
            ("bearer", "token", "crt_0123456789\n0123456789", "a line break"),
            ("stripe", "endpoint_secret", "abc", "begin with whsec_"),
            ("stripe", "endpoint_secret", "sk_test_51H7abcdefghijkl", "API key; Stripe's begin with whsec_"),
            ("stripe", "secret", "we_1H7abcdefghijkl", "begin with whsec_"),
            ("slack", "signing_secret", "xoxb-1234567890-abcdef", "a bot token"),
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
            ("twitch", "secret", "abcdefghi", "10 to 100 characters"),
            ("twitch", "secret", &"0123456789".repeat(11), "has 110 characters"),
            ("zoho-crm", "token", &"0123456789abcdef".repeat(4), "at most 50 characters"),
            ("microsoft-graph", "client_state", &"0123456789".repeat(13), "at most 128 characters"),
        ] {
            let fault = read(name, parameter, value).err().unwrap_or_else(|| panic!("{name} took {value:?}"));
            assert!(fault.contains(words), "{name} {value:?}: {fault}");
            assert!(value.len() < 4 || !fault.contains(value), "a secret is shown: {fault}");
        }
    }

    /// A secret of a platform may hold nearly anything: what may be meant is kept.
    #[test]
    fn what_a_secret_may_hold_is_kept() {
        for value in [
            "It's a \"Secret\" to = Everybody",
            "AB=cd=efgh",
            "c2VjcmV0c2VjcmV0Cg==",
            "semi;colons,and;",
            "$2b$12$abcd",
        ] {
            let read = read("github", "secret", value).unwrap_or_else(|fault| panic!("{value}: {fault}"));
            assert_eq!((&*read.parameters[0].1, read.doubts.len()), (value, 0));
        }
        let own = read("github", "secret", "SECRET=a-secret-of-ours").unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(own.parameters[0].1, "a-secret-of-ours");
        let ours = read("bearer", "token", "Authorization: Bearer crt_0123456789abcdef")
            .unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(ours.parameters[0].1, "crt_0123456789abcdef");
        let listed = read("github", "secret", "c2VjcmV0c2VjcmV0Cg==,").unwrap_or_else(|fault| panic!("{fault}"));
        assert!(listed.doubts[0].detail.contains("comma"));
    }

    #[test]
    fn what_only_looks_wrong_is_a_doubt() {
        let read = read("stripe", "endpoint_secret", "a-secret-of-no-one-in-particular")
            .unwrap_or_else(|fault| panic!("{fault}"));
        assert_eq!(read.doubts.len(), 1);
        assert!(read.doubts[0].detail.contains("begin with whsec_"), "{:?}", read.doubts);
    }

    /// With a key that a platform has published anybody signs: it may be meant for a test, and is told of.
    #[test]
    fn a_published_key_is_told_of() {
        for (provider, value) in
            [("zendesk", "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ=="), ("mandrill", "test-webhook")]
        {
            let doubted = read(provider, "secret", value).unwrap_or_else(|fault| panic!("{fault}"));
            assert!(doubted.remarks[0].detail.contains("everybody knows"), "{:?}", doubted.remarks);
            assert!(doubted.doubts.is_empty());
        }
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
            ("twitch", "secret", "s3cRe7 with/any+sign"),
            ("zoho-crm", "token", "0123456789abcdef0123456789abcdef0123456789abcdef"),
            ("microsoft-graph", "client_state", &"01234567".repeat(16)),
        ] {
            let read = read(name, parameter, value).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert!(read.doubts.is_empty(), "{name}: {:?}", read.doubts);
        }
        let key = "A6214F6105625D5ED957CF02E749BB44".repeat(4);
        assert!(read("authorize_net", "signature_key", &key).is_ok());
    }
}
