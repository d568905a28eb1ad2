//! Events by what their sender calls them: an `Idempotency-Key`, or the id that a platform gives its webhook. Of those the store keeps a
//! digest, for as long as a repeat is known (`DEDUPE_WINDOW`), and the digest alone: so what is looked for has to be made of the id anew.

use std::sync::Arc;

use relay_core::{event::Event, name::Name, time::Wall};
use relay_providers::{KnownBy, Request, StoredKey};
use relay_store::seam::{EventFilter, EventRow, Page};

use super::filter::known;
use crate::{admin::problem::AdminError, clock::rough, dedupe_key, directory::Directory, intake::Intake, state::State};

/// Webhooks of the same source that are looked at for the parts of an id that nobody thinks of.
const LIKE: u32 = 3;
/// Larger ones are not read for that.
const LIKE_BYTES_MAX: u64 = 256 << 10;

/// What came of looking.
#[derive(Debug)]
pub(crate) enum Found {
    /// Those that their sender calls so; none: nobody does, as far as is remembered.
    Events(Vec<EventRow>),
    /// Its senders' ids lead nowhere: each counts together with the body that it came with.
    NotByItself,
}

/// The event of a source that its sender calls so.
///
/// # Errors
/// `Unknown`, with why it may not be found although it is there.
pub(crate) async fn one(state: &State, source: &Name, key: &str) -> Result<Vec<EventRow>, AdminError> {
    match look(state, source, key).await? {
        Found::Events(rows) if !rows.is_empty() => Ok(rows),
        Found::Events(_) => Err(AdminError::Unknown(format!(
            "no event of {:?} is known by {key:?}: {}",
            source.as_str(),
            how_long(state)
        ))),
        Found::NotByItself => Err(AdminError::Invalid(format!(
            "an id of {:?} leads to no event: what it sends twice is known by {}",
            source.as_str(),
            repeats(&state.registry.directory(), source)
        ))),
    }
}

/// The same, where nothing found is an answer like any other.
///
/// # Errors
/// `Unknown`: there is no such source. Those of the store.
pub(crate) async fn look(state: &State, source: &Name, key: &str) -> Result<Found, AdminError> {
    let directory = state.registry.directory();
    let Some(intake) = directory.intakes.get(source) else {
        known(state, Some(source), None).await?;
        let text = format!("source {:?} is deleted: nothing tells how its senders name events", source.as_str());
        return Err(AdminError::Unknown(text));
    };
    let Some(mut candidates) = candidates(intake, key, &[]) else { return Ok(Found::NotByItself) };
    candidates.extend(revoked(&directory, source).map(|stored| stored.known_by(key.as_bytes())));
    let rows = state.archive.by_key(source.clone(), digests(&candidates)).await?;
    if !rows.is_empty() || intake.verifier.is_key_source() {
        return Ok(Found::Events(rows));
    }
    let like = newest(state, source).await?;
    let more = self::candidates(intake, key, &like).unwrap_or_default();
    let more: Vec<KnownBy> = more.into_iter().filter(|known| !candidates.contains(known)).collect();
    if more.is_empty() {
        return Ok(Found::Events(rows));
    }
    Ok(Found::Events(state.archive.by_key(source.clone(), digests(&more)).await?))
}

/// How long a sender's id leads to its event, in words.
pub(crate) fn how_long(state: &State) -> String {
    match state.registry.memory() {
        Some(memory) => {
            format!("what senders call their events is kept for {} (DEDUPE_WINDOW), and no longer than the event", rough(memory))
        }
        None => "what senders call their events is kept for DEDUPE_WINDOW, and no longer than the event; the server does not run, \
                 and without it nothing is found that came with API_KEY"
            .to_owned(),
    }
}

fn repeats(directory: &Directory, source: &Name) -> String {
    let provider = directory.intakes.get(source).map(|intake| intake.verifier.provider());
    provider.map_or_else(String::new, relay_providers::Provider::repeats)
}

/// What an event may be known by, under the secrets of now and of before; `None`: by no id alone.
fn candidates(intake: &Intake, key: &str, like: &[Arc<Event>]) -> Option<Vec<KnownBy>> {
    let methods: Vec<String> = like.iter().map(|event| String::from_utf8_lossy(&event.method).into_owned()).collect();
    let requests = like.iter().zip(&methods).map(|(event, method)| Request {
        method,
        path: &event.path,
        query: event.query.as_deref(),
        headers: &event.headers,
        body: &event.body,
        url: None,
        now: Wall::MIN,
        fetched: &[],
    });
    let requests: Vec<Request<'_>> = requests.collect();
    let mut known = intake.verifier.known_by(key.as_bytes(), &requests)?;
    let old = intake.old.as_ref().and_then(|old| old.verifier.known_by(key.as_bytes(), &requests));
    known.extend(old.unwrap_or_default());
    Some(known)
}

/// Keys that let nobody in any more: what came with them is there.
fn revoked<'a>(directory: &'a Directory, source: &'a Name) -> impl Iterator<Item = StoredKey> + 'a {
    let keys = directory.keys.values().map(|entry| &entry.document);
    let revoked = keys.filter(|key| key.source == *source && key.revoked_at.is_some());
    revoked.map(|key| StoredKey { name: key.name.as_str().into(), digest: key.sha256 })
}

fn digests(known: &[KnownBy]) -> Vec<[u8; 32]> {
    let digest = |known: &KnownBy| dedupe_key::of(known.key.as_deref().unwrap_or_default().as_bytes(), &known.id, &[]);
    known.iter().map(digest).collect()
}

/// The newest events of a source, small ones.
async fn newest(state: &State, source: &Name) -> Result<Vec<Arc<Event>>, AdminError> {
    let filter = EventFilter { source: Some(source.clone()), ..EventFilter::default() };
    let rows = state.archive.browse_events(filter, Page { cursor: None, limit: LIKE }).await?.items;
    let _held = state.bodies.acquire().await.map_err(|_| AdminError::Stopping)?;
    let mut events = Vec::new();
    for row in rows.into_iter().filter(|row| row.body_bytes <= LIKE_BYTES_MAX) {
        // One that does not read is nobody's example.
        events.extend(state.archive.event(row.event.id).await.ok().flatten());
    }
    Ok(events)
}
