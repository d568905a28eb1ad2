//! The admin API of a server elsewhere, behind a proxy that speaks TLS.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{ServerConfig, ServerConnection, StreamOwned, crypto::aws_lc_rs, pki_types::PrivateKeyDer};

use crate::place::{Place, wait_until};

/// S30: the admin token goes only to a server whose certificate holds; `RELAY_CA_FILE` names a private authority.
#[test]
fn an_admin_api_behind_tls_is_asked_once_its_certificate_holds() {
    let place = Place::new();
    let _server = place.server();
    let run: serde_json::Value = serde_json::from_str(&place.read("data/run.json")).unwrap();
    let url = front(&place, run["admin"].as_str().unwrap());
    let token = place.secret("ADMIN_TOKEN");
    let ask = |env: &[(&str, &str)]| {
        let env = [&[("ADMIN_URL", url.as_str()), ("ADMIN_TOKEN", token.as_str())], env].concat();
        place.run(&["source", "list"], &env)
    };
    let known = ask(&[("RELAY_CA_FILE", "ca.pem")]);
    assert_eq!(known.status.code(), Some(0), "{known:?}");
    assert!(String::from_utf8_lossy(&known.stdout).contains("default\tapi-key\t"), "{known:?}");

    let unknown = ask(&[]);
    assert_eq!(unknown.status.code(), Some(69), "{unknown:?}");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("RELAY_CA_FILE"), "{unknown:?}");
    assert_eq!(ask(&[("RELAY_CA_FILE", "nowhere.pem")]).status.code(), Some(78));
}

/// The port of the intake where that of the admin API belongs is the likeliest slip: every command says so, once.
#[test]
fn the_public_listener_in_place_of_the_admin_api_is_named() {
    let place = Place::new();
    let _server = place.server();
    let (url, token) = (place.server_url(), place.secret("ADMIN_TOKEN"));
    for args in [
        &["status"][..],
        &["health"],
        &["source", "list"],
        &["dead", "redrive", "--all", "--yes"],
        &["token", "create", "x"],
    ] {
        let output = place.run(args, &[("ADMIN_URL", &url), ("ADMIN_TOKEN", &token)]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(69), "{args:?}: {said}");
        assert_eq!(said.matches("is where a server takes webhooks in").count(), 1, "{args:?}: {said}");
        assert!(said.contains("ADMIN_LISTEN") && !said.contains("/webhook"), "{args:?}: {said}");
    }
}

/// Who says https where a port speaks plain HTTP hears so, and what would be right: who sends, and who asks the admin API.
#[test]
fn tls_to_a_port_that_speaks_none_is_explained() {
    let place = Place::new();
    let _server = place.server();
    let (_receiver, receiver) = place.receiver(&[]);
    let run: serde_json::Value = serde_json::from_str(&place.read("data/run.json")).unwrap();
    let admin = format!("https://{}", run["admin"].as_str().unwrap());
    let (token, receiver) = (place.secret("ADMIN_TOKEN"), receiver.replacen("http://", "https://", 1));
    let sent = place.run(&["send", "--to", &receiver, "--set", "key=a-key-that-nobody-asks-for"], &[]);
    let asked = place.run(&["source", "list"], &[("ADMIN_URL", &admin), ("ADMIN_TOKEN", &token)]);
    for output in [sent, asked] {
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success(), "{output:?}");
        assert!(said.contains("speaks no TLS") && said.contains("use http://"), "{output:?}");
    }
}

/// A server that is asked over TCP on this machine has its intake on this machine: nobody has to say where.
#[test]
fn samples_find_the_intake_of_a_server_that_is_asked_over_tcp() {
    let place = Place::new();
    let _server = place.server();
    let run: serde_json::Value = serde_json::from_str(&place.read("data/run.json")).unwrap();
    let url = format!("http://{}", run["admin"].as_str().unwrap());
    let (token, key) = (place.secret("ADMIN_TOKEN"), place.secret("API_KEY"));
    let made =
        place.cli(&["invite", "pay", "--provider", "hmac", "--set", "header=x-sig", "--set", &format!("secret={key}")]);
    assert!(made.status.success(), "{made:?}");
    let send = |args: &[&str]| {
        let env = [("ADMIN_URL", url.as_str()), ("ADMIN_TOKEN", token.as_str())];
        place.run(&[&["send"], args].concat(), &env)
    };
    for args in [&["--source", "pay"][..], &["--provider", "hmac"], &["--set", &format!("key={key}")]] {
        let output = send(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    }
    assert_eq!(place.json(&["event", "list", "--source", "pay"])["items"].as_array().unwrap().len(), 2);
}

/// S27: at the level of the default every line is ours, with an `event=`; what a library says of each handshake is one line
/// a minute.
#[test]
fn what_a_library_says_of_each_handshake_is_one_line_of_ours() {
    let place = Place::new();
    let _server = place.server();
    let run: serde_json::Value = serde_json::from_str(&place.read("data/run.json")).unwrap();
    let target = front(&place, run["admin"].as_str().unwrap());
    let _client = place.client_to("client", &target);
    place.wait_for("server.log", "client_joined");
    let failed = || place.read("client.log").matches("event=\"forward_failed\"").count();
    while failed() < 3 {
        let before = failed();
        place.send();
        wait_until("a failed forward", || failed() > before);
    }
    let log = place.read("client.log");
    assert_eq!(log.matches("event=\"library\"").count(), 1, "{log}");
    assert!(log.contains("invalid peer certificate"), "{log}");
    assert!(log.lines().all(|line| line.contains("event=\"")), "{log}");
}

/// Speaks TLS for the server at `behind`, with a certificate of an authority that is in `ca.pem`. Below `/relay` only.
fn front(place: &Place, behind: &str) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    place.write("ca.pem", &authority.pem());
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    let (config, behind) = (Arc::new(config), behind.to_owned());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/relay", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            pass(StreamOwned::new(connection, socket.unwrap()), &behind);
        }
    });
    url
}

/// One request without a body, and its answer. Whoever does not trust the certificate says nothing.
fn pass(mut client: StreamOwned<ServerConnection, TcpStream>, behind: &str) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(1) = client.read(&mut byte) else { return };
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let head = head.replacen(" /relay/", " /", 1).replacen("\r\n", "\r\nconnection: close\r\n", 1);
    let mut server = TcpStream::connect(behind).unwrap();
    server.write_all(head.as_bytes()).unwrap();
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).unwrap();
    let _ = client.write_all(&answer);
    client.conn.send_close_notify();
    let _ = client.flush();
}
