//! Whom a request comes from, where proxies bring it: what those that the operator trusts say of it, and nobody else.
//!
//! Each proxy on the way adds the address of its own peer at the right end of a field, so that what is said is read from there: up to
//! the first address that is no trusted proxy. What stands left of that was written by whoever has that address, and anybody
//! can write anything.
//!
//! **Source** RFC 7239 for `Forwarded`; `X-Forwarded-For` as proxies write it.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::HeaderMap;

use crate::{
    cidr::Cidrs,
    origin::{Address, Origin, Via},
    serve::Listening,
};

/// In which field a proxy says whom it brings. The other one is never looked at: a proxy that writes one passes the other on
/// as its peer wrote it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Field {
    /// `X-Forwarded-For`: addresses with commas between them.
    #[default]
    XForwardedFor,
    /// `Forwarded`: elements with commas between them, each with a `for=`.
    Forwarded,
}

/// The proxies that an operator trusts, and what they write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// Their networks; empty: none is trusted, and no field changes anything.
    pub trusted: Cidrs,
    /// Where they say whom they bring.
    pub field: Field,
}

/// A listener to which proxies bring what is asked: theirs are known as such from the first moment.
#[derive(Debug)]
pub struct Behind<L> {
    listener: L,
    proxies: Arc<Proxies>,
}

impl<L> Behind<L> {
    /// Behind these.
    pub const fn new(listener: L, proxies: Arc<Proxies>) -> Self {
        Self { listener, proxies }
    }
}

impl<L: Listening + Sync> Listening for Behind<L> {
    type Socket = L::Socket;

    async fn accept(&self) -> io::Result<(L::Socket, Origin)> {
        self.listener.accept().await.map(|(socket, origin)| (socket, self.proxies.connected(origin)))
    }

    fn refuse_new(&self) -> bool {
        self.listener.refuse_new()
    }

    fn close(self) -> Vec<(L::Socket, Origin)> {
        let Self { listener, proxies } = self;
        listener.close().into_iter().map(|(socket, origin)| (socket, proxies.connected(origin))).collect()
    }
}

impl Field {
    /// Both.
    pub const ALL: [Self; 2] = [Self::XForwardedFor, Self::Forwarded];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

impl Proxies {
    /// Whether an address is that of a trusted proxy.
    pub fn trust(&self, address: IpAddr) -> bool {
        self.trusted.contain(address)
    }

    /// A connection, charged to nobody as long as it is that of a trusted proxy: it brings everybody.
    pub fn connected(&self, origin: Origin) -> Origin {
        match origin.ip() {
            Some(ip) if self.trust(ip) => Origin { address: Address::Proxy, ..origin },
            _ => origin,
        }
    }

    /// A connection that a trusted proxy makes for itself: what is asked on it says of nobody else that he asks.
    pub fn for_itself(&self, origin: Origin) -> Origin {
        Origin { address: origin.ip().map_or(origin.address, Address::of), via: Via::Unnamed, ..origin }
    }

    /// Whom a request on such a connection comes from, by its head.
    pub fn asked(&self, origin: Origin, head: &HeaderMap) -> Origin {
        let is_proxy = origin.address == Address::Proxy;
        let Some(socket) = origin.ip().filter(|ip| is_proxy && self.trust(*ip)) else { return origin };
        match self.named(socket, head) {
            Some(ip) => origin.brought(ip, None),
            // It says nothing: it asks for itself, as for its health checks.
            None if matches!(origin.via, Via::Proxy { .. }) => Origin { address: Address::named(socket), ..origin },
            None => Origin { address: Address::of(socket), via: Via::Unnamed, ..origin },
        }
    }

    /// The first address from the right that is no trusted proxy; where all are, the last of them. None where the proxy itself
    /// names nobody.
    fn named(&self, socket: IpAddr, head: &HeaderMap) -> Option<IpAddr> {
        let (mut last, mut at) = (None, socket);
        for value in head.get_all(self.field.as_str()).iter().rev() {
            for part in Parts(Some(value.as_bytes())) {
                if !self.trust(at) {
                    return last;
                }
                // What is no address was put there by the proxy before it, which knew none.
                let Some(ip) = self.field.address(part) else { return last };
                at = ip;
                last = Some(ip);
            }
        }
        last
    }
}

impl Field {
    /// The address in a part of it.
    fn address(self, part: &[u8]) -> Option<IpAddr> {
        let node = match self {
            Self::XForwardedFor => part,
            Self::Forwarded => {
                let mut found = pairs(part).filter(|(name, _)| name.eq_ignore_ascii_case(b"for"));
                // Of two it is not known which one the proxy meant.
                let (Some((_, value)), None) = (found.next(), found.next()) else { return None };
                value
            }
        };
        let node = node.strip_prefix(b"\"").and_then(|node| node.strip_suffix(b"\"")).unwrap_or(node);
        address(str::from_utf8(node).ok()?.trim())
    }
}

/// An address with an optional port, as proxies write it.
fn address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    plain.parse().ok().or_else(with_port).map(|ip: IpAddr| ip.to_canonical())
}

/// What stands between the commas of a field, from the right; commas in quotes are none. From the right, since whatever stands
/// at the left, such as a quote that never ends, was written by somebody else.
struct Parts<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Parts<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let mut quoted = false;
        let comma = (0..rest.len()).rev().find(|at| {
            quoted ^= is_quote(rest, *at);
            rest[*at] == b',' && !quoted
        });
        let part = comma.map_or(rest, |at| &rest[at + 1..]);
        self.0 = comma.map(|at| &rest[..at]);
        Some(part.trim_ascii())
    }
}

/// Whether a quoted string begins or ends here: a quote that a backslash stands before is one of its characters (RFC 9110 section
/// 5.6.4), unless that one is quoted itself.
fn is_quote(text: &[u8], at: usize) -> bool {
    let backslashes = || text[..at].iter().rev().take_while(|byte| **byte == b'\\').count();
    text[at] == b'"' && backslashes().is_multiple_of(2)
}

/// The pairs of an element of `Forwarded`; semicolons in quotes end none. What a proxy quotes there (the host that was asked
/// for) is its sender's.
fn pairs(element: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let (mut rest, mut place) = (Some(element), 0);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let end = (0..text.len()).find(|at| {
            quoted ^= is_quote(element, place + at);
            text[*at] == b';' && !quoted
        });
        rest = end.map(|at| &text[at + 1..]);
        place += end.map_or(0, |at| at + 1);
        Some(&text[..end.unwrap_or(text.len())])
    })
    .filter_map(|pair| {
        let at = pair.iter().position(|byte| *byte == b'=')?;
        Some((pair[..at].trim_ascii(), pair[at + 1..].trim_ascii()))
    })
}

impl Origin {
    /// The same connection, whose proxy says that it brings somebody: he is shown, and he is charged.
    #[must_use]
    pub fn brought(self, ip: IpAddr, port: Option<u16>) -> Self {
        let ip = ip.to_canonical();
        Self { address: Address::named(ip), via: Via::Proxy { ip, port }, ..self }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::*;

    fn proxies(trusted: &[&str], field: Field) -> Proxies {
        Proxies { trusted: trusted.iter().map(|text| text.parse().unwrap()).collect(), field }
    }

    fn head(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        fields.iter().map(field).collect()
    }

    fn origin(peer: &str) -> Origin {
        Origin::of(peer.parse().unwrap())
    }

    /// Whom a request from that peer with these fields is taken for.
    fn taken(proxies: &Proxies, peer: &str, fields: &[(&'static str, &str)]) -> String {
        proxies.asked(proxies.connected(origin(peer)), &head(fields)).shown().unwrap()
    }

    const XFF: &str = "x-forwarded-for";

    /// S15
    #[test]
    fn a_field_of_an_untrusted_peer_changes_nothing() {
        let proxies = proxies(&["10.0.0.0/8"], Field::XForwardedFor);
        for fields in [&[][..], &[(XFF, "1.2.3.4")], &[(XFF, "10.0.0.1")], &[("forwarded", "for=1.2.3.4")]] {
            let peer = origin("192.0.2.7:5");
            assert_eq!(proxies.asked(proxies.connected(peer), &head(fields)), peer, "{fields:?}");
        }
        let nobody = Proxies::default();
        assert_eq!(taken(&nobody, "127.0.0.1:5", &[(XFF, "1.2.3.4")]), "127.0.0.1:5");
    }

    /// S15: whatever a sender writes stands left of what the proxies add.
    #[test]
    fn addresses_are_counted_from_the_right() {
        let proxies = proxies(&["10.0.0.0/8", "2001:db8:1::/48"], Field::XForwardedFor);
        for (said, wanted) in [
            ("203.0.113.9", "203.0.113.9"),
            ("1.2.3.4, 203.0.113.9", "203.0.113.9"),
            ("1.2.3.4,203.0.113.9,10.1.1.1", "203.0.113.9"),
            ("10.9.9.9, 203.0.113.9, 10.1.1.1", "203.0.113.9"),
            ("\", 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("::ffff:203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, ::ffff:10.0.0.2", "203.0.113.9"),
            ("[2001:db8::7]:443, 2001:db8:1::1", "2001:db8::7"),
            ("10.2.2.2, 10.1.1.1", "10.2.2.2"),
            ("203.0.113.9, unknown, 10.1.1.1", "10.1.1.1"),
            ("203.0.113.9, ", "10.0.0.1:5"),
            ("unknown", "10.0.0.1:5"),
            ("127.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(taken(&proxies, "10.0.0.1:5", &[(XFF, said)]), wanted, "{said}");
        }
        let lines = [(XFF, "1.2.3.4"), (XFF, "203.0.113.9"), (XFF, "10.1.1.1")];
        assert_eq!(taken(&proxies, "[::ffff:10.0.0.1]:5", &lines), "203.0.113.9", "the last line is the last proxy's");
        assert_eq!(taken(&proxies, "10.0.0.1:5", &[("forwarded", "for=1.2.3.4")]), "10.0.0.1:5", "the other field");
    }

    /// RFC 7239
    #[test]
    fn forwarded_is_read_as_it_is_written() {
        let proxies = proxies(&["10.0.0.0/8"], Field::Forwarded);
        for (said, wanted) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("for=192.0.2.43;proto=https, For=203.0.113.9;by=10.0.0.1 ; host=a", "203.0.113.9"),
            ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
            ("proto=http;for=\"203.0.113.9:80\", for=10.1.1.1", "203.0.113.9"),
            ("for=\", for=203.0.113.9", "203.0.113.9"),
            ("for=\"a, for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=\"1.2.3.4, 5\", for=203.0.113.9", "203.0.113.9"),
            ("for=_hidden", "10.0.0.1:5"),
            ("for=unknown", "10.0.0.1:5"),
            ("by=203.0.113.9", "10.0.0.1:5"),
            ("host=\"a;for=1.2.3.4;b\";for=203.0.113.9", "203.0.113.9"),
            ("for=203.0.113.9;host=\"x\\\",for=1.2.3.4;a=\\\"y\"", "203.0.113.9"),
            ("for=203.0.113.9;host=\"x\\\\\"", "203.0.113.9"),
            ("for=1.2.3.4;for=203.0.113.9", "10.0.0.1:5"),
        ] {
            assert_eq!(taken(&proxies, "10.0.0.1:5", &[("forwarded", said)]), wanted, "{said}");
        }
        assert_eq!(taken(&proxies, "10.0.0.1:5", &[(XFF, "1.2.3.4")]), "10.0.0.1:5", "the other field");
    }

    /// S15: a balancer that speaks the PROXY protocol may stand before another proxy; whom it brings is known by its port as well.
    #[test]
    fn one_proxy_may_bring_another() {
        let proxies = proxies(&["10.0.0.0/8"], Field::XForwardedFor);
        let balanced = |ip: &str| proxies.connected(origin("10.0.0.1:5").brought(ip.parse().unwrap(), Some(7)));
        let asked = |ip: &str, fields| proxies.asked(balanced(ip), &head(fields));
        assert_eq!(balanced("10.0.0.2").address, Address::Proxy);
        assert_eq!(balanced("203.0.113.9").address.to_string(), "203.0.113.9");
        for (ip, fields, shown) in [
            ("203.0.113.9", &[(XFF, "1.2.3.4")][..], "203.0.113.9:7"),
            ("10.0.0.2", &[(XFF, "1.2.3.4, 203.0.113.8")], "203.0.113.8"),
            ("10.0.0.2", &[], "10.0.0.2:7"),
        ] {
            assert_eq!(asked(ip, fields).shown().as_deref(), Some(shown), "{ip} {fields:?}");
        }
        assert_eq!(asked("10.0.0.2", &[]).address.to_string(), "10.0.0.2");
    }

    /// S36: a trusted proxy brings everybody and has no share; whom it names is charged, and is never this machine.
    #[test]
    fn who_is_named_is_charged_and_never_this_machine() {
        let proxies = proxies(&["127.0.0.1", "10.0.0.1"], Field::XForwardedFor);
        let connected = proxies.connected(origin("10.0.0.1:5"));
        assert_eq!((connected.address, connected.address.networks().count()), (Address::Proxy, 0));
        for (said, charged) in [("127.0.0.2", "127.0.0.2"), ("::1", "::/64"), ("203.0.113.9", "203.0.113.9")] {
            let asked = proxies.asked(connected, &head(&[(XFF, said)]));
            assert_eq!((asked.address.to_string().as_str(), asked.address.is_local()), (charged, false), "{said}");
            assert_eq!(asked.known_ip(), asked.ip());
        }
        for unnamed in [&[][..], &[(XFF, "unknown")], &[("forwarded", "for=203.0.113.9")]] {
            let asked = proxies.asked(connected, &head(unnamed));
            assert_eq!((asked.ip().is_some(), asked.known_ip()), (true, None), "it may bring anybody: {unnamed:?}");
        }
        assert_eq!(proxies.for_itself(connected).known_ip(), None);
        assert_eq!(proxies.asked(connected, &head(&[])).address.to_string(), "10.0.0.1", "it asks for itself");
        let here = proxies.connected(origin("127.0.0.1:5"));
        assert!(proxies.asked(here, &head(&[])).address.is_local(), "so does one on this machine");
    }

    proptest! {
        /// S15: nobody chooses whom he is taken for, whatever he writes before the proxy adds its part to it.
        #[test]
        fn whatever_stands_before_the_proxys_word_does_not_count(said in "[ -~]{0,40}", in_line in any::<bool>()) {
            for (field, name, added) in [
                (Field::XForwardedFor, XFF, "203.0.113.9"),
                (Field::Forwarded, "forwarded", "for=203.0.113.9"),
                (Field::Forwarded, "forwarded", "for=\"203.0.113.9:80\""),
            ] {
                let proxies = proxies(&["10.0.0.0/8"], field);
                let one = format!("{said}, {added}");
                let fields = if in_line { vec![(name, one.as_str())] } else { vec![(name, said.as_str()), (name, added)] };
                prop_assert_eq!(taken(&proxies, "10.0.0.1:5", &fields), "203.0.113.9");
            }
        }
    }
}
