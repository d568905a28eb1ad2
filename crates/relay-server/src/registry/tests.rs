use std::time::Duration;

use relay_core::{
    delivery::retry::{RetryPolicy, Schedule},
    limits,
};
use relay_store::memory::MemoryStore;

use super::*;
use crate::{
    Config,
    config::{Credentials, DeclaredRoute, DeclaredSource},
};

#[tokio::test]
async fn out_of_the_box_the_source_default_leads_to_the_destination_default() {
    let registry = open(&store(), &config()).await;
    let directory = registry.directory();
    let names: Vec<&str> = directory.intakes.keys().map(Name::as_str).collect();
    assert_eq!(names, ["default"]);
    let routes = &directory.routing.routes["default"];
    assert_eq!(routes.len(), 1);
    assert_eq!((routes[0].destination.as_str(), routes[0].ttl), ("default", limits::MESSAGE_TTL));
}

#[tokio::test]
async fn what_the_file_declares_is_read_only_and_paused_once_it_is_gone() {
    let store = store();
    let registry = open(&store, &declaring()).await;
    let shop = name("shop");
    let refused = registry.delete_source(&shop, "cli").await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "source \"shop\" is declared in crm-relay.toml line 4; change it there and restart the server"
    );
    let update = SourceUpdate { allow_empty: Some(true), ..SourceUpdate::default() };
    assert!(matches!(registry.update_source(&shop, update, "cli").await, Err(RegistryError::Declared { .. })));
    let route = &registry.directory().routing.routes["shop"][0];
    assert_eq!((route.destination.as_str(), route.ttl), ("crm", Duration::from_mins(1)));

    let registry = open(&store, &config()).await;
    let directory = registry.directory();
    assert!(directory.intakes["shop"].paused, "removed from the file: paused, never deleted");
    assert!(directory.routes[&(shop.clone(), name("crm"))].document.paused);
    assert!(directory.routing.routes.contains_key("shop"), "a source never is without a route");
    registry.delete_source(&shop, "cli").await.unwrap();
    assert!(!registry.directory().intakes.contains_key("shop"));

    let registry = open(&store, &declaring()).await;
    assert!(!registry.directory().intakes["shop"].paused, "declared again: it is back");
}

#[tokio::test]
async fn a_declared_source_with_wrong_parameters_is_named_at_start() {
    let mut config = declaring();
    config.sources[0].parameters = vec![("sekret".into(), "x".into())];
    let error =
        Registry::open(store(), Clock::start(relay_core::time::Wall::MIN), &config).await.err().unwrap().to_string();
    assert!(error.starts_with("source \"shop\": ") && error.contains("secret"), "{error}");
}

#[tokio::test]
async fn the_last_route_of_a_source_stays() {
    let registry = open(&store(), &config()).await;
    let (source, first, second) = (name("default"), name("default"), name("crm"));
    let refused = registry.delete_route(&source, &first, "cli").await.unwrap_err().to_string();
    assert!(refused.contains("crm-relay route create default NAME"), "{refused}");
    let new = NewRoute { source: source.clone(), destination: second.clone(), ttl: None, retry: None };
    registry.create_route(new.clone(), "cli").await.unwrap();
    assert!(matches!(registry.create_route(new, "cli").await, Err(RegistryError::Taken { .. })));
    registry.delete_route(&source, &first, "cli").await.unwrap();
    assert_eq!(registry.directory().routing.routes["default"][0].destination, second);
}

/// I10: a schedule longer than its TTL never comes to its end.
#[tokio::test]
async fn a_schedule_longer_than_its_ttl_is_refused() {
    let registry = open(&store(), &config()).await;
    let schedule = Schedule::Listed(vec![Duration::from_mins(10); 3]);
    let retry = Some(RetryPolicy { max_retries: 3, schedule });
    let new = |ttl| NewRoute { source: name("default"), destination: name("crm"), ttl, retry: retry.clone() };
    let refused = registry.create_route(new(Some(Duration::from_mins(20))), "cli").await.unwrap_err();
    assert!(refused.to_string().contains("longer than the TTL"), "{refused}");
    registry.create_route(new(None), "cli").await.unwrap();
}

/// S21: neither keys nor tokens are in the store, only what proves them.
#[tokio::test]
async fn no_stored_document_holds_a_key_or_a_token() {
    let store = store();
    let registry = open(&store, &config()).await;
    let new = NewKey { source: name("default"), name: name("shop") };
    let key = registry.create_key(new, "cli").await.unwrap().secret;
    let new = NewToken { name: name("crm"), destinations: None };
    let token = registry.create_token(new, "cli").await.unwrap().secret;
    for kind in [DocumentKind::Key, DocumentKind::Token] {
        let documents = store.documents(kind).await.unwrap();
        assert_eq!(documents.len(), 1);
        assert!(
            documents.iter().all(|stored| !stored.body.contains(&key[16..]) && !stored.body.contains(&token[16..]))
        );
    }
}

/// Two processes may write the same document; neither undoes the other.
#[tokio::test]
async fn a_change_is_decided_anew_when_somebody_was_faster() {
    let store = store();
    let first = open(&store, &config()).await;
    let second = open(&store, &config()).await;
    let new = NewToken { name: name("crm"), destinations: None };
    first.create_token(new.clone(), "cli").await.unwrap();
    assert!(matches!(second.create_token(new, "cli").await, Err(RegistryError::Taken { .. })));
    second.revoke_token(&name("crm"), "cli").await.unwrap();
    first.update_token(&name("crm"), Some(vec![name("default")]), "cli").await.unwrap();
    assert!(first.directory().tokens["crm"].document.revoked_at.is_some(), "it stays revoked");
}

#[tokio::test]
async fn every_change_leaves_an_audit_entry() {
    let store = store();
    let registry = open(&store, &config()).await;
    registry.set_paused(&name("default"), true, "cli").await.unwrap();
    registry.set_paused(&name("default"), true, "cli").await.unwrap();
    registry.set_paused(&name("default"), false, "admin").await.unwrap();
    let log = store.audit_log();
    let lines: Vec<(&str, &str)> = log.iter().map(|e| (e.who.as_str(), e.action.as_str())).collect();
    assert_eq!(
        lines,
        [
            ("config", "source.create"),
            ("config", "route.create"),
            ("cli", "destination.pause"),
            ("admin", "destination.resume")
        ]
    );
}

async fn open(store: &Arc<MemoryStore>, config: &Config) -> Registry {
    let store: Arc<dyn Store> = Arc::<MemoryStore>::clone(store);
    Registry::open(store, Clock::start(relay_core::time::Wall::MIN), config).await.unwrap()
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new())
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn declaring() -> Config {
    let parameters = vec![
        ("secret".to_owned(), "a-signing-secret-of-the-tests".to_owned()),
        ("header".to_owned(), "X-Signature".to_owned()),
    ];
    let source = DeclaredSource {
        name: name("shop"),
        provider: "hmac".into(),
        parameters,
        allow_empty: false,
        at: "crm-relay.toml line 4".into(),
    };
    let route = DeclaredRoute {
        source: name("shop"),
        destination: name("crm"),
        ttl: Some(Duration::from_mins(1)),
        retry: None,
        at: "crm-relay.toml line 9".into(),
    };
    Config { sources: vec![source], routes: vec![route], ..config() }
}

fn config() -> Config {
    let any = "127.0.0.1:0".parse().unwrap();
    Config {
        listen: any,
        admin_listen: None,
        data_dir: "/nonexistent".into(),
        public_url: None,
        credentials: Credentials {
            api_key: "crk_test".into(),
            relay_token: "crt_test".into(),
            admin_token: "cra_test".into(),
        },
        route_defaults: RouteDefaults { ttl: limits::MESSAGE_TTL, retry: RetryPolicy::default() },
        sources: Vec::new(),
        routes: Vec::new(),
        cors_origins: Vec::new(),
        body_bytes_max: limits::MAX_BODY_BYTES,
        inflight_bytes_max: limits::MAX_INFLIGHT_BYTES,
        disk_reserve_bytes: 0,
        dedupe_window: limits::DEDUPE_WINDOW,
        retention_delivered: Duration::from_hours(1),
        retention_dead: Duration::from_hours(1),
        lease: limits::LEASE,
        retry_after_max: limits::RETRY_AFTER_MAX,
        circuit_pause_max: limits::CIRCUIT_PAUSE_MAX,
        shutdown_grace: Duration::from_secs(1),
        summary_interval: Duration::ZERO,
    }
}
