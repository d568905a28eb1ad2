//! Where a Redis is, and as whom it is used.

use std::{fmt, path::PathBuf};

/// Where a Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}
