//! What is typed into the find field and is no id of ours: what a sender calls an event, or what stands in it.

use std::time::Duration;

use relay_core::{name::Name, time::Wall};
use relay_dashboard::screen::{EventsFilter, LookedThrough, MarkedBetween, SendersAsked};
use relay_store::seam::EventRow;
use tokio::time::Instant;

use super::frame::Looking;
use crate::{
    admin::{
        self,
        problem::AdminError,
        routes::{
            by_key,
            marked::{self, MarkQuery},
            scan::{self, Scan},
        },
    },
    clock::rfc3339,
    marks::Sought,
    principal::Permission,
    scan::json_path::JsonPath,
};

/// A look ends with so many lines.
const LINES: u32 = 50;
/// Sources that are asked for what their senders call a word, if none is chosen, and for how long.
const SOURCES_ASKED: usize = 100;
const ASKED_FOR: Duration = Duration::from_millis(500);

/// The events that their senders call so; if none do, who was asked.
pub(super) async fn called(
    looking: &Looking,
    source: Option<&str>,
    word: &str,
) -> Result<(Vec<EventRow>, Option<SendersAsked>), AdminError> {
    let sources = match source.map(admin::name) {
        Some(Ok(source)) => vec![source],
        // The list says what is wrong with it.
        Some(Err(_)) => return Ok((Vec::new(), None)),
        None => sources(looking),
    };
    let (began, mut rows, mut asked) = (Instant::now(), Vec::new(), 0);
    for source in sources.iter().take(SOURCES_ASKED) {
        match by_key::look(&looking.state, source, word).await {
            Ok(by_key::Found::Events(found)) => rows.extend(found),
            Ok(by_key::Found::NotByItself) | Err(AdminError::Unknown(_) | AdminError::Registry(_)) => {}
            Err(error) => return Err(error),
        }
        asked += 1;
        if began.elapsed() >= ASKED_FOR {
            break;
        }
    }
    let senders = |memory| SendersAsked { memory, sources: asked, of: sources.len() };
    Ok((rows, looking.state.registry.memory().map(senders)))
}

/// Whether this is a place of JSON and what stands there, to whoever may look inside: a name or a key that begins so is one all the same.
pub(super) fn is_path(looking: &Looking, word: &str) -> bool {
    looking.sees_payloads() && word.parse::<JsonPath>().is_ok()
}

/// The events that have it, as far as one look goes; where the next one goes on, and how far it came.
pub(super) async fn inside(
    looking: &Looking,
    filter: &EventsFilter,
    word: &str,
) -> Result<(Vec<EventRow>, Option<String>, LookedThrough), AdminError> {
    if !looking.sees_payloads() {
        return Err(AdminError::Forbidden(looking.who.role, Permission::Payload));
    }
    let is_path = is_path(looking, word);
    let text = |wanted: bool| wanted.then(|| word.to_owned());
    let asked = Scan {
        source: filter.source.clone(),
        contains: text(!is_path),
        json_path: text(is_path),
        since: filter.since.from(looking.page.now).map(rfc3339),
        cursor: filter.cursor.clone(),
        limit: Some(LINES),
        ..Scan::default()
    };
    let scan::Scanned { rows, far, of, reached, next } =
        scan::run(&looking.state, (&looking.who, looking.present.as_ref()), &asked).await?;
    Ok((rows, next, LookedThrough { read: far.read, unread: far.unread, of, reached }))
}

/// What a mark of the chosen source leads to, where what was typed begins with the name of one: `customer:cus_1`. Where the next page goes on,
/// and between which moments that is all.
pub(super) async fn marked(
    looking: &Looking,
    filter: &EventsFilter,
    word: &str,
) -> Result<Option<(Vec<EventRow>, Option<String>, MarkedBetween)>, AdminError> {
    let Some((source, (mark, _))) = filter.source.clone().zip(word.split_once(':')) else { return Ok(None) };
    let directory = looking.state.registry.directory();
    let entry = admin::name(&source).ok().and_then(|source| directory.sources.get(&source).cloned());
    let is_one = entry.is_some_and(|entry| entry.document.marks.iter().any(|known| known.name.as_str() == mark));
    if !is_one || !looking.sees_payloads() {
        return Ok(None);
    }
    let asked = MarkQuery { source, mark: word.to_owned(), cursor: filter.cursor.clone(), limit: Some(LINES) };
    let who = (&looking.who, looking.present.as_ref());
    let Sought { mut rows, unread, mut next, indexed } = marked::run(&looking.state, who, &asked).await?;
    // The time that is chosen is that of the list.
    if let Some(since) = filter.since.from(looking.page.now) {
        let all = rows.len();
        rows.retain(|row| row.event.received_at >= since);
        next = next.filter(|_| rows.len() == all);
    }
    let from = indexed.as_ref().map(|indexed| indexed.from).filter(|from| *from > Wall::MIN);
    Ok(Some((rows, next, MarkedBetween { from, to: indexed.map(|indexed| indexed.to), unread })))
}

/// All that there are.
pub(super) fn sources(looking: &Looking) -> Vec<Name> {
    looking.state.registry.directory().sources.keys().cloned().collect()
}
