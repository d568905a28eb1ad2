//! The public listener over TLS, before and in the handshake.

use std::{path::Path, sync::Arc, time::Duration};

use rcgen::{CertificateParams, KeyPair};
use relay_net::{
    serve::Bounds,
    tls::{self, Identity},
};
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{Patience, Relay, STUCK, Settings, request};

/// The first bytes of a handshake that does not go on: a record of 512 bytes that are to follow.
const BEGUN: &[u8] = &[22, 3, 1, 2, 0, 1];

/// A relay that speaks TLS, and whom to trust.
async fn secured(change: impl FnOnce(&mut Settings)) -> (Relay, CertificateDer<'static>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["relay.test".to_owned()]).unwrap().self_signed(&key).unwrap();
    let (pem, key) = (certificate.pem(), key.serialize_pem());
    let identity = Identity::of((pem.as_bytes(), Path::new("a")), (key.as_bytes(), Path::new("b"))).unwrap();
    let server = tls::Server::new(&identity, &[]).unwrap();
    let relay = Relay::with(|settings| {
        settings.tls = Some(server);
        change(settings);
    });
    (relay.await, certificate.der().clone())
}

async fn shaken(relay: &Relay, trusted: &CertificateDer<'static>) -> TlsStream<TcpStream> {
    let connector = TlsConnector::from(tls::trusting(std::slice::from_ref(trusted)).unwrap());
    let name = ServerName::try_from("relay.test").unwrap();
    connector.connect(name, TcpStream::connect(relay.address).await.unwrap()).await.unwrap()
}

async fn is_taken(relay: &Relay, trusted: &CertificateDer<'static>) {
    let mut socket = shaken(relay, trusted).await;
    socket.write_all(request("POST /webhook", "Connection: close\r\n", "x").as_bytes()).await.unwrap();
    let mut said = String::new();
    timeout(STUCK, socket.read_to_string(&mut said)).await.expect("it is answered").unwrap();
    assert!(said.starts_with("HTTP/1.1 202 "), "{said}");
}

/// S9, S36: who says nothing, or begins to shake hands and stops, gives way to who comes.
#[tokio::test]
async fn handshakes_that_stop_give_way() {
    let (relay, trusted) = secured(|settings| settings.connections = Bounds::of(1)).await;
    for said in [&[][..], BEGUN] {
        let mut stuck = relay.connect().await;
        stuck.send(said).await;
        is_taken(&relay, &trusted).await;
        assert!(stuck.is_closed().await);
    }
}

/// S9, S36: so does who speaks no TLS and stays after he was told: his place is not kept for as long as he likes.
#[tokio::test]
async fn who_speaks_no_tls_and_stays_gives_way() {
    let (relay, trusted) = secured(|settings| {
        settings.connections = Bounds::of(1);
        settings.patience = Patience { handshake: STUCK * 2, ..Patience::default() };
    })
    .await;
    let mut stays = relay.connect().await;
    stays.send("G").await;
    timeout(STUCK, is_taken(&relay, &trusted)).await.expect("there is a place");
    while stays.more().await {}
}

/// S9: a handshake has its time, however many bytes of it come.
#[tokio::test]
async fn a_handshake_has_its_time() {
    let handshake = Duration::from_secs(1);
    let (relay, trusted) = secured(|settings| settings.patience = Patience { handshake, ..Patience::default() }).await;
    let mut slow = relay.connect().await;
    slow.send(BEGUN).await;
    assert!(slow.is_closed().await);
    is_taken(&relay, &trusted).await;
}

/// Who speaks plain HTTP is told, and other noise is not answered.
#[tokio::test]
async fn who_speaks_no_tls_is_told() {
    let (relay, trusted) = secured(|_| {}).await;
    let told = relay.ask(request("POST /webhook", "", "x")).await;
    assert_eq!((told.status, told.body.contains("begins with https://")), (400, true), "{told:?}");
    let mut noise = relay.connect().await;
    noise.send([BEGUN, &[0xff; 600]].concat()).await;
    while noise.more().await {}
    assert!(!noise.read.starts_with(b"HTTP"), "an alert at most");
    is_taken(&relay, &trusted).await;
}

/// I22: a stop waits for no handshake, and finishes what is asked over TLS.
#[tokio::test]
async fn a_stop_waits_for_no_handshake() {
    let (relay, trusted) = secured(|_| {}).await;
    let mut stuck = relay.connect().await;
    stuck.send(BEGUN).await;
    let socket = shaken(&relay, &trusted).await;
    relay.stop.cancel();
    assert!(stuck.is_closed().await);
    drop(socket);
    timeout(STUCK, relay.served).await.expect("it ends").unwrap();
    assert_eq!(Arc::strong_count(&relay.budget), 1);
}
