//! Where a Redis is, how it is run, and as whom it is used.

use std::{collections::BTreeMap, fmt, path::PathBuf};

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// A host and a port.
    Tcp {
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
    },
    /// The same, over TLS: the certificate must be one for that host.
    Tls {
        /// A name or an address.
        host: String,
        /// Its port.
        port: u16,
        /// Who signs its certificate, in PEM; `None`: whom the system trusts.
        authorities: Option<Vec<u8>>,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } | Self::Tls { host, port, .. } if host.contains(':') => {
                write!(f, "[{host}]:{port}")
            }
            Self::Tcp { host, port } | Self::Tls { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Address {
    /// Its host; of a socket none.
    pub(super) fn host(&self) -> Option<&str> {
        match self {
            Self::Tcp { host, .. } | Self::Tls { host, .. } => Some(host),
            Self::Unix(_) => None,
        }
    }

    /// Another of the same kind: over TLS, if this one is, under the same authorities. A socket has none.
    pub(super) fn beside(&self, host: String, port: u16) -> Self {
        match self {
            Self::Tls { authorities, .. } => Self::Tls { host, port, authorities: authorities.clone() },
            Self::Tcp { .. } | Self::Unix(_) => Self::Tcp { host, port },
        }
    }
}

/// How a Redis is run, and where one asks for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// One node, which is the primary as long as it is there.
    Node(Address),
    /// A primary and its replicas, of which sentinels say which is which.
    Sentinel(Sentinels),
    /// Several primaries, each with some of the slots, who say of each other which has which.
    Cluster(Cluster),
}

impl From<Address> for Deployment {
    fn from(address: Address) -> Self {
        Self::Node(address)
    }
}

impl fmt::Display for Deployment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |at: &[Address]| at.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        match self {
            Self::Node(address) => address.fmt(f),
            Self::Sentinel(Sentinels { at, master, .. }) => write!(f, "{}/{master}", listed(at)),
            Self::Cluster(Cluster { at, .. }) => f.write_str(&listed(at)),
        }
    }
}

/// Where nodes are reached that are known at another address: both as `host:port`.
pub(super) type Elsewhere = BTreeMap<String, String>;

/// The nodes of a cluster that are asked for the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Some of them, at least one; more are better, for those may be gone.
    pub at: Vec<Address>,
    /// Where a node is reached that others know at another address.
    pub elsewhere: Elsewhere,
}

impl Cluster {
    /// Where a node is reached that is named so.
    pub(super) fn reached(&self, host: &str, port: u16) -> Address {
        reached(&self.at, &self.elsewhere, host, port)
    }
}

/// Where a node is reached that others name so, in the way that those are.
fn reached(at: &[Address], elsewhere: &Elsewhere, host: &str, port: u16) -> Address {
    let named = Address::Tcp { host: host.to_owned(), port };
    let elsewhere = elsewhere.get(&named.to_string()).and_then(|at| host_and_port(at));
    let (host, port) = elsewhere.unwrap_or_else(|| (host.to_owned(), port));
    // They speak TLS where nodes do.
    at.first().map_or(named, |like| like.beside(host, port))
}

/// Both of `host:port`, where that is one.
pub(super) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    Some((host.trim_start_matches('[').trim_end_matches(']').to_owned(), port.parse().ok()?))
}

/// Who is asked for the primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentinels {
    /// Each of them, at least one; more than half of these have to agree.
    pub at: Vec<Address>,
    /// What they call it.
    pub master: String,
    /// As whom they are asked; nodes have a login of their own.
    pub login: Login,
    /// Where a node is reached that they know at another address.
    pub elsewhere: Elsewhere,
}

impl Sentinels {
    /// Where a node is reached that they name so.
    pub(super) fn reached(&self, host: &str, port: u16) -> Address {
        reached(&self.at, &self.elsewhere, host, port)
    }
}

/// As whom it is used, and which of its databases. `Debug` shows no password.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// `None`: the user `default`.
    pub user: Option<String>,
    /// `None`: none is asked for there.
    pub password: Option<String>,
    /// Its number, from 0.
    pub database: u32,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "redacted");
        f.debug_struct("Login")
            .field("user", &self.user)
            .field("password", &password)
            .field("database", &self.database)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: a password stands in no log, wherever options are printed.
    #[test]
    fn a_login_shows_no_password() {
        let login = Login { user: Some("relay".into()), password: Some("canary".into()), database: 3 };
        assert_eq!(format!("{login:?}"), "Login { user: Some(\"relay\"), password: Some(\"redacted\"), database: 3 }");
    }

    #[test]
    fn an_address_is_shown_as_it_is_written() {
        let tcp = |host: &str| Address::Tcp { host: host.into(), port: 6379 }.to_string();
        assert_eq!((tcp("redis.local"), tcp("::1")), ("redis.local:6379".to_owned(), "[::1]:6379".to_owned()));
    }
    /// Nodes are reached where the map says, in the way that sentinels are.
    #[test]
    fn a_node_is_reached_where_the_map_says() {
        let authorities = Some(b"pem".to_vec());
        let tls = |host: &str, port| Address::Tls { host: host.into(), port, authorities: authorities.clone() };
        let elsewhere = [("10.0.0.1:6379", "one.example:7001"), ("[fe80::1]:6379", "[::1]:7002")];
        let elsewhere = elsewhere.map(|(named, at)| (named.to_owned(), at.to_owned())).into();
        let (at, master) = (vec![tls("s", 26379), tls("t", 26379)], "main".to_owned());
        let sentinels = Sentinels { at, master, login: Login::default(), elsewhere };
        assert_eq!(sentinels.reached("10.0.0.1", 6379), tls("one.example", 7001));
        assert_eq!(sentinels.reached("fe80::1", 6379), tls("::1", 7002));
        assert_eq!(sentinels.reached("10.0.0.2", 6379), tls("10.0.0.2", 6379));
        assert_eq!(Deployment::Sentinel(sentinels).to_string(), "s:26379,t:26379/main");
    }
}
