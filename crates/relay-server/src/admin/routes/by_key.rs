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
/// Looked up in one read.
const KEYS_AT_ONCE: usize = 500;
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
        Found::Events(_) => {
            let (source, why) = (source.as_str(), not_found(state, source));
            Err(AdminError::Unknown(format!("no event of {source:?} is known by {key:?}: {why}")))
        }
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
    if let Some(what) = &intake.broken {
        let text = format!("nothing tells how senders of {:?} name events while it is broken: {what}", source.as_str());
        return Err(AdminError::Unknown(text));
    }
    let Some(mut candidates) = candidates(intake, key, &[]) else { return Ok(Found::NotByItself) };
    candidates.extend(revoked(&directory, source).map(|stored| stored.known_by(key.as_bytes())));
    let rows = known_by(state, source, &candidates).await?;
    if !rows.is_empty() || !intake.verifier.has_ids_of_parts() {
        return Ok(Found::Events(rows));
    }
    let like = newest(state, source).await?;
    let more = self::candidates(intake, key, &like).unwrap_or_default();
    let more: Vec<KnownBy> = more.into_iter().filter(|known| !candidates.contains(known)).collect();
    Ok(Found::Events(known_by(state, source, &more).await?))
}

/// Looks them up, however many they are.
async fn known_by(state: &State, source: &Name, known: &[KnownBy]) -> Result<Vec<EventRow>, AdminError> {
    let mut rows = Vec::new();
    for some in digests(known).chunks(KEYS_AT_ONCE) {
        rows.extend(state.archive.by_key(source.clone(), some.to_vec()).await?);
    }
    Ok(rows)
}

/// Why an event may not be found although it is there: what it is known by, for how long, and what is not known of it.
fn not_found(state: &State, source: &Name) -> String {
    let directory = state.registry.directory();
    let Some(intake) = directory.intakes.get(source) else { return String::new() };
    let mut told =
        vec![format!("what it sends twice is known by {}", intake.verifier.provider().repeats()), how_long(state)];
    if intake.verifier.has_ids_of_parts() {
        told.push(format!("the other parts of such an id were taken from the newest {LIKE} events"));
    }
    if *source == Name::fallback() {
        told.push("what came with an API_KEY that is another by now is not found".to_owned());
    }
    told.join("; ")
}

fn how_long(state: &State) -> String {
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
