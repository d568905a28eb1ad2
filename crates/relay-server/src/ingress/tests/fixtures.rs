//! Every request in `fixtures/ingress`, over a socket.

use super::{Relay, fixture::fixtures, request};

/// S1, S2, S3, S4, S5, S6, S7, S8, S13, S18, S28, I4: each is answered as it says, and only a 202 stores anything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fixture_is_answered_as_it_says() {
    let relay = Relay::start().await;
    let fixtures = fixtures();
    assert!(fixtures.len() >= 40, "only {} fixtures found", fixtures.len());
    for fixture in fixtures {
        let name = &fixture.name;
        relay.backend.forget();
        let mut socket = relay.connect().await;
        socket.send(&fixture.bytes).await;
        let reply = socket.reply().await;
        assert_eq!(reply.status, fixture.status, "{name}: {reply:?}");
        assert_eq!(relay.backend.events().len(), usize::from(fixture.status == 202), "{name}: events stored");
        if fixture.code.is_some() {
            assert_eq!(reply.code(), fixture.code, "{name}");
            assert_eq!(relay.backend.refusals().len(), 1, "{name}: refusals counted");
        }
        match fixture.connection.as_str() {
            "closed" => assert!(socket.is_closed().await, "{name}: the connection is open"),
            "open" => {
                socket.send(request("POST /webhook", "", "again")).await;
                assert_eq!(socket.reply().await.status, 202, "{name}: the connection is of no use");
            }
            other => assert_eq!(other, "any", "{name}"),
        }
    }
    assert_eq!(relay.budget.used(), 0);
}
