//! What the table says, in words: for reference pages and for people at a terminal. Names of header fields, parameters
//! and fields of a body stand in backquotes.

use std::fmt;

use crate::{
    Acknowledgement, DeliveryId, Exchange, Handshake, Name, On, Otherwise, Parameter, Provider,
    proof::Proof,
    scheme::{Algorithm, At, Encoding, KeyForm, Part, Scheme, StampAt, Style, When},
};

impl Provider {
    /// What is checked of a request, in sentences of their own.
    pub fn checks(&self) -> Vec<String> {
        let mut checks = self.proof_checks();
        checks.extend(self.test_key.map(|key| {
            format!("A test that is signed in the same way with `{key}`, as the platform tells everybody, is answered and not stored.")
        }));
        checks
    }

    fn proof_checks(&self) -> Vec<String> {
        match self.proof {
            Proof::Key(name) => vec![format!(
                "`x-api-key`, or `authorization` behind `Bearer `, is one of the source's keys: `{name}`, or one made with \
                 `crm-relay key create`."
            )],
            Proof::Basic => vec![BASIC.to_owned()],
            Proof::BasicOrHeader => vec![
                format!("With `username` and `password`: {BASIC}"),
                "With `header` and `secret`: the header field that `header` names is the source's `secret`.".to_owned(),
            ],
            Proof::Described => vec![
                "The header field that `header` names is the HMAC of the body, behind `prefix`; `algorithm` and \
                 `encoding` say how it is made and written. The key is `secret`, as the text it is."
                    .to_owned(),
            ],
            Proof::Signed(schemes) => schemes.iter().map(|scheme| self.scheme(scheme)).collect(),
            Proof::Code(_) => vec![self.checked.to_owned()],
        }
    }

    /// The parameters that nearly every source of it has: what is required, a key, and what handshakes are answered with.
    pub fn usual(&self) -> Vec<&'static Parameter> {
        let has_key = self.parameters.iter().any(|parameter| parameter.required && parameter.key);
        let first_key = self.parameters.iter().find(|parameter| parameter.key).map(|parameter| parameter.name);
        let by_key = (!has_key && !self.key_source && !self.adopts()).then_some(first_key).flatten();
        let answers: Vec<&str> = self.handshakes.iter().flat_map(|handshake| handshake.exchange.parameters()).collect();
        let is_usual = |parameter: &&Parameter| {
            let by_name = by_key == Some("password") && parameter.name == "username";
            let is_key = by_key == Some(parameter.name);
            let answers = answers.contains(&parameter.name) && (parameter.secret || parameter.required);
            parameter.required || is_key || by_name || answers
        };
        self.parameters.iter().filter(is_usual).collect()
    }

    fn scheme(&self, scheme: &Scheme) -> String {
        let when = match scheme.when {
            When::Always => String::new(),
            When::Is(name, value) => format!("With `{name}={value}`: "),
            When::Given(name) => format!("With `{name}`: "),
            When::Absent(name) => format!("Without `{name}`: "),
        };
        let place = place(scheme.at);
        if scheme.algorithm == Algorithm::Equal {
            let prefix = match scheme.style {
                Style::Prefix(prefix) => format!("`{prefix}` and "),
                Style::Authentication(name) => format!("`{name} ` and "),
                _ => String::new(),
            };
            return capital(&format!("{when}{place} is {prefix}the source's `{}`.", scheme.key));
        }
        let messages: Vec<String> = scheme.messages.iter().map(|parts| message(parts)).collect();
        let mut text = format!(
            "{when}{place} is {}the {} of {}, {}. The key is `{}`{}.",
            style(scheme.style),
            algorithm(scheme.algorithm),
            messages.join(", or of "),
            encoding(scheme.encoding),
            scheme.key,
            key_form(scheme.key_form),
        );
        if let Some(stamp) = scheme.stamp {
            let at = match stamp.at {
                StampAt::Header(name) => format!("in `{name}`"),
                StampAt::Item => "in the same field".to_owned(),
                StampAt::JsonIfAny(path) => format!("`{path}` of the body, if it has one"),
                StampAt::JsonOrHeader(field, name) => {
                    format!("`{field}` of the body, or where that has none `{name}`, which is not signed")
                }
            };
            text = format!("{text} The timestamp is {at}, {}{}.", stamp.unit.name(), self.window());
        }
        for (name, value) in scheme.require {
            text = format!("{text} `{name}` must be `{value}`.");
        }
        capital(&text)
    }

    /// How far a timestamp may be off.
    fn window(&self) -> String {
        let tolerance = self.parameters.iter().find(|parameter| parameter.name == "tolerance");
        match tolerance.map(|parameter| parameter.default) {
            Some(Some("off")) => "; its age is checked only with `tolerance`".to_owned(),
            Some(Some(default)) => format!(", and may be off by `tolerance` ({default})"),
            Some(None) => ", and may be off by `tolerance`, if that is given".to_owned(),
            None => String::new(),
        }
    }
}

const BASIC: &str = "`authorization` is HTTP Basic with `username` and `password`.";

fn place(at: At) -> String {
    match at {
        At::Headers(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or "),
        At::Numbered(prefix) => format!("one of `{prefix}1`, `{prefix}2` and so on"),
        At::Query(name) => format!("`{name}` in the query"),
        At::Named => "the header field that `header` names".to_owned(),
    }
}

fn style(style: Style) -> String {
    match style {
        Style::Raw => String::new(),
        Style::Prefix(prefix) => format!("`{prefix}` and "),
        Style::Authentication(name) => format!("`{name} ` and "),
        Style::Named => "the text of `prefix` and ".to_owned(),
        Style::List { separator, prefix } => {
            format!("a list, {} between, any item of which is `{prefix}` and ", between(separator))
        }
        Style::Pairs { separator, signature, stamp } => {
            let separator = char::from(separator);
            format!("`{stamp}=...{separator}{signature}=...`; `{signature}`, which may come several times, is ")
        }
        Style::Positional { separator } => format!("the timestamp and, {} between, ", between(separator)),
    }
}

fn between(separator: u8) -> String {
    if separator == b' ' { "spaces".to_owned() } else { format!("`{}`", char::from(separator)) }
}

fn algorithm(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::HmacSha1 => "HMAC-SHA1",
        Algorithm::HmacSha256 => "HMAC-SHA256",
        Algorithm::HmacSha384 => "HMAC-SHA384",
        Algorithm::HmacSha512 => "HMAC-SHA512",
        Algorithm::Sha256 => "SHA-256 (a plain hash)",
        Algorithm::Ed25519 => "Ed25519 signature",
        Algorithm::EcdsaP256 => "ECDSA signature (P-256, SHA-256)",
        Algorithm::Equal => "text",
    }
}

fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Hex => "in hex",
        Encoding::Base64 => "in base64",
        Encoding::Base64Url => "in URL-safe base64",
        Encoding::Text => "as it is",
    }
}

fn key_form(form: KeyForm) -> &'static str {
    match form {
        KeyForm::Text => ", used as the text it is",
        KeyForm::Base64 => ", decoded from base64",
        KeyForm::Ed25519 => ", a public key in hex or base64",
        KeyForm::Whsec => ": `whsec_` and base64, which is decoded",
        KeyForm::Whpk => ": `whpk_` and base64, a public key",
        KeyForm::Spki => ", a public key in base64 or PEM",
    }
}

fn message(parts: &[Part]) -> String {
    let part = |part: &Part| match part {
        Part::Body => "body".to_owned(),
        Part::Stamp => "timestamp".to_owned(),
        Part::Method => "method".to_owned(),
        Part::Url => "URL".to_owned(),
        Part::UrlDecoded => "URL with its escapes decoded".to_owned(),
        Part::Secret => "key".to_owned(),
        Part::Literal(text) => format!("`{text}`"),
        Part::Header(name) => format!("`{name}`"),
    };
    if let [Part::Body] = parts {
        return "the body".to_owned();
    }
    parts.iter().map(part).collect::<Vec<_>>().join(" + ")
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

/// When it is one, and how it is answered: `GET with `challenge` in the query: that value, as text`.
impl fmt::Display for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method)?;
        for (index, on) in self.on.iter().enumerate() {
            write!(f, "{}{on}", if index == 0 { " with " } else { " and " })?;
        }
        f.write_str(if self.signed { ", signed like an event: " } else { ", not signed: " })?;
        self.exchange.fmt(f)
    }
}

/// Which webhooks, and how: `with "token" in a JSON body: 202, empty`.
impl fmt::Display for Otherwise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, on) in self.on.iter().enumerate() {
            write!(f, "{}{on}", if index == 0 { "with " } else { " and " })?;
        }
        write!(f, ": {}", self.acknowledgement)
    }
}

impl fmt::Display for Acknowledgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Receipt => f.write_str("202 with the event's id and the time, as JSON"),
            Self::Fixed { status, body: "", .. } => write!(f, "{status}, empty"),
            Self::Fixed { status, content_type, body } => {
                let content_type = content_type.unwrap_or_default();
                write!(f, "{status}, `{content_type}`: `{}`", body.replace('\n', " "))
            }
        }
    }
}

impl fmt::Display for On {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Query(name) => write!(f, "`{name}` in the query"),
            Self::Header(name) => write!(f, "the header field `{name}`"),
            Self::HeaderIs(name, value) => write!(f, "the header field `{name}: {value}`"),
            Self::Json(path) => write!(f, "`{path}` in a JSON body"),
            Self::NoJson(path) => write!(f, "no `{path}` in it"),
            Self::JsonIs(path, value) => write!(f, "`{path}` = `{value}` in a JSON body"),
            Self::JsonEmpty(path) => write!(f, "an empty list `{path}` in a JSON body"),
            Self::JsonOnly(field) => write!(f, "nothing but `{field}` in a JSON body"),
            Self::JsonWhole(text) => write!(f, "the JSON body `{text}`"),
            Self::FormOf([name]) => write!(f, "nothing but `{name}` in a form"),
            Self::FormOf(names) => {
                let (first, others) = names.split_first().unwrap_or((&"", &[]));
                write!(f, "`{first}` in a form and nothing else but {}", quoted(others))
            }
            Self::FormJson(name, path) => write!(f, "`{path}` in `{name}` of a form"),
            Self::QueryWithout(name, others) => write!(f, "`{name}` in the query and without {} there", quoted(others)),
            Self::NoBody => f.write_str("no body"),
        }
    }
}

impl Exchange {
    /// The source's parameters that it is answered with.
    fn parameters(self) -> Vec<&'static str> {
        match self {
            Self::HubChallenge { token: name, .. }
            | Self::Crc(name)
            | Self::ChallengeCode(name)
            | Self::PlainToken(name)
            | Self::ValidationCode(name) => vec![name],
            Self::ChallengeHash { token, endpoint } => vec![token, endpoint],
            Self::BtChallenge { public, private } => vec![public, private],
            Self::WebhookOrigin { origins, rate } => vec![origins, rate],
            Self::Fixed { .. }
            | Self::EchoQuery(_)
            | Self::EchoJson(_)
            | Self::EchoJsonText(_)
            | Self::EchoHeader { .. }
            | Self::HeaderToJson { .. }
            | Self::AdoptHeader { .. }
            | Self::AdoptJson { .. } => Vec::new(),
        }
    }
}

/// The answer.
impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Fixed { status, body: "", .. } => write!(f, "{status}, empty"),
            Self::Fixed { status, body, .. } => write!(f, "{status} with `{body}`"),
            Self::HubChallenge { token, json } => {
                let form = if json { "as JSON" } else { "as text" };
                write!(
                    f,
                    "the value of `hub.challenge`, {form}, if `hub.verify_token` is the source's `{token}`; else 403"
                )
            }
            Self::EchoQuery(name) => write!(f, "the value of `{name}`, as text"),
            Self::EchoJson(field) => write!(f, "the same `{field}`, as JSON"),
            Self::EchoJsonText(field) => write!(f, "the value of `{field}`, as text"),
            Self::EchoHeader { header, status } => write!(f, "{status} with the same `{header}` header field"),
            Self::HeaderToJson { header, field } => write!(f, "the value of `{header}` as `{field}`, in JSON"),
            Self::Crc(key) => write!(f, "the HMAC-SHA256 of `crc_token` with `{key}`, as `response_token` in JSON"),
            Self::ChallengeCode(key) => {
                write!(f, "`challengeCode` and its HMAC-SHA256 with `{key}`, as `challengeResponse` in JSON")
            }
            Self::PlainToken(key) => {
                write!(f, "`plainToken` and its HMAC-SHA256 with `{key}`, as `encryptedToken` in JSON")
            }
            Self::ChallengeHash { token, endpoint } => write!(
                f,
                "the SHA-256 of `challenge_code`, `{token}` and the URL (`{endpoint}`, else the one called), as \
                 `challengeResponse` in JSON"
            ),
            Self::BtChallenge { public, private } => {
                write!(f, "`{public}` and the HMAC of `bt_challenge` with the SHA-1 of `{private}`, as text")
            }
            Self::ValidationCode(names) => {
                write!(f, "the validation code, as JSON, if the subscription is one of `{names}`; else 403")
            }
            Self::WebhookOrigin { origins, rate } => write!(
                f,
                "`webhook-allowed-origin`, with `webhook-allowed-rate` from `{rate}`, if the origin is one of \
                 `{origins}`; else 403"
            ),
            Self::AdoptHeader { header, parameter } => {
                write!(f, "the same `{header}`, whose value becomes the source's `{parameter}`; only while it has none")
            }
            Self::AdoptJson { field, parameter } => {
                write!(f, "200, empty; `{field}` becomes the source's `{parameter}`; only while it has none")
            }
        }
    }
}

impl Provider {
    /// What a repeat of one of its webhooks is known by, in words.
    pub fn repeats(&self) -> String {
        if self.key_source {
            return "the header field `idempotency-key`, if there is one".to_owned();
        }
        if self.attempts.is_empty() {
            return self.delivery.to_string();
        }
        format!("{} but {}", self.delivery, quoted(self.attempts))
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing: each request is a new event"),
            Self::Documented(id, page) => write!(f, "{}, alone (documented: {page})", Whereabouts(**id)),
            Self::Body => f.write_str("its body, byte for byte"),
            Self::First(ids) => {
                for (index, id) in ids.iter().enumerate() {
                    write!(f, "{}{id}", if index == 0 { "" } else { "; else " })?;
                }
                Ok(())
            }
            id => write!(f, "{}, with the whole body", Whereabouts(*id)),
        }
    }
}

/// Where an id stands, and nothing about what it is worth.
struct Whereabouts(DeliveryId);

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            DeliveryId::Header(name) => write!(f, "the header field `{name}`"),
            DeliveryId::Headers(names) => write!(f, "the header fields {}", quoted(names)),
            DeliveryId::Json(fields) => write!(f, "{} of the body", quoted(fields)),
            DeliveryId::Items(lists) => {
                let list = |(list, fields): &(&str, &[&str])| {
                    let names: Vec<String> = fields.iter().map(|field| format!("`{list}.{field}`")).collect();
                    names.join(", ")
                };
                let all: Vec<String> = lists.iter().map(list).collect();
                write!(f, "{} of the body, all items together", all.join("; "))
            }
            DeliveryId::Code(words) => f.write_str(words),
            DeliveryId::InType(name, id) => write!(f, "{} of type `{name}`", Self(*id)),
            DeliveryId::Documented(id, _) => Self(*id).fmt(f),
            DeliveryId::First(ids) => {
                let places: Vec<String> = ids.iter().map(|id| Self(*id).to_string()).collect();
                f.write_str(&places.join(", else "))
            }
            DeliveryId::Nothing | DeliveryId::Body => self.0.fmt(f),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere => f.write_str("none"),
            Self::Header(name) => write!(f, "the header field `{name}`"),
            Self::Json(path) => write!(f, "`{path}` of the body"),
            Self::Joined(list, fields) => {
                let dot = if list.is_empty() { "" } else { "." };
                let names: Vec<String> = fields.iter().map(|field| format!("`{list}{dot}{field}`")).collect();
                write!(f, "{} of the body, with a dot between", names.join(" and "))
            }
            Self::Form(name) => write!(f, "`{name}` of the form"),
            Self::FormJson(name, path) => write!(f, "`{path}` in `{name}` of the form"),
            Self::Member(list, but) => {
                let place = if list.is_empty() { "the body".to_owned() } else { format!("`{list}`") };
                let but = if but.is_empty() { String::new() } else { format!(" and is none of {}", quoted(but)) };
                write!(f, "the name of the first member of {place} that holds anything{but}")
            }
            Self::First(names) => {
                for (index, name) in names.iter().enumerate() {
                    write!(f, "{}{name}", if index == 0 { "" } else { "; else " })?;
                }
                Ok(())
            }
            Self::Code(words, _) => f.write_str(words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{provider, providers};

    #[test]
    fn every_provider_says_what_it_checks_and_with_which_parameter() {
        for provider in providers() {
            let checks = provider.checks();
            for check in &checks {
                assert!(check.ends_with('.') && check.len() > 20, "{}: {check:?}", provider.name);
                assert!(!check.contains("  "), "{}: {check:?}", provider.name);
            }
            let all = checks.join(" ");
            let key = provider.parameters.iter().find(|parameter| parameter.key).expect("every provider has a key");
            assert!(all.contains(&format!("`{}`", key.name)), "{}: {all:?}", provider.name);
            assert_eq!(provider.checked.is_empty(), !matches!(provider.proof, Proof::Code(_)), "{}", provider.name);
        }
    }

    #[test]
    fn a_scheme_is_told_from_where_it_stands_to_how_old_it_may_be() {
        let stripe = provider("stripe").expect("in the table");
        assert_eq!(
            stripe.checks(),
            [
                "`stripe-signature` is `t=...,v1=...`; `v1`, which may come several times, is the HMAC-SHA256 of timestamp \
              + `.` + body, in hex. The key is `endpoint_secret`, used as the text it is. The timestamp is in the same \
              field, whole seconds since 1970, and may be off by `tolerance` (300s)."
            ]
        );
    }

    #[test]
    fn handshakes_and_ids_are_told_too() {
        let slack = provider("slack").expect("in the table");
        let told: Vec<String> = slack.handshakes.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "POST with `type` = `url_verification` in a JSON body, signed like an event: the same `challenge`, as JSON",
                "GET with `ssl_check` in the query and without `command`, `payload` there, not signed: 200, empty",
                "POST with `ssl_check` in a form and nothing else but `token`, not signed: 200, empty",
            ]
        );
        assert_eq!(
            slack.delivery.to_string(),
            "`event_id`, `api_app_id` of the body, alone (documented: https://docs.slack.dev/apis/events-api/); else `event_id` \
             of the body, alone (documented: https://docs.slack.dev/apis/events-api/)"
        );
        assert_eq!(
            slack.event.to_string(),
            "`event.type` of the body; else `type` of the body; else `command` of the form; else `type` in `payload` of the form"
        );
    }
}
