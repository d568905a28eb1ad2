//! What went wrong on the way to a server or a target, in words.

use std::{error::Error, io};

use relay_net::dial::DialError;
use rustls::{AlertDescription, CertificateError, InvalidMessage};

/// Whose certificate it is, and so where its authority is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The relay server's.
    Server,
    /// A target's.
    Target,
}

/// In words that say where to look.
pub(crate) fn explain(error: &DialError, whose: Whose) -> String {
    if let Some(what) = error.shortage() {
        return format!("this machine lacks {what}; {}", what.remedy());
    }
    match error {
        DialError::Connect { peer, source } | DialError::Encrypt { peer, source } => explain_io(source, peer, whose),
        DialError::Tunnel(error) => error.to_string(),
        DialError::Socks(error) => error.to_string(),
        DialError::Silent(_) => error.to_string(),
    }
}

fn explain_io(error: &io::Error, peer: &str, whose: Whose) -> String {
    if let Some(error) = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
        return explain_tls(error, peer, whose);
    }
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused by {peer}; is anything listening there?"),
        io::ErrorKind::TimedOut => format!("no answer from {peer}"),
        io::ErrorKind::ConnectionReset => format!("connection reset by {peer}"),
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => format!("no route to {peer}"),
        io::ErrorKind::UnexpectedEof => {
            format!(
                "{peer} closed the connection during the TLS handshake; does it speak TLS? if not, {}",
                plainly(whose)
            )
        }
        io::ErrorKind::InvalidData => format!("TLS with {peer} failed: {error}"),
        _ if error.to_string().contains("lookup") => match whose {
            Whose::Server => {
                format!("cannot resolve the name in {peer}: {error}; where a proxy alone does, name it: RELAY_PROXY")
            }
            Whose::Target => format!("cannot resolve the name in {peer}: {error}"),
        },
        _ => format!("cannot connect to {peer}: {error}"),
    }
}

/// What to do about a peer that speaks no TLS.
const fn plainly(whose: Whose) -> &'static str {
    match whose {
        Whose::Server => {
            "it wants a certificate (TLS_CERT_FILE there) or a proxy that has one; http:// goes to this machine, elsewhere with --allow-http alone"
        }
        Whose::Target => "use http://",
    }
}

/// In words, why the TLS of a peer, once set up, was ended for who this client is, before anybody behind it saw a byte;
/// `None`: it ended otherwise.
pub(crate) fn explain_alert(error: &(dyn Error + 'static), peer: &str, whose: Whose) -> Option<String> {
    let mut cause = Some(error);
    while let Some(here) = cause {
        let inner = here.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let refused = inner.and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(
            alert @ rustls::Error::AlertReceived(
                AlertDescription::CertificateRequired
                | AlertDescription::BadCertificate
                | AlertDescription::HandshakeFailure
                | AlertDescription::UnknownCA
                | AlertDescription::CertificateExpired
                | AlertDescription::CertificateRevoked
                | AlertDescription::CertificateUnknown
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::DecryptError,
            ),
        ) = refused
        {
            return Some(explain_tls(alert, peer, whose));
        }
        cause = here.source();
    }
    None
}

fn explain_tls(error: &rustls::Error, peer: &str, whose: Whose) -> String {
    let file = match whose {
        Whose::Server => "RELAY_CA_FILE",
        Whose::Target => "ca_file of its [destination.NAME]",
    };
    let own = match whose {
        Whose::Server => "RELAY_CERT_FILE and RELAY_KEY_FILE",
        Whose::Target => "cert_file and key_file of its [destination.NAME]",
    };
    match error {
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            format!("{peer} speaks no TLS, but plain HTTP as it seems; {}", plainly(whose))
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::Other(_),
        ) => {
            format!(
                "the certificate of {peer} is not trusted ({error}): give that of its authority, or itself, as a PEM file in {file}"
            )
        }
        rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => format!(
            "the key of {peer} is none of RELAY_PIN: if it is a new one of the server's, give its pin too; if not, somebody is in the way"
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => format!(
            "the certificate of {peer} is another host's ({error}): use a name that it holds, or a certificate with this one as subjectAltName"
        ),
        rustls::Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            format!("the certificate of {peer} has expired ({error}); is the clock of this machine right?")
        }
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => format!("the certificate of {peer} is not valid yet ({error}); is the clock of this machine right?"),
        rustls::Error::AlertReceived(AlertDescription::CertificateRequired) => {
            format!("{peer} wants a certificate of the client, and this one shows none: name one in {own}")
        }
        rustls::Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::BadCertificate) => {
            format!(
                "{peer} refused TLS ({error}); perhaps it wants another certificate of the client than that in {own}"
            )
        }
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::UnknownCA
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::DecryptError),
        ) => format!("{peer} does not take the certificate of this client ({alert:?}): another one goes into {own}"),
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
            format!("{peer} does not speak TLS 1.2 or 1.3 as this client does: {error}")
        }
        _ => format!("TLS with {peer} failed: {error}"),
    }
}

/// Whether an answer in plain HTTP says that the port speaks TLS: the words of nginx, Go's server, Apache, and Tomcat.
pub(crate) fn wants_tls(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    [
        "plain http request was sent to https port",
        "http request to an https server",
        "speaking plain http to an ssl-enabled server port",
        "combination of host and port requires tls",
    ]
    .iter()
    .any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_where_nothing_listens_is_named() {
        let source = io::ErrorKind::ConnectionRefused.into();
        let words = explain(&DialError::Connect { peer: "h:1".into(), source }, Whose::Target);
        assert!(words.contains("refused by h:1"), "{words}");
    }

    #[test]
    fn what_this_machine_lacks_is_no_fault_of_the_peer() {
        let source = io::Error::from_raw_os_error(24);
        let words = explain(&DialError::Connect { peer: "h:1".into(), source }, Whose::Server);
        assert!(words.starts_with("this machine lacks open files") && words.contains("LimitNOFILE="), "{words}");
    }

    #[test]
    fn a_failed_handshake_names_the_way_out() {
        let explain =
            |error: rustls::Error, whose| explain_io(&io::Error::new(io::ErrorKind::InvalidData, error), "h:1", whose);
        let unknown = || rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        assert!(explain(unknown(), Whose::Server).contains("RELAY_CA_FILE"));
        assert!(explain(unknown(), Whose::Target).contains("ca_file"));
        let plain = explain(rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType), Whose::Server);
        assert!(plain.contains("plain HTTP") && plain.contains("http://"), "{plain}");
    }
}
