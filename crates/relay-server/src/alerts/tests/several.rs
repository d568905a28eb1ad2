//! Two servers on one store.

use relay_store::redis::{Options, RedisStore};
use tokio::runtime::{Builder, Runtime};

use super::*;

#[path = "../../../../relay-store/tests/redis/node.rs"]
#[expect(dead_code, reason = "more can be done with a Redis than is done here")]
mod node;

/// A server with a runtime of its own, which ends with it.
struct Peer {
    name: &'static str,
    store: Arc<RedisStore>,
    server: Server,
    runtime: Runtime,
    _dir: TempDir,
}

impl Peer {
    fn start(name: &'static str, node: &node::Node, target: &Target) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let alerts = vec![alert("ops", Way::Post(post_to(target, Format::StandardWebhooks)))];
        let config = Config { alerts, server: name.to_owned(), ..Config::sample(dir.path().to_owned()) };
        let options = Options { glance_every: Duration::from_millis(20), ..Options::new(node.address()) };
        let (store, server) = runtime.block_on(async {
            let store = Arc::new(RedisStore::open(options));
            store.begin().await.unwrap();
            let server = Server::start(config, store.clone(), Outside::default()).await.unwrap();
            (store, server)
        });
        Self { name, store, server, runtime, _dir: dir }
    }

    /// Whether it tells what is of the store.
    fn is_teller(&self) -> bool {
        let watched = self.server.watched();
        self.runtime.block_on(async { watched.hub.partitions().await.unwrap().hold_first() })
    }

    fn look_after(&self, span: Duration) {
        let (alerts, watched) = (self.server.alerts(), self.server.watched());
        *alerts.ahead.lock().unwrap() += span;
        self.runtime.block_on(async {
            watched.health.forget().await;
            alerts.step(&watched).await;
        });
    }

    /// What is on its way has left, and that is kept.
    fn until_kept(&self) {
        until(|| self.server.alerts().receivers().all(|receiver| receiver.is_idle()));
        self.look_after(Duration::ZERO);
    }

    /// It is gone in the middle of whatever it does.
    fn kill(self) {
        std::mem::forget(self.server);
        self.runtime.shutdown_background();
    }
}

fn until(what: impl Fn() -> bool) {
    let began = tokio::time::Instant::now();
    while !what() {
        assert!(began.elapsed() < Duration::from_secs(120), "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// F1: what is of the store is told once by one of two servers, and as over by the other when the first is killed in between. Meanwhile
/// whoever asks either of them sees it.
#[test]
fn what_is_of_the_store_is_told_once_though_the_teller_is_killed() {
    let here = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (node, target) = (node::Node::start(), here.block_on(Target::start()));
    let peers = ["one", "two"].map(|name| Peer::start(name, &node, &target));
    until(|| peers.iter().all(|peer| peer.runtime.block_on(peer.server.watched().hub.view()).servers.len() == 1));
    let [mut teller, mut other] = peers;
    until(|| teller.is_teller() != other.is_teller());
    if other.is_teller() {
        std::mem::swap(&mut teller, &mut other);
    }
    let destination = "default".parse().unwrap();
    let set_paused = |peer: &Peer, is_paused| {
        let registry = peer.server.watched().registry;
        peer.runtime.block_on(registry.set_paused(&destination, is_paused, &Principal::CONFIG)).unwrap();
    };
    let sees_pause = |peer: &Peer| peer.server.watched().registry.directory().routing.paused.contains(&destination);
    set_paused(&teller, true);
    until(|| sees_pause(&other));
    let at = teller.server.alerts().clock.wall();
    let append = append(&mut IdMint::new(0, 7), at, ("default", "default"), |waits| waits);
    let stored = teller.runtime.block_on(async { teller.store.append(vec![append]).await });
    assert!(stored.iter().all(Result::is_ok));

    for span in [Duration::ZERO, limits::ALERT_HOLD] {
        teller.look_after(span);
        other.look_after(span);
    }
    let got = here.block_on(target.until(1));
    assert_eq!(of(&got[0].json(), "begun"), [("paused".into(), "default".into())]);
    assert_eq!(got[0].json()["data"]["server"], teller.name);
    teller.until_kept();
    other.until_kept();
    for peer in [&teller, &other] {
        let firing = peer.server.alerts().firing();
        assert_eq!(firing.iter().map(|past| past.key.kind.as_str()).collect::<Vec<_>>(), ["paused"], "{}", peer.name);
    }
    teller.kill();

    until(|| other.is_teller());
    for _ in 0..10 {
        other.look_after(limits::ALERT_HOLD);
    }
    other.until_kept();
    assert_eq!(target.got().len(), 1, "it was told before");
    set_paused(&other, false);
    for _ in 0..10 {
        other.look_after(limits::ALERT_HOLD);
    }
    let got = here.block_on(target.until(2));
    assert_eq!(of(&got[1].json(), "over"), [("paused".into(), "default".into())]);
    other.until_kept();
    assert_eq!(target.got().len(), 2);
    let documents = other.runtime.block_on(async { other.store.documents(DocumentKind::Alert).await }).unwrap();
    let told = documents.iter().filter(|document| document.key.name != "@relay").count();
    assert_eq!(told, 0, "nothing is told any more");
    other.kill();
}
