//! What the public listener shows of itself, and where it sends those who come without TLS.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use relay_net::tls::{Authorities, Identity};
use relay_server::config::{AcmeConfig, ClientsListen, TlsFiles};

use super::{
    client::{Fields, listen},
    fault::{Faults, Origin},
    kind::Value,
    layers::Layers,
    raw::Section,
    settings::find,
    target::public_url,
};

/// The pairs of certificate and key: that of `TLS_CERT_FILE` and `TLS_KEY_FILE` first, then those of the file; before them all stands
/// what is `obtained`.
pub(super) fn pairs(layers: &mut Layers, obtained: Option<&AcmeConfig>) -> Vec<TlsFiles> {
    let mut pairs: Vec<TlsFiles> = of_settings(layers).into_iter().collect();
    // What is wrong with a pair is told beside what is wrong with the others.
    let mut hosts: BTreeSet<String> =
        pairs.iter().filter_map(identity).flat_map(|found| found.hosts().to_vec()).collect();
    let file = std::mem::take(&mut layers.file);
    for section in &file.tls {
        pairs.extend(of_section(section, pairs.is_empty() && obtained.is_none(), &mut hosts, &mut layers.faults));
    }
    layers.file = file;
    let is_plain = |url: &String| url.starts_with("http://");
    let speaks_tls = !pairs.is_empty() || obtained.is_some();
    if speaks_tls && layers.text("PUBLIC_URL").is_some_and(|url| is_plain(&public_url(&url))) {
        let note = "PUBLIC_URL begins with http:// and the public listener speaks TLS: senders want https://";
        layers.notes.push(note.into());
    }
    pairs
}

/// From whom a certificate is obtained.
pub(super) fn acme(layers: &mut Layers) -> Option<AcmeConfig> {
    let domains = layers.list("ACME_DOMAIN");
    if domains.is_empty() {
        for name in ["ACME_EMAIL", "ACME_DIRECTORY"] {
            if layers.given(name).is_some() {
                let nothing = format!("{name} changes nothing: ACME_DOMAIN names nothing to obtain a certificate for");
                layers.notes.push(nothing);
            }
        }
        return None;
    }
    if let Some(name) = ["TLS_CERT_FILE", "TLS_KEY_FILE"].into_iter().find(|name| layers.given(name).is_some()) {
        layers.fault(name, "ACME_DOMAIN is set too: want one of them; further pairs stand in [[tls]]");
    }
    if layers.given("REDIS_URL").is_some() {
        let want = "several servers on one Redis would each ask for a certificate, and be asked by the authority for another's: \
                    want one in files (TLS_CERT_FILE), or TLS ended at a proxy";
        layers.fault("ACME_DOMAIN", want);
    }
    if let Some(wrong) =
        domains.iter().find(|name| name.contains('*') || !name.contains('.') || name.parse::<IpAddr>().is_ok())
    {
        layers.fault(
            "ACME_DOMAIN",
            format!("no authority could check {wrong:?}: want names of DNS like relay.example.com"),
        );
    }
    let email = layers.text("ACME_EMAIL");
    if email.as_ref().is_some_and(|email| !email.contains('@') || email.contains([' ', ',', ':'])) {
        layers.fault("ACME_EMAIL", "want one address like hostmaster@example.com");
    }
    let directory = layers.text("ACME_DIRECTORY").unwrap_or_default();
    if !directory.starts_with("https://") {
        layers.fault("ACME_DIRECTORY", "want a URL that begins with https://");
    }
    Some(AcmeConfig { domains, email, directory })
}

/// Where everybody is sent to `PUBLIC_URL`.
pub(super) fn redirect(layers: &mut Layers, speaks_tls: bool) -> Option<SocketAddr> {
    let address = listen(layers, "REDIRECT_LISTEN")?;
    let leads = layers.text("PUBLIC_URL").is_some_and(|url| public_url(&url).starts_with("https://"));
    if !speaks_tls {
        let want = "the public listener speaks no TLS, so there is nothing to send anybody to: want ACME_DOMAIN, or TLS_CERT_FILE and TLS_KEY_FILE";
        layers.fault("REDIRECT_LISTEN", want);
    } else if !leads {
        layers.fault("REDIRECT_LISTEN", "where to, is not known: want PUBLIC_URL with https://");
    }
    Some(address)
}

/// Where clients alone are taken, each with a certificate of its own.
pub(super) fn clients(layers: &mut Layers, speaks_tls: bool) -> Option<ClientsListen> {
    let (addr, file) = (listen(layers, "CLIENTS_LISTEN"), layers.text("CLIENTS_CA_FILE").map(PathBuf::from));
    let Some(addr) = addr else {
        if file.is_some() {
            let nothing =
                "CLIENTS_CA_FILE changes nothing: CLIENTS_LISTEN is off, and no client is asked for a certificate";
            layers.notes.push(nothing.into());
        }
        return None;
    };
    if !speaks_tls {
        let want = "without TLS nobody can show a certificate: want TLS_CERT_FILE and TLS_KEY_FILE, or ACME_DOMAIN, whose \
                    certificate this listener shows too";
        layers.fault("CLIENTS_LISTEN", want);
    }
    let Some(ca_file) = file else {
        layers.fault("CLIENTS_LISTEN", "who signs the clients' certificates, is not known: want CLIENTS_CA_FILE");
        return None;
    };
    if let Err(error) = Authorities::in_file(&ca_file) {
        layers.fault("CLIENTS_CA_FILE", error.to_string());
    }
    Some(ClientsListen { addr, ca_file })
}

fn identity(files: &TlsFiles) -> Option<Identity> {
    Identity::in_files(&files.certificate, &files.key).ok()
}

fn of_settings(layers: &mut Layers) -> Option<TlsFiles> {
    let path = |name: &str| layers.text(name).map(PathBuf::from);
    match (path("TLS_CERT_FILE"), path("TLS_KEY_FILE")) {
        (None, None) => None,
        (Some(_), None) => {
            layers.fault("TLS_CERT_FILE", "its key is missing: want TLS_KEY_FILE too");
            None
        }
        (None, Some(_)) => {
            layers.fault("TLS_KEY_FILE", "its certificate is missing: want TLS_CERT_FILE too");
            None
        }
        (Some(certificate), Some(key)) => {
            if let Err(error) = Identity::in_files(&certificate, &key) {
                layers.fault("TLS_CERT_FILE", error.to_string());
            }
            Some(TlsFiles { certificate, key })
        }
    }
}

/// A `[[tls]]`; `hosts`: those that another pair is for.
fn of_section(
    section: &Section,
    is_first: bool,
    hosts: &mut BTreeSet<String>,
    faults: &mut Faults,
) -> Option<TlsFiles> {
    let mut fields = Fields { section, faults };
    fields.only(&["cert_file", "key_file"]);
    let mut path = |key: &str, setting: &str| {
        let origin: &Origin = section.entry(key).map_or(&section.origin, |entry| &entry.origin);
        let read = |text: &str| {
            find(setting)
                .map_or(Ok(Value::Text(text.to_owned())), |found| found.read(text, origin).map(|(_, value)| value))
        };
        fields.required(key, |text| match read(text)? {
            Value::Text(path) => Ok(PathBuf::from(path)),
            Value::Number(_) | Value::Factor(_) | Value::Span(_) => Err("want a path".to_owned()),
        })
    };
    let (certificate, key) = (path("cert_file", "TLS_CERT_FILE"), path("key_file", "TLS_KEY_FILE"));
    let files = TlsFiles { certificate: certificate?, key: key? };
    match Identity::in_files(&files.certificate, &files.key) {
        Err(error) => faults.add("tls", None, &section.origin, error.to_string()),
        // The first is shown to who asks for none that there is.
        Ok(found) if !is_first && found.hosts().iter().all(|host| hosts.contains(host)) => {
            let text = match found.hosts() {
                [] => "its certificate is for no host, so that it is never shown: want one with the names that are asked for".to_owned(),
                known => format!("it is never shown, for another pair before it is for {}; leave one out", known.join(", ")),
            };
            faults.add("tls", None, &section.origin, text);
        }
        Ok(found) => hosts.extend(found.hosts().iter().cloned()),
    }
    Some(files)
}
