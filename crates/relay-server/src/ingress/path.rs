//! Which source a path leads to. Raw bytes, compared as they are: nothing is decoded, nothing is mended.

use http::{Uri, uri::PathAndQuery};
use relay_core::target::has_dot_segment;

/// Where a request path leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads<'a> {
    /// To the source of that name.
    Source(&'a str),
    /// To the source of that name, with dot segments behind it: another program may read it as another path.
    DotSegments(&'a str),
    /// Not to a source.
    Elsewhere,
}

/// The source that `/webhook` leads to.
pub(super) const FALLBACK_SOURCE: &str = "default";

/// Where `path` leads.
pub(super) fn leads(path: &str) -> Leads<'_> {
    let Some(behind) = path.strip_prefix("/webhook") else { return Leads::Elsewhere };
    if behind.is_empty() {
        return Leads::Source(FALLBACK_SOURCE);
    }
    let Some(named) = behind.strip_prefix('/') else { return Leads::Elsewhere };
    let (name, rest) = named.split_once('/').unwrap_or((named, ""));
    if has_dot_segment(rest.as_bytes()) { Leads::DotSegments(name) } else { Leads::Source(name) }
}

/// The name of the source that `path` leads to, whether or not there is one.
pub(crate) fn source_of(path: &str) -> Option<&str> {
    match leads(path) {
        Leads::Source(name) | Leads::DotSegments(name) => Some(name),
        Leads::Elsewhere => None,
    }
}

/// The path of `PUBLIC_URL`: what a proxy may leave before the path of a request, or take away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// That of this URL, which ends with no `/`. None where it cannot be told from a path of the relay's own.
    pub fn of(public_url: Option<&str>) -> Self {
        let behind_scheme = public_url.and_then(|url| url.split_once("://")).map(|(_, rest)| rest);
        let path = behind_scheme.and_then(|rest| Some(&rest[rest.find('/')?..])).unwrap_or_default();
        let is_ours = leads(path) != Leads::Elsewhere;
        Self(if is_ours { String::new() } else { path.to_owned() })
    }

    /// A target without it, where it stands there.
    pub(super) fn taken_off(&self, target: &Uri) -> Option<Uri> {
        let behind = target.path_and_query()?.as_str().strip_prefix(self.0.as_str())?;
        if self.0.is_empty() || !behind.starts_with('/') {
            return None;
        }
        PathAndQuery::try_from(behind).ok().map(Uri::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy may keep the path of `PUBLIC_URL` or take it away: what is behind it is the same, byte for byte.
    #[test]
    fn what_stands_before_a_path_is_taken_off_once() {
        let off = |url: &str, target: &str| {
            let target = target.parse::<Uri>().unwrap();
            Prefix::of(Some(url)).taken_off(&target).map(|uri| uri.to_string())
        };
        let url = "https://relay.example.com/hooks/in";
        assert_eq!(off(url, "/hooks/in/webhook/a%2Fb//c?x=%31&y"), Some("/webhook/a%2Fb//c?x=%31&y".to_owned()));
        assert_eq!(off(url, "/hooks/in/connect"), Some("/connect".to_owned()));
        assert_eq!(off(url, "/hooks/in/hooks/in/webhook"), Some("/hooks/in/webhook".to_owned()));
        assert_eq!(off(url, "/hooks/in//webhook"), Some("//webhook".to_owned()));
        for other in ["/webhook", "/hooks/in", "/hooks/inn/webhook", "/Hooks/in/webhook", "/hooks%2Fin/webhook", "*"] {
            assert_eq!(off(url, other), None, "{other}");
        }
        for url in ["https://relay.example.com", "https://a/webhook", "https://a/webhook/shop"] {
            assert_eq!(off(url, "/webhook/shop/x"), None, "{url}");
        }
    }

    #[test]
    fn a_path_leads_to_the_source_it_names() {
        assert_eq!(leads("/webhook"), Leads::Source("default"));
        assert_eq!(leads("/webhook/stripe"), Leads::Source("stripe"));
        assert_eq!(leads("/webhook/stripe/a%2Fb//c"), Leads::Source("stripe"));
        assert_eq!(leads("/webhook/"), Leads::Source(""));
        assert_eq!(leads("/webhooks"), Leads::Elsewhere);
        assert_eq!(leads("/"), Leads::Elsewhere);
        assert_eq!(leads("/Webhook"), Leads::Elsewhere);
    }

    /// S18: what a program behind may read as a way out of its base path is refused here.
    #[test]
    fn dot_segments_are_refused_however_they_are_written() {
        for rest in ["..", "a/..", "%2e%2E", "a\\..\\b", "..%2fx", "..;/x", "%252e%252e/x"] {
            assert_eq!(leads(&format!("/webhook/s/{rest}")), Leads::DotSegments("s"), "{rest}");
        }
        for rest in ["...", "a..", "%2ea", "%2", "a.b"] {
            assert_eq!(leads(&format!("/webhook/s/{rest}")), Leads::Source("s"), "{rest}");
        }
    }
}
