//! Where a connection comes from.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::limits;

/// Where a connection comes from. Made once, where it is accepted, and given to whatever answers on it: shares, refusals,
/// sessions and the audit log all speak of the same address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The other end of the socket, which may be a proxy's; none where it has no address.
    pub peer: Option<SocketAddr>,
    /// Whom the connection is charged to.
    pub address: Address,
    /// TLS ends here, so that nobody on the way reads along or writes.
    pub tls: bool,
    /// By what the other side is known.
    pub via: Via,
}

/// By what it is known who is at the other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// By the address that a socket of the network shows.
    Network,
    /// By the word of a proxy that the operator trusts.
    Proxy {
        /// Whom it brings.
        ip: IpAddr,
        /// From which port of his, where it says so.
        port: Option<u16>,
    },
    /// By the address of a proxy that the operator trusts and that names nobody: it asks for itself, or does not tell for whom.
    Unnamed,
    /// By the file that it opened, and the user who did, where the system says so.
    File {
        /// The user.
        uid: Option<u32>,
    },
}

/// Whom connections and memory are charged to: one network that one owner is likely to hold whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// This machine: its loopback network and its own sockets. A reverse proxy here brings everybody, so that nobody is
    /// held to a share by this address.
    Local,
    /// A proxy that the operator trusts, before it is known whom it brings: as it brings everybody, it is held to no share either.
    Proxy,
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// The first half of an IPv6 address: a /64 is the least that one customer is given.
    V6(u64),
}

/// A network that an address is of, and that one owner may hold whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    /// One IPv4 address.
    V4(Ipv4Addr),
    /// The first bits of an IPv6 address, and how many: 64, or those of [`limits::WIDER_NETWORK_BITS`].
    V6(u64, u32),
}

impl Network {
    /// Whether many owners of one address may be in it.
    pub const fn is_wider(self) -> bool {
        matches!(self, Self::V6(_, bits) if bits < 64)
    }
}

impl Origin {
    /// A socket that has no address: whoever may open its file.
    pub const fn local() -> Self {
        Self { peer: None, address: Address::Local, tls: false, via: Via::File { uid: None } }
    }

    /// The same, with the user who opened it.
    pub const fn of_user(uid: Option<u32>) -> Self {
        Self { via: Via::File { uid }, ..Self::local() }
    }

    /// A peer of the network.
    pub fn of(peer: SocketAddr) -> Self {
        Self { peer: Some(peer), address: Address::of(peer.ip()), tls: false, via: Via::Network }
    }

    /// The user at the other end, as the system knows it.
    pub const fn uid(&self) -> Option<u32> {
        match self.via {
            Via::Network | Via::Proxy { .. } | Via::Unnamed => None,
            Via::File { uid } => uid,
        }
    }

    /// The address of whoever asks: that of the socket, or the one that a trusted proxy named.
    pub fn ip(&self) -> Option<IpAddr> {
        match self.via {
            Via::Proxy { ip, .. } => Some(ip),
            Via::Network | Via::Unnamed | Via::File { .. } => self.peer.map(|peer| peer.ip()),
        }
    }

    /// The same where it is known to be that of whoever asks, and not of a proxy that may bring anybody: by which somebody is let in.
    pub fn known_ip(&self) -> Option<IpAddr> {
        self.ip().filter(|_| self.via != Via::Unnamed)
    }

    /// The proxy that brought whoever asks, by the address of its socket; none where nobody is trusted to bring him. One that names
    /// nobody is who asks.
    pub fn proxy(&self) -> Option<String> {
        match self.via {
            Via::Proxy { .. } | Via::Unnamed => {
                Some(self.peer.map_or_else(|| Address::Local.to_string(), |peer| peer.ip().to_string()))
            }
            Via::Network | Via::File { .. } => None,
        }
    }

    /// The same with his port, where it is known: for people.
    pub fn shown(&self) -> Option<String> {
        match self.via {
            Via::Proxy { ip, port: Some(port) } => Some(SocketAddr::new(ip, port).to_string()),
            Via::Proxy { ip, port: None } => Some(ip.to_string()),
            Via::Network | Via::Unnamed | Via::File { .. } => self.peer.map(|peer| peer.to_string()),
        }
    }
}

impl Address {
    /// Whom an address is charged to. One of IPv4 that is written as one of IPv6 is the same.
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            ip if ip.is_loopback() => Self::Local,
            ip => Self::named(ip),
        }
    }

    /// The same for one that a proxy named: a proxy on another machine may name an address of its own loopback, and nobody is
    /// to be free of shares by what is said of him.
    pub(crate) fn named(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }

    /// Whom shares are kept for: its own network first, then the one that a provider gives a customer who asks for more. None
    /// for this machine and for trusted proxies, which are held to no share.
    pub fn networks(self) -> impl Iterator<Item = Network> {
        let (own, wider) = match self {
            Self::Local | Self::Proxy => (None, None),
            Self::V4(v4) => (Some(Network::V4(v4)), None),
            Self::V6(half) => {
                let bits = limits::WIDER_NETWORK_BITS;
                (Some(Network::V6(half, 64)), Some(Network::V6(half >> (64 - bits), bits)))
            }
        };
        own.into_iter().chain(wider)
    }

    /// Whether it is this machine.
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Local)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local => f.write_str("this machine"),
            Self::Proxy => f.write_str("a trusted proxy"),
            Self::V4(v4) => v4.fmt(f),
            Self::V6(half) => write!(f, "{}/64", Ipv6Addr::from_bits(u128::from(*half) << 64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever answers can tell by the value alone what it rests on.
    #[test]
    fn an_origin_says_by_what_it_is_known() {
        let peer = SocketAddr::from(([192, 0, 2, 7], 4_711));
        assert_eq!((Origin::of(peer).via, Origin::of(peer).uid()), (Via::Network, None));
        assert_eq!(Origin::of(peer).ip(), Some(peer.ip()));
        let user = Origin::of_user(Some(7));
        assert_eq!((user.peer, user.address, user.uid()), (None, Address::Local, Some(7)));
    }

    /// Whoever is brought is not taken for who came by himself.
    #[test]
    fn an_origin_names_the_proxy_between() {
        let origin = Origin::of(SocketAddr::from(([10, 0, 0, 1], 4_711)));
        let said = |origin: Origin| (origin.ip().map(|ip| ip.to_string()), origin.proxy());
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(said(origin), (text("10.0.0.1"), None));
        let brought = origin.brought(IpAddr::from([192, 0, 2, 7]), Some(1));
        assert_eq!(said(brought), (text("192.0.2.7"), text("10.0.0.1")));
        let unnamed = Origin { via: Via::Unnamed, ..origin };
        assert_eq!(said(unnamed), (text("10.0.0.1"), text("10.0.0.1")));
        let by_file = Origin::local().brought(IpAddr::from([192, 0, 2, 7]), None);
        assert_eq!(said(by_file), (text("192.0.2.7"), text("this machine")));
        assert_eq!(said(Origin::local()), (None, None));
    }

    #[test]
    fn an_address_names_the_network_of_one_owner() {
        let of = |text: &str| Address::of(text.parse().unwrap()).to_string();
        assert_eq!(of("192.0.2.7"), "192.0.2.7");
        assert_eq!(of("::ffff:192.0.2.7"), "192.0.2.7");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(of("2001:db8:1:2::1"), of("2001:db8:1:2:ffff::"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(local), "this machine");
        }
    }
}
