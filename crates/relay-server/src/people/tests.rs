use std::time::Duration;

use relay_core::{storage::Apart, time::Wall};
use relay_store::{memory::MemoryStore, seam::Registry as _};

use super::*;
use crate::{principal::Role, secret};

const HOUR: Duration = Duration::from_hours(1);

/// People over a store, and the clock that they go by.
fn people() -> (Arc<People>, Arc<MemoryStore>, Clock) {
    let (store, clock) = (Arc::new(MemoryStore::new()), Clock::start(Wall::MIN));
    let guesses = Arc::new(Guesses::new(clock, Arc::default(), Arc::default()));
    (Arc::new(People::new(store.clone(), clock, guesses)), store, clock)
}

fn seen() -> Seen {
    Seen { origin: Origin::local(), agent: "Firefox".to_owned() }
}

fn cli() -> Principal {
    Principal::nobody("cli")
}

/// How many sessions stand, of whomever.
async fn open(people: &People) -> usize {
    let everybody = people.everybody().await.unwrap();
    let of_users: u64 = everybody.users.iter().map(|user| everybody.open(user)).sum();
    everybody.sessions_of("cli").len() + of_users as usize
}

async fn enter(people: &People) -> String {
    let (link, _) = people.link(&cli(), HOUR).await.unwrap();
    people.enter(&link, &seen()).await.unwrap().secret
}

/// S24: 12 hours without use, and 7 days in any case.
#[tokio::test]
async fn a_session_ends_by_time() {
    let (people, _, clock) = people();
    let passed = |hours: u32| clock.put_right(Some(Apart { by: HOUR * hours, ahead: false }));
    let (used, idle) = (enter(&people).await, enter(&people).await);
    for hours in (0..7 * 24).step_by(11) {
        passed(hours);
        assert!(people.present(&used).await.unwrap().is_some(), "after {hours} h, used 11 h before");
        // To look at it is to use it.
        if hours > 11 {
            assert!(people.present(&idle).await.unwrap().is_none(), "after {hours} h");
        }
    }
    passed(7 * 24);
    assert!(people.present(&used).await.unwrap().is_none());
}

/// S24: whoever is second is not let in, and so is nobody after its time.
#[tokio::test]
async fn a_link_lets_in_once_and_in_time() {
    let (people, _, clock) = people();
    let (link, until) = people.link(&cli(), HOUR).await.unwrap();
    let (one, two) = (seen(), seen());
    let (first, second) = tokio::join!(people.enter(&link, &one), people.enter(&link, &two));
    assert_eq!(u8::from(first.is_ok()) + u8::from(second.is_ok()), 1);
    assert!(matches!(people.enter(&link, &seen()).await, Err(SignInError::LinkOver)));
    let (late, _) = people.link(&cli(), HOUR).await.unwrap();
    clock.put_right(Some(Apart { by: HOUR, ahead: false }));
    assert!(until <= clock.wall());
    assert!(matches!(people.enter(&late, &seen()).await, Err(SignInError::LinkOver)));
    let session = enter(&people).await;
    assert!(matches!(people.enter(&session, &seen()).await, Err(SignInError::LinkOver)), "a session is no link");
}

/// Nothing grows: a holder has sixteen, the one that was used the longest ago goes, and what is over is removed.
#[tokio::test]
async fn sessions_are_few() {
    let (people, store, clock) = people();
    let mut secrets = Vec::new();
    for number in 0..20 {
        clock.put_right(Some(Apart { by: Duration::from_secs(number), ahead: false }));
        secrets.push(enter(&people).await);
    }
    let mut standing = Vec::new();
    for secret in &secrets {
        standing.push(people.present(secret).await.unwrap().is_some());
    }
    assert_eq!(standing, (0..20).map(|number| number >= 4).collect::<Vec<_>>());
    clock.put_right(Some(Apart { by: 13 * HOUR, ahead: false }));
    let last = enter(&people).await;
    assert_eq!(store.documents(DocumentKind::Session).await.unwrap().len(), 1);
    assert!(people.present(&last).await.unwrap().is_some());
}

/// S24: a page that stands open keeps no session; whoever uses it does.
#[tokio::test]
async fn an_open_page_is_no_use_of_a_session() {
    let (people, _, clock) = people();
    let (left, used) = (enter(&people).await, enter(&people).await);
    for hours in 1..=13 {
        clock.put_right(Some(Apart { by: hours * HOUR, ahead: false }));
        assert!(people.present(&used).await.unwrap().is_some());
        assert_eq!(people.open_page(&left).await.unwrap().is_some(), hours < 12, "after {hours} h");
    }
}

/// S24: whatever ends a user's sessions ends all of them, with links that were not used; another role holds from the next request on.
#[tokio::test]
async fn sessions_end_with_what_let_them_in() {
    let (people, _, _) = people();
    let name: Name = "alice".parse().unwrap();
    let user = people.create(name.clone(), Role::Operator, None, &cli()).await.unwrap();
    let twice = people.create(name.clone(), Role::Admin, None, &cli()).await;
    assert!(matches!(twice, Err(SignInError::Registry(RegistryError::Taken { .. }))));
    let enter = async || {
        let (_, link, _) = people.reset(&name, &cli()).await.unwrap();
        people.enter(&link, &seen()).await.unwrap().secret
    };
    let (unused, _) = people.first_link(&user, &cli()).await.unwrap();
    let first = enter().await;
    assert!(matches!(people.enter(&unused, &seen()).await, Err(SignInError::LinkOver)));
    let viewer = UserChange { role: Some(Role::Viewer), ..UserChange::default() };
    let mut ends = people.ends();
    people.change(&name, viewer, &cli()).await.unwrap();
    assert_eq!(people.present(&first).await.unwrap().map(|present| present.role), Some(Role::Viewer));
    let second = enter().await;
    assert!(people.present(&first).await.unwrap().is_none(), "a reset ended it");
    assert!(ends.has_changed().unwrap(), "whoever streams to it looks");
    ends.mark_unchanged();
    let off = UserChange { disabled: Some(true), ..UserChange::default() };
    people.change(&name, off, &cli()).await.unwrap();
    assert!(people.present(&second).await.unwrap().is_none() && ends.has_changed().unwrap());
    let on = UserChange { disabled: Some(false), ..UserChange::default() };
    people.change(&name, on, &cli()).await.unwrap();
    assert!(people.present(&second).await.unwrap().is_none(), "what ended does not begin again");
    assert_eq!(open(&people).await, 0);
}

/// S21, S22: nobody who has the documents has what lets somebody in.
#[tokio::test]
async fn what_is_stored_lets_nobody_in() {
    let (people, store, _) = people();
    let password = "correct horse battery";
    let name: Name = "alice".parse().unwrap();
    people.create(name, Role::Admin, Some(password.to_owned()), &cli()).await.unwrap();
    let (link, _) = people.link(&cli(), HOUR).await.unwrap();
    let session = people.sign_in("alice", password.to_owned(), &seen()).await.unwrap().secret;
    for kind in [DocumentKind::User, DocumentKind::Session] {
        for document in store.documents(kind).await.unwrap() {
            let stored = format!("{} {}", document.key.name, document.body);
            for secret in [password, &link[4..], &session[4..]] {
                assert!(!stored.contains(secret), "{stored}");
            }
        }
    }
    let id = store.documents(DocumentKind::Session).await.unwrap().remove(0).key.name;
    for made_up in [format!("crs_{id}"), id, String::new(), "crs_".to_owned()] {
        assert!(people.present(&made_up).await.unwrap().is_none());
    }
}

/// S24: whom the admin token let in it lets out, once it is another one.
#[tokio::test]
async fn another_token_ends_what_the_former_one_began() {
    let (people, store, clock) = people();
    let secret = enter(&people).await;
    let (unused, _) = people.link(&cli(), HOUR).await.unwrap();
    let guesses = Arc::new(Guesses::new(clock, Arc::default(), Arc::default()));
    let people = People::new(store, clock, guesses).of_token(&[7; 32]);
    assert!(people.present(&secret).await.unwrap().is_none());
    assert_eq!(open(&people).await, 0);
    assert!(matches!(people.enter(&unused, &seen()).await, Err(SignInError::LinkOver)));
    assert!(people.present(&enter(&people).await).await.unwrap().is_some());
}

/// S24: a page that stands open, and asks whether its session does, is no use of it.
#[tokio::test]
async fn a_session_ends_while_its_page_stands_open() {
    let (people, _, clock) = people();
    let present = people.present(&enter(&people).await).await.unwrap().unwrap();
    for hours in 0..14 {
        clock.put_right(Some(Apart { by: HOUR * hours, ahead: false }));
        assert_eq!(people.still(&present).await.unwrap().is_some(), hours < 12, "after {hours} h");
    }
}

/// S24: a session or a user whose document is damaged lets nobody in, and is no reason to let out others.
#[tokio::test]
async fn what_is_damaged_lets_nobody_in_and_keeps_nobody_out() {
    let (people, store, _) = people();
    let damage = async |kind, name: &str| {
        let key = DocumentKey { kind, name: name.to_owned() };
        let found = store.document(key.clone()).await.unwrap().unwrap();
        assert!(store.put_document(key, found.version, Some("{".to_owned()), Vec::new()).await.unwrap().is_some());
    };
    let (fine, damaged) = (enter(&people).await, enter(&people).await);
    let present = people.present(&damaged).await.unwrap().unwrap();
    damage(DocumentKind::Session, &present.id).await;
    assert!(people.present(&damaged).await.unwrap().is_none());
    assert!(people.still(&present).await.unwrap().is_none());
    let (link, _) = people.link(&cli(), HOUR).await.unwrap();
    let id = secret::hex(&secret::sha256(link.as_bytes()));
    damage(DocumentKind::Session, &id).await;
    assert!(matches!(people.enter(&link, &seen()).await, Err(SignInError::LinkOver)));
    let present = people.present(&fine).await.unwrap().unwrap();
    assert!(people.end(&present, present.handle(), &cli()).await.unwrap());

    let password = "correct horse battery";
    let sign_in = async |name: &str| people.sign_in(name, password.to_owned(), &seen()).await;
    for name in ["alice", "bob"] {
        let name = name.parse().unwrap();
        people.create(name, Role::Admin, Some(password.to_owned()), &cli()).await.unwrap();
    }
    let session = sign_in("alice").await.unwrap().secret;
    damage(DocumentKind::User, "alice").await;
    assert!(people.present(&session).await.unwrap().is_none());
    assert!(matches!(sign_in("alice").await, Err(SignInError::Wrong)));
    assert!(people.present(&sign_in("bob").await.unwrap().secret).await.unwrap().is_some());
    assert_eq!(open(&people).await, 1);
    let reset = people.reset(&"alice".parse().unwrap(), &cli()).await;
    assert!(matches!(reset, Err(RegistryError::Damaged { .. })), "nobody writes over what may be mended");
    assert_eq!(people.damaged.lock().unwrap().len(), 3, "each is named once");
}

/// However many look at who is in, the store is read once a second; what was written since is seen at once.
#[tokio::test]
async fn who_is_in_is_read_once_for_all_who_look() {
    let (people, _, _) = people();
    let first = enter(&people).await;
    let (one, other) = (people.everybody().await.unwrap(), people.everybody().await.unwrap());
    assert!(Arc::ptr_eq(&one, &other));
    enter(&people).await;
    assert_eq!(open(&people).await, 2);
    let present = people.present(&first).await.unwrap().unwrap();
    let others = people.everybody().await.unwrap();
    let other = others.sessions_of("cli").iter().find(|session| session.handle() != present.handle()).unwrap();
    assert!(people.end(&present, other.handle(), &cli()).await.unwrap());
    assert!(!people.end(&present, other.handle(), &cli()).await.unwrap());
    assert_eq!(open(&people).await, 1);
    // Begun at another server a moment after this one looked: whoever signs out is out.
    let elsewhere = People::new(people.store.clone(), people.clock, Arc::clone(&people.guesses));
    let secret = enter(&elsewhere).await;
    let present = people.present(&secret).await.unwrap().unwrap();
    assert!(people.end(&present, present.handle(), &cli()).await.unwrap());
    assert!(people.present(&secret).await.unwrap().is_none());
}
