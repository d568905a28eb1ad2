//! Targets that ask who comes.

use super::*;

/// S30: what a destination has as its certificate it shows to its target.
#[tokio::test]
async fn a_target_that_wants_a_certificate_of_the_client_gets_that_of_its_destination() {
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let dir = tempfile::tempdir().unwrap();
        let (ca_file, acceptor) = demanding(&dir, version);
        let (listener, url) = listen().await;
        let file = |name: &str| dir.path().join(name);
        let destination = Destination {
            concurrency: 1,
            forward_timeout: LONG,
            ca_file: Some(ca_file),
            identity: Some(IdentityFiles { certificate: file("client.pem"), key: file("client.key") }),
            ..Destination::new("crm".parse().unwrap(), url.replace("http:", "https:").parse().unwrap())
        };
        let target = Target::new(&destination, Arc::default()).unwrap();
        let webhook = webhook(b"{}");
        let serve = async {
            let (stream, _) = listener.accept().await.unwrap();
            let mut stream = acceptor.accept(stream).await.unwrap();
            assert!(stream.get_ref().1.peer_certificates().is_some_and(|shown| shown.len() == 1));
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n{}") {
                request.push(stream.read_u8().await.unwrap());
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        };
        let (Ended::Tried(outcome), ()) = tokio::join!(target.forward(&webhook), serve) else { panic!() };
        assert_eq!(outcome.class, Class::Delivered, "{outcome:?}");
    }
}
