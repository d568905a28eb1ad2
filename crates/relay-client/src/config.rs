//! What an operator decides about a client, already checked.

use std::{fmt, net::SocketAddr, path::PathBuf, str::FromStr, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderName, HeaderValue, Uri};
use relay_core::{limits, name::Name};
use relay_net::tls::{IdentityError, Pin, Presented};

use crate::{Carrier, ReportAnswers, Resigner, own_fields};

/// Configuration of a client. Defaults stand in `relay_core::limits`.
#[derive(Clone)]
pub struct Config {
    /// Base URL of the server, `/connect` not yet appended; scheme `wss` or `ws`.
    pub relay_url: Uri,
    /// Token.
    pub token: String,
    /// What it serves; at least one.
    pub destinations: Vec<Destination>,
    /// `CLIENT_BUFFER`.
    pub buffer_bytes: u64,
    /// Proxy for the connection to the server: `RELAY_PROXY`, else `HTTPS_PROXY`/`HTTP_PROXY` unless `NO_PROXY` matches.
    pub proxy: Option<Uri>,
    /// Extra roots for the server's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// Keys of which the server must have one, whoever signed its certificate; none: any.
    pub pins: Vec<Pin>,
    /// `RELAY_TRANSPORT`.
    pub carrier: Carrier,
    /// What is shown to a server that asks who comes.
    pub identity: Option<IdentityFiles>,
    /// Health and metrics of the client; off by default.
    pub listen: Option<SocketAddr>,
    /// Names under which they may be asked, beside addresses and names without a dot.
    pub listen_names: Vec<String>,
    /// `SHUTDOWN_GRACE`; larger than every forward timeout.
    pub shutdown_grace: Duration,
    /// `HEALTH_CHECK_INTERVAL`: one INFO summary line.
    pub summary_interval: Duration,
    /// A name for people: the host name.
    pub label: String,
}

/// One destination and its local target. The URL never leaves the client.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Its name.
    pub name: Name,
    /// `http://` or `https://`; may carry a path and a query.
    pub url: TargetUrl,
    /// `CONCURRENCY`.
    pub concurrency: u32,
    /// `FORWARD_TIMEOUT`.
    pub forward_timeout: Duration,
    /// Extra roots for the target's certificate, PEM.
    pub ca_file: Option<PathBuf>,
    /// What is shown to a target that asks who comes.
    pub identity: Option<IdentityFiles>,
    /// Signs what is forwarded, in place of the sender's `webhook-*`.
    pub resign: Option<Resigner>,
    /// Fields that every request to the target carries, in place of the sender's of the same name. Made by [`field`] or
    /// [`basic`], so that no log shows their values.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// `REPORT_ANSWERS`.
    pub report_answers: ReportAnswers,
    /// Where the server traces a webhook, the target is told of this try as its parent, in place of the sender's `traceparent`.
    pub trace: bool,
}

/// A certificate of the client's own and its key, in PEM; read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityFiles {
    /// The client's own first, then those that lead to its authority.
    pub certificate: PathBuf,
    /// Without a passphrase.
    pub key: PathBuf,
}

/// The URL of a target. Targets carry secrets in their queries, so that neither `Display` nor `Debug` shows one.
#[derive(Clone, PartialEq, Eq)]
pub struct TargetUrl(Uri);

impl Config {
    /// The names of its destinations.
    pub(crate) fn names(&self) -> impl Iterator<Item = Name> {
        self.destinations.iter().map(|destination| destination.name.clone())
    }

    /// Whether a session of `other` would be the same: same server, same way there, same Hello.
    pub(crate) fn has_session_of(&self, other: &Self) -> bool {
        let served = |of: &Destination| (of.name.clone(), of.concurrency, of.forward_timeout);
        self.relay_url == other.relay_url
            && self.token == other.token
            && self.proxy == other.proxy
            && self.ca_file == other.ca_file
            && self.pins == other.pins
            && self.identity == other.identity
            && self.carrier == other.carrier
            && self.buffer_bytes == other.buffer_bytes
            && self.label == other.label
            && self.destinations.iter().map(served).eq(other.destinations.iter().map(served))
    }
}

impl Destination {
    /// A destination with the defaults.
    pub const fn new(name: Name, url: TargetUrl) -> Self {
        Self {
            name,
            url,
            concurrency: limits::CONCURRENCY,
            forward_timeout: limits::FORWARD_TIMEOUT,
            ca_file: None,
            identity: None,
            resign: None,
            headers: Vec::new(),
            report_answers: ReportAnswers::Status,
            trace: false,
        }
    }
}

impl IdentityFiles {
    /// What stands in them, for TLS.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub(crate) fn presented(&self) -> Result<Arc<Presented>, IdentityError> {
        Presented::in_files(&self.certificate, &self.key)
    }
}

impl TargetUrl {
    /// All of it, for the place that needs it.
    pub const fn uri(&self) -> &Uri {
        &self.0
    }
}

impl From<Uri> for TargetUrl {
    fn from(uri: Uri) -> Self {
        Self(uri)
    }
}

impl FromStr for TargetUrl {
    type Err = http::uri::InvalidUri;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Scheme, host, port and path.
impl fmt::Display for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.0.scheme_str() {
            write!(f, "{scheme}://")?;
        }
        f.write_str(self.0.host().unwrap_or_default())?;
        if let Some(port) = self.0.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(self.0.path())
    }
}

impl fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A field for [`Destination::headers`].
///
/// # Errors
/// What would be right; never the value.
pub fn field(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), String> {
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| "not the name of a header field".to_owned())?;
    if own_fields::is_own(&name) {
        return Err(format!("{name} is set by the relay itself, or concerns one hop; it cannot be set here"));
    }
    let mut value = HeaderValue::from_str(value.trim())
        .map_err(|_| "the value holds what no header field can: want printable ASCII".to_owned())?;
    value.set_sensitive(true);
    Ok((name, value))
}

/// The field of HTTP Basic authentication for [`Destination::headers`].
///
/// # Errors
/// The user name holds a colon.
pub fn basic(username: &str, password: &str) -> Result<(HeaderName, HeaderValue), String> {
    if username.contains(':') {
        return Err("a user name of HTTP Basic has no colon".to_owned());
    }
    let login = BASE64_STANDARD.encode(format!("{username}:{password}"));
    field("authorization", &format!("Basic {login}"))
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("relay_url", &self.relay_url)
            .field("token", &"redacted")
            .field("destinations", &self.destinations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// S27: not even by accident.
    #[test]
    fn nothing_of_a_destination_shows_a_secret() {
        let mut destination =
            Destination::new("crm".parse().unwrap(), "http://u:canary@h:3000/hook?token=canary".parse().unwrap());
        destination.headers = vec![field("X-Token", "canary").unwrap(), basic("user", "canary").unwrap()];
        let shown = format!("{destination:?} {}", destination.url);
        assert!(shown.contains("http://h:3000/hook") && shown.contains("x-token"), "{shown}");
        assert!(!shown.contains("canary") && !shown.contains("Basic"), "{shown}");
    }

    #[test]
    fn fields_of_the_relay_and_of_one_hop_cannot_be_set() {
        for name in
            ["Relay-Event-Id", "relay-x", "Host", "Connection", "Content-Length", "transfer-encoding", "TE", "a b", ""]
        {
            assert!(field(name, "x").is_err(), "{name}");
        }
        assert!(field("X-A", "a\nb").is_err_and(|said| !said.contains("a\nb")));
        assert_eq!(field("Authorization", " Bearer x\n").unwrap().1, "Bearer x");
        assert_eq!(basic("Aladdin", "open sesame").unwrap().1, "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert!(basic("a:b", "c").is_err());
    }
}
