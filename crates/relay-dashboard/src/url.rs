//! Links: made here and nowhere else, so that no value becomes a scheme, a host, a path of another page or a script (S26).

use std::fmt;

use relay_core::id::{DeliveryId, EventId};

use crate::asset::Asset;

/// Where something is on this site: a path below the site's base, percent-encoded, with its query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url(String);

/// The site: the base path under which all of it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    base: String,
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Url {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same with one more value in its query.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(name);
        self.0.push('=');
        encode(&mut self.0, value);
        self
    }

    /// The same with one more value in its query, if there is one.
    #[must_use]
    pub fn with_some(self, name: &'static str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The same, at a part of the page.
    #[must_use]
    pub fn part(mut self, id: &str) -> Self {
        self.0.push('#');
        encode(&mut self.0, id);
        self
    }
}

impl Site {
    /// A site below a path: `/relay` of `https://example.com/relay/`. Empty or `/`: all of the origin.
    pub fn new(base: &str) -> Self {
        let parts = base.split('/').filter(|part| !part.is_empty());
        let mut encoded = String::new();
        for part in parts {
            encoded.push('/');
            encode(&mut encoded, part);
        }
        Self { base: encoded }
    }

    /// Where it begins, with a slash at its end.
    pub fn base(&self) -> Url {
        self.at(&[])
    }

    /// What a page loads.
    pub fn asset(&self, asset: Asset) -> Url {
        self.at(&["assets", asset.name()])
    }

    /// The overview.
    pub fn overview(&self) -> Url {
        self.at(&[])
    }

    /// The events.
    pub fn events(&self) -> Url {
        self.at(&["events"])
    }

    /// An event.
    pub fn event(&self, id: &EventId) -> Url {
        self.at(&["events", &id.to_string()])
    }

    /// A delivery, at its event.
    pub fn delivery(&self, event: &EventId, id: &DeliveryId) -> Url {
        self.event(event).part(&id.to_string())
    }

    /// A delivery whose event is looked for there.
    pub fn delivery_alone(&self, id: &DeliveryId) -> Url {
        self.at(&["deliveries", &id.to_string()])
    }

    /// A page of this site as somebody has its link: a path below the base with its query. `None` for anything that a browser could read
    /// as another site, or as more than a path. It shows no secrets: whoever made the link would be the one who asks for them.
    pub fn page(&self, link: &str) -> Option<Url> {
        let base = self.base();
        let rest = link.strip_prefix(base.as_str())?;
        let is_plain = rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
        (is_plain && !rest.starts_with('/')).then(|| Url(without_reveal(link)))
    }

    /// The deliveries.
    pub fn deliveries(&self) -> Url {
        self.at(&["deliveries"])
    }

    /// The dead letters.
    pub fn dead(&self) -> Url {
        self.at(&["dead"])
    }

    /// Why nothing arrives, of all sources.
    pub fn why_all(&self) -> Url {
        self.at(&["why"])
    }

    /// Why nothing arrives at a source.
    pub fn why(&self, source: &str) -> Url {
        self.at(&["why", source])
    }

    /// The sources.
    pub fn sources(&self) -> Url {
        self.at(&["sources"])
    }

    /// Where a source is made.
    pub fn new_source(&self) -> Url {
        self.at(&["sources", "new"])
    }

    /// A source. One that is called as the page where they are made has its own beside the others.
    pub fn source(&self, name: &str) -> Url {
        self.at(&[if name == "new" { "source" } else { "sources" }, name])
    }

    /// A destination.
    pub fn destination(&self, name: &str) -> Url {
        self.at(&["destinations", name])
    }

    /// What is not as it should be, and who is told.
    pub fn alerts(&self) -> Url {
        self.at(&["alerts"])
    }

    /// The audit log.
    pub fn audit(&self) -> Url {
        self.at(&["audit"])
    }

    /// The audit log as a file.
    pub fn audit_csv(&self) -> Url {
        self.at(&["audit.csv"])
    }

    /// Keys and tokens.
    pub fn access(&self) -> Url {
        self.at(&["access"])
    }

    /// The users.
    pub fn users(&self) -> Url {
        self.at(&["users"])
    }

    /// The viewer.
    pub fn me(&self) -> Url {
        self.at(&["me"])
    }

    /// Where users sign in.
    pub fn login(&self) -> Url {
        self.at(&["login"])
    }

    /// The bytes of a body.
    pub fn body(&self, id: &EventId) -> Url {
        self.at(&["api", "v1", "events", &id.to_string(), "body"])
    }

    fn at(&self, parts: &[&str]) -> Url {
        let mut url = self.base.clone();
        for part in parts {
            url.push('/');
            encode(&mut url, part);
        }
        if parts.is_empty() {
            url.push('/');
        }
        Url(url)
    }
}

/// What may stand in any part of a URL stays, all else is `%xx`. A part that is only dots would lead elsewhere.
fn encode(to: &mut String, text: &str) {
    let only_dots = !text.is_empty() && text.bytes().all(|byte| byte == b'.');
    for byte in text.bytes() {
        match byte {
            b'.' if only_dots => to.push_str("%2E"),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => to.push(byte as char),
            _ => {
                const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
                to.push('%');
                to.push(DIGITS[usize::from(byte >> 4)] as char);
                to.push(DIGITS[usize::from(byte & 15)] as char);
            }
        }
    }
}

/// Without `reveal` in its query, or a name that could be one: no page of ours has a name that is encoded.
fn without_reveal(link: &str) -> String {
    let Some((path, query)) = link.split_once('?') else { return link.to_owned() };
    let is_kept = |parameter: &&str| {
        let name = parameter.split('=').next().unwrap_or_default();
        name != "reveal" && !name.contains('%')
    };
    let kept: Vec<&str> = query.split('&').filter(is_kept).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S26
    #[test]
    fn a_link_never_leads_off_the_site() {
        for hostile in ["javascript:alert(1)", "//evil.example", "..", "a\"b'c<d>", "\u{202e}\n", "a b&c=d#e?f"] {
            let url = Site::default().events().with("source", hostile).part(hostile);
            assert!(url.as_str().starts_with("/events?source="), "{url}");
            let rest = &url.as_str()["/events?source=".len()..];
            assert!(rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~%#".contains(&byte)), "{url}");
        }
    }

    /// S26
    #[test]
    fn only_a_page_of_the_site_is_one() {
        let site = Site::new("/relay");
        for own in ["/relay/", "/relay/events?source=a&q=%2F#b", "/relay/events/evt_1"] {
            assert_eq!(site.page(own).as_ref().map(Url::as_str), Some(own));
        }
        for other in [
            "/",
            "/relay",
            "//evil.example",
            "/relay//evil.example",
            "/relay/\\evil",
            "https://evil.example",
            "/relay/\r\nX: y",
            "",
        ] {
            assert_eq!(site.page(other), None, "{other:?}");
        }
        assert_eq!(Site::default().page("//evil.example"), None);
        assert_eq!(Site::default().page("/\\evil.example"), None);
    }

    /// Whoever signs in, or comes from another site, asks for secrets himself.
    #[test]
    fn a_way_back_to_a_page_reveals_no_secrets() {
        let site = Site::default();
        for (link, page) in [
            ("/events/evt_1?reveal=1", "/events/evt_1"),
            ("/events/evt_1?view=curl&reveal=1&from=2", "/events/evt_1?view=curl&from=2"),
            ("/events/evt_1?rev%65al=1&view=hex", "/events/evt_1?view=hex"),
            ("/events?q=reveal=1", "/events?q=reveal=1"),
        ] {
            assert_eq!(site.page(link).as_ref().map(Url::as_str), Some(page));
        }
    }

    #[test]
    fn a_site_may_be_below_a_path() {
        for (base, begin) in
            [("", "/"), ("/", "/"), ("/relay/", "/relay/"), ("relay", "/relay/"), ("//evil/..", "/evil/%2E%2E/")]
        {
            let site = Site::new(base);
            assert_eq!(site.base().as_str(), begin);
            assert_eq!(site.users().as_str(), format!("{begin}users"));
        }
    }
}
