use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
};

use relay_core::{
    hub::Serves,
    name::Name,
    time::Wall,
    wire::message::{Chunk, HeldList, Message},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Sleep, sleep},
};

use super::*;
use crate::{
    clock::Clock,
    connect::{account::Account, static_token_name},
    hub::Handle,
    principal::Principal,
    registry::{NewToken, Registry},
    secret,
};

/// A peer that takes so many bytes at a time, with a pause after them, and sends none.
struct Drip {
    bytes: usize,
    pause: Duration,
    next: Pin<Box<Sleep>>,
}

impl AsyncRead for Drip {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Drip {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        if self.bytes == 0 {
            return Poll::Pending;
        }
        ready!(self.next.as_mut().poll(cx));
        let pause = self.pause;
        self.next.as_mut().reset(Instant::now() + pause);
        Poll::Ready(Ok(buf.len().min(self.bytes)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A peer whose first word is the end of whoever reads it.
struct Poison;

impl AsyncRead for Poison {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        panic!("a bug")
    }
}

impl AsyncWrite for Poison {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// I8: the hub hears of the end of a session whose task panicked, and takes its leases back.
#[tokio::test]
async fn a_session_that_panics_is_closed() {
    let admin = crate::offline::tests::admin(Arc::new(relay_store::memory::MemoryStore::new())).await;
    let (hub, mut inlet) = Handle::new();
    let (registry, supervisor) = (Arc::clone(&admin.registry), admin.supervisor.clone());
    let gate = Gate::new(hub, registry, secret::sha256(b"a-token"), supervisor.clone(), Arc::clone(&admin.guesses));
    supervisor.spawn(TaskKind::Session, "session", async move {
        let holder = Holder { token: static_token_name(), serves: Serves::All, digest: [0; 32] };
        gate.serve(Poison, holder, String::new()).await;
        Ok(())
    });
    let Some(Event::Opened { conn, socket: _socket, .. }) = inlet.event().await else { panic!("it is opened first") };
    assert!(matches!(inlet.event().await, Some(Event::Closed(closed)) if closed == conn));
}

/// I21: a token that was revoked while its socket was upgraded lets nobody in: the hub may have heard of that before it heard of
/// the socket.
#[tokio::test]
async fn a_token_that_went_meanwhile_ends_its_session() {
    let admin = crate::offline::tests::admin(Arc::new(relay_store::memory::MemoryStore::new())).await;
    let (hub, mut inlet) = Handle::new();
    let (registry, supervisor) = (Arc::clone(&admin.registry), admin.supervisor.clone());
    let gate = Gate::new(hub, registry, secret::sha256(b"a-token"), supervisor.clone(), Arc::clone(&admin.guesses));
    let (near, far) = tokio::io::duplex(1 << 16);
    supervisor.spawn(TaskKind::Session, "session", async move {
        let holder = Holder { token: "office".parse().unwrap(), serves: Serves::All, digest: [0; 32] };
        gate.serve(near, holder, String::new()).await;
        Ok(())
    });
    let Some(Event::Opened { conn, socket: _socket, .. }) = inlet.event().await else { panic!("it is opened first") };
    assert!(matches!(inlet.event().await, Some(Event::Closed(closed)) if closed == conn));
    let mut peer = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    let Some(Ok(Frame::Close(Some(said)))) = peer.next().await else { panic!("it is told why") };
    assert_eq!(said.reason.as_str(), CHANGED);
}

/// I21: a token that may serve less, or is gone, by the time the socket of its client is upgraded ends that session before its
/// client is heard; one that is as it was goes on.
#[tokio::test]
async fn a_token_that_changes_during_the_upgrade_ends_its_session() {
    let store = Arc::new(relay_store::memory::MemoryStore::new());
    let config = crate::Config::sample("/nonexistent".into());
    let registry = Registry::open(store.clone(), Clock::start(Wall::MIN), &config).await.unwrap();
    let registry = Arc::new(registry);
    let admin = crate::offline::tests::admin(store).await;
    let (hub, mut inlet) = Handle::new();
    let supervisor = admin.supervisor.clone();
    let gate = Gate::new(
        hub,
        Arc::clone(&registry),
        secret::sha256(b"a-token"),
        supervisor.clone(),
        Arc::clone(&admin.guesses),
    );
    let (who, token) = (Principal::nobody("cli"), "office".parse::<Name>().unwrap());
    let made = registry
        .create_token(NewToken { name: token.clone(), destinations: None, pins: Vec::new() }, &who)
        .await
        .unwrap();
    let digest = secret::sha256(made.secret.as_bytes());
    let holder = || Holder { token: token.clone(), serves: Serves::All, digest };
    let upgraded = |holder: Holder| {
        let (near, far) = tokio::io::duplex(1 << 16);
        let gate = gate.clone();
        supervisor.spawn(TaskKind::Session, "session", async move {
            gate.serve(near, holder, String::new()).await;
            Ok(())
        });
        far
    };
    let far = upgraded(holder());
    let mut peer = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    let Some(Event::Opened { conn, socket: _kept, .. }) = inlet.event().await else { panic!("it is opened first") };
    peer.send(Frame::Binary(codec::encode(Message::Extend(HeldList::default())))).await.unwrap();
    assert!(matches!(inlet.event().await, Some(Event::Received(on, _)) if on == conn), "as it was, it is heard");
    drop(peer);
    assert!(matches!(inlet.event().await, Some(Event::Closed(closed)) if closed == conn));

    let before = holder();
    registry.update_token(&token, Some(vec![Name::fallback()]), &who).await.unwrap();
    for changed in 0..2 {
        let far = upgraded(before.clone());
        let mut peer = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        // What it says at once is not heard.
        peer.send(Frame::Binary(codec::encode(Message::Extend(HeldList::default())))).await.unwrap();
        let Some(Event::Opened { conn, socket: _kept, .. }) = inlet.event().await else { panic!("it is opened first") };
        assert!(matches!(inlet.event().await, Some(Event::Closed(closed)) if closed == conn), "{changed}");
        let Some(Ok(Frame::Close(Some(said)))) = peer.next().await else { panic!("it is told why") };
        assert_eq!(said.reason.as_str(), CHANGED);
        registry.revoke_token(&token, &who).await.unwrap();
    }
}

/// S11: a session that floods has its allowance waiting for the hub and no more, and others are heard meanwhile.
#[tokio::test(start_paused = true)]
async fn a_session_that_floods_waits_by_itself() {
    let admin = crate::offline::tests::admin(Arc::new(relay_store::memory::MemoryStore::new())).await;
    let (hub, mut inlet) = Handle::new();
    let (registry, supervisor) = (Arc::clone(&admin.registry), admin.supervisor.clone());
    let gate = Gate::new(hub, registry, secret::sha256(b"a-token"), supervisor.clone(), Arc::clone(&admin.guesses));
    let (near, far) = tokio::io::duplex(1 << 16);
    let floods = gate.clone();
    supervisor.spawn(TaskKind::Session, "session", async move {
        let holder = Holder { token: static_token_name(), serves: Serves::All, digest: [0; 32] };
        floods.serve(near, holder, String::new()).await;
        Ok(())
    });
    let mut peer = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
    tokio::spawn(async move {
        let heartbeat = || Frame::Binary(codec::encode(Message::Extend(HeldList::default())));
        while peer.send(heartbeat()).await.is_ok() {}
    });
    let Some(Event::Opened { conn, socket: _socket, .. }) = inlet.event().await else { panic!("it is opened first") };
    let mut waiting = Vec::new();
    while let Ok(Some(event)) = timeout(Duration::from_secs(1), inlet.event()).await {
        assert!(matches!(event, Event::Received(said_on, _) if said_on == conn));
        waiting.push(event);
    }
    assert_eq!(waiting.len(), limits::SESSION_WAITING_WEIGHT as usize);

    let other = gate.attach();
    let Some(Event::Opened { socket: _other_socket, .. }) = inlet.event().await else { panic!("another is let in") };
    for _ in 0..2 * limits::SESSION_WAITING_WEIGHT {
        let Ok(()) = other.to_server.try_send(Message::Extend(HeldList::default())) else { break };
    }
    let heard = timeout(Duration::from_secs(1), inlet.event()).await;
    assert!(matches!(heard, Ok(Some(Event::Received(said_on, _))) if said_on != conn), "and is heard");

    waiting.clear();
    let mut again = timeout(Duration::from_secs(1), inlet.event()).await;
    while matches!(again, Ok(Some(Event::Received(said_on, _))) if said_on != conn) {
        again = timeout(Duration::from_secs(1), inlet.event()).await;
    }
    assert!(matches!(again, Ok(Some(Event::Received(..)))), "what was handled makes room");
}

/// Counts the lines of garbled sessions.
#[derive(Clone, Default)]
struct Misbehaved(Arc<AtomicUsize>);

impl tracing::Subscriber for Misbehaved {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut |_: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            self.0.fetch_add(usize::from(format!("{value:?}") == "\"client_misbehaved\""), Ordering::Relaxed);
        });
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// S11, S27: sessions that say what is no message end, each, and their lines do not fill the log.
#[tokio::test]
async fn garbled_sessions_make_one_line_a_minute() {
    let lines = Misbehaved::default();
    let _guard = tracing::subscriber::set_default(lines.clone());
    let admin = crate::offline::tests::admin(Arc::new(relay_store::memory::MemoryStore::new())).await;
    let (hub, mut inlet) = Handle::new();
    let (registry, supervisor) = (Arc::clone(&admin.registry), admin.supervisor.clone());
    let gate = Gate::new(hub, registry, secret::sha256(b"a-token"), supervisor, Arc::clone(&admin.guesses));
    let hears = tokio::spawn(async move {
        // Let go, a session's socket would end by that.
        let mut heard = Vec::new();
        while let Some(event) = inlet.event().await {
            heard.push(event);
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    for _ in 0..300 {
        let mut peer = tokio::net::TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, _) = listener.accept().await.unwrap();
        peer.write_all(&[0x82, 0x83, 0, 0, 0, 0, 0xff, 0xff, 0xff]).await.unwrap();
        let holder = Holder { token: static_token_name(), serves: Serves::All, digest: [0; 32] };
        timeout(Duration::from_secs(20), gate.serve(near, holder, String::new())).await.expect("it ends");
    }
    assert_eq!(lines.0.load(Ordering::Relaxed), 1);
    hears.abort();
}

/// How writing a chunk of a body to such a peer ends.
async fn written_to(bytes_per_second: usize) -> Ended {
    let (outbox, inbox) = Outbox::new();
    let place = outbox.try_reserve().expect("nothing waits");
    let data = vec![0; limits::CHUNK_BYTES].into();
    place.send(Message::Chunk(Chunk { lease: None, offset: 0, data }));
    drop(outbox);
    let (stream, pace) = Paced::new(Drip {
        bytes: bytes_per_second,
        pause: Duration::from_secs(1),
        next: Box::pin(sleep(Duration::ZERO)),
    });
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let share = Account::new(u64::MAX).share(ConnId(1), pace);
    write(&mut socket, inbox, &share).await
}

/// I15: on a link of 64 KiB/s a small webhook that comes while a body of megabytes is on its way leaves within a second or
/// so, not behind all that was chosen before it came.
#[tokio::test(start_paused = true)]
async fn little_is_in_front_of_what_comes_next_on_a_slow_link() {
    const BYTES_PER_SECOND: usize = 64 * 1024;
    let (outbox, inbox) = Outbox::new();
    // A sixteenth of a second at a time.
    let drip = Drip {
        bytes: BYTES_PER_SECOND / 16,
        pause: Duration::from_secs(1) / 16,
        next: Box::pin(sleep(Duration::ZERO)),
    };
    let (stream, pace) = Paced::new(drip);
    let mut socket = WebSocketStream::from_raw_socket(stream, Role::Server, None).await;
    let queued = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&queued);
    let feed = async {
        // As the hub's driver does: whenever there is room, the next piece.
        loop {
            while let Ok(place) = outbox.try_reserve() {
                let data = vec![0; place.piece_bytes()];
                count.fetch_add(data.len(), Ordering::Relaxed);
                place.send(Message::Chunk(Chunk { lease: None, offset: 0, data: data.into() }));
            }
            outbox.space().await;
        }
    };
    let taken = Arc::clone(&pace);
    let looks = async {
        sleep(Duration::from_secs(20)).await;
        for _ in 0..100 {
            sleep(Duration::from_millis(137)).await;
            let chosen = queued.load(Ordering::Relaxed);
            let in_front = chosen.saturating_sub(taken.taken() as usize);
            assert!(in_front <= BYTES_PER_SECOND, "{in_front} bytes would go first");
        }
    };
    let share = Account::new(u64::MAX).share(ConnId(1), Arc::clone(&pace));
    let writes = Box::pin(write(&mut socket, inbox, &share));
    tokio::select! {
        () = feed => unreachable!(),
        ended = writes => panic!("{ended:?}"),
        () = looks => {}
    }
    assert!(pace.taken() as usize > 25 * BYTES_PER_SECOND, "and the link is busy: {}", pace.taken());
}

/// I19: a link may be slow for as long as it likes; a peer that takes nothing is given up.
#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_little_is_not_stuck() {
    let began = Instant::now();
    assert_eq!(written_to(500).await, Ended::ByHub);
    assert!(began.elapsed() > 2 * WRITE_TIMEOUT, "or it was no slow link");
    assert_eq!(written_to(0).await, Ended::Stuck);
}
