//! Which pages may ask the admin listener: none but its own. A browser on the operator's machine reaches loopback, whatever
//! page it shows; names that an attacker's DNS points there are not ours (S25).

use http::{HeaderMap, HeaderValue, Method, header};
use relay_net::sites::{Hosts, is_foreign};

use super::problem::AdminError;

/// The names under which the admin listener may be asked, beside those that no page of the internet can have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sites {
    hosts: Hosts,
}

impl Sites {
    /// With further names, each without a port.
    pub(crate) fn new(names: &[String]) -> Self {
        Self { hosts: Hosts::new(names) }
    }

    /// Whether a request may be answered, by its head. A page of another site may have a link to a page of ours: whoever follows it
    /// only looks, and is signed in by no cookie.
    ///
    /// # Errors
    /// It was asked under another name, by another site's page, or with more than one proof.
    pub(crate) fn may_ask(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), AdminError> {
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
        if is_foreign(headers, host) && !(is_page(path) && follows_link(method, headers)) {
            return Err(AdminError::Foreign);
        }
        // HTTP/1.0 has none; no browser speaks that.
        if headers.contains_key(header::HOST) && !self.hosts.are_ours(host) {
            return Err(AdminError::Misdirected);
        }
        if headers.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
            return Err(AdminError::Invalid("there is more than one Authorization field".into()));
        }
        Ok(())
    }
}

/// Whether that is a page, as far as its path tells.
fn is_page(path: &str) -> bool {
    !path.starts_with("/api/")
}

/// Whether a browser goes where somebody clicked, in a window of its own: no script of another page learns what comes of it.
fn follows_link(method: &Method, headers: &HeaderMap) -> bool {
    let says = |name: &str, word: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| value == word) && values.next().is_none()
    };
    method == Method::GET
        && !headers.contains_key(header::ORIGIN)
        && says("sec-fetch-mode", "navigate")
        && says("sec-fetch-dest", "document")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(&'static str, &'static str)]) -> Result<(), AdminError> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        Sites::new(&["Relay.Example.com".to_owned()]).may_ask(&Method::GET, "/api/v1/status", &headers)
    }

    /// S25: a name that an attacker's DNS points here is not ours.
    #[test]
    fn only_names_that_no_page_can_rebind_are_ours() {
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
            assert_eq!(asked(&[("host", ours)]), Ok(()), "{ours}");
        }
        for foreign in [
            "evil.example:8081",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "a.relay.example.com",
            "relay.example.com.evil.example",
            "1.2.3",
            "0x7f.1",
        ] {
            assert_eq!(asked(&[("host", foreign)]), Err(AdminError::Misdirected), "{foreign}");
        }
        assert_eq!(asked(&[]), Ok(()), "HTTP/1.0");
    }

    /// S25: other sites' pages are told to go, whatever they know; a page of the listener itself may ask.
    #[test]
    fn pages_of_other_sites_may_not_ask() {
        let host = ("host", "127.0.0.1:8081");
        for site in ["https://evil.example", "null", "http://127.0.0.1:3000", "http://127.0.0.1", "127.0.0.1:8081", ""]
        {
            assert_eq!(asked(&[host, ("origin", site)]), Err(AdminError::Foreign), "{site}");
        }
        for fetched in ["cross-site", "same-site", "Cross-Site", ""] {
            assert_eq!(asked(&[host, ("sec-fetch-site", fetched)]), Err(AdminError::Foreign), "{fetched}");
        }
        let own = ("origin", "http://127.0.0.1:8081");
        assert_eq!(asked(&[host, own, ("sec-fetch-site", "same-origin")]), Ok(()));
        assert_eq!(asked(&[host, ("sec-fetch-site", "none")]), Ok(()), "typed into the address line");
        assert_eq!(asked(&[host, own, ("origin", "https://evil.example")]), Err(AdminError::Foreign));
    }

    /// S25: a link in a mail leads to a page, and to nothing that a script could read, frame or have done.
    #[test]
    fn a_link_of_another_site_leads_to_pages_alone() {
        let link = [("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
        let asked = |method: Method, path: &str, more: &[(&'static str, &'static str)]| {
            let fields = link.iter().chain(more);
            let fields = fields.map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
            Sites::default().may_ask(&method, path, &fields.collect())
        };
        let window = ("sec-fetch-dest", "document");
        assert_eq!(asked(Method::GET, "/events/evt_1", &[window]), Ok(()));
        assert_eq!(asked(Method::GET, "/", &[window]), Ok(()));
        assert_eq!(asked(Method::GET, "/", &[("sec-fetch-dest", "iframe")]), Err(AdminError::Foreign));
        assert_eq!(asked(Method::GET, "/", &[]), Err(AdminError::Foreign));
        assert_eq!(asked(Method::POST, "/", &[window]), Err(AdminError::Foreign));
        assert_eq!(asked(Method::GET, "/", &[window, ("origin", "https://evil.example")]), Err(AdminError::Foreign));
        assert_eq!(asked(Method::GET, "/api/v1/audit", &[window]), Err(AdminError::Foreign));
    }

    #[test]
    fn two_proofs_are_none() {
        let refused = asked(&[("host", "a"), ("authorization", "Bearer x"), ("authorization", "Bearer y")]);
        assert!(matches!(refused, Err(AdminError::Invalid(_))));
    }
}
