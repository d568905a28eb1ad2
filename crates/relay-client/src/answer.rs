//! What a target says with its refusal, as far as the client's own file lets the server know.
//!
//! **Invariant:** nothing of it is logged here, and what a target's own URL may hold as a secret, its query, goes nowhere: a
//! `Location` is told up to its query.

use std::{str::FromStr, sync::Arc};

use http::{HeaderMap, Response, StatusCode, header};
use hyper::ext::ReasonPhrase;
use relay_core::{delivery::answer::Answer, limits, wire::codec};

use crate::unreached;

/// What a client reports of an answer that was no 2xx, beside its status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReportAnswers {
    /// Nothing.
    Off,
    /// Its reason phrase, and `Location`.
    #[default]
    Status,
    /// These, and how its body begins, if that is text.
    Body,
}

impl ReportAnswers {
    /// Its words, as a configuration has them.
    pub const WORDS: [&str; 3] = ["off", "status", "body"];
}

impl FromStr for ReportAnswers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_ascii_lowercase().as_str() {
            "off" => Ok(Self::Off),
            "status" => Ok(Self::Status),
            "body" => Ok(Self::Body),
            _ => Err(format!("want one of {}", Self::WORDS.join(", "))),
        }
    }
}

/// A refusal that is being read.
pub(crate) struct Refusal {
    how: ReportAnswers,
    status: StatusCode,
    reason: Option<Box<str>>,
    location: Option<Box<str>>,
    /// What its head says about its body.
    form: Form,
    body: Vec<u8>,
    cut: bool,
}

/// What a head says about the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Text, in whatever letters.
    Text,
    /// Compressed.
    Coded,
    /// Nothing that helps.
    Unsaid,
}

impl Refusal {
    /// Of the head of an answer.
    pub(crate) fn of<B>(response: &Response<B>, how: ReportAnswers) -> Self {
        let (status, headers) = (response.status(), response.headers());
        let reason = response.extensions().get::<ReasonPhrase>().map(|said| words(said.as_bytes()));
        let usual = status.canonical_reason().unwrap_or_default();
        Self {
            how,
            status,
            reason: reason
                .filter(|said| !said.trim().is_empty() && !said.eq_ignore_ascii_case(usual))
                .map(|said| few(&said)),
            location: headers.get(header::LOCATION).map(|place| few(&without_secrets(&words(place.as_bytes())))),
            form: Form::of(headers),
            body: Vec::new(),
            cut: false,
        }
    }

    /// Takes the next piece of its body in.
    pub(crate) fn take(&mut self, piece: &[u8]) {
        let room = limits::ANSWER_WORDS_BYTES_MAX - self.body.len();
        let taken = &piece[..piece.len().min(room)];
        self.body.extend_from_slice(taken);
        self.cut |= taken.len() < piece.len();
    }

    /// Its body broke off, or did not end in time.
    pub(crate) const fn broke_off(&mut self) {
        self.cut = true;
    }

    /// Whether it says that the port speaks TLS, to who sent it plain HTTP.
    pub(crate) fn wants_tls(&self) -> bool {
        self.status == StatusCode::BAD_REQUEST && unreached::wants_tls(&self.body)
    }

    /// What of it is reported.
    pub(crate) fn told(self) -> Option<Arc<Answer>> {
        let answer = match self.how {
            ReportAnswers::Off => return None,
            ReportAnswers::Status => Answer { reason: self.reason, location: self.location, ..Answer::default() },
            ReportAnswers::Body => {
                let body = self.form.text(&self.body, self.cut);
                let cut = self.cut && body.is_some();
                Answer { reason: self.reason, location: self.location, body, cut }
            }
        };
        answer.shared()
    }
}

impl Form {
    fn of(headers: &HeaderMap) -> Self {
        let lower = |name| headers.get(name).map(|value| words(value.as_bytes()).to_ascii_lowercase());
        if lower(header::CONTENT_ENCODING).is_some_and(|coding| !matches!(coding.trim(), "" | "identity")) {
            return Self::Coded;
        }
        let said = lower(header::CONTENT_TYPE).unwrap_or_default();
        let kind = said.split(';').next().unwrap_or_default().trim();
        let is_text = kind.starts_with("text/")
            || kind.ends_with("+json")
            || kind.ends_with("+xml")
            || matches!(
                kind,
                "application/json"
                    | "application/xml"
                    | "application/x-www-form-urlencoded"
                    | "application/javascript"
                    | "application/yaml"
            );
        if is_text && !said.contains("utf-16") && !said.contains("utf-32") { Self::Text } else { Self::Unsaid }
    }

    /// The text that the beginning of a body is, if it is one.
    fn text(self, body: &[u8], cut: bool) -> Option<Box<str>> {
        let text = match (self, whole_characters(body, cut)) {
            (Self::Coded, _) => return None,
            (_, Some(text)) if !text.contains(is_binary) => text.to_owned(),
            (Self::Text, _) if !body.contains(&0) => String::from_utf8_lossy(body).into_owned(),
            (Self::Text | Self::Unsaid, _) => return None,
        };
        (!text.trim().is_empty()).then(|| text.into())
    }
}

/// The bytes as UTF-8, but for a character that the end of them cuts.
fn whole_characters(bytes: &[u8], cut: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if cut && error.error_len().is_none() => std::str::from_utf8(&bytes[..error.valid_up_to()]).ok(),
        Err(_) => None,
    }
}

/// What no text holds.
fn is_binary(char: char) -> bool {
    char.is_control() && !matches!(char, '\t' | '\n' | '\r' | '\u{c}' | '\u{1b}')
}

/// The words of a field of a head.
fn words(bytes: &[u8]) -> Box<str> {
    String::from_utf8_lossy(bytes).into()
}

/// As many of them as are reported: a head has room for more than anybody reads, and outcomes wait in memory.
fn few(words: &str) -> Box<str> {
    codec::plain(words).into()
}

/// A place without what targets keep their secrets in: user and password, query and fragment.
fn without_secrets(place: &str) -> Box<str> {
    let (path, cut) = match place.find(['?', '#']) {
        Some(at) => (&place[..at], "?..."),
        None => (place, ""),
    };
    let slashes = path.find("//").map_or(0, |at| at + 2);
    let (before, rest) = path.split_at(slashes);
    let authority = if slashes == 0 { 0 } else { rest.find('/').unwrap_or(rest.len()) };
    let rest = rest[..authority].rfind('@').map_or(rest, |at| &rest[at + 1..]);
    format!("{before}{rest}{cut}").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(how: ReportAnswers, fields: &[(&str, &str)], body: &[u8]) -> Option<Arc<Answer>> {
        let response =
            fields.iter().fold(Response::builder().status(422), |made, (name, value)| made.header(*name, *value));
        let mut refusal = Refusal::of(&response.body(()).unwrap(), how);
        body.chunks(700).for_each(|piece| refusal.take(piece));
        refusal.told()
    }

    fn body(content_type: &str, body: &[u8]) -> Option<String> {
        let answer = told(ReportAnswers::Body, &[("content-type", content_type)], body)?;
        answer.body.as_deref().map(str::to_owned)
    }

    /// The client's file decides what leaves the house.
    #[test]
    fn the_configuration_decides_what_is_told() {
        let fields = [("location", "/hooks/"), ("content-type", "text/html")];
        assert_eq!(told(ReportAnswers::Off, &fields, b"no"), None);
        let location = Some("/hooks/".into());
        let of_status = Answer { location: location.clone(), ..Answer::default() };
        assert_eq!(told(ReportAnswers::Status, &fields, b"no").as_deref(), Some(&of_status));
        let of_body = Answer { location, body: Some("no".into()), ..Answer::default() };
        assert_eq!(told(ReportAnswers::Body, &fields, b"no").as_deref(), Some(&of_body));
        assert_eq!(told(ReportAnswers::Body, &[], b""), None);
        for (word, how) in
            ReportAnswers::WORDS.iter().zip([ReportAnswers::Off, ReportAnswers::Status, ReportAnswers::Body])
        {
            assert_eq!(word.parse(), Ok(how));
        }
        assert!("all".parse::<ReportAnswers>().is_err());
    }

    #[test]
    fn a_body_is_told_if_its_type_or_its_bytes_say_that_it_is_text() {
        assert_eq!(body("application/json", b"{\"a\":1}").as_deref(), Some("{\"a\":1}"));
        assert_eq!(body("", "größer".as_bytes()).as_deref(), Some("größer"));
        assert_eq!(body("application/octet-stream", b"no such customer").as_deref(), Some("no such customer"));
        assert_eq!(body("text/html; charset=iso-8859-1", b"gr\xf6\xdfer").as_deref(), Some("gr\u{fffd}\u{fffd}er"));
        for (kind, bytes) in [
            ("", &b"\xff\xd8\xff"[..]),
            ("image/png", b"\x89PNG\r\n\x1a\n\0"),
            ("text/plain; charset=utf-16", b"\xfe\xff\0n\0o"),
            ("text/plain", b"n\0o\0"),
            ("application/pdf", b"%PDF-1.7\n\x01\x02"),
            ("text/plain", b" \r\n"),
        ] {
            assert_eq!(body(kind, bytes), None, "{kind}");
        }
        let coded = [("content-type", "text/html"), ("content-encoding", "gzip")];
        assert_eq!(told(ReportAnswers::Body, &coded, b"\x1f\x8b\x08"), None);
    }

    /// S20: however much a target says, 2 KiB are kept, and no half character.
    #[test]
    fn a_long_body_is_cut_between_characters() {
        let long = "aü".repeat(2_000);
        let answer = told(ReportAnswers::Body, &[], long.as_bytes()).unwrap();
        let kept = answer.body.as_deref().unwrap();
        assert!(
            answer.cut && long.starts_with(kept) && kept.len() >= limits::ANSWER_WORDS_BYTES_MAX - 1,
            "{}",
            kept.len()
        );
        let fits = "x".repeat(limits::ANSWER_WORDS_BYTES_MAX);
        let answer = told(ReportAnswers::Body, &[], fits.as_bytes()).unwrap();
        assert!(!answer.cut && answer.body.as_deref() == Some(fits.as_str()));
        let half = b"abc\xc3";
        assert_eq!(told(ReportAnswers::Body, &[], half), None, "nothing was cut: these bytes are no text");
    }

    /// S27: targets carry secrets in their queries, and send them back in redirects.
    #[test]
    fn a_location_is_told_without_its_query_and_its_user() {
        for (place, want) in [
            ("/hooks/", "/hooks/"),
            ("/hooks/?token=canary", "/hooks/?..."),
            ("http://u:canary@crm.local/a@b#canary", "http://crm.local/a@b?..."),
            ("//u:canary@crm.local", "//crm.local"),
            ("https://crm.local/login?next=/canary", "https://crm.local/login?..."),
            ("a@b", "a@b"),
        ] {
            assert_eq!(&*without_secrets(place), want);
        }
    }
}
