//! Which proxy leads to the server, and the tunnel through it.

use std::net::IpAddr;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::Uri;
use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Bytes of a proxy's answer head; more is no answer.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Header fields of a proxy's answer.
const ANSWER_FIELDS_MAX: usize = 64;

/// The values of the variables that may name a proxy, as given.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProxySettings<'a> {
    /// `RELAY_PROXY`: always wins.
    pub relay_proxy: Option<&'a str>,
    /// `HTTPS_PROXY`: for a server behind TLS.
    pub https_proxy: Option<&'a str>,
    /// `HTTP_PROXY`: for a server without TLS.
    pub http_proxy: Option<&'a str>,
    /// `NO_PROXY`: hosts that are dialled directly; does not apply to `RELAY_PROXY`.
    pub no_proxy: Option<&'a str>,
}

/// A proxy setting that is no `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not the URL of an HTTP proxy: want http://[user:password@]host[:port]")]
pub struct ProxyError {
    /// The variable.
    pub name: &'static str,
}

impl ProxyError {
    /// Who has to change something: whoever runs the client.
    pub const fn fault(&self) -> relay_core::fault::Fault {
        relay_core::fault::Fault::Operator
    }

    /// Whether trying again helps: never.
    pub const fn retry(&self) -> relay_core::fault::Retry {
        relay_core::fault::Retry::Never
    }
}

/// The proxy for the connection to `relay_url`; `None`: dial directly.
///
/// # Errors
/// [`ProxyError`] if the setting that applies is not the URL of an HTTP proxy.
pub fn choose(relay_url: &Uri, settings: ProxySettings<'_>) -> Result<Option<Uri>, ProxyError> {
    let given = |value: Option<&'_ str>| value.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned);
    if let Some(proxy) = given(settings.relay_proxy) {
        return parse("RELAY_PROXY", &proxy).map(Some);
    }
    let (name, value) = match relay_url.scheme_str() {
        Some("wss" | "https") => ("HTTPS_PROXY", settings.https_proxy),
        _ => ("HTTP_PROXY", settings.http_proxy),
    };
    let Some(proxy) = given(value) else { return Ok(None) };
    let host = relay_url.host().unwrap_or_default();
    if settings.no_proxy.is_some_and(|list| excluded(host, relay_url.port_u16(), list)) || is_loopback(host) {
        return Ok(None);
    }
    parse(name, &proxy).map(Some)
}

fn parse(name: &'static str, text: &str) -> Result<Uri, ProxyError> {
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = text.parse().map_err(|_| ProxyError { name })?;
    let usable = uri.scheme_str() == Some("http") && uri.host().is_some_and(|host| !host.is_empty());
    if usable { Ok(uri) } else { Err(ProxyError { name }) }
}

/// Whether `NO_PROXY` names the host: `*`, a name, a domain with or without a leading dot, each with or without a port.
fn excluded(host: &str, port: Option<u16>, list: &str) -> bool {
    let host = host.trim_matches(['[', ']']).to_ascii_lowercase();
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let (name, wanted) = match entry.rsplit_once(':') {
            Some((name, digits)) if !name.contains(':') && digits.parse::<u16>().is_ok() => (name, digits.parse().ok()),
            _ => (entry.as_str(), None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.').trim_matches(['[', ']']);
        let matches = name == "*" || host == name || host.strip_suffix(name).is_some_and(|head| head.ends_with('.'));
        matches && !name.is_empty() && (wanted.is_none() || wanted == port)
    })
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Asks the proxy behind `stream` for a tunnel to `target` (`host:port`).
///
/// # Errors
/// What the proxy said, in words.
pub(crate) async fn tunnel(stream: &mut TcpStream, proxy: &Uri, target: &str) -> Result<(), String> {
    let broken = |error: std::io::Error| format!("the proxy broke the connection: {error}");
    let login = credentials(proxy).map_or_else(String::new, |login| format!("Proxy-Authorization: Basic {login}\r\n"));
    let request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n{login}\r\n");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let mut head = Vec::with_capacity(512);
    // Byte by byte: what follows the head belongs to the tunnel.
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() >= ANSWER_BYTES_MAX {
            return Err("the proxy's answer is too long".into());
        }
        head.push(stream.read_u8().await.map_err(broken)?);
    }
    let mut fields = [httparse::EMPTY_HEADER; ANSWER_FIELDS_MAX];
    let mut answer = httparse::Response::new(&mut fields);
    answer.parse(&head).map_err(|error| format!("the proxy's answer is not HTTP: {error}"))?;
    match answer.code {
        Some(200..=299) => Ok(()),
        Some(407) => Err("the proxy wants a user and a password (407): http://user:password@host:port".into()),
        Some(code) => Err(format!("the proxy refused a tunnel to {target} with status {code}")),
        None => Err("the proxy's answer has no status".into()),
    }
}

fn credentials(proxy: &Uri) -> Option<String> {
    let (login, _) = proxy.authority()?.as_str().rsplit_once('@')?;
    let decoded: Vec<u8> = percent_decode_str(login).collect();
    Some(BASE64_STANDARD.encode(decoded))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(url: &str, settings: ProxySettings<'_>, want: Option<&str>) {
        let chosen = choose(&url.parse().unwrap(), settings).unwrap();
        assert_eq!(chosen.map(|uri| uri.to_string()).as_deref(), want, "{url} {settings:?}");
    }

    #[test]
    fn the_scheme_of_the_server_decides_which_variable_applies() {
        let settings =
            ProxySettings { https_proxy: Some("http://s:1"), http_proxy: Some("p:2"), ..ProxySettings::default() };
        check("wss://relay.example.com", settings, Some("http://s:1/"));
        check("ws://relay.example.com", settings, Some("http://p:2/"));
        check("ws://127.0.0.1:8080", settings, None);
        check("wss://localhost", settings, None);
    }

    #[test]
    fn relay_proxy_wins_over_everything() {
        let settings = ProxySettings {
            relay_proxy: Some("http://r:9"),
            https_proxy: Some("http://s:1"),
            no_proxy: Some("*"),
            http_proxy: None,
        };
        check("wss://relay.example.com", settings, Some("http://r:9/"));
    }

    #[test]
    fn no_proxy_names_hosts_domains_and_ports() {
        let https = |no_proxy| ProxySettings { https_proxy: Some("http://s:1"), no_proxy, ..ProxySettings::default() };
        for list in
            ["*", "relay.example.com", ".example.com", "example.com", "a.b, relay.example.com:443", "*.example.com"]
        {
            check("wss://relay.example.com:443", https(Some(list)), None);
        }
        for list in ["ample.com", "relay.example.com:80", "other.example.com", ","] {
            check("wss://relay.example.com:443", https(Some(list)), Some("http://s:1/"));
        }
    }

    #[test]
    fn a_proxy_that_is_no_http_url_is_a_fault_with_its_name() {
        for bad in ["socks5://h:1", "https://h", "http://", "h h"] {
            let settings = ProxySettings { relay_proxy: Some(bad), ..ProxySettings::default() };
            assert_eq!(choose(&"ws://h".parse().unwrap(), settings), Err(ProxyError { name: "RELAY_PROXY" }), "{bad}");
        }
    }
}
