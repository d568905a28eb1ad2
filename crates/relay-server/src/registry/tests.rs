mod answers;
mod shared;

use std::time::Duration;

use relay_core::{
    delivery::retry::{RetryPolicy, Schedule},
    limits,
    time::Wall,
};
use relay_store::{
    memory::{Edge, MemoryStore, Trouble},
    seam::Registry as _,
    sqlite::{Options, SqliteStore},
};

use super::*;
use crate::{
    Config,
    config::{DeclaredRoute, DeclaredSource, RouteDefaults},
    document::{Dedupe, Retry, Route, Source, render},
    network_policy::{NetworkPolicy, Terms},
    parameters::Parameters,
    principal::Principal,
};

const CLI: Principal = Principal::nobody("cli");

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

/// I10, I13: the operator's defaults are those of a route that has no policy of its own, and of what has no route any more.
#[tokio::test]
async fn the_operators_defaults_hold_with_a_route_and_without() {
    let mut config = config();
    let retry = RetryPolicy { max_retries: 3, schedule: Schedule::Listed(vec![Duration::from_secs(9)]) };
    config.route_defaults = RouteDefaults { ttl: Duration::from_hours(5), retry: retry.clone() };
    let registry = open(&store(), &config).await;
    let routing = Arc::clone(&registry.directory().routing);
    let route = &routing.routes["default"][0];
    assert_eq!((route.ttl, &route.retry), (Duration::from_hours(5), &retry));
    assert_eq!((routing.standard_ttl, &routing.standard_retry), (Duration::from_hours(5), &retry));
}

#[tokio::test]
async fn what_the_file_declares_is_read_only_and_paused_once_it_is_gone() {
    let store = store();
    let registry = open(&store, &declaring()).await;
    let shop = name("shop");
    let refused = registry.delete_source(&shop, &CLI).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "source \"shop\" is declared in crm-relay.toml line 4; change it there and reload the server (SIGHUP)"
    );
    let update = SourceUpdate { allow_empty: Some(true), ..SourceUpdate::default() };
    assert!(matches!(registry.update_source(&shop, update, &CLI).await, Err(RegistryError::Declared { .. })));
    let route = &registry.directory().routing.routes["shop"][0];
    assert_eq!((route.destination.as_str(), route.ttl), ("crm", Duration::from_mins(1)));

    let registry = open(&store, &config()).await;
    let directory = registry.directory();
    assert!(directory.intakes["shop"].paused, "removed from the file: paused, never deleted");
    assert!(directory.routes[&(shop.clone(), name("crm"))].document.paused);
    assert!(directory.routing.routes.contains_key("shop"), "a source never is without a route");
    registry.delete_source(&shop, &CLI).await.unwrap();
    assert!(!registry.directory().intakes.contains_key("shop"));

    let registry = open(&store, &declaring()).await;
    assert!(!registry.directory().intakes["shop"].paused, "declared again: it is back");
}

/// A comment on top of the file moves everything in it and changes nothing: no document is written, no line of the audit log.
#[tokio::test]
async fn where_in_the_file_something_stands_is_no_change_of_it() {
    let store = store();
    open(&store, &declaring()).await;
    let told = || store.audit_log().len();
    let before = told();
    assert!(before > 0);
    let mut moved = declaring();
    moved.sources[0].at = "crm-relay.toml line 9".into();
    moved.routes.iter_mut().for_each(|route| route.at = "crm-relay.toml line 12".into());
    let registry = open(&store, &moved).await;
    registry.declare_anew(&moved).await.unwrap();
    assert_eq!(told(), before);
    // And still it is said where it stands now.
    let refused = registry.delete_source(&name("shop"), &CLI).await.unwrap_err();
    assert!(refused.to_string().contains("is declared in crm-relay.toml line 9;"), "{refused}");
    moved.sources[0].at = "crm-relay.toml line 10".into();
    registry.declare_anew(&moved).await.unwrap();
    let refused = registry.delete_source(&name("shop"), &CLI).await.unwrap_err();
    assert!(refused.to_string().contains("is declared in crm-relay.toml line 10;"), "{refused}");
}

/// What events are to be found by is checked before it is kept, keeps its slot while it stays, and is the file's where that declares it.
#[tokio::test]
async fn marks_of_a_source_are_checked_and_keep_their_slots() {
    let registry = Registry::open(store(), Clock::start(Wall::MIN), &config()).await.unwrap();
    let update = |mark: &[(&str, &str)], unmark: &[&str]| SourceUpdate {
        mark: mark.iter().map(|(name, path)| (name.parse().unwrap(), path.parse().unwrap())).collect(),
        unmark: unmark.iter().map(|name| name.parse().unwrap()).collect(),
        ..SourceUpdate::default()
    };
    let slots = |source: &Source| -> Vec<(String, u8)> {
        source.marks.iter().map(|mark| (mark.name.to_string(), mark.slot)).collect()
    };
    let default = Name::fallback();
    let first = registry.update_source(&default, update(&[("a", "$.a"), ("b", "$.b")], &[]), &CLI).await.unwrap();
    assert_eq!(slots(&first), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    let second = registry.update_source(&default, update(&[("c", "$.c")], &["a"]), &CLI).await.unwrap();
    assert_eq!(slots(&second), [("b".to_owned(), 2), ("c".to_owned(), 3)]);
    let refused = registry.update_source(&default, update(&[], &["a"]), &CLI).await.unwrap_err();
    assert_eq!(refused.to_string(), "it has no mark \"a\" to take away; it has: b, c");
    let other = SourceUpdate { allow_empty: Some(true), ..SourceUpdate::default() };
    assert_eq!(slots(&registry.update_source(&default, other, &CLI).await.unwrap()), slots(&second));

    let mut declaring = declaring();
    declaring.sources[0].marks = vec![("order".parse().unwrap(), "$.id".parse().unwrap())];
    let opened = Registry::open(store(), Clock::start(Wall::MIN), &declaring).await.unwrap();
    assert_eq!(slots(&opened.directory().sources[&name("shop")].document), [("order".to_owned(), 1)]);
    let without = Registry::open_on((store(), false), Clock::start(Wall::MIN), &declaring).await.err().unwrap();
    assert!(without.to_string().contains("not kept in Redis yet"), "{without}");

    // Those that came with a move can be taken away one by one, and changed to none.
    let moved = store();
    let before = open(&moved, &config()).await;
    before.update_source(&default, update(&[("a", "$.a"), ("b", "$.b")], &[]), &CLI).await.unwrap();
    let on_redis = Registry::open_on((moved, false), Clock::start(Wall::MIN), &config()).await.unwrap();
    let left = on_redis.update_source(&default, update(&[], &["a"]), &CLI).await.unwrap();
    assert_eq!(slots(&left), [("b".to_owned(), 2)]);
    assert!(on_redis.update_source(&default, update(&[("b", "$.c")], &[]), &CLI).await.is_err());
}

/// Many sources are written together: the store commits what waits at once, so that a first start with thousands is no
/// matter of thousands of fsyncs.
#[tokio::test]
async fn what_a_file_declares_is_given_to_the_store_together() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { disk_reserve: 0, ballast: false, ..Options::new(dir.path()) };
    let store = Arc::new(SqliteStore::open(options).unwrap());
    let mut config = config();
    for number in 0..600 {
        let name: Name = format!("s{number}").parse().unwrap();
        let parameters = vec![("key".to_owned(), format!("key-of-source-{number:08}"))].into();
        config.sources.push(DeclaredSource { name, parameters, ..declaring().sources[0].clone() });
    }
    config.sources.iter_mut().for_each(|source| source.provider = "api-key".into());
    let changes = || std::fs::metadata(dir.path().join("store.db-wal")).unwrap().len();
    let before = changes();
    let registry = Registry::open(store, Clock::start(Wall::MIN), &config).await.unwrap();
    assert_eq!(registry.directory().intakes.len(), 601, "and the one that is there out of the box");
    let pages = changes().saturating_sub(before) / 4_096;
    assert!(pages < 1_200, "{pages} pages for 1,200 documents and their audit entries: a commit each writes several");
}

#[tokio::test]
async fn a_declared_source_with_wrong_parameters_is_named_at_start() {
    let mut config = declaring();
    config.sources[0].parameters = vec![("sekret".into(), "x".into())].into();
    let error = Registry::open(store(), Clock::start(Wall::MIN), &config).await.err().unwrap().to_string();
    assert!(error.starts_with("source \"shop\": ") && error.contains("secret"), "{error}");
}

/// I23: what a version before took, and this one does not, takes nothing any more; all else goes on.
#[tokio::test]
async fn a_stored_source_that_does_not_read_is_kept_as_broken() {
    let store = store();
    open(&store, &config()).await;
    let old = r#"{"name":"old","provider":"stripe","parameters":[["endpoint_sekret","x"]],"created_at":5}"#;
    let key = key_of(DocumentKind::Source, &name("old"));
    store.put_document(key, 0, Some(old.to_owned()), Vec::new()).await.unwrap().unwrap();
    let registry = open(&store, &config()).await;
    let directory = registry.directory();
    assert!(directory.intakes["default"].broken.is_none());
    let what = directory.intakes["old"].broken.as_deref().unwrap();
    assert!(what.contains("endpoint_sekret") && what.contains("endpoint_secret: missing"), "{what}");
    assert_eq!(directory.broken().count(), 1);

    let parameters =
        Some(vec![("endpoint_secret".to_owned(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned())].into());
    let update = SourceUpdate { parameters, ..SourceUpdate::default() };
    registry.update_source(&name("old"), update, &CLI).await.unwrap();
    assert_eq!(registry.directory().broken().count(), 0, "put right without a restart");
}

/// I23, S28: the old secret of a rotation that this version does not take any more proves nothing, and that is said; the new one
/// goes on.
#[tokio::test]
async fn an_old_secret_that_does_not_read_is_told_and_the_new_one_goes_on() {
    let store = store();
    let registry = open(&store, &config()).await;
    let secret = |value: &str| Parameters::from(vec![("endpoint_secret".to_owned(), value.to_owned())]);
    let parameters = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let new = NewSource { name: name("pay"), provider: "stripe".into(), parameters, ..shop("crm") };
    registry.create_source(new, &CLI).await.unwrap();
    let next = secret("whsec_NfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let day = Some(Duration::from_hours(24));
    registry.rotate_source(&name("pay"), &next, day, &CLI).await.unwrap();
    assert!(registry.directory().intakes["pay"].old.is_some());
    assert_eq!(registry.directory().broken_old().count(), 0);

    let mut entry = registry.directory().sources["pay"].clone();
    let old = &mut entry.document.rotation.as_mut().unwrap().old;
    old.values = vec![("endpoint_secret".to_owned(), String::new())].into();
    let key = key_of(DocumentKind::Source, &name("pay"));
    let text = render(&entry.document);
    store.put_document(key, entry.version, Some(text), Vec::new()).await.unwrap().unwrap();
    let directory = open(&store, &config()).await.directory();
    let intake = &directory.intakes["pay"];
    assert!(intake.broken.is_none() && intake.old.is_none());
    let told: Vec<_> = directory.broken_old().collect();
    assert!(told.len() == 1 && told[0].1.contains("endpoint_secret"), "{told:?}");
}

/// I20: where only the memory of its id keeps a proof that was seen from carrying another body, it lasts as long as the proof.
#[tokio::test]
async fn a_proof_that_outlives_the_memory_of_its_id_is_refused() {
    let store = store();
    let of = |provider: &str, name: &str, value: &str, tolerance: Option<&str>| {
        let mut parameters = vec![(name.to_owned(), value.to_owned())];
        parameters.extend(tolerance.map(|tolerance| ("tolerance".to_owned(), tolerance.to_owned())));
        NewSource {
            name: self::name(provider),
            provider: provider.into(),
            parameters: parameters.into(),
            ..shop("crm")
        }
    };
    let paypal = |tolerance| of("paypal", "webhook_id", "4JH86294D6297924G", tolerance);
    let mailgun = |tolerance| of("mailgun", "signing_key_http", "a-signing-key-of-the-tests", tolerance);
    let open_with = async |memory: Duration| {
        let config = Config { dedupe_window: memory, ..config() };
        Registry::open(store.clone(), Clock::start(Wall::MIN), &config).await.unwrap()
    };
    let day = open_with(Duration::from_hours(24)).await;
    for refused in [paypal(None), paypal(Some("25h")), mailgun(Some("2d"))] {
        let error = day.create_source(refused, &CLI).await.unwrap_err().to_string();
        assert!(error.contains("tolerance: ") && error.contains("DEDUPE_WINDOW"), "{error}");
    }
    day.create_source(mailgun(None), &CLI).await.expect("12 hours are remembered");
    day.create_source(paypal(Some("24h")), &CLI).await.expect("as long as it is remembered");
    let set = |tolerance: &str| SourceUpdate {
        set: vec![("tolerance".to_owned(), tolerance.to_owned())].into(),
        ..SourceUpdate::default()
    };
    assert!(day.update_source(&name("paypal"), set("3d"), &CLI).await.is_err());
    day.update_source(&name("paypal"), set("off"), &CLI).await.expect("any age is the operator's word");
    day.update_source(&name("paypal"), set("24h"), &CLI).await.unwrap();
    drop(day);

    let hours = open_with(Duration::from_hours(6)).await;
    let broken: Vec<String> = hours.directory().broken().map(|(name, _)| name.to_string()).collect();
    assert_eq!(broken, ["mailgun", "paypal"], "they take nothing, and all else goes on");
    hours.update_source(&name("paypal"), set("6h"), &CLI).await.expect("put right without a restart");
    assert_eq!(hours.directory().broken().count(), 1);
    drop(hours);
    assert_eq!(open_with(Duration::from_hours(72)).await.directory().broken().count(), 0);

    let mut declaring = Config { dedupe_window: Duration::from_hours(24), ..declaring() };
    declaring.sources[0].provider = "paypal".into();
    declaring.sources[0].parameters = vec![("webhook_id".into(), "4JH86294D6297924G".into())].into();
    let error = Registry::open(self::store(), Clock::start(Wall::MIN), &declaring).await.err().unwrap().to_string();
    assert!(error.starts_with("source \"shop\": ") && error.contains("DEDUPE_WINDOW"), "{error}");
}

/// S28: whoever hands over a secret first is believed, so it is taken only while an operator awaits it.
#[tokio::test]
async fn a_secret_is_adopted_only_while_an_operator_awaits_it() {
    let store = store();
    let registry = open(&store, &config()).await;
    let new = NewSource { provider: "asana".into(), ..shop("crm") };
    let shop = name("shop");
    registry.create_source(new.clone(), &CLI).await.unwrap();
    let refused = registry.adopt(&shop, "secret", "a-stranger-was-quick", &CLI).await.unwrap_err();
    assert!(refused.to_string().contains("source await-secret shop"), "{refused}");

    registry.await_secret(&shop, false, &CLI).await.unwrap();
    registry.adopt(&shop, "secret", "a-stranger-was-quick", &CLI).await.unwrap();
    registry.adopt(&shop, "secret", "a-stranger-was-quick", &CLI).await.expect("the same once more");
    assert!(registry.adopt(&shop, "secret", "the-platform-came-second", &CLI).await.is_err());

    registry.await_secret(&shop, true, &CLI).await.expect("what a stranger handed over is forgotten");
    registry.adopt(&shop, "secret", "the-platform-came-second", &CLI).await.unwrap();
    let source = registry.directory().sources[&shop].document.clone();
    assert_eq!(*source.parameters, [("secret".to_owned(), "the-platform-came-second".to_owned())]);
    assert_eq!(source.adopts_until, None, "the window closes with the first");

    registry.await_secret(&shop, false, &CLI).await.unwrap();
    registry.adopt(&shop, "secret", "of-the-second-webhook", &CLI).await.expect("beside the one in use");
    assert!(registry.adopt(&shop, "secret", "a-stranger-was-late", &CLI).await.is_err(), "the window is closed again");
    let both = registry.directory().sources[&shop].document.clone();
    let values: Vec<_> = both.parameters.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!((values, both.adopted.len()), (vec!["the-platform-came-second", "of-the-second-webhook"], 1));

    let update =
        SourceUpdate { parameters: Some(vec![("secret".into(), "given-by-hand".into())].into()), ..Default::default() };
    registry.update_source(&shop, update, &CLI).await.unwrap();
    assert!(registry.await_secret(&shop, false, &CLI).await.is_err(), "an operator gave it");
    assert!(registry.await_secret(&name("default"), false, &CLI).await.is_err(), "nobody hands one over there");
    let until = Source { adopts_until: Some(5), ..source };
    assert_eq!(until.adopts_until(Wall::from_micros(4)), Some(Wall::from_micros(5)));
    assert_eq!(until.adopts_until(Wall::from_micros(5)), None);
}

#[tokio::test]
async fn the_last_route_of_a_source_stays() {
    let registry = open(&store(), &config()).await;
    let (source, first, second) = (name("default"), name("default"), name("crm"));
    let refused = registry.delete_route(&source, &first, &CLI).await.unwrap_err().to_string();
    assert!(refused.contains("crm-relay route create default NAME"), "{refused}");
    let new = NewRoute { source: source.clone(), destination: second.clone(), ttl: None, retry: None };
    registry.create_route(new.clone(), &CLI).await.unwrap();
    assert!(matches!(registry.create_route(new, &CLI).await, Err(RegistryError::Taken { .. })));
    registry.delete_route(&source, &first, &CLI).await.unwrap();
    assert_eq!(registry.directory().routing.routes["default"][0].destination, second);
}

/// I10: a schedule longer than its TTL never comes to its end.
#[tokio::test]
async fn a_schedule_longer_than_its_ttl_is_refused() {
    let registry = open(&store(), &config()).await;
    let schedule = Schedule::Listed(vec![Duration::from_mins(10); 3]);
    let retry = Some(RetryPolicy { max_retries: 3, schedule });
    let new = |ttl| NewRoute { source: name("default"), destination: name("crm"), ttl, retry: retry.clone() };
    let refused = registry.create_route(new(Some(Duration::from_mins(20))), &CLI).await.unwrap_err();
    assert!(refused.to_string().contains("longer than the TTL"), "{refused}");
    registry.create_route(new(None), &CLI).await.unwrap();
}

/// S21: neither keys nor tokens are in the store, only what proves them.
#[tokio::test]
async fn no_stored_document_holds_a_key_or_a_token() {
    let store = store();
    let registry = open(&store, &config()).await;
    let new = NewKey { source: name("default"), name: name("shop") };
    let key = registry.create_key(new, &CLI).await.unwrap().secret;
    let new = NewToken { name: name("crm"), destinations: None, pins: Vec::new() };
    let token = registry.create_token(new, &CLI).await.unwrap();
    assert!(!format!("{token:?}").contains(&token.secret[8..]), "S27: nor in what is printed of an answer");
    let token = token.secret;
    for kind in [DocumentKind::Key, DocumentKind::Token] {
        let documents = store.documents(kind).await.unwrap();
        assert_eq!(documents.len(), 1);
        assert!(
            documents.iter().all(|stored| !stored.body.contains(&key[16..]) && !stored.body.contains(&token[16..]))
        );
    }
}

/// What can be refused is refused before anything is written; what is made belongs together.
#[tokio::test]
async fn an_invitation_makes_everything_or_nothing() {
    let registry = open(&store(), &config()).await;
    let new = |provider: &str| NewSource {
        name: name("shop"),
        provider: provider.into(),
        parameters: Vec::new().into(),
        network: NetworkPolicy::default(),
        allow_empty: false,
        dedupe: Dedupe::Auto,
        await_secret: false,
        destination: name("crm"),
    };
    assert!(matches!(registry.invite(new("hmac"), &CLI).await, Err(RegistryError::Invalid(_))));
    let taken = NewToken { name: name("shop"), destinations: None, pins: Vec::new() };
    registry.create_token(taken, &CLI).await.unwrap();
    assert!(matches!(registry.invite(new("api-key"), &CLI).await, Err(RegistryError::Taken { kind: "token", .. })));
    let directory = registry.directory();
    assert!(directory.keys.is_empty() && !directory.sources.contains_key("shop"));
    assert!(!directory.routes.contains_key(&(name("shop"), name("crm"))));

    registry.revoke_token(&name("shop"), &CLI).await.unwrap();
    let made = registry.invite(new("api-key"), &CLI).await.unwrap();
    assert_eq!(made.token.document.destinations, Some(vec!["crm".to_owned()]));
    assert!(made.key.is_some_and(|key| key.secret.starts_with("crk_")));
    let directory = registry.directory();
    assert_eq!(directory.routing.routes["shop"][0].destination, name("crm"));
    assert!(directory.keys.contains_key(&(name("shop"), name("shop"))));
}

/// Two processes may write the same document; neither undoes the other.
#[tokio::test]
async fn a_change_is_decided_anew_when_somebody_was_faster() {
    let store = store();
    let first = open(&store, &config()).await;
    let second = open(&store, &config()).await;
    let new = NewToken { name: name("crm"), destinations: None, pins: Vec::new() };
    first.create_token(new.clone(), &CLI).await.unwrap();
    assert!(matches!(second.create_token(new, &CLI).await, Err(RegistryError::Taken { .. })));
    second.revoke_token(&name("crm"), &CLI).await.unwrap();
    first.update_token(&name("crm"), Some(vec![name("default")]), &CLI).await.unwrap();
    assert!(first.directory().tokens["crm"].document.revoked_at.is_some(), "it stays revoked");
}

/// Two admins change different things of one route at the same time; both hold.
#[tokio::test]
async fn a_change_of_a_route_starts_from_what_it_is_by_then() {
    let store = store();
    let first = open(&store, &config()).await;
    let second = open(&store, &config()).await;
    let (source, destination) = (name("default"), name("default"));
    let own = |route: &Route| (route.ttl_ms.map(Duration::from_millis), route.retry.as_ref().map(Retry::policy));
    let longer = |route: &Route| Ok(Policy { ttl: Some(Duration::from_hours(100)), retry: own(route).1 });
    first.update_route(&source, &destination, &CLI, longer).await.unwrap();
    let retry = RetryPolicy { max_retries: 9, ..RetryPolicy::default() };
    let more = |route: &Route| Ok(Policy { ttl: own(route).0, retry: Some(retry.clone()) });
    let route = second.update_route(&source, &destination, &Principal::nobody("admin"), more).await.unwrap();
    assert_eq!((route.ttl_ms, route.retry.unwrap().max_retries), (Some(360_000_000), 9));
}

/// Killed after its first write, a creation has made nothing, and a deletion is done by the next start.
#[tokio::test]
async fn a_kill_between_two_writes_leaves_no_source_without_a_route_and_no_route_without_a_source() {
    let store = store();
    let registry = open(&store, &config()).await;
    store.fail_at(Edge::AfterCommit);
    registry.create_source(shop("crm"), &CLI).await.unwrap_err();
    let store = Arc::new(store.reopen());
    let registry = open(&store, &config()).await;
    assert_eq!(registry.directory().sources.keys().map(Name::as_str).collect::<Vec<_>>(), ["default"]);
    assert_eq!(registry.directory().routes.len(), 1, "the route went with it");

    registry.create_source(shop("crm"), &CLI).await.unwrap();
    registry.create_route(to_erp(), &CLI).await.unwrap();
    store.fail_at(Edge::AfterCommit);
    registry.delete_source(&name("shop"), &CLI).await.unwrap_err();
    let store = Arc::new(store.reopen());
    let registry = open(&store, &config()).await;
    assert_eq!(registry.directory().routes.len(), 1, "no later source of that name finds them");
}

#[tokio::test]
async fn a_new_source_has_nothing_of_an_earlier_one() {
    let store = store();
    let registry = open(&store, &config()).await;
    registry.create_source(shop("crm"), &CLI).await.unwrap();
    registry.create_route(to_erp(), &CLI).await.unwrap();
    let new = NewKey { source: name("shop"), name: name("first") };
    registry.create_key(new, &CLI).await.unwrap();
    // As if its deletion had lost all but the first of its writes.
    let key = key_of(DocumentKind::Source, &name("shop"));
    store.put_document(key, 1, None, Vec::new()).await.unwrap().unwrap();
    registry.reload().await.unwrap();
    registry.create_source(shop("lab"), &CLI).await.unwrap();
    let directory = registry.directory();
    assert_eq!(directory.live_keys(&name("shop")).count(), 0);
    let led: Vec<&str> = directory.routing.routes["shop"].iter().map(|route| route.destination.as_str()).collect();
    assert_eq!(led, ["lab"]);
}

#[tokio::test]
async fn the_source_default_stays_deleted_unless_it_was_the_last() {
    let store = store();
    let registry = open(&store, &config()).await;
    registry.create_source(shop("crm"), &CLI).await.unwrap();
    registry.delete_source(&name("default"), &CLI).await.unwrap();
    let registry = open(&store, &config()).await;
    assert!(!registry.directory().sources.contains_key("default"));
    registry.delete_source(&name("shop"), &CLI).await.unwrap();
    let registry = open(&store, &config()).await;
    assert!(registry.directory().sources.contains_key("default"));
}

/// S35: what a source says of the network is kept as this relay writes it, changed piece by piece, and never emptied by mistake.
#[tokio::test]
async fn who_may_come_to_a_source_is_changed_piece_by_piece() {
    let registry = open(&store(), &config()).await;
    let list = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
    let network =
        NetworkPolicy { rate: Some("5 / m".into()), allow: list(&["::ffff:10.0.0.0/104"]), ..NetworkPolicy::default() };
    let made = registry.create_source(NewSource { network, ..shop("crm") }, &CLI).await.unwrap();
    assert_eq!((made.network.rate.as_deref(), &made.network.allow), (Some("5/min"), &list(&["10.0.0.0/8"])));
    let change = async |network| {
        let update = SourceUpdate { network, ..SourceUpdate::default() };
        registry.update_source(&made.name, update, &CLI).await
    };
    let changed = change(NetworkPolicy { deny: list(&["10.9.0.0/16"]), ..NetworkPolicy::default() }).await.unwrap();
    assert_eq!((changed.network.rate.as_deref(), &changed.network.allow), (Some("5/min"), &list(&["10.0.0.0/8"])));
    for wrong in [list(&[]), list(&["10.0.0.1/8"]), list(&["none", "10.0.0.0/8"])] {
        let refused = change(NetworkPolicy { allow: wrong, ..NetworkPolicy::default() }).await.unwrap_err();
        assert!(matches!(&refused, RegistryError::Invalid(text) if text.starts_with("allow: ")), "{refused}");
    }
    let none = || Some("none".to_owned());
    let open = NetworkPolicy {
        rate: none(),
        address_rate: none(),
        allow: list(&["none"]),
        deny: list(&["none"]),
        daily_events: none(),
        daily_bytes: none(),
    };
    assert!(change(open).await.unwrap().network.is_open());
    let intakes = &registry.directory().intakes;
    assert_eq!(intakes[&made.name].terms, Terms::default());
}

/// S35: a list that a later version wrote in its own way closes the source; it opens it to nobody.
#[tokio::test]
async fn a_network_policy_that_does_not_read_closes_its_source() {
    let registry = open(&store(), &config()).await;
    let mut directory = Directory::clone(&registry.directory());
    let entry = directory.sources.get_mut(&Name::fallback()).unwrap();
    entry.document.network.allow = Some(vec!["country:NL".into()]);
    let directory = directory.with_intakes([0; 32], limits::DEDUPE_WINDOW);
    assert!(directory.intakes[&Name::fallback()].broken.is_some());
}

fn shop(destination: &str) -> NewSource {
    NewSource {
        name: name("shop"),
        provider: "api-key".into(),
        parameters: Vec::new().into(),
        network: NetworkPolicy::default(),
        allow_empty: false,
        dedupe: Dedupe::Auto,
        await_secret: false,
        destination: name(destination),
    }
}

fn to_erp() -> NewRoute {
    NewRoute { source: name("shop"), destination: name("erp"), ttl: None, retry: None }
}

#[tokio::test]
async fn every_change_leaves_an_audit_entry() {
    let store = store();
    let registry = open(&store, &config()).await;
    registry.set_paused(&name("default"), true, &CLI).await.unwrap();
    registry.set_paused(&name("default"), true, &CLI).await.unwrap();
    registry.set_paused(&name("default"), false, &Principal::nobody("admin")).await.unwrap();
    let log = store.audit_log();
    let lines: Vec<(&str, &str)> = log.iter().map(|e| (e.who.as_str(), e.action.as_str())).collect();
    assert_eq!(
        lines,
        [
            ("config", "route.create"),
            ("config", "source.create"),
            ("cli", "destination.pause"),
            ("admin", "destination.resume")
        ]
    );
}

async fn open(store: &Arc<MemoryStore>, config: &Config) -> Registry {
    let store: Arc<dyn seam::Registry> = Arc::<MemoryStore>::clone(store);
    Registry::open(store, Clock::start(Wall::MIN), config).await.unwrap()
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
        parameters: parameters.into(),
        network: NetworkPolicy::default(),
        allow_empty: false,
        dedupe: Dedupe::Auto,
        marks: Vec::new(),
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
    Config::sample("/nonexistent".into())
}

/// I21: a revocation that is durable is in force, whatever the store does not let be read afterwards; what others wrote
/// meanwhile is read as soon as it can be.
#[tokio::test(start_paused = true)]
async fn what_is_written_holds_also_if_nothing_can_be_read() {
    let store = store();
    let (registry, other) = (open(&store, &config()).await, open(&store, &config()).await);
    let new = NewToken { name: name("crm"), destinations: None, pins: Vec::new() };
    registry.create_token(new.clone(), &CLI).await.unwrap();
    other.create_source(shop("crm"), &CLI).await.unwrap();
    store.set_trouble(vec![(Trouble::Documents, StoreError::TooSlow { after: Duration::ZERO })]);
    registry.revoke_token(&name("crm"), &CLI).await.unwrap();
    let is_revoked = |registry: &Registry| registry.directory().tokens["crm"].document.revoked_at.is_some();
    assert!(is_revoked(&registry));
    registry.create_token(new, &CLI).await.expect("decided on the version that was written");
    assert!(!is_revoked(&registry) && !registry.directory().sources.contains_key("shop"));
    let read = async {
        store.set_trouble(Vec::new());
        while !registry.directory().sources.contains_key("shop") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::select! { () = registry.keep_fresh() => {}, () = read => {} }
}

/// I21: a damaged document keeps no other from being changed; it stays as it was when it was last read.
#[tokio::test]
async fn a_damaged_document_holds_up_no_revocation() {
    let store = store();
    let registry = open(&store, &config()).await;
    for token in ["crm", "erp"] {
        registry
            .create_token(NewToken { name: name(token), destinations: None, pins: Vec::new() }, &CLI)
            .await
            .unwrap();
    }
    registry.revoke_token(&name("erp"), &CLI).await.unwrap();
    for (kind, damaged) in [(DocumentKind::Token, "erp"), (DocumentKind::Route, "default/default")] {
        let (key, version) = (DocumentKey { kind, name: damaged.into() }, if damaged == "erp" { 2 } else { 1 });
        store.put_document(key, version, Some("{".into()), Vec::new()).await.unwrap().expect("the present version");
    }
    registry.revoke_token(&name("crm"), &CLI).await.unwrap();
    let directory = registry.directory();
    assert!(["crm", "erp"].iter().all(|token| directory.tokens[*token].document.revoked_at.is_some()));
    assert_eq!(directory.routing.routes["default"].len(), 1);
    let opened = Registry::open(store, Clock::start(Wall::MIN), &config()).await;
    assert!(matches!(opened.err(), Some(RegistryError::Damaged { .. })), "a start has it seen to first");
}

/// A route of a later version may be about less than all events: a server that does not know of that does not start, and one that
/// runs goes on by what it read before.
#[tokio::test]
async fn a_document_of_a_later_version_is_left_alone() {
    let store = store();
    let registry = open(&store, &config()).await;
    let key = DocumentKey { kind: DocumentKind::Route, name: "default/default".into() };
    let stored = store.document(key.clone()).await.unwrap().unwrap();
    let later = stored.body.replacen('{', r#"{"when":"invoice.*","#, 1);
    store.put_document(key, stored.version, Some(later), Vec::new()).await.unwrap().expect("the present version");
    registry.create_token(NewToken { name: name("crm"), destinations: None, pins: Vec::new() }, &CLI).await.unwrap();
    assert_eq!(registry.directory().routing.routes["default"].len(), 1);
    let opened = Registry::open(store, Clock::start(Wall::MIN), &config()).await.err().map(|error| error.to_string());
    let said = opened.expect("it does not start");
    assert!(said.contains("Route document \"default/default\": a later version of crm-relay wrote it"), "{said}");
}

/// I18, I23: a destination whose document is damaged is paused from the start on, and nothing else is: what waits there is
/// kept, and an operator sees why.
#[tokio::test]
async fn a_damaged_destination_starts_paused() {
    let store = store();
    let registry = open(&store, &declaring()).await;
    for destination in ["crm", "default"] {
        registry.set_paused(&name(destination), true, &CLI).await.unwrap();
        registry.set_paused(&name(destination), false, &CLI).await.unwrap();
    }
    drop(registry);
    for body in ["{", ""] {
        let key = DocumentKey { kind: DocumentKind::Destination, name: "crm".into() };
        let stored = store.document(key.clone()).await.unwrap().unwrap();
        store
            .put_document(key, stored.version, Some(body.into()), Vec::new())
            .await
            .unwrap()
            .expect("the present version");
        let registry = open(&store, &declaring()).await;
        let directory = registry.directory();
        assert!(directory.destinations["crm"].document.paused, "{body:?}");
        assert!(!directory.destinations["default"].document.paused);
        assert!(directory.routing.paused.contains("crm") && !directory.routing.paused.contains("default"));
    }
}
