//! Which sites a private listener answers: none but its own. A browser on an operator's machine reaches loopback, whatever
//! page it shows; names that an attacker's DNS points there are not ours.

use std::net::IpAddr;

use http::{HeaderMap, HeaderValue, header};

/// The names under which a listener may be asked, beside those that no page of the internet can have.
#[derive(Clone, Debug, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// With further names, each without a port.
    pub fn new(names: &[String]) -> Self {
        Self(names.iter().map(|name| plain(name)).collect())
    }

    /// Whether a host is one of the names that were given, and no other; its port does not count.
    pub fn name(&self, host: &[u8]) -> bool {
        str::from_utf8(host).is_ok_and(|host| self.0.contains(&plain(host)))
    }

    /// Whether none was given.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a host is an address, a name without a dot, of this machine, or one that the operator named. A page that
    /// rebinds its name cannot have any of them: an address is no name, and names without a dot are the local network's.
    pub fn are_ours(&self, host: &[u8]) -> bool {
        let Ok(host) = str::from_utf8(host) else { return false };
        let name = plain(host);
        let is_address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().is_ok();
        let is_local = !name.is_empty() && !name.contains(['.', ',', '@', '/']) || name.ends_with(".localhost");
        is_address || is_local || self.0.contains(&name)
    }
}

/// Whether a page of another site asks than that of `host`, by scheme or another; nothing is known of one that says nothing.
pub fn is_foreign(fields: &HeaderMap, host: &[u8]) -> bool {
    let own = |site: &HeaderValue| {
        let site = site.as_bytes();
        let rest = site.strip_prefix(b"http://").or_else(|| site.strip_prefix(b"https://"));
        rest.is_some_and(|rest| rest.eq_ignore_ascii_case(host))
    };
    let fetched = |fetched: &HeaderValue| matches!(fetched.as_bytes(), b"same-origin" | b"none");
    !fields.get_all(header::ORIGIN).iter().all(own) || !fields.get_all("sec-fetch-site").iter().all(fetched)
}

/// Whether a host is of the asker's own machine, whatever its port: a browser leaves that for none of these.
pub fn is_loopback(host: &[u8]) -> bool {
    let Ok(host) = str::from_utf8(host) else { return false };
    let name = plain(host);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    name == "localhost" || name.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// The port of a host, where it says one.
pub fn port_of(host: &[u8]) -> Option<u16> {
    let host = str::from_utf8(host).ok()?;
    let (_, port) = host.rsplit_once(':').filter(|(_, port)| !port.contains(']'))?;
    port.parse().ok()
}

/// A host without its port and the dot of the root, in lower case.
fn plain(host: &str) -> String {
    let end = match host.rfind(':') {
        // Within brackets it is a part of the address.
        Some(colon) if !host[colon..].contains(']') => colon,
        _ => host.len(),
    };
    let name = &host[..end];
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_no_page_can_rebind_are_ours() {
        let hosts = Hosts::new(&["Relay.Example.com".to_owned()]);
        for ours in [
            "localhost",
            "LOCALHOST:8081",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1:8081",
            "127.0.0.1",
            "[::1]:8081",
            "[fd00::1]",
            "10.1.2.3:8081",
            "crm-relay:8081",
            "relay.example.com:8081",
            "relay.example.com.",
        ] {
            assert!(hosts.are_ours(ours.as_bytes()), "{ours}");
        }
        for foreign in [
            &b"evil.example:8081"[..],
            b"127.0.0.1.evil.example",
            b"localhost.evil.example",
            b"a.relay.example.com",
            b"relay.example.com.evil.example",
            b"1.2.3",
            b"0x7f.1",
            b"",
            b":80",
            b"a,b",
            b"a@b",
            b"a/b",
            b"\xff",
        ] {
            assert!(!hosts.are_ours(foreign), "{}", String::from_utf8_lossy(foreign));
        }
    }

    /// S7
    #[test]
    fn a_name_is_one_that_was_given_whatever_its_port() {
        let hosts = Hosts::new(&["Relay.Example.com".to_owned(), "192.0.2.7".to_owned(), "[2001:db8::1]".to_owned()]);
        for given in
            ["relay.example.com", "RELAY.example.com.:443", "192.0.2.7:80", "[2001:db8::1]:8080", "[2001:DB8::1]"]
        {
            assert!(hosts.name(given.as_bytes()), "{given}");
        }
        for other in ["localhost", "192.0.2.8", "a.relay.example.com", "relay.example.com.evil.example", "", ":80"] {
            assert!(!hosts.name(other.as_bytes()), "{other}");
        }
        assert!(!Hosts::default().name(b""));
    }

    #[test]
    fn a_loopback_host_is_of_the_askers_machine() {
        for own in
            ["localhost", "LOCALHOST.:8081", "a.localhost:1", "127.0.0.1:8081", "127.9.9.9", "[::1]:8081", "[::1]"]
        {
            assert!(is_loopback(own.as_bytes()), "{own}");
        }
        for other in ["", "relay", "10.0.0.7:8081", "localhost.evil.example", "127.0.0.1.evil.example", "[fd00::1]:1"] {
            assert!(!is_loopback(other.as_bytes()), "{other}");
        }
        let ports = ["a:8081", "[::1]:80", "[::1]", "a", "a:", "a:x"].map(|host| port_of(host.as_bytes()));
        assert_eq!(ports, [Some(8081), Some(80), None, None, None, None]);
    }

    #[test]
    fn pages_of_other_sites_are_foreign() {
        let host = b"127.0.0.1:8081";
        let is_foreign = |fields: &[(&'static str, &'static str)]| {
            let fields = fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            is_foreign(&fields.collect(), host)
        };
        for site in ["https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1", "127.0.0.1:8081", ""]
        {
            assert!(is_foreign(&[("origin", site)]), "{site}");
        }
        for fetched in ["cross-site", "same-site", "Cross-Site", ""] {
            assert!(is_foreign(&[("sec-fetch-site", fetched)]), "{fetched}");
        }
        let own = ("origin", "http://127.0.0.1:8081");
        assert!(!is_foreign(&[own, ("sec-fetch-site", "same-origin")]));
        assert!(!is_foreign(&[("sec-fetch-site", "none")]), "typed into the address line");
        assert!(!is_foreign(&[]));
        assert!(is_foreign(&[own, ("origin", "https://evil.example")]));
    }
}
