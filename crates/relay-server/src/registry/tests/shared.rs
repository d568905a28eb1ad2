//! Several servers on one store.

use tokio::time::Instant;

use super::*;

/// The registry of another server, as it is named.
async fn at(store: &Arc<MemoryStore>, server: &str, config: Config) -> Registry {
    let store = Arc::new(store.second_owner());
    Registry::open(store, Clock::start(Wall::MIN), &Config { server: server.into(), ..config }).await.unwrap()
}

/// I21: what one server changes holds at the others within two seconds, and at once where a hint of it comes.
#[tokio::test(start_paused = true)]
async fn what_another_server_changed_holds_in_time() {
    for hints in [true, false] {
        let store = store();
        let first = at(&store, "a", config()).await;
        first.create_token(NewToken { name: name("crm"), destinations: None, pins: Vec::new() }, &CLI).await.unwrap();
        let second = at(&store, "b", config()).await;
        if !hints {
            store.lose_hints();
        }
        let obeys = || {
            let directory = second.directory();
            let revoked = directory.tokens["crm"].document.revoked_at.is_some();
            revoked && directory.routing.paused.contains("default")
        };
        let changes = async {
            // Any time between two looks.
            tokio::time::sleep(Duration::from_millis(12_345)).await;
            assert!(!obeys());
            let began = Instant::now();
            first.revoke_token(&name("crm"), &CLI).await.unwrap();
            first.set_paused(&name("default"), true, &CLI).await.unwrap();
            while !obeys() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            began.elapsed()
        };
        let took = tokio::select! { () = second.keep_fresh() => unreachable!(), took = changes => took };
        let most = if hints { Duration::from_millis(10) } else { Duration::from_secs(2) };
        assert!(took <= most, "{took:?} with hints {hints}");
    }
}

/// I21: a store that is away is asked until it is back, and what was changed meanwhile holds then.
#[tokio::test(start_paused = true)]
async fn what_changed_while_the_store_was_away_holds_once_it_is_back() {
    let store = store();
    let (first, second) = (at(&store, "a", config()).await, at(&store, "b", config()).await);
    store.lose_hints();
    let changes = async {
        store.set_trouble(vec![(Trouble::Documents, StoreError::Away)]);
        first.set_paused(&name("default"), true, &CLI).await.expect("what is written holds");
        tokio::time::sleep(Duration::from_mins(10)).await;
        assert!(second.directory().routing.paused.is_empty());
        store.set_trouble(Vec::new());
        let began = Instant::now();
        while second.directory().routing.paused.is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        began.elapsed()
    };
    let took = tokio::select! { () = second.keep_fresh() => unreachable!(), took = changes => took };
    assert!(took <= Duration::from_secs(5), "{took:?}");
}

/// A command at one server is decided on what another made a moment ago, also before the one has followed.
#[tokio::test]
async fn a_command_knows_what_another_server_made() {
    let store = store();
    let (first, second) = (at(&store, "a", config()).await, at(&store, "b", config()).await);
    first.create_token(NewToken { name: name("crm"), destinations: None, pins: Vec::new() }, &CLI).await.unwrap();
    assert!(!second.directory().tokens.contains_key("crm"), "it has not followed");
    second.revoke_token(&name("crm"), &CLI).await.unwrap();
    let unknown = second.revoke_token(&name("erp"), &CLI).await;
    assert!(matches!(unknown, Err(RegistryError::Unknown { .. })));
}

/// Files that differ do not pause each other's declarations: what one server declares goes on until its own file leaves it out,
/// and no other's does.
#[tokio::test]
async fn a_file_pauses_what_no_file_declares() {
    let store = store();
    at(&store, "a", declaring()).await;
    let told = || store.audit_log().len();
    let (shop, before) = (name("shop"), told());
    let pair = (shop.clone(), name("crm"));
    let by = |registry: &Registry| {
        let directory = registry.directory();
        let (source, route) = (&directory.sources["shop"].document, &directory.routes[&pair].document);
        assert_eq!((source.paused, &source.declared_by), (route.paused, &route.declared_by));
        let names: Vec<String> = source.declared_by.iter().cloned().collect();
        (source.paused, names.join(" "))
    };
    let other = at(&store, "b", config()).await;
    assert_eq!((by(&other), told()), ((false, "a".into()), before), "and writes nothing");
    other.declare_anew(&Config { server: "b".into(), ..config() }).await.unwrap();
    assert_eq!((by(&other), told()), ((false, "a".into()), before));
    assert!(!other.directory().routes.contains_key(&(shop, name("default"))), "it has its route");

    assert_eq!(by(&at(&store, "b", declaring()).await), (false, "a b".into()));
    let before = told();
    assert_eq!(by(&at(&store, "a", declaring()).await), (false, "a b".into()));
    assert_eq!(told(), before, "a restart changes nothing");
    assert_eq!(by(&at(&store, "a", config()).await), (false, "b".into()));
    assert_eq!(by(&at(&store, "b", config()).await), (true, String::new()), "nobody's file has it any more");
    assert_eq!(by(&at(&store, "b", declaring()).await), (false, "b".into()));
}

/// What another server is about to finish is no leftover.
#[tokio::test]
async fn a_route_that_waits_for_its_source_is_not_swept() {
    let store = store();
    let first = at(&store, "a", config()).await;
    first.create_source(shop("crm"), &CLI).await.unwrap();
    let key = key_of(DocumentKind::Source, &name("shop"));
    store.put_document(key, 1, None, Vec::new()).await.unwrap().unwrap();
    let second = at(&store, "b", config()).await;
    assert!(second.directory().routes.contains_key(&(name("shop"), name("crm"))));
    let alone = open(&store, &config()).await;
    assert!(!alone.directory().routes.contains_key(&(name("shop"), name("crm"))), "where nobody else is, it is one");
}

/// Servers that start at the same moment declare the same and different things beside each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_start_together_start() {
    for _ in 0..50 {
        let store = store();
        let starts = ["a", "b"].map(|server| {
            let (store, mut config) = (Arc::clone(&store), declaring());
            config.routes[0].ttl = Some(Duration::from_secs(if server == "a" { 60 } else { 90 }));
            for number in 0..20 {
                config.sources.push(DeclaredSource { name: name(&format!("s{number}")), ..config.sources[0].clone() });
            }
            tokio::spawn(async move { at(&store, server, config).await })
        });
        for start in starts {
            start.await.expect("it starts");
        }
        let seen = at(&store, "c", config()).await.directory();
        let declared = seen.sources.values().map(|entry| &entry.document).filter(|source| source.declared.is_some());
        let both = declared.filter(|source| !source.paused && source.declared_by.len() == 2).count();
        assert_eq!((both, seen.sources.len()), (21, 22), "and the one that is there out of the box");
    }
}
