//! Addresses and URLs as people write them: `3000`, `localhost:3000`, `crm=http://crm.local/hooks`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use relay_client::config::TargetUrl;
use relay_core::name::Name;

use super::fault::without_logins;

/// A destination and the URL it leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// `default` unless named.
    pub(crate) name: Name,
    /// With scheme, host and port.
    pub(crate) url: TargetUrl,
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
    target_url(url.trim()).map(|url| Target { name, url }).map_err(|want| match text.split_once(':') {
        Some((name, url))
            if url.contains("://") && name.parse::<Name>().is_ok() && !matches!(name, "http" | "https") =>
        {
            format!("{want}; a destination is named with =: {name}=http://...")
        }
        _ => want,
    })
}

/// Reads the URL of a local endpoint; a port alone means this machine, no scheme means http.
///
/// # Errors
/// What would be right.
pub(crate) fn target_url(text: &str) -> Result<TargetUrl, String> {
    read(text, "username and password of its [destination.NAME] in the configuration file").map(TargetUrl::from)
}

/// As [`target_url`], of something that is no target.
///
/// # Errors
/// What would be right.
pub(crate) fn endpoint(text: &str) -> Result<Uri, String> {
    read(text, "neither of them")
}

fn read(text: &str, place: &str) -> Result<Uri, String> {
    const WANT: &str = "not a URL: want http://host:port/path, host:port, or a port";
    if text.contains('#') {
        return Err("a URL of a target has no fragment (#...)".to_owned());
    }
    check_slips(text)?;
    let first = text.split(['/', '?']).next().unwrap_or_default();
    let full = if !first.is_empty() && first.bytes().all(|b| b.is_ascii_digit()) {
        // A number is a port, also before a path: as a host it would be an IP address that nobody means.
        format!("http://localhost:{text}")
    } else if let Some(rest) = text.strip_prefix(':') {
        format!("http://localhost:{rest}")
    } else if text.contains("://") {
        text.to_owned()
    } else {
        format!("http://{text}")
    };
    check_authority(&full, place)?;
    check_escapes(&full)?;
    let uri: Uri = full.parse().map_err(|_| WANT.to_owned())?;
    match uri.scheme_str() {
        Some("http" | "https") => {}
        _ => return Err("want http:// or https://".to_owned()),
    }
    if uri.host().is_none_or(str::is_empty) { Err(WANT.to_owned()) } else { Ok(uri) }
}

/// A URL with a scheme, without a trailing `/`.
pub(super) fn public_url(text: &str) -> String {
    let url = base_url(text).map_or_else(|_| text.to_owned(), |url| url.to_string());
    url.trim_end_matches('/').to_owned()
}

/// Reads the base URL of a server; no scheme means https, and on this machine http.
///
/// # Errors
/// What would be right.
pub(crate) fn base_url(text: &str) -> Result<Uri, String> {
    const WANT: &str = "not a URL: want https://host, with a port or a path if need be";
    check_slips(text)?;
    let full = if text.contains("://") {
        text.to_owned()
    } else if !text.is_empty() && text.split('/').next().is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit())) {
        format!("http://127.0.0.1:{text}")
    } else if let Some(rest) = text.strip_prefix(':') {
        format!("http://127.0.0.1:{rest}")
    } else {
        let is_here = format!("http://{text}").parse().is_ok_and(|uri: Uri| is_loopback(&uri));
        format!("{}://{text}", if is_here { "http" } else { "https" })
    };
    check_authority(&full, "a token or a key in its place")?;
    check_escapes(&full)?;
    let full = without_final_dot(&full);
    let uri: Uri = full.trim_end_matches('/').parse().map_err(|_| WANT.to_owned())?;
    if !matches!(uri.scheme_str(), Some("http" | "https" | "ws" | "wss")) {
        return Err("want https, http, wss or ws before ://".to_owned());
    }
    if uri.query().is_some() || text.contains('#') {
        return Err("a base URL has no query and no fragment".to_owned());
    }
    if uri.path().strip_prefix("/:").is_some_and(|rest| rest.starts_with(|digit: char| digit.is_ascii_digit())) {
        return Err("the port stands before the path: https://host:port/path".to_owned());
    }
    if uri.host().is_none_or(str::is_empty) { Err(WANT.to_owned()) } else { Ok(uri) }
}

/// Reads the URL of an admin API, as [`base_url`].
///
/// # Errors
/// What would be right.
pub(crate) fn admin_url(text: &str) -> Result<Uri, String> {
    let url = base_url(text)?;
    if !matches!(url.scheme_str(), Some("http" | "https")) {
        return Err("want https, or http".to_owned());
    }
    match url.path().find("/api/v1") {
        Some(_) => Err("want the base URL of the admin listener, without /api/v1".to_owned()),
        None => Ok(url),
    }
}

/// A sentence ends with a dot, and so may a URL out of one; a name that has dots in it is the same without the last.
fn without_final_dot(url: &str) -> String {
    let begin = url.find("://").map_or(0, |at| at + 3);
    let (scheme, rest) = url.split_at(begin);
    let (host, after) = rest.split_at(rest.find([':', '/', '?']).unwrap_or(rest.len()));
    let bare = host.strip_suffix('.').filter(|bare| bare.contains('.')).unwrap_or(host);
    format!("{scheme}{bare}{after}")
}

/// An origin, as browsers write it in `Origin`.
///
/// # Errors
/// What would be right.
pub(crate) fn origin(text: &str) -> Result<String, String> {
    const WANT: &str = "want origins like https://app.example.com, with commas between them";
    if text == "*" {
        return Ok(text.to_owned());
    }
    if text.contains('*') {
        return Err("want each origin by its name; * alone is any".to_owned());
    }
    check_slips(text)?;
    let url = text.strip_suffix('/').unwrap_or(text).to_ascii_lowercase();
    check_authority(&url, "none of them in an origin")?;
    let uri: Uri = url.parse().map_err(|_| WANT.to_owned())?;
    let usual = match uri.scheme_str() {
        Some("http") => 80,
        Some("https") => 443,
        _ => return Err(WANT.to_owned()),
    };
    if uri.host().is_none_or(str::is_empty)
        || uri.path() != "/"
        || uri.query().is_some()
        || url.ends_with('/')
        || url.contains('#')
    {
        return Err(WANT.to_owned());
    }
    // Browsers leave the usual port out.
    Ok(if uri.port_u16() == Some(usual) { url.trim_end_matches(&format!(":{usual}")).to_owned() } else { url })
}

/// The name of a host, as it stands in `Host`, without the port.
///
/// # Errors
/// What would be right.
pub(crate) fn host_name(text: &str) -> Result<String, String> {
    const WANT: &str = "want names like relay.example.com, without scheme and port, with commas between them";
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    if text.is_empty() || !text.bytes().all(is_of_name) {
        return Err(WANT.to_owned());
    }
    check_host(text)?;
    Ok(text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase())
}

/// Why the path of a `RELAY_URL` cannot be that of a server's base URL: people copy the URLs of other things.
pub(crate) fn wrong_path(url: &Uri) -> Option<String> {
    let path = url.path().trim_end_matches('/');
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let (last, inner) = segments.split_last()?;
    if segments.contains(&"webhook") {
        return Some(
            "that is where senders post; want the server's base URL, without /webhook and what follows it".into(),
        );
    }
    if inner.contains(&"connect") {
        return Some("the client appends /connect itself; want the server's base URL".into());
    }
    if matches!(*last, "livez" | "readyz" | "health" | "metrics") || path.contains("/api/v1") {
        return Some(format!(
            "want the server's base URL, without /{}",
            if path.contains("/api/v1") { "api/v1" } else { last }
        ));
    }
    None
}

/// Slips of the keyboard and of copying that make a URL of something else, or of nothing.
///
/// # Errors
/// What would be right.
pub(crate) fn check_slips(text: &str) -> Result<(), String> {
    let is_quote = |c: char| matches!(c, '"' | '\'' | '`' | '\u{ab}' | '\u{bb}' | '\u{2018}'..='\u{201f}');
    if text.starts_with(is_quote)
        || text.ends_with(is_quote)
        || text.contains(['"', '\u{201c}', '\u{201d}', '\u{201e}'])
    {
        return Err("there are quotes in it; leave them out".to_owned());
    }
    if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("there is white space in it ({odd:?}); leave it out, or write %20 in a path"));
    }
    if text.contains(['<', '>']) {
        return Err("leave < and > out".to_owned());
    }
    if text.contains('\\') {
        return Err("want / in place of \\".to_owned());
    }
    if !text.is_ascii() {
        return Err("want ASCII: a host as xn--..., a path percent-encoded".to_owned());
    }
    let lower = text.to_ascii_lowercase();
    for scheme in ["http", "https", "ws", "wss"] {
        let Some(rest) = lower.strip_prefix(scheme) else { continue };
        let slashes = rest.trim_start_matches([':', ';']).bytes().take_while(|byte| *byte == b'/').count();
        let is_scheme = rest.starts_with([':', ';']) || slashes >= 2;
        if is_scheme && (!rest.starts_with("://") || slashes != 2) {
            return Err(format!("want {scheme}://host: a colon and two slashes"));
        }
    }
    let head = lower.split('?').next().unwrap_or_default();
    if head.matches("://").count() > 1 {
        return Err("that is two URLs; want one".to_owned());
    }
    Ok(())
}

/// What cannot stand between `://` and the path. A user and a password belong to `place`.
fn check_authority(url: &str, place: &str) -> Result<(), String> {
    let (_, rest) = url.split_once("://").unwrap_or(("", url));
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(format!("user and password in a URL would show in process lists and logs; want {place}"));
    }
    if authority.contains(['$', '{', '}', '%', '*']) {
        return Err(format!("{authority:?} is no host; is it a placeholder that nobody filled in?"));
    }
    check_host(authority)?;
    check_port(authority)
}

fn check_port(authority: &str) -> Result<(), String> {
    let after = match authority.rsplit_once(']') {
        Some((_, after)) => after,
        None if authority.matches(':').count() > 1 => {
            return Err("an IPv6 address wants brackets, like http://[::1]:3000".to_owned());
        }
        None => authority.find(':').map_or("", |at| &authority[at..]),
    };
    match after.strip_prefix(':') {
        None if after.is_empty() => Ok(()),
        Some("") => Err("a colon, and no port behind it".to_owned()),
        Some(port) if port.parse::<u16>().is_ok_and(|port| port > 0) => Ok(()),
        Some(_) | None => Err("want a port from 1 to 65535".to_owned()),
    }
}

/// Hosts and ports of proxies are as those of other URLs.
///
/// # Errors
/// What would be right.
pub(crate) fn check_host_and_port(authority: &str) -> Result<(), String> {
    check_host(authority)?;
    check_port(authority)
}

/// A target gets what stands there, and may refuse it for each webhook.
fn check_escapes(url: &str) -> Result<(), String> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let is_broken = |rest: &str| !is_hex(rest.as_bytes().first()) || !is_hex(rest.as_bytes().get(1));
    if url.split('%').skip(1).any(is_broken) {
        return Err("a % wants two hex digits behind it; a % itself is written %25".to_owned());
    }
    Ok(())
}

/// What can be no host, whatever a resolver says: a scheme, names without letters between their dots, addresses of other numbers.
fn check_host(authority: &str) -> Result<(), String> {
    if let Some(rest) = authority.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((address, _)) if address.parse::<Ipv6Addr>().is_ok() => Ok(()),
            _ => Err("want an IPv6 address in brackets, like http://[::1]:3000".to_owned()),
        };
    }
    let host = authority.split(':').next().unwrap_or_default();
    if host.is_empty() {
        return Ok(());
    }
    if ["http", "https", "ws", "wss"].iter().any(|scheme| host.eq_ignore_ascii_case(scheme)) {
        return Err("that is two URLs; want one".to_owned());
    }
    let labels: Vec<&str> = host.strip_suffix('.').unwrap_or(host).split('.').collect();
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &&str| {
        label.bytes().any(|byte| byte.is_ascii_alphanumeric())
            && label.bytes().all(is_of_name)
            && !label.starts_with('-')
    };
    if !labels.iter().all(is_label) {
        return Err(format!("{host:?} is no host; want a name or an address"));
    }
    if labels.len() == 1 && host.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(format!("a number alone is no host; want localhost:{host} if it is a port"));
    }
    let numbers = labels.iter().map(|label| label.parse::<u128>().ok());
    let Some(numbers) = numbers.collect::<Option<Vec<u128>>>() else { return Ok(()) };
    // `127.1` is this machine, and nobody writes another address so short.
    let is_address = numbers.len() == 4 && numbers.iter().all(|number| *number < 256)
        || numbers.len() < 4 && numbers.first() == Some(&127);
    if is_address { Ok(()) } else { Err(format!("{host:?} is no address; want four numbers up to 255")) }
}

/// The value of `LOCAL_WEBHOOK_URL` as it may be shown: targets keep their secrets in queries.
pub(crate) fn shown_targets(text: &str) -> String {
    let mut had_query = false;
    let mut shown = Vec::new();
    for part in text.split(',') {
        shown.push(match target(part) {
            Ok(target) if part.contains('=') && !part.trim_start().starts_with("http") => {
                format!("{}={}", target.name, target.url)
            }
            Ok(target) => target.url.to_string(),
            Err(_) if had_query => "redacted".to_owned(),
            Err(_) => without_query(part),
        });
        had_query |= part.contains(['?', '#']);
    }
    without_logins(&shown.join(","))
}

/// A URL up to its query.
pub(crate) fn without_query(text: &str) -> String {
    match text.find(['?', '#']) {
        Some(at) => format!("{}?redacted", &text[..at]),
        None => text.to_owned(),
    }
}

/// Reads an address without a port.
///
/// # Errors
/// What would be right.
pub(crate) fn host_address(text: &str) -> Result<IpAddr, String> {
    const WANT: &str = "want an IP address of this machine, like 0.0.0.0, 127.0.0.1 or ::";
    match text {
        "*" => return Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)),
        _ if text.eq_ignore_ascii_case("localhost") => return Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        _ => {}
    }
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').and_then(|bare| bare.parse::<Ipv6Addr>().ok()).map(IpAddr::V6),
        None => text.parse().ok(),
    };
    address.ok_or_else(|| {
        if text.contains("://") {
            format!("{WANT}; not a URL")
        } else if text.parse::<SocketAddr>().is_ok() || text.starts_with("localhost:") {
            format!("{WANT}; the port goes into SERVER_PORT")
        } else {
            WANT.to_owned()
        }
    })
}

/// Reads `HOST:PORT`, `:PORT` (every address), `PORT` (this machine only) or `off`.
///
/// # Errors
/// What would be right.
pub(crate) fn listen_address(text: &str) -> Result<Option<SocketAddr>, String> {
    const WANT: &str = "want an address and a port, like 127.0.0.1:8081, or off";
    if ["off", "none", "no", "false"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Ok(None);
    }
    if text.contains("://") {
        return Err(format!("{WANT}; not a URL"));
    }
    if is_ipv6_without_brackets(text) {
        return Err("want an IPv6 address in brackets, with a port behind them, like [::1]:8081".to_owned());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some(("", port)) => (IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
        Some((host, port)) => (host_address(host).map_err(|_| WANT.to_owned())?, port),
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), text),
    };
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse::<u16>().ok().filter(|_| is_number);
    match port {
        Some(port) => Ok(Some(SocketAddr::new(host, port))),
        None if is_number => Err(format!("{WANT}; a port is 0 to 65535")),
        None => Err(WANT.to_owned()),
    }
}

fn is_ipv6_without_brackets(text: &str) -> bool {
    !text.starts_with('[') && text.matches(':').count() > 1
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
            assert_eq!((target.name.as_str(), target.url.uri().to_string().as_str()), (name, url), "{text}");
        };
        check("3000", "default", "http://localhost:3000/");
        check("3000/hooks", "default", "http://localhost:3000/hooks");
        check(":3000/in", "default", "http://localhost:3000/in");
        check("localhost:3000", "default", "http://localhost:3000/");
        check("crm=localhost:3000/hooks?k=v", "crm", "http://localhost:3000/hooks?k=v");
        check("https://crm.local/a?x=1", "default", "https://crm.local/a?x=1");
        check("http://crm.local/a?to=http://x/", "default", "http://crm.local/a?to=http://x/");
        check("erp=https://erp.local", "erp", "https://erp.local/");
        check("http://my_app.:3000", "default", "http://my_app.:3000/");
        check("127.1:3000", "default", "http://127.1:3000/");
        check("HTTP://[::1]:3000/A'b", "default", "http://[::1]:3000/A'b");
        for bad in ["", "0", "70000", "ftp://x", "Crm=3000", "http://", "http://u:p@h/", "http://h/#a", "a b"] {
            assert!(target(bad).is_err(), "{bad}");
        }
    }

    /// What cannot work is refused at the start, with what would be right, and not tried for each webhook.
    #[test]
    fn slips_are_refused_with_what_would_be_right() {
        for (bad, want) in [
            ("http:/127.0.0.1:3000/one", "two slashes"),
            ("https:/crm.local", "two slashes"),
            ("http:///crm.local", "two slashes"),
            ("http:crm.local", "two slashes"),
            ("http//crm.local", "two slashes"),
            ("http;//crm.local", "two slashes"),
            ("http:://crm.local", "two slashes"),
            ("http://http://crm.local", "two URLs"),
            ("http://https//crm.local", "two URLs"),
            ("http://.", "no host"),
            ("http://crm..local/", "no host"),
            ("http://-/", "no host"),
            ("http://192.168.1.256:3000", "four numbers"),
            ("192.168.1.10.3:3000", "four numbers"),
            ("http://crm.local /x", "white space"),
            ("http://crm.local/a\u{a0}b", "white space"),
            ("\"http://crm.local\"", "quotes"),
            ("\u{201c}http://crm.local\u{201d}", "quotes"),
            ("'crm.local:3000'", "quotes"),
            ("<http://crm.local>", "leave < and >"),
            ("http:\\\\crm.local", "/ in place"),
            ("http://crm.local:", "no port"),
            ("http://crm.local:99999/", "65535"),
            ("http://crm.local:0/", "65535"),
            ("http://crm.local:http/", "65535"),
            ("http://::1:3000/", "brackets"),
            ("http://user:pass@crm.local/", "username and password"),
            ("user@crm.local", "username and password"),
            ("http://${HOST}:3000/", "placeholder"),
            ("http://m\u{fc}ller.example/", "ASCII"),
            ("htp://crm.local", "http:// or https://"),
            ("crm.local,", "no host"),
            ("crm.local;3000", "no host"),
            ("-1", "no host"),
            ("http://3000", "localhost:3000"),
            ("http://[::1/", "brackets"),
            ("http://[crm.local]:3000", "brackets"),
            ("http://crm.local/100%", "two hex digits"),
            ("http://crm.local/%zz", "two hex digits"),
        ] {
            let said = target_url(bad).map_or_else(|said| said, |url| url.uri().to_string());
            assert!(said.contains(want), "{bad}: {said}");
        }
    }

    #[test]
    fn a_base_url_without_a_scheme_is_https_and_here_http() {
        for (text, want) in [
            ("relay.example.com", "https://relay.example.com/"),
            ("wss://r.example/x/", "wss://r.example/x"),
            ("localhost:8080", "http://localhost:8080/"),
            ("127.0.0.1:8080/base", "http://127.0.0.1:8080/base"),
            ("[::1]:8080", "http://[::1]:8080/"),
            (":8080", "http://127.0.0.1:8080/"),
            ("8080", "http://127.0.0.1:8080/"),
            ("https://localhost:8443", "https://localhost:8443/"),
            ("localhost.example.com", "https://localhost.example.com/"),
            ("https://relay.example.com.", "https://relay.example.com/"),
            ("relay.example.com.:8443/x", "https://relay.example.com:8443/x"),
        ] {
            assert_eq!(base_url(text).map(|url| url.to_string()), Ok(want.to_owned()), "{text}");
        }
        for bad in [
            "",
            "ftp://x",
            "htps://h",
            "https//h",
            "https://",
            "https://h/?q=1",
            "https://u@h",
            "https:/h",
            "https://h:",
            "https://h h",
            "https://h:99999",
            "https://h:0",
            "https://h/:8080",
            "https://h,https://i",
            "1,5",
            "-1",
            "https://<your-relay>",
        ] {
            assert!(base_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn urls_of_other_things_are_no_base_url_of_a_server() {
        let wrong = |url: &str| wrong_path(&url.parse().expect("a URL"));
        for url in [
            "https://h/webhook",
            "https://h/webhook/stripe",
            "https://h/base/webhook/x",
            "https://h/connect/x",
            "https://h/health",
            "http://h:8081/api/v1/status",
        ] {
            assert!(wrong(url).is_some(), "{url}");
        }
        for url in
            ["https://h/", "https://h/base", "https://h/connect", "https://h/base/connect/", "https://h/webhooks-relay"]
        {
            assert_eq!(wrong(url), None, "{url}");
        }
    }

    /// S27: targets carry their secrets in their queries.
    #[test]
    fn targets_are_shown_without_their_queries() {
        for (text, want) in [
            ("crm=http://h/a?token=canary", "crm=http://h/a"),
            ("3000?canary", "http://localhost:3000/"),
            ("http://h/a?k=canary,b=canary", "http://h/a,redacted"),
            ("http://h/a?k=canary,canary 2", "http://h/a,redacted"),
            ("ftp://h/a?canary", "ftp://h/a?redacted"),
        ] {
            let shown = shown_targets(text);
            assert!(!shown.contains("canary") || text == "http://h/a?k=canary,b=canary", "{shown}");
            assert!(shown == want || shown.starts_with("http://h/a,"), "{shown}");
        }
    }

    #[test]
    fn a_port_alone_listens_on_this_machine_only() {
        assert_eq!(listen_address("9000"), Ok(Some(([127, 0, 0, 1], 9000).into())));
        assert_eq!(listen_address(":9000"), Ok(Some(([0, 0, 0, 0], 9000).into())));
        assert_eq!(listen_address("off"), Ok(None));
        assert_eq!(listen_address("OFF"), Ok(None));
        assert_eq!(listen_address("[::1]:9000"), Ok(Some((Ipv6Addr::LOCALHOST, 9000).into())));
        for (bad, want) in [
            ("example.com:80", "want an address"),
            ("http://127.0.0.1:9000", "not a URL"),
            ("127.0.0.1", "want an address"),
            ("127.0.0.1:", "want an address"),
            ("127.0.0.1:99999", "0 to 65535"),
            ("127.0.0.1:+80", "want an address"),
            ("127.0.0.1: 80", "want an address"),
            ("::1:9000", "brackets"),
            ("[::1:9000", "want an address"),
            ("9000/tcp", "want an address"),
            ("", "want an address"),
        ] {
            assert!(listen_address(bad).is_err_and(|said| said.contains(want)), "{bad}: {:?}", listen_address(bad));
        }
        for (bad, want) in [
            ("relay.example.com", "an IP address"),
            ("0.0.0.0:8080", "SERVER_PORT"),
            ("[::]:8080", "SERVER_PORT"),
            ("http://0.0.0.0", "not a URL"),
            ("[::1", "an IP address"),
            ("", "an IP address"),
        ] {
            assert!(host_address(bad).is_err_and(|said| said.contains(want)), "{bad}: {:?}", host_address(bad));
        }
    }

    /// Browsers and proxies write names and origins in one way; what never matches is no use.
    #[test]
    fn origins_and_names_are_as_they_are_sent() {
        for (given, want) in [
            ("https://App.Example.com/", "https://app.example.com"),
            ("https://app.example.com:443", "https://app.example.com"),
            ("http://localhost:3000", "http://localhost:3000"),
            ("*", "*"),
        ] {
            assert_eq!(origin(given), Ok(want.to_owned()), "{given}");
        }
        for bad in [
            "app.example.com",
            "https://*.example.com",
            "https://app.example.com/a",
            "https://app.example.com//",
            "https://app.example.com?x",
            "https://app.example.com#x",
            "https://u@app.example.com",
            "https://app.example.com:99999",
            "htps://app.example.com",
            "https:/app.example.com",
            "null",
            "",
        ] {
            assert!(origin(bad).is_err(), "{bad}");
        }
        assert_eq!(host_name("Relay.Example.com."), Ok("relay.example.com".to_owned()));
        for bad in
            ["https://relay.example.com", "relay.example.com:8081", "*.example.com", "*", "a b", "a..b", "-1", ""]
        {
            assert!(host_name(bad).is_err(), "{bad}");
        }
    }
}
