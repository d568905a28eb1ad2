//! The cookie of a session (S24): what it is called, how it is set, and where it is read.
//!
//! Over TLS it is `__Host-...; Secure`: no other host and no plain connection can set one. On a loopback address, where browsers speak
//! plain HTTP, it has neither, and is taken there alone. Browsers send cookies to every port of a host, so the port is in the name:
//! two servers on one machine do not sign each other's users out.

use http::{HeaderMap, HeaderValue, header};
use relay_net::sites::{is_loopback, port_of};

/// Over TLS.
const SECURE: &str = "__Host-";
const NAME: &str = "relay-session";

/// Its name over TLS.
pub(crate) fn over_tls() -> String {
    [SECURE, NAME].concat()
}

/// How a browser reached the listener, as far as its request tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Over TLS, be it to a proxy.
    pub(crate) tls: bool,
    /// By an address of the browser's own machine.
    pub(crate) loopback: bool,
}

impl Reached {
    /// By the fields of a request whose `Origin`, if it has one, is of its `Host`. Browsers say the scheme in every request that changes
    /// something; of one that says nothing it is plain.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let tls = headers.get(header::ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"https://"));
        Self { tls, loopback: is_loopback(host(headers)) }
    }

    /// Nobody on the way can read along.
    pub(crate) const fn is_private(self) -> bool {
        self.tls || self.loopback
    }
}

/// The cookie that a session's secret goes into.
pub(crate) fn set(headers: &HeaderMap, secret: &str) -> HeaderValue {
    let reached = Reached::of(headers);
    let secure = if reached.tls { "; Secure" } else { "" };
    let text = format!("{}={secret}; Path=/; HttpOnly; SameSite=Strict{secure}", name(headers, reached.tls));
    value(&text)
}

/// Has a browser forget it.
pub(crate) fn forget(headers: &HeaderMap) -> HeaderValue {
    let reached = Reached::of(headers);
    let secure = if reached.tls { "; Secure" } else { "" };
    value(&format!("{}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict{secure}", name(headers, reached.tls)))
}

/// The secret in a request's cookies. One that only TLS sets comes first; another is taken on a loopback address alone, where no other
/// host can have set it.
pub(crate) fn read(headers: &HeaderMap) -> Option<&str> {
    let plain = || is_loopback(host(headers)).then(|| find(headers, &name(headers, false))).flatten();
    find(headers, &name(headers, true)).or_else(plain)
}

fn find<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let fields = headers.get_all(header::COOKIE).iter().filter_map(|field| field.to_str().ok());
    let mut pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(called, _)| *called == name).map(|(_, value)| value)
}

fn name(headers: &HeaderMap, tls: bool) -> String {
    let prefix = if tls { SECURE } else { "" };
    let port = port_of(host(headers)).map(|port| format!("-{port}")).unwrap_or_default();
    format!("{prefix}{NAME}{port}")
}

fn host(headers: &HeaderMap) -> &[u8] {
    headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default()
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a name of ours, digits of a port and hex digits")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    /// S24
    #[test]
    fn a_cookie_is_as_strict_as_its_way_lets_it_be() {
        let over_tls = fields(&[("host", "relay.example.com"), ("origin", "https://relay.example.com")]);
        let set_over_tls = set(&over_tls, "crs_1");
        assert_eq!(set_over_tls, "__Host-relay-session=crs_1; Path=/; HttpOnly; SameSite=Strict; Secure");
        let at_home = fields(&[("host", "127.0.0.1:8081"), ("origin", "http://127.0.0.1:8081")]);
        assert_eq!(set(&at_home, "crs_1"), "relay-session-8081=crs_1; Path=/; HttpOnly; SameSite=Strict");
        assert!(forget(&at_home).to_str().unwrap().starts_with("relay-session-8081=; Path=/; Max-Age=0;"));
        assert!(Reached::of(&over_tls).is_private() && Reached::of(&at_home).is_private());
        let plain = fields(&[("host", "relay.example.com"), ("origin", "http://relay.example.com")]);
        assert!(!Reached::of(&plain).is_private() && !Reached::of(&fields(&[("host", "10.0.0.7:8081")])).is_private());
    }

    /// S24: whoever may set a cookie of this host over a plain connection signs nobody in as himself.
    #[test]
    fn a_cookie_that_only_tls_sets_comes_first() {
        let cookies = "a=b; relay-session=crs_2;__Host-relay-session=crs_1 ; relay-session-8081=crs_3";
        let elsewhere = |host| fields(&[("host", host), ("cookie", cookies)]);
        assert_eq!(read(&elsewhere("relay.example.com")), Some("crs_1"));
        assert_eq!(read(&elsewhere("localhost")), Some("crs_1"));
        assert_eq!(read(&elsewhere("localhost:8081")), Some("crs_3"));
        assert_eq!(read(&elsewhere("relay.example.com:8081")), None);
        assert_eq!(read(&fields(&[("host", "localhost"), ("cookie", "relay-session")])), None);
        assert_eq!(read(&HeaderMap::new()), None);
    }
}
