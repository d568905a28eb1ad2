//! The way through a proxy, HTTP or SOCKS.

use std::{borrow::Cow, fmt, sync::Arc};

use http::Uri;
use relay_net::dial::{self, DialError};
use tokio::net::TcpStream;

use super::Failed;

/// Which proxy leads to a host; none by default.
#[derive(Clone, Default)]
pub struct ProxyChoice(Option<Arc<Choose>>);

/// Takes the URL of what is to be fetched.
type Choose = dyn Fn(&Uri) -> Option<Uri> + Send + Sync;

impl ProxyChoice {
    /// Asks `choose` for the proxy that leads to a URL; `None`: it is reached directly.
    pub fn new(choose: impl Fn(&Uri) -> Option<Uri> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(choose)))
    }

    /// The one that leads to a URL.
    pub(crate) fn of_url(&self, url: &Uri) -> Option<Uri> {
        self.0.as_deref()?(url)
    }
}

impl fmt::Debug for ProxyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "ProxyChoice(by URL)" } else { "ProxyChoice(none)" })
    }
}

/// The URL that a proxy is chosen by, where only the host of one matters.
pub(super) fn url(host: &str) -> Option<Uri> {
    Uri::builder().scheme("https").authority(&*authority(host)).path_and_query("/").build().ok()
}

/// A connection through `proxy` to a port of the first of these hosts, names or addresses, to which it leads.
pub(super) async fn tunnel(proxy: &Uri, hosts: &[String], port: u16) -> Result<TcpStream, Failed> {
    dial::through(proxy, hosts, port, None).await.map_err(|error| match error {
        DialError::Connect { source, .. } => Failed::at("cannot connect to the proxy", &source),
        other => other.to_string().into(),
    })
}

/// A host as a URL has it: with brackets around an IPv6 address.
pub(super) fn authority(host: &str) -> Cow<'_, str> {
    if host.contains(':') { format!("[{host}]").into() } else { host.into() }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[test]
    fn the_choice_is_asked_with_a_url_whatever_kind_of_host_it_is() {
        let choice = ProxyChoice::new(|url| url.to_string().parse().ok());
        for (host, want) in [
            ("keys.example", "https://keys.example/"),
            ("192.0.2.1", "https://192.0.2.1/"),
            ("2001:db8::1", "https://[2001:db8::1]/"),
        ] {
            assert_eq!(choice.of_url(&url(host).unwrap()).map(|url| url.to_string()).as_deref(), Some(want));
        }
    }

    #[tokio::test]
    async fn an_address_of_ipv6_is_asked_for_in_brackets() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let answers = async {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let read = socket.read(&mut head).await.unwrap();
            socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            (String::from_utf8_lossy(&head[..read]).into_owned(), socket)
        };
        let hosts = ["2001:db8::1".to_owned()];
        let (tunnel, (head, _socket)) = tokio::join!(tunnel(&proxy, &hosts, 443), answers);
        assert!(tunnel.is_ok());
        assert!(head.starts_with("CONNECT [2001:db8::1]:443 HTTP/1.1\r\n"), "{head}");
        assert!(head.to_ascii_lowercase().contains("\r\nhost: [2001:db8::1]:443\r\n"), "{head}");
    }

    #[tokio::test]
    async fn a_proxy_is_reached_by_an_address_of_either_kind() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).await.unwrap();
            let proxy: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
            let answers = async {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut head = [0; 1024];
                let read = socket.read(&mut head).await.unwrap();
                assert!(head[..read].starts_with(b"CONNECT keys.example:443 HTTP/1.1\r\n"));
                socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                socket
            };
            let hosts = ["keys.example".to_owned()];
            let (tunnel, _socket) = tokio::join!(tunnel(&proxy, &hosts, 443), answers);
            assert!(tunnel.is_ok(), "{proxy}: {}", tunnel.err().map_or_else(String::new, |failed| failed.why));
        }
    }
}
