//! Which proxy leads to the server.

use std::net::{IpAddr, Ipv6Addr};

use http::Uri;
use relay_providers::pasted;

use super::target;

/// Which proxies are spoken to.
const SCHEMES: [&str; 3] = ["http", "socks5", "socks5h"];

/// Reads the URL of a proxy; no scheme means http.
///
/// # Errors
/// What would be right.
pub(crate) fn read(text: &str) -> Result<Uri, String> {
    const WANT: &str = "want the URL of an HTTP proxy, like http://proxy.local:3128, or of a SOCKS one, like socks5h://proxy.local:1080";
    let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
    // Up to the last `@`: a password may hold anything, but not everything as it is.
    if let Some((login, _)) = rest.rsplit_once('@') {
        check_login(login)?;
    }
    target::check_slips(text)?;
    let known = |scheme: &str| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme));
    if scheme.is_some_and(|scheme| scheme.to_ascii_lowercase().starts_with("socks") && !known(scheme)) {
        return Err(format!("of SOCKS only version 5 is spoken; {WANT}"));
    }
    let full = if scheme.is_some() { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = full.parse().map_err(|_| WANT.to_owned())?;
    let authority = uri.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    target::check_host_and_port(place).map_err(|want| format!("{want}; {WANT}"))?;
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() || text.contains('#') {
        return Err(format!("a proxy has no path; {WANT}"));
    }
    match (uri.scheme_str(), uri.host()) {
        (Some(scheme), Some(host)) if known(scheme) && !host.is_empty() => Ok(uri),
        _ => Err(WANT.to_owned()),
    }
}

/// What stands before the `@` is percent-encoded, as in every URL.
fn check_login(login: &str) -> Result<(), String> {
    let plain = |char: char| char.is_ascii_graphic() && !"/?#@[]%\"<>\\^`{|}".contains(char);
    let mut rest = login;
    while let Some(odd) = rest.chars().find(|char| !plain(*char)) {
        let (_, after) = rest.split_once(odd).unwrap_or_default();
        let is_escape = odd == '%' && after.len() >= 2 && after.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
        if !is_escape {
            let mut bytes = [0; 4];
            let escaped: Vec<String> = odd.encode_utf8(&mut bytes).bytes().map(|byte| format!("%{byte:02X}")).collect();
            return Err(format!("a user or a password with {odd:?} in it writes it as {}", escaped.concat()));
        }
        rest = after;
    }
    Ok(())
}

/// What is worth saying of the proxy that a client goes through, or would if its variable could be read.
pub(crate) fn note(url: &Uri, proxy: Option<&Uri>, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    match proxy {
        Some(proxy) if proxy.port().is_none() && proxy.scheme_str() == Some("http") => Some(
            "the URL of the proxy names no port, so that it is 80; proxies mostly listen at 3128 or 8080".to_owned(),
        ),
        Some(_) => None,
        None => unused(url, env),
    }
}

/// A variable that was to name a proxy, and does not.
fn unused(url: &Uri, env: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    if let Some((name, text)) = named(url, env) {
        return read(&text).err().map(|want| format!("{name} is not used: {want}"));
    }
    let is_set = |name: &&str| env(name).is_some_and(|value| !plain(&value).is_empty());
    let all = ["ALL_PROXY", "all_proxy"].into_iter().find(is_set)?;
    let others = ["HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy"];
    let is_alone = !target::is_loopback(url) && !others.iter().any(is_set);
    is_alone.then(|| format!("{all} is not used; want HTTPS_PROXY or RELAY_PROXY"))
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
        values.into_iter().map(|(name, value)| (name, plain(&value))).find(|(_, value)| !value.is_empty())
    };
    let found = first(names)?;
    let port = url.port_u16().unwrap_or(if matches!(url.scheme_str(), Some("https" | "wss")) { 443 } else { 80 });
    let exempt = first(["NO_PROXY", "no_proxy"]).is_some_and(|(_, list)| is_exempt(host, port, &list));
    if exempt { None } else { Some(found) }
}

/// Without the white space and the quotes that files of variables leave.
fn plain(value: &str) -> String {
    let value = pasted::trimmed(value);
    if matches!(value, "\"\"" | "''") { String::new() } else { pasted::unquoted(value).unwrap_or(value).to_owned() }
}

/// Whether `NO_PROXY` names this host: `*`, the host, a domain above it, an address or a network, each but the last with an
/// optional port. An IPv6 address has brackets or none; without them it has no port.
fn is_exempt(host: &str, port: u16, list: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let address = address(&host);
    list.split([',', ' ', '\t']).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if let Some(network) = Network::read(&entry) {
            return address.is_some_and(|address| network.contains(address));
        }
        let (name, wanted) = match entry.rsplit_once(':') {
            Some((name, digits)) if !is_bare_ipv6(&entry) => match digits.parse::<u16>() {
                Ok(wanted) => (name, Some(wanted)),
                Err(_) => return false,
            },
            _ => (&*entry, None),
        };
        let is_named = if let Some(network) = Network::read(name) {
            address.is_some_and(|address| network.contains(address))
        } else {
            let name = name.trim_start_matches("*.").trim_matches('.');
            let is_below = || address.is_none() && host.ends_with(&format!(".{name}"));
            name == "*" || (!name.is_empty() && (host == name || is_below()))
        };
        is_named && wanted.is_none_or(|wanted| wanted == port)
    })
}

/// An address, and how many of its first bits count.
struct Network(IpAddr, u32);

impl Network {
    /// `10.0.0.0/8`, `fd00::/8`, `[fd00::]/8`, or one address.
    fn read(text: &str) -> Option<Self> {
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let plain: IpAddr = bare(base).parse().ok()?;
        let longest = if plain.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(longest), |bits| bits.parse().ok()).filter(|bits| *bits <= longest)?;
        match plain.to_canonical() {
            // IPv4 in the form of IPv6: the first 96 bits say no more than that.
            IpAddr::V4(address) if plain.is_ipv6() && bits >= 96 => Some(Self(address.into(), bits - 96)),
            _ => Some(Self(plain, bits)),
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        let of = |address: IpAddr| match address {
            IpAddr::V4(address) => u128::from(address.to_bits()) << 96,
            IpAddr::V6(address) => address.to_bits(),
        };
        let Self(base, bits) = self;
        base.is_ipv4() == address.is_ipv4() && (of(*base) ^ of(address)).checked_shr(128 - bits).unwrap_or(0) == 0
    }
}

/// The address that a host is, IPv4 as such in whatever form.
fn address(host: &str) -> Option<IpAddr> {
    bare(host).parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// Without the brackets around an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host)
}

/// Whether all its colons belong to an address.
fn is_bare_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_proxy_exempts_hosts_and_the_domains_below_them() {
        for list in
            ["*", "relay.example.com", ".example.com", "a, example.com", "*.example.com", "relay.example.com:8443"]
        {
            assert!(is_exempt("relay.example.com", 8443, list), "{list}");
        }
        for list in ["", "ample.com", "example.com:1", "relay.example.org"] {
            assert!(!is_exempt("relay.example.com", 8443, list), "{list}");
        }
    }

    /// What the environment says of a URL, as the client asks for its server's and the server for keys of platforms.
    #[test]
    fn addresses_are_exempt_in_every_spelling() {
        let direct = |url: &str, list: &str| {
            let env = |name: &str| match name {
                "HTTPS_PROXY" | "http_proxy" => Some("http://[fd00::5]:3128".to_owned()),
                "NO_PROXY" => Some(list.to_owned()),
                _ => None,
            };
            from_environment(&url.parse().expect("a URL"), &env).is_none()
        };
        for (url, list) in [
            ("wss://[fd00::1]:8443/", "fd00::1"),
            ("wss://[fd00::1]:8443/", "[fd00::1]"),
            ("wss://[fd00::1]:8443/", "[fd00::1]:8443"),
            ("wss://[FD00:0::1]/", "fd00:0:0::0:1"),
            ("wss://[fd00::1]/", "[fd00::1]:443"),
            ("wss://[fd00::1]/", "a, fd00::/8"),
            ("wss://[fd00::1]/", "[fd00::]/8"),
            ("wss://[fd00::1]/", "::/0"),
            ("wss://[fd00::1]/", "x fd00::1\ty"),
            ("wss://[fd00::1]/", "*"),
            ("ws://10.1.2.3:8080/", "10.0.0.0/8"),
            ("ws://10.1.2.3:8080/", "10.1.2.3"),
            ("ws://10.1.2.3:8080/", "10.1.2.3:8080"),
            ("ws://10.1.2.3/", "10.1.2.3:80"),
            ("ws://10.1.2.3/", "0.0.0.0/0"),
            ("ws://10.1.2.3/", "10.1.2.3/32"),
            ("ws://[::ffff:10.1.2.3]/", "10.0.0.0/8"),
            ("ws://10.1.2.3/", "::ffff:10.0.0.0/104"),
            ("wss://relay.example.com/", "relay.example.com:443"),
            ("wss://relay.example.com./", "example.com."),
        ] {
            assert!(direct(url, list), "{url} with {list}");
        }
        for (url, list) in [
            ("wss://[fd00::1]/", "fd00::2"),
            ("wss://[fd00::1]/", "[fd00::1]:8443"),
            ("wss://[fd00::1]/", "fc00::/8"),
            ("wss://[fd00::1]/", "fd00::/129"),
            ("wss://[fd00::1]/", "fd00::/x"),
            ("wss://[fd00::1]/", "0.0.0.0/0"),
            ("wss://[fd00:0:0:1::443]/", "fd00:0:0:1"),
            ("wss://[fd00::1]/", "1]"),
            ("ws://10.1.2.3/", "10.0.0.0/16"),
            ("ws://10.1.2.3/", "1.2.3"),
            ("ws://10.1.2.3/", "::/0"),
            ("ws://10.1.2.3/", "10.1.2.3:8080"),
            ("ws://10.1.2.3/", "10.1.2.3/33"),
            ("wss://relay.example.com/", "10.0.0.0/8, fd00::/8, ., :443, ,"),
            ("wss://relay.example.com/", "relay.example.com:https"),
        ] {
            assert!(!direct(url, list), "{url} with {list}");
        }
    }

    #[test]
    fn what_is_no_http_proxy_is_refused_or_said() {
        for (bad, want) in [
            ("socks4://proxy:1080", "version 5"),
            ("socks://proxy:1080", "socks5h://"),
            ("http:/proxy:3128", "two slashes"),
            ("http://proxy:", "no port"),
            ("http://proxy:0", "65535"),
            ("http://proxy:99999", "65535"),
            ("proxy,3128", "no host"),
            ("http//proxy:3128", "two slashes"),
            ("http=proxy:3128;https=proxy:3128", "HTTP proxy"),
            ("http://user:p@ss@proxy:3128", "%40"),
            ("http://user:p#ss@proxy:3128", "%23"),
            ("http://user:p/ss@proxy:3128", "%2F"),
            ("http://user:p ss@proxy:3128", "%20"),
            ("http://user:100%@proxy:3128", "%25"),
            ("http://user:\u{fc}@proxy:3128", "%C3%BC"),
            ("\"http://proxy:3128\"", "quotes"),
            ("http://proxy:3128/path", "no path"),
            ("https://proxy:3128", "HTTP proxy"),
            ("http://pro xy:3128", "white space"),
        ] {
            assert!(read(bad).is_err_and(|said| said.contains(want)), "{bad}");
        }
        for good in [
            "http://user:p%40s$!s@proxy:3128",
            "proxy:3128",
            "user:p@proxy:3128",
            "http://[::1]:3128/",
            "HTTP://proxy:3128",
            "socks5://proxy",
            "socks5h://user:p%40ss@proxy:1080",
        ] {
            assert!(read(good).is_ok(), "{good}: {:?}", read(good));
        }
        let url: Uri = "wss://relay.example.com/".parse().expect("a URL");
        let note_of = |text: &'static str| {
            let env = |name: &str| (name == "HTTPS_PROXY").then(|| text.to_owned());
            note(&url, from_environment(&url, &env).as_ref(), &env)
        };
        assert!(note_of("socks4://proxy:1080").is_some_and(|said| said.contains("HTTPS_PROXY is not used")));
        assert_eq!(note_of("socks5h://proxy"), None);
        assert!(note_of("http://proxy").is_some_and(|said| said.contains("no port")));
        assert_eq!(note_of("http://proxy:3128"), None);
        assert_eq!(
            (note_of("\"http://proxy:3128\"\r"), note_of("\"\"")),
            (None, None),
            "as files of variables have it"
        );
        let all = |name: &str| (name == "ALL_PROXY").then(|| "http://proxy:3128".to_owned());
        assert!(note(&url, None, &all).is_some_and(|said| said.contains("want HTTPS_PROXY")));
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
