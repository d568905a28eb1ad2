//! Addresses and URLs as people write them: `3000`, `localhost:3000`, `crm=http://crm.local/hooks`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use relay_core::name::Name;

/// A destination and the URL it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `default` unless named.
    pub(crate) name: Name,
    /// With scheme, host and port.
    pub(crate) url: Uri,
}

/// Reads `[NAME=]URL`.
///
/// # Errors
/// What would be right.
pub(crate) fn target(text: &str) -> Result<Target, String> {
    let text = text.trim();
    let named = text.split_once('=').filter(|(name, _)| !name.contains(['/', ':', '?', '.']));
    let (name, url) = match named {
        Some((name, url)) => {
            (name.trim().parse().map_err(|error: relay_core::name::NameError| error.to_string())?, url)
        }
        None => (Name::fallback(), text),
    };
    Ok(Target { name, url: target_url(url.trim())? })
}

/// Reads the URL of a local endpoint; a port alone means this machine, no scheme means http.
///
/// # Errors
/// What would be right.
pub(crate) fn target_url(text: &str) -> Result<Uri, String> {
    const WANT: &str = "not a URL: want http://host:port/path, host:port, or a port";
    if text.contains('#') {
        return Err("a URL of a target has no fragment (#...)".to_owned());
    }
    let first = text.split(['/', '?']).next().unwrap_or_default();
    let full = if !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit()) {
        // A number is a port, also before a path: as a host it would be an IP address that nobody means.
        first.parse::<u16>().ok().filter(|port| *port > 0).ok_or("want a port from 1 to 65535")?;
        format!("http://127.0.0.1:{text}")
    } else if let Some(rest) = text.strip_prefix(':') {
        format!("http://127.0.0.1:{rest}")
    } else if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    let uri: Uri = full.parse().map_err(|_| WANT.to_owned())?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("want http:// or https://".to_owned()),
    }
    let Some(authority) = uri.authority() else { return Err(WANT.to_owned()) };
    if authority.as_str().contains('@') {
        return Err("user and password in a URL would show in process lists; not supported".to_owned());
    }
    if authority.host().is_empty() || authority.port().is_some_and(|port| port.as_u16() == 0) {
        return Err(WANT.to_owned());
    }
    Ok(uri)
}

/// Reads the base URL of a server; no scheme means https, and a bare port or `localhost:...` means http.
///
/// # Errors
/// What would be right.
pub(crate) fn base_url(text: &str) -> Result<Uri, String> {
    const WANT: &str = "not a URL: want https://host, with a port or a path if need be";
    let full = if text.contains("://") {
        text.to_owned()
    } else if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        format!("http://127.0.0.1:{text}")
    } else {
        format!("https://{text}")
    };
    let uri: Uri = full.trim_end_matches('/').parse().map_err(|_| WANT.to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https" | "ws" | "wss")) {
        return Err("want https, http, wss or ws before ://".to_owned());
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("a base URL has no query and no fragment".to_owned());
    }
    match uri.authority() {
        Some(authority) if !authority.host().is_empty() && !authority.as_str().contains('@') => Ok(uri),
        _ => Err(WANT.to_owned()),
    }
}

/// Reads an address without a port.
///
/// # Errors
/// What would be right.
pub(crate) fn host_address(text: &str) -> Result<IpAddr, String> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    match bare {
        "localhost" => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        "*" => Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ => bare.parse().map_err(|_| "want an IP address of this machine, like 0.0.0.0, 127.0.0.1 or ::".to_owned()),
    }
}

/// Reads `HOST:PORT`, `:PORT` (every address), `PORT` (this machine only) or `off`.
///
/// # Errors
/// What would be right.
pub(crate) fn listen_address(text: &str) -> Result<Option<SocketAddr>, String> {
    const WANT: &str = "want an address and a port, like 127.0.0.1:8081, or off";
    if matches!(text, "off" | "none") {
        return Ok(None);
    }
    let (host, port) = match text.rsplit_once(':') {
        Some(("", port)) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        Some((host, port)) => (host_address(host).map_err(|_| WANT.to_owned())?, port),
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), text),
    };
    let port: u16 = port.parse().map_err(|_| WANT.to_owned())?;
    Ok(Some(SocketAddr::new(host, port)))
}

/// Whether a URL leads to this machine, so that plain http shows nothing to a network.
pub(crate) fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host_address(&host).is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_forms_of_a_target_are_urls_too() {
        let check = |text: &str, name: &str, url: &str| {
            let target = target(text).expect(text);
            assert_eq!((target.name.as_str(), target.url.to_string().as_str()), (name, url), "{text}");
        };
        check("3000", "default", "http://127.0.0.1:3000/");
        check("3000/hooks", "default", "http://127.0.0.1:3000/hooks");
        check(":3000/in", "default", "http://127.0.0.1:3000/in");
        check("localhost:3000", "default", "http://localhost:3000/");
        check("crm=localhost:3000/hooks?k=v", "crm", "http://localhost:3000/hooks?k=v");
        check("https://crm.local/a?x=1", "default", "https://crm.local/a?x=1");
        check("erp=https://erp.local", "erp", "https://erp.local/");
        for bad in ["", "0", "70000", "ftp://x", "Crm=3000", "http://", "http://u:p@h/", "http://h/#a", "a b"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_base_url_without_a_scheme_is_https() {
        assert_eq!(base_url("relay.example.com").map(|u| u.to_string()), Ok("https://relay.example.com/".to_owned()));
        assert_eq!(base_url("wss://r.example/x/").map(|u| u.to_string()), Ok("wss://r.example/x".to_owned()));
        for bad in ["", "ftp://x", "https://", "https://h/?q=1", "https://u@h"] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_port_alone_listens_on_this_machine_only() {
        assert_eq!(listen_address("9000"), Ok(Some(([127, 0, 0, 1], 9000).into())));
        assert_eq!(listen_address(":9000"), Ok(Some(([0, 0, 0, 0], 9000).into())));
        assert_eq!(listen_address("off"), Ok(None));
        assert!(listen_address("example.com:80").is_err());
    }
}
