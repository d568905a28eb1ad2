use std::sync::Arc;

use relay_store::{
    memory::{Edge, MemoryStore},
    seam::{self, Registry as _},
};

use super::*;
use crate::{
    clock::Clock,
    document::Dedupe,
    registry::{NewSource, NewToken, SourceUpdate},
};

const CLI: Principal = Principal::nobody("cli");
const OLD: &str = "the-old-secret-of-the-tests";
const NEW: &str = "the-new-secret-of-the-tests";

async fn open(store: &Arc<MemoryStore>) -> Registry {
    let store: Arc<dyn seam::Registry> = Arc::<MemoryStore>::clone(store);
    let config = crate::Config::sample(std::path::PathBuf::new());
    Registry::open(store, Clock::start(Wall::from_micros(1)), &config).await.unwrap()
}

async fn with_shop() -> (Arc<MemoryStore>, Registry) {
    let store = Arc::new(MemoryStore::new());
    let registry = open(&store).await;
    let new = NewSource {
        name: name("shop"),
        provider: "meta".into(),
        parameters: set(&[("app_secret", OLD), ("verify_token", "our-verify-token")]),
        network: crate::config::NetworkPolicy::default(),
        allow_empty: false,
        dedupe: Dedupe::Auto,
        await_secret: false,
        destination: name("crm"),
    };
    registry.create_source(new, &CLI).await.unwrap();
    (store, registry)
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn set(pairs: &[(&str, &str)]) -> Parameters {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The values of `app_secret`: the present one, and that of before if it is valid.
fn secrets(registry: &Registry) -> (Vec<String>, Option<Vec<String>>) {
    let source = registry.directory().sources["shop"].document.clone();
    let of = |parameters: &[(String, String)]| {
        let values = parameters.iter().filter(|(name, _)| name == "app_secret" || name == "secret");
        values.map(|(_, value)| value.clone()).collect::<Vec<_>>()
    };
    assert!(source.parameters.iter().any(|(name, _)| name == "verify_token"), "what is not named stays");
    let old = source.old_parameters(provider("meta").unwrap());
    assert_eq!(registry.directory().intakes["shop"].old.is_some(), old.is_some());
    (of(&source.parameters), old.map(|old| of(&old)))
}

fn only(value: &str) -> (Vec<String>, Option<Vec<String>>) {
    (vec![value.to_owned()], None)
}

fn both() -> (Vec<String>, Option<Vec<String>>) {
    (vec![NEW.to_owned()], Some(vec![OLD.to_owned()]))
}

#[tokio::test]
async fn both_secrets_of_a_source_are_valid_until_it_is_finished_or_aborted() {
    let (store, registry) = with_shop().await;
    // By the other name of the key: it is the same one.
    registry.rotate_source(&name("shop"), &set(&[("secret", NEW)]), None, &CLI).await.unwrap();
    assert_eq!(secrets(&registry), both());
    let again = registry.rotate_source(&name("shop"), &set(&[("app_secret", "x-y-z-and-more")]), None, &CLI).await;
    assert!(again.unwrap_err().to_string().contains("--finish"), "one at a time");

    let registry = open(&store).await;
    assert_eq!(secrets(&registry), both(), "also after a restart");
    registry.end_source_rotation(&name("shop"), End::Abort, &CLI).await.unwrap();
    assert_eq!(secrets(&registry), only(OLD));

    registry.rotate_source(&name("shop"), &set(&[("app_secret", NEW)]), None, &CLI).await.unwrap();
    registry.end_source_rotation(&name("shop"), End::Finish, &CLI).await.unwrap();
    assert_eq!(secrets(&registry), only(NEW));
    let twice = registry.end_source_rotation(&name("shop"), End::Finish, &CLI).await.unwrap_err();
    assert!(matches!(twice, RegistryError::Conflict(_)), "{twice}");
    let log = store.audit_log();
    let did: Vec<&str> = log.iter().map(|line| line.action.as_str()).filter(|action| action.contains("rot")).collect();
    assert_eq!(did, ["source.rotate", "source.rotate_abort", "source.rotate", "source.rotate_finish"]);
    assert!(log.iter().all(|line| !line.subject.contains(NEW) && !line.subject.contains(OLD)));
}

/// Whoever says what a secret is, after it has leaked, means that no other is valid; other parameters concern neither.
#[tokio::test]
async fn an_update_of_the_secret_ends_its_rotation_and_one_of_another_parameter_does_not() {
    let (_store, registry) = with_shop().await;
    registry.rotate_source(&name("shop"), &set(&[("app_secret", NEW)]), None, &CLI).await.unwrap();
    let update = |set: Parameters| SourceUpdate { set, ..SourceUpdate::default() };
    let token = update(set(&[("verify_token", "another-verify-token")]));
    registry.update_source(&name("shop"), token, &CLI).await.unwrap();
    assert_eq!(secrets(&registry), both());
    let third = "the-third-secret-of-the-tests";
    registry.update_source(&name("shop"), update(set(&[("secret", third)])), &CLI).await.unwrap();
    assert_eq!(secrets(&registry), only(third), "also under its other name");
}

#[tokio::test]
async fn what_is_no_secret_or_was_not_there_is_not_rotated() {
    let (_store, registry) = with_shop().await;
    let day = Some(Duration::from_hours(24));
    for (set, keep_old, words) in [
        (set(&[]), day, "say which secret"),
        (set(&[("app_secret", "")]), day, "app_secret"),
        (set(&[("app_sekret", NEW)]), day, "app_sekret"),
        (set(&[("app_secret", NEW)]), Some(Duration::ZERO), "1 s to 366 days"),
        (set(&[("app_secret", NEW)]), Some(Duration::MAX), "1 s to 366 days"),
    ] {
        let refused = registry.rotate_source(&name("shop"), &set, keep_old, &CLI).await.unwrap_err().to_string();
        assert!(refused.contains(words), "{refused}");
        assert!(!refused.contains(NEW));
    }
    assert_eq!(secrets(&registry), only(OLD));
    let missing = registry.rotate_source(&name("shap"), &set(&[("app_secret", NEW)]), None, &CLI).await;
    assert!(matches!(missing, Err(RegistryError::Unknown { .. })));
}

/// I21: what a token lets in goes by the time, also before its document is written.
#[tokio::test]
async fn an_old_secret_is_worth_nothing_after_its_time_and_leaves_the_store() {
    let (store, registry) = with_shop().await;
    let new = NewToken { name: name("crm"), destinations: None, pins: Vec::new() };
    let first = registry.create_token(new, &CLI).await.unwrap();
    let keep = Some(Duration::from_secs(1));
    registry.rotate_source(&name("shop"), &set(&[("app_secret", NEW)]), keep, &CLI).await.unwrap();
    let second = registry.rotate_token(&name("crm"), keep, &CLI).await.unwrap();
    let (old, new) = (secret::sha256(first.secret.as_bytes()), secret::sha256(second.secret.as_bytes()));
    let until = second.document.rotation.as_ref().unwrap().until().unwrap();
    let valid = |at: Wall| second.document.digests(at).copied().collect::<Vec<_>>();
    assert_eq!(valid(Wall::MIN), [new, old]);
    assert_eq!(valid(until), [new]);
    let intake = Arc::clone(&registry.directory().intakes["shop"]);
    assert!(!intake.old.as_ref().unwrap().is_valid(until));

    let registry = Arc::new(registry);
    let (kept, mut changes) = (Arc::clone(&registry), registry.follower.sweeps());
    let keeping = tokio::spawn(async move { kept.keep_time().await });
    while registry.directory().rotations_end().next().is_some() {
        changes.changed().await.unwrap();
    }
    keeping.abort();
    assert_eq!(secrets(&registry), only(NEW));
    let log = store.audit_log();
    let by_server: Vec<&str> =
        log.iter().filter(|line| line.who == "server").map(|line| line.action.as_str()).collect();
    assert_eq!(by_server, ["source.rotate_finish", "token.rotate_finish"]);
    let bodies = store.documents(DocumentKind::Source).await.unwrap();
    assert!(bodies.iter().all(|document| !document.body.contains(OLD)));
}

/// What was over before it was looked for, as when another's time ended a moment earlier or the store was away, goes all the same.
#[tokio::test]
async fn an_old_secret_that_is_over_already_leaves_the_store() {
    let (_store, registry) = with_shop().await;
    let keep = Some(Duration::from_secs(1));
    registry.rotate_source(&name("shop"), &set(&[("app_secret", NEW)]), keep, &CLI).await.unwrap();
    let until = registry.directory().rotations_end().next().unwrap();
    while registry.clock.now().wall <= until {
        sleep(Duration::from_millis(20)).await;
    }
    let mut changes = registry.follower.sweeps();
    let over = async {
        while registry.directory().rotations_end().next().is_some() {
            changes.changed().await.unwrap();
        }
    };
    tokio::select! { () = registry.keep_time() => {}, () = over => {} }
    assert_eq!(secrets(&registry), only(NEW));
}

#[tokio::test]
async fn a_token_has_two_secrets_until_it_is_finished_aborted_or_revoked() {
    let (_store, registry) = with_shop().await;
    let crm = name("crm");
    let new = NewToken { name: crm.clone(), destinations: Some(vec![crm.clone()]), pins: Vec::new() };
    let first = registry.create_token(new.clone(), &CLI).await.unwrap().secret;
    let digest = |secret: &str| secret::sha256(secret.as_bytes());
    let valid = || registry.directory().tokens[&crm].document.digests(Wall::MIN).copied().collect::<Vec<_>>();
    let second = registry.rotate_token(&crm, None, &CLI).await.unwrap();
    assert_eq!(second.document.destinations, Some(vec!["crm".to_owned()]), "it serves what it served");
    assert_eq!(valid(), [digest(&second.secret), digest(&first)]);
    assert!(matches!(registry.rotate_token(&crm, None, &CLI).await, Err(RegistryError::Conflict(_))));
    registry.end_token_rotation(&crm, End::Abort, &CLI).await.unwrap();
    assert_eq!(valid(), [digest(&first)]);
    let third = registry.rotate_token(&crm, None, &CLI).await.unwrap().secret;
    registry.end_token_rotation(&crm, End::Finish, &CLI).await.unwrap();
    assert_eq!(valid(), [digest(&third)]);
    registry.rotate_token(&crm, None, &CLI).await.unwrap();
    registry.revoke_token(&crm, &CLI).await.unwrap();
    assert!(valid().is_empty(), "neither");
    assert!(matches!(registry.rotate_token(&crm, None, &CLI).await, Err(RegistryError::Conflict(_))));
    let fixed = registry.rotate_token(&name(STATIC_TOKEN), None, &CLI).await.unwrap_err().to_string();
    assert!(fixed.contains("RELAY_TOKEN, a setting"), "{fixed}");
}

/// Killed at its commit, a rotation is there whole or not at all.
#[tokio::test]
async fn a_kill_leaves_a_rotation_whole_or_none() {
    for (edge, expected) in [(Edge::BeforeCommit, only(OLD)), (Edge::AfterCommit, both())] {
        let (store, registry) = with_shop().await;
        store.fail_at(edge);
        registry.rotate_source(&name("shop"), &set(&[("app_secret", NEW)]), None, &CLI).await.unwrap_err();
        let store = Arc::new(store.reopen());
        assert_eq!(secrets(&open(&store).await), expected);
    }
}
