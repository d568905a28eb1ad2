//! Which proxy leads to the server.

use http::Uri;

use super::target;

/// Reads the URL of an HTTP proxy; no scheme means http.
///
/// # Errors
/// What would be right.
pub(crate) fn read(text: &str) -> Result<Uri, String> {
    const WANT: &str = "want the URL of an HTTP proxy, like http://proxy.local:3128";
    target::check_slips(text)?;
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = full.parse().map_err(|_| WANT.to_owned())?;
    if uri.scheme_str().is_some_and(|scheme| scheme.starts_with("socks")) {
        return Err(format!("a SOCKS proxy is not spoken to here; {WANT}"));
    }
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    if authority.ends_with(':') || uri.port_u16() == Some(0) {
        return Err(format!("no port behind the colon; {WANT}"));
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err(format!("a proxy has no path; {WANT}"));
    }
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(host)) if !host.is_empty() => Ok(uri),
        _ => Err(WANT.to_owned()),
    }
}

/// What is worth saying of the proxy that a client goes through, or would if its variable could be read.
pub(crate) fn note(url: &Uri, proxy: Option<&Uri>, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    match proxy {
        Some(proxy) if proxy.port().is_none() => Some(
            "the URL of the proxy names no port, so that it is 80; proxies mostly listen at 3128 or 8080".to_owned(),
        ),
        Some(_) => None,
        None => {
            let (name, text) = named(url, env)?;
            let want = read(&text).err()?;
            Some(format!("{name} is not used: {want}"))
        }
    }
}

/// The proxy that the environment names for `url`: `HTTPS_PROXY` or `HTTP_PROXY` by scheme, unless `NO_PROXY` matches.
/// Never for a server on this machine: to the proxy, a loopback address would be its own.
pub(crate) fn from_environment(url: &Uri, env: &dyn Fn(&str) -> Option<String>) -> Option<Uri> {
    let (_, proxy) = named(url, env)?;
    read(&proxy).ok()
}

/// The variable that counts for `url`, and its value.
fn named(url: &Uri, env: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, String)> {
    if target::is_loopback(url) {
        return None;
    }
    let host = url.host()?;
    let names = match url.scheme_str() {
        Some("https" | "wss") => ["HTTPS_PROXY", "https_proxy"],
        // `HTTP_PROXY` in capitals may come from a request header where a process runs as CGI; the relay never does.
        _ => ["http_proxy", "HTTP_PROXY"],
    };
    let first = |names: [&'static str; 2]| {
        let values = names.into_iter().filter_map(|name| Some((name, env(name)?)));
        values.into_iter().find(|(_, value)| !value.is_empty())
    };
    let found = first(names)?;
    let exempt = first(["NO_PROXY", "no_proxy"]).is_some_and(|(_, list)| is_exempt(host, url.port_u16(), &list));
    if exempt { None } else { Some(found) }
}

/// Whether `NO_PROXY` names this host: `*`, the host, a domain above it, each with an optional port.
fn is_exempt(host: &str, port: Option<u16>, list: &str) -> bool {
    let host = host.to_ascii_lowercase();
    list.split(',').map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let (name, wanted) = match entry.rsplit_once(':') {
            Some((name, digits)) if digits.parse::<u16>().is_ok() => (name.to_owned(), digits.parse::<u16>().ok()),
            _ => (entry.clone(), None),
        };
        let name = name.trim_start_matches("*.").trim_start_matches('.');
        let is_named = name == "*" || host == name || host.ends_with(&format!(".{name}"));
        is_named && (wanted.is_none() || wanted == port)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_exempts_hosts_and_the_domains_below_them() {
        for list in
            ["*", "relay.example.com", ".example.com", "a, example.com", "*.example.com", "relay.example.com:8443"]
        {
            assert!(is_exempt("relay.example.com", Some(8443), list), "{list}");
        }
        for list in ["", "ample.com", "example.com:1", "relay.example.org"] {
            assert!(!is_exempt("relay.example.com", Some(8443), list), "{list}");
        }
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_or_said() {
        for (bad, want) in [
            ("socks5://proxy:1080", "SOCKS"),
            ("http:/proxy:3128", "two slashes"),
            ("http://proxy:", "no port"),
            ("http://proxy:3128/path", "no path"),
            ("https://proxy:3128", "HTTP proxy"),
            ("http://pro xy:3128", "white space"),
        ] {
            assert!(read(bad).is_err_and(|said| said.contains(want)), "{bad}");
        }
        assert!(read("http://user:p%40ss@proxy:3128").is_ok() && read("proxy:3128").is_ok());
        let url: Uri = "wss://relay.example.com/".parse().expect("a URL");
        let note_of = |text: &'static str| {
            let env = |name: &str| (name == "HTTPS_PROXY").then(|| text.to_owned());
            note(&url, from_environment(&url, &env).as_ref(), &env)
        };
        assert!(note_of("socks5://proxy:1080").is_some_and(|said| said.contains("HTTPS_PROXY is not used")));
        assert!(note_of("http://proxy").is_some_and(|said| said.contains("no port")));
        assert_eq!(note_of("http://proxy:3128"), None);
    }

    #[test]
    fn the_scheme_chooses_the_variable() {
        let env = |name: &str| (name == "HTTPS_PROXY").then(|| "proxy:3128".to_owned());
        let find = |url: &str| from_environment(&url.parse().expect("a URL"), &env).map(|uri| uri.to_string());
        assert_eq!(find("wss://relay.example.com/"), Some("http://proxy:3128/".to_owned()));
        assert_eq!(find("ws://relay.example.com/"), None);
    }

    #[test]
    fn a_server_on_this_machine_is_never_behind_the_proxy_of_the_environment() {
        let env = |name: &str| name.to_ascii_lowercase().ends_with("_proxy").then(|| "proxy:3128".to_owned());
        let env = |name: &str| env(name).filter(|_| !name.eq_ignore_ascii_case("no_proxy"));
        let find = |url: &str| from_environment(&url.parse().expect("a URL"), &env);
        for url in [
            "ws://127.0.0.1:8080/",
            "wss://127.9.9.9/",
            "ws://localhost:8080/",
            "ws://LOCALHOST/",
            "ws://relay.localhost/",
            "ws://[::1]:8080/",
        ] {
            assert_eq!(find(url), None, "{url}");
        }
        for url in ["ws://10.0.0.1/", "ws://128.0.0.1/", "wss://localhost.example.com/", "ws://[::2]/"] {
            assert!(find(url).is_some(), "{url}");
        }
    }
}
