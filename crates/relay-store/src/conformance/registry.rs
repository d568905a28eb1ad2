//! Registry documents: compare-and-set, listed by kind, followed by whoever shares them.

use std::{
    pin::pin,
    task::{Context, Waker},
};

use super::{Backend, Fixture, fixture::at};
use crate::seam::{AuditEntry, AuditFilter, Document, DocumentKey, DocumentKind, Page, Range};

fn source(name: &str) -> DocumentKey {
    DocumentKey { kind: DocumentKind::Source, name: name.to_owned() }
}

fn entry() -> Vec<AuditEntry> {
    vec![AuditEntry {
        at: at(1),
        who: "cli".to_owned(),
        action: "source.create".to_owned(),
        subject: "source stripe".to_owned(),
        origin: r#"{"uid":1000}"#.to_owned(),
    }]
}

async fn put<B: Backend>(fixture: &Fixture<B>, name: &str, expect: u64, body: Option<&str>) -> Option<u64> {
    let body = body.map(str::to_owned);
    fixture.store().put_document(source(name), expect, body, entry()).await.expect("writing works")
}

/// A writer that read an older version is refused and changes nothing.
pub async fn a_document_is_written_only_over_the_version_it_was_read_at<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    assert_eq!(fixture.store().document(source("stripe")).await, Ok(None));
    assert_eq!(put(&fixture, "stripe", 1, Some("{}")).await, None);
    assert_eq!(put(&fixture, "stripe", 0, Some(r#"{"v":1}"#)).await, Some(1));
    assert_eq!(put(&fixture, "stripe", 0, Some("{}")).await, None);
    assert_eq!(put(&fixture, "stripe", 1, Some(r#"{"v":2}"#)).await, Some(2));
    assert_eq!(put(&fixture, "stripe", 1, None).await, None);
    let expected = Document { key: source("stripe"), version: 2, body: r#"{"v":2}"#.to_owned() };
    assert_eq!(fixture.store().document(source("stripe")).await, Ok(Some(expected)));
    fixture.store().audit(entry()).await.expect("writing works");
    fixture.check_sums().await;
}

/// Of that kind only, by name.
pub async fn documents_of_a_kind_are_listed_by_name<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    for name in ["zeta", "alpha", "mid"] {
        assert_eq!(put(&fixture, name, 0, Some("{}")).await, Some(1));
    }
    let key = DocumentKey { kind: DocumentKind::Token, name: "alpha".to_owned() };
    fixture.store().put_document(key, 0, Some("{}".to_owned()), Vec::new()).await.expect("writing works");
    let listed = fixture.store().documents(DocumentKind::Source).await.expect("reading works");
    let names: Vec<&str> = listed.iter().map(|document| document.key.name.as_str()).collect();
    assert_eq!(names, ["alpha", "mid", "zeta"]);
    assert_eq!(fixture.store().documents(DocumentKind::Token).await.map(|listed| listed.len()), Ok(1));
    assert_eq!(fixture.store().documents(DocumentKind::Route).await, Ok(Vec::new()));
    fixture.check_sums().await;
}

/// Gone, and free for a new one.
pub async fn a_deleted_document_can_be_made_again<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    put(&fixture, "stripe", 0, Some("{}")).await;
    assert!(put(&fixture, "stripe", 1, None).await.is_some());
    assert_eq!(fixture.store().document(source("stripe")).await, Ok(None));
    assert_eq!(fixture.store().documents(DocumentKind::Source).await, Ok(Vec::new()));
    assert!(put(&fixture, "stripe", 0, Some("{}")).await.is_some());
    fixture.check_sums().await;
}

/// A registry lives as long as the events.
pub async fn documents_survive_reopening<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    put(&fixture, "stripe", 0, Some("{\"text\":\"\u{e9}\\u0000\"}")).await;
    let before = fixture.snapshot().await;
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.snapshot().await, before);
    fixture.check_sums().await;
}

/// I21: where several work on a store, each sees by the version that another wrote, and is given a hint of it. Where one does,
/// there is nothing to be seen, and silence.
pub async fn what_one_owner_writes_the_other_hears_of<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    let (first, second) = (fixture.store(), fixture.backend.second_owner());
    assert_eq!(second.is_some(), first.promises().several_owners);
    let Some(second) = second else {
        let mut hint = pin!(first.changes());
        put(&fixture, "stripe", 0, Some("{}")).await;
        assert_eq!(first.version().await, Ok(None));
        return assert!(hint.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    };
    let version = async || second.version().await.expect("reading works").expect("it has several owners");
    for (expect, body) in [(0, Some("{}")), (1, Some("[]")), (2, None)] {
        let (before, hint) = (version().await, second.changes());
        assert!(put(&fixture, "stripe", expect, body).await.is_some());
        hint.await;
        assert_ne!(version().await, before, "{body:?}");
        assert_eq!(first.version().await, second.version().await);
    }
    let before = version().await;
    assert_eq!(put(&fixture, "stripe", 7, Some("{}")).await, None);
    assert_eq!(version().await, before, "nothing was written");
    for kind in DocumentKind::ALL.into_iter().filter(|kind| !kind.is_followed()) {
        let key = DocumentKey { kind, name: "any".to_owned() };
        assert_eq!(first.put_document(key, 0, Some("{}".to_owned()), Vec::new()).await, Ok(Some(1)));
        assert_eq!(version().await, before, "{kind:?}: nobody has to read everything anew for it");
    }
    let found = second.document(source("stripe")).await;
    assert_eq!(found, first.document(source("stripe")).await);
    fixture.check_sums().await;
}

/// Whoever reads the version first and the documents then has all that the version counts, also over a restart.
pub async fn a_version_that_was_seen_is_of_what_is_read_after_it<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    put(&fixture, "stripe", 0, Some("{}")).await;
    let seen = fixture.store().version().await.expect("reading works");
    let fixture = fixture.reopen().await;
    assert_eq!(fixture.store().version().await, Ok(seen), "nothing was written meanwhile");
    put(&fixture, "shop", 0, Some("{}")).await;
    let later = fixture.store().version().await.expect("reading works");
    assert!(seen.is_none() || later != seen);
    assert_eq!(fixture.store().documents(DocumentKind::Source).await.map(|all| all.len()), Ok(2));
    fixture.check_sums().await;
}

/// Of several that read the same version one wins.
pub async fn concurrent_writers_of_a_document_have_one_winner<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    let waiting: Vec<_> = (0..8)
        .map(|number| fixture.store().put_document(source("stripe"), 0, Some(format!("{number}")), Vec::new()))
        .collect();
    let mut winners = 0;
    for answer in waiting {
        winners += u32::from(answer.await.expect("writing works").is_some());
    }
    assert_eq!(winners, 1);
    fixture.check_sums().await;
}

fn line(number: u64, who: &str, action: &str) -> AuditEntry {
    AuditEntry {
        at: at(number),
        who: who.to_owned(),
        action: action.to_owned(),
        subject: format!("number {number}"),
        origin: format!("{{\"uid\":{number}}}"),
    }
}

async fn log<B: Backend>(fixture: &Fixture<B>, filter: AuditFilter, limit: u32) -> Vec<AuditEntry> {
    let mut page = Page { cursor: None, limit };
    let mut lines = Vec::new();
    loop {
        let listed = fixture.store().browse_audit(filter.clone(), page.clone()).await.expect("reading works");
        assert!(listed.items.len() <= limit as usize);
        lines.extend(listed.items);
        let Some(next) = listed.next else { return lines };
        page.cursor = Some(next);
    }
}

/// Each line once, whatever the length of the pages, also those that came with something else.
pub async fn the_audit_log_is_read_newest_first_page_by_page<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    assert_eq!(log(&fixture, AuditFilter::default(), 10).await, []);
    assert_eq!(put(&fixture, "stripe", 0, Some("{}")).await, Some(1));
    let lines: Vec<AuditEntry> = (2..8).map(|number| line(number, "admin", "dead.redrive")).collect();
    fixture.store().audit(lines.clone()).await.expect("writing works");
    let expected: Vec<AuditEntry> = entry().into_iter().chain(lines).rev().collect();
    for limit in [1, 3, 7, 1000] {
        assert_eq!(log(&fixture, AuditFilter::default(), limit).await, expected, "pages of {limit}");
    }
}

/// By who, by action or its noun, by time; and after a restart as before.
pub async fn the_audit_log_is_filtered_and_survives_reopening<B: Backend>() {
    let fixture = Fixture::<B>::fresh().await;
    let lines = vec![
        line(1, "cli", "dead.redrive"),
        line(2, "admin", "dead.purge"),
        line(3, "cli", "deadline.set"),
        line(4, "cli", "dead.purge"),
    ];
    fixture.store().audit(lines).await.expect("writing works");
    let fixture = fixture.reopen().await;
    let numbers = async |filter| {
        let lines = log(&fixture, filter, 1).await;
        lines.iter().map(|line| line.subject.replace("number ", "")).collect::<Vec<_>>().join(" ")
    };
    let filter = AuditFilter::default;
    assert_eq!(numbers(filter()).await, "4 3 2 1");
    assert_eq!(numbers(AuditFilter { who: Some("cli".into()), ..filter() }).await, "4 3 1");
    assert_eq!(numbers(AuditFilter { action: Some("dead".into()), ..filter() }).await, "4 2 1");
    assert_eq!(numbers(AuditFilter { action: Some("dead.purge".into()), ..filter() }).await, "4 2");
    let range = Range { since: Some(at(2)), until: Some(at(4)) };
    assert_eq!(numbers(AuditFilter { range, ..filter() }).await, "3 2");
}
