//! A provider and a request to a source of it, as text, so that a corpus can be read:
//!
//! ```text
//! stripe
//! POST /webhook/stripe?x=1
//! stripe-signature: t=1700000000,v1=...
//!
//! {"id": "evt_1"}
//! ```

use std::{collections::BTreeMap, sync::OnceLock};

use bytes::Bytes;
use relay_core::time::Wall;
use relay_providers::{Draft, Fetched, Request, Verdict, providers};

use super::{
    acting::{Acting, URL},
    agree::agree,
};

/// When everything happens.
pub const NOW: Wall = Wall::from_micros(1_700_000_000_000_000);
/// What no answer and no refusal may say: the parameter `secret` of most sources.
const SECRET: &str = "It's a Secret to Everybody";
/// Longest answer to a handshake: what is echoed has at most 4 KiB, and JSON makes six of one character.
const ANSWER_BYTES_MAX: usize = 32 * 1024;

/// A request, taken apart.
pub struct Case<'a> {
    /// Whose source it goes to.
    pub(crate) acting: &'static Acting,
    method: &'a str,
    path: &'a [u8],
    query: Option<&'a [u8]>,
    url: String,
    headers: Vec<(Bytes, Bytes)>,
    /// What is behind the head.
    pub body: &'a [u8],
}

impl<'a> Case<'a> {
    /// Reads one; `None` if the text names no provider or has no request line.
    pub fn read(data: &'a [u8]) -> Option<Self> {
        let (provider, rest) = line(data)?;
        let acting = acting(provider)?;
        let (head, mut rest) = line(rest)?;
        let (method, target) = str::from_utf8(head).ok()?.split_once(' ')?;
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.as_bytes())),
            None => (target, None),
        };
        let mut headers = Vec::new();
        while let Some((field, behind)) = line(rest) {
            rest = behind;
            let Some(at) = field.iter().position(|byte| *byte == b':') else { break };
            let name = field[..at].to_ascii_lowercase();
            headers.push((name.into(), Bytes::copy_from_slice(field[at + 1..].trim_ascii())));
        }
        let url = format!("https://relay.example.com{target}");
        Some(Self { acting, method, path: path.as_bytes(), query, url, headers, body: rest })
    }

    /// What the source's verifier says, with these keys fetched.
    pub fn judge(&self, fetched: &[Fetched]) -> Verdict {
        let request = Request {
            method: self.method,
            path: self.path,
            query: self.query,
            headers: &self.headers,
            body: self.body,
            url: Some(&self.url),
            now: NOW,
            fetched,
        };
        agree(&self.acting.verifier, &request);
        let verdict = self.acting.verifier.judge(&request);
        check(&verdict, self.headers.len());
        verdict
    }
}

/// The text of a signed sample.
pub fn written(provider: &str, signed: &Draft) -> Vec<u8> {
    let target = signed.url.splitn(4, '/').nth(3).unwrap_or_default();
    let mut text = format!("{provider}\n{} /{target}\n", signed.method).into_bytes();
    for (name, value) in &signed.headers {
        text.extend([&name[..], b": ", value, b"\n"].concat());
    }
    [&text, &b"\n"[..], &signed.body].concat()
}

/// Both sides of the provider of that name.
pub(crate) fn acting(name: &[u8]) -> Option<&'static Acting> {
    static ALL: OnceLock<BTreeMap<&str, Acting>> = OnceLock::new();
    let all = ALL.get_or_init(|| providers().iter().map(|provider| (provider.name, Acting::new(provider))).collect());
    all.get(str::from_utf8(name).ok()?)
}

/// The provider's sample, signed.
pub(crate) fn sample(acting: &Acting) -> Draft {
    let draft = acting.provider.draft(URL, "wh_1", NOW);
    acting.signer.sign(draft, "wh_1", NOW).expect("a sample can be signed")
}

/// What holds for any verdict.
pub fn check(verdict: &Verdict, headers: usize) {
    assert!(!format!("{verdict:?}").contains(SECRET), "a verdict shows a secret");
    match verdict {
        Verdict::Genuine(genuine) => {
            assert!(genuine.strip.iter().all(|index| *index < headers));
            assert!(genuine.dedupe.as_ref().is_none_or(|key| key.id.len() <= 255));
        }
        Verdict::Handshake(answer) | Verdict::Confirm { answer, .. } | Verdict::Adopt { answer, .. } => {
            assert!((200..500).contains(&answer.status), "{}", answer.status);
            assert!(answer.body.len() <= ANSWER_BYTES_MAX, "{} bytes", answer.body.len());
            assert!(answer.content_type.is_none_or(|kind| !kind.contains("html")));
        }
        Verdict::NeedsKey { url } => assert!(url.starts_with("https://"), "{url}"),
        Verdict::Malformed(refusal) | Verdict::Refused(refusal) => {
            assert!((400..600).contains(&refusal.status), "{}", refusal.status);
            assert!(!refusal.check.is_empty() && refusal.detail.len() <= 1024, "{}: {}", refusal.check, refusal.detail);
        }
    }
    if let Verdict::Confirm { url, .. } = verdict {
        assert!(url.starts_with("https://"), "{url}");
    }
}

/// The first line, and what is behind it.
pub fn line(data: &[u8]) -> Option<(&[u8], &[u8])> {
    if data.is_empty() {
        return None;
    }
    let at = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    Some((&data[..at], data.get(at + 1..).unwrap_or_default()))
}
