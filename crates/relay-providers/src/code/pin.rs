//! URLs that a request names and the relay may fetch: taken apart strictly, so that what is checked is what is dialled.

/// Longest URL that is looked at.
const URL_BYTES_MAX: usize = 2_048;

/// `https://HOST/PATH` or `https://HOST/PATH?QUERY`, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Https<'a> {
    pub(crate) host: &'a str,
    /// With its `/` in front.
    pub(crate) path: &'a str,
    pub(crate) query: Option<&'a str>,
}

impl<'a> Https<'a> {
    /// Takes only what every reader takes the same way: lower-case scheme and host, no user, no port, no escape, dot
    /// segment or backslash in host or path, no fragment.
    pub(crate) fn read(url: &'a str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"#\\\"<>^`{|}".contains(&byte);
        if url.len() > URL_BYTES_MAX || !url.bytes().all(is_plain) {
            return None;
        }
        let rest = url.strip_prefix("https://")?;
        let (host, _) = rest.split_once('/')?;
        let (path, query) = match rest[host.len()..].split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&rest[host.len()..], None),
        };
        (is_host(host) && is_path(path)).then_some(Self { host, path, query })
    }
}

fn is_host(host: &str) -> bool {
    let is_label = |label: &str| {
        let is_name = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        !label.is_empty() && label.len() <= 63 && is_name
    };
    host.len() <= 253 && host.contains('.') && host.split('.').all(is_label)
}

fn is_path(path: &str) -> bool {
    let is_segment = |segment: &str| {
        let is_name = segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
        is_name && segment != "." && segment != ".."
    };
    path.starts_with('/') && !path.contains("//") && path.split('/').all(is_segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_url_is_taken_apart() {
        let url = Https::read("https://sns.us-east-1.amazonaws.com/a/b-1.pem?x=%2F&y").expect("plain");
        assert_eq!(url, Https { host: "sns.us-east-1.amazonaws.com", path: "/a/b-1.pem", query: Some("x=%2F&y") });
        assert_eq!(Https::read("https://api.paypal.com/").map(|url| url.path), Some("/"));
    }

    #[test]
    fn what_readers_may_take_differently_is_no_url() {
        for url in [
            "",
            "https://",
            "https://host.example",
            "http://host.example/a",
            "HTTPS://host.example/a",
            "https:/host.example/a",
            "https:///host.example/a",
            "//host.example/a",
            "https://Host.example/a",
            "https://host.example:443/a",
            "https://host.example@evil.example/a",
            "https://user:pass@host.example/a",
            "https://evil.example\\@host.example/a",
            "https://host.example\\.evil.example/a",
            "https://host.example/a/../b",
            "https://host.example/./a",
            "https://host.example/%2e%2e/a",
            "https://host.example/a%00",
            "https://host.example//a",
            "https://host.example/a#b",
            "https://host.example#/a",
            "https://host.example?/a",
            "https://host..example/a",
            "https://host.example./a",
            "https://.host.example/a",
            "https://[::1]/a",
            "https://host\u{2024}example/a",
            "https://host.example/a b",
            "https://host.example/a\r\nHost: x",
            " https://host.example/a",
            "https://localhost/a",
        ] {
            assert_eq!(Https::read(url), None, "{url}");
        }
        let long = format!("https://host.example/{}", "a".repeat(URL_BYTES_MAX));
        assert_eq!(Https::read(&long), None);
    }
}
