use std::pin::{Pin, pin};

use futures_util::FutureExt as _;
use relay_store::{memory::MemoryStore, seam};

use super::*;
use crate::{
    Config,
    directory::Versioned,
    document::{Destination, Digest, Rotation},
    hub::{Event, Inlet},
    principal::Principal,
    registry::{NewRoute, NewToken, Registry, RegistryError},
};

const CLI: Principal = Principal::nobody("cli");
const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn told(at: i64, tokens: &[Token], paused: &[&str]) -> Told {
    let config = Config::sample("/nonexistent".into());
    let mut directory = Directory::default();
    for document in tokens {
        directory.tokens.insert(document.name.clone(), Versioned { version: 1, document: document.clone() });
    }
    for paused in paused {
        let document = Destination { name: name(paused), paused: true };
        directory.destinations.insert(name(paused), Versioned { version: 1, document });
    }
    Told { directory: Arc::new(directory.routed(&config.route_defaults)), at: Wall::from_micros(at) }
}

fn token(of: &str, sha256: [u8; 32]) -> Token {
    Token {
        name: name(of),
        sha256,
        prefix: String::new(),
        destinations: None,
        pins: Vec::new(),
        rotation: None,
        created_at: Wall::MIN,
        revoked_at: None,
    }
}

fn revoked(token: &Token) -> Token {
    Token { revoked_at: Some(1), rotation: None, ..token.clone() }
}

fn follows(before: &Told, now: &Told) -> Follows {
    Follows::between(before, now)
}

/// I21: whoever made the change, sockets of a token end that is revoked, gone, or serves something else; those of a secret that
/// is worth nothing any more end with it. Nobody else's do.
#[test]
fn what_a_token_lost_follows_from_two_snapshots() {
    let office = token("office", OLD);
    let narrowed = Token { destinations: Some(vec!["crm".into()]), ..office.clone() };
    for now in [vec![revoked(&office)], vec![], vec![narrowed.clone()]] {
        let follows = follows(&told(5, &[office.clone(), token("home", NEW)], &[]), &{
            let rest = [now, vec![token("home", NEW)]].concat();
            told(6, &rest, &[])
        });
        assert_eq!((follows.hub.revoked, follows.replaced), (vec![name("office")], vec![]));
    }
    let again = follows(&told(5, &[revoked(&office)], &[]), &told(6, &[revoked(&office)], &[]));
    assert_eq!(again, Follows::default(), "and is told once");
    let widened = follows(&told(5, &[narrowed], &[]), &told(6, std::slice::from_ref(&office), &[]));
    assert_eq!(widened.hub.revoked, [name("office")], "its clients come back and hear so");

    // Revoked and made anew between two looks, as another server may do.
    let anew = follows(&told(5, &[office], &[]), &told(6, &[token("office", NEW)], &[]));
    assert_eq!((anew.hub, anew.replaced), (Followed::default(), vec![(name("office"), OLD)]));
}

/// I21: a rotation ends by a word or by the time; either way the sessions of the one that goes end, and no others.
#[test]
fn a_secret_ends_with_its_rotation_or_its_time() {
    let old = Digest { sha256: OLD, prefix: String::new() };
    let rotating = |until| {
        let rotation = Some(Rotation { old: old.clone(), since: Wall::MIN, until });
        told(5, &[Token { rotation, ..token("office", NEW) }], &[])
    };
    let (finished, aborted) = (told(6, &[token("office", NEW)], &[]), told(6, &[token("office", OLD)], &[]));
    assert_eq!(follows(&rotating(None), &finished).replaced, [(name("office"), OLD)]);
    assert_eq!(follows(&rotating(None), &aborted).replaced, [(name("office"), NEW)]);
    assert_eq!(follows(&told(4, &[token("office", OLD)], &[]), &rotating(None)), Follows::default());
    let by_time = Told { at: Wall::from_micros(7), ..rotating(Some(7)) };
    assert_eq!(follows(&rotating(Some(7)), &by_time).replaced, [(name("office"), OLD)]);
    assert_eq!(follows(&by_time, &finished), Follows::default(), "told when its time was over");
}

/// Routes and pauses go to the hub if they are others, and what is resumed is looked at again.
#[test]
fn the_hub_hears_of_routes_and_pauses_that_are_others() {
    let (none, paused) = (told(5, &[], &[]), told(6, &[], &["crm", "erp"]));
    assert_eq!(follows(&none, &told(6, &[token("office", NEW)], &[])), Follows::default());
    let begun = follows(&none, &paused).hub;
    assert_eq!(begun.routing.map(|routing| routing.paused.len()), Some(2));
    assert!(begun.woken.is_empty());
    let ended = follows(&paused, &told(7, &[], &["erp"])).hub;
    assert_eq!((ended.woken, ended.routing.map(|routing| routing.paused.len())), (vec![name("crm")], Some(1)));
}

async fn registry(store: &Arc<MemoryStore>) -> (Registry, Inlet) {
    let store: Arc<dyn seam::Registry> = Arc::<MemoryStore>::clone(store);
    let config = Config::sample("/nonexistent".into());
    let registry = Registry::open(store, Clock::start(Wall::MIN), &config).await.unwrap();
    let (hub, inlet) = Handle::new();
    registry.tell(hub);
    (registry, inlet)
}

/// What the hub hears next of the registry, and its answer.
async fn heard(inlet: &mut Inlet) -> (Followed, tokio::sync::oneshot::Sender<()>) {
    let Some(Event::Followed(followed, known)) = inlet.event().await else { panic!("of the registry alone") };
    (followed, known)
}

/// F16: no command that changes what the hub keeps is answered before the hub has answered.
#[tokio::test]
async fn a_command_is_answered_after_the_hub() {
    let cli = &CLI;
    let store = Arc::new(MemoryStore::new());
    let (registry, mut inlet) = registry(&store).await;
    let (crm, new) = (name("default"), NewToken { name: name("office"), destinations: None, pins: Vec::new() });
    registry.create_token(new, cli).await.expect("no matter of the hub's");
    let route = NewRoute { source: crm.clone(), destination: name("erp"), ttl: None, retry: None };
    let mut pause = pin!(registry.set_paused(&crm, true, cli));
    let heard = answers_after(pause.as_mut(), &mut inlet).await;
    assert!(heard.routing.is_some_and(|routing| routing.paused.contains("default")));
    let mut resume = pin!(registry.set_paused(&crm, false, cli));
    let heard = answers_after(resume.as_mut(), &mut inlet).await;
    assert!(heard.routing.is_some_and(|routing| routing.paused.is_empty()) && heard.woken == [crm.clone()]);
    let mut create = pin!(registry.create_route(route, cli));
    let heard = answers_after(create.as_mut(), &mut inlet).await;
    assert!(heard.routing.is_some_and(|routing| routing.routes["default"].len() == 2));
    let office = name("office");
    let mut revoke = pin!(registry.revoke_token(&office, cli));
    let heard = answers_after(revoke.as_mut(), &mut inlet).await;
    assert_eq!(heard, Followed { revoked: vec![office.clone()], ..Followed::default() });
}

/// What the hub hears of a command, which is answered after the hub has answered and not before.
async fn answers_after<T: std::fmt::Debug>(
    mut command: Pin<&mut impl Future<Output = Result<T, RegistryError>>>,
    inlet: &mut Inlet,
) -> Followed {
    assert!(command.as_mut().now_or_never().is_none());
    let (followed, known) = heard(inlet).await;
    assert!(command.as_mut().now_or_never().is_none(), "the hub has not answered");
    known.send(()).unwrap();
    command.now_or_never().expect("nothing else is waited for").unwrap();
    followed
}

/// What another server changed goes the same way as one's own, and who was told half of it is told all of it.
#[tokio::test]
async fn what_another_changed_is_told_alike() {
    let store = Arc::new(MemoryStore::new());
    let ((registry, mut inlet), (other, other_inlet)) = (registry(&store).await, registry(&store).await);
    drop(other_inlet);
    registry.create_token(NewToken { name: name("office"), destinations: None, pins: Vec::new() }, &CLI).await.unwrap();
    other.reload().await.unwrap();
    other.revoke_token(&name("office"), &CLI).await.unwrap();
    other.set_paused(&name("default"), true, &CLI).await.unwrap();
    for broken_off in [true, false] {
        let mut reads = pin!(registry.reload());
        assert!(reads.as_mut().now_or_never().is_none());
        let (followed, known) = heard(&mut inlet).await;
        assert_eq!(followed.revoked, [name("office")]);
        assert!(followed.routing.is_some_and(|routing| routing.paused.contains("default")));
        if !broken_off {
            known.send(()).unwrap();
            reads.await.unwrap();
        }
    }
    registry.reload().await.expect("nothing is new, and nobody is asked");
}
